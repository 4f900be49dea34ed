"""How a run ended, for people and for programs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from badc_core.cli.progress import duration
from badc_core.cli.wording import counted
from badc_core.errors import ExitCode
from badc_core.runs import Gathered, RunSummary

__all__ = ["detached_text", "exit_code", "gathered_text", "outcome_json", "outcome_text"]

_REASONS_SHOWN = 3
_REASON_WIDTH = 200


def outcome_json(summary: RunSummary) -> dict[str, Any]:
    """Return the outcome as JSON values."""
    plan, counts, planned = summary.plan, summary.counts, summary.planned
    return {
        "run_id": plan.run_id,
        "exit_code": int(summary.exit_code),
        "detached": summary.detached,
        "total": planned.total,
        "done_before": planned.done,
        "done": counts.chunks,
        "failed": counts.failures,
        "audio_ms": counts.audio_ms,
        "elapsed_s": round(summary.elapsed_s, 3),
        "runner": plan.runner,
        "model_version": plan.identity.version,
        "fingerprint": plan.fingerprint,
        "output": [str(base) for base in plan.bases],
        "run_folder": None if summary.folder is None else str(summary.folder),
        "telemetry_log": None if summary.telemetry_log is None else str(summary.telemetry_log),
        "summary": None if summary.summary_path is None else str(summary.summary_path),
        "workers": {
            name: {
                "jobs": one.jobs,
                "success": one.success,
                "failure": one.failure,
                "retries": one.retries,
                "failed_retries": one.failed_retries,
            }
            for name, one in counts.workers.items()
        },
        "waiting_s": {report.worker: round(report.waiting_s, 3) for report in summary.reports},
        "predicting_s": {report.worker: round(report.predicting_s, 3) for report in summary.reports},
        "problems": list(summary.problems),
        "commit": summary.commit,
        "unrecorded": summary.unrecorded,
        "gathered": [one.folder.name for one in summary.gathered],
    }


def exit_code(summary: RunSummary) -> int:
    """Return the exit status: a run that should have been recorded and was not is no success."""
    unrecorded = summary.unrecorded or any(one.unrecorded for one in summary.gathered)
    return summary.exit_code or (ExitCode.ERROR if unrecorded else ExitCode.OK)


def gathered_text(gathered: Sequence[Gathered]) -> str:
    """Return what became of earlier runs that had ended while nobody followed them; empty where there were none."""
    from badc_core.run_folders import named

    lines = []
    for one in gathered:
        lines.append(
            f"The run {one.folder.name} had ended while nobody followed it, and was gathered first: "
            f"{one.done:,} of its {counted(one.chunks, 'chunk')} are done."
        )
        if one.commit is not None:
            lines.append(f"Recorded   {one.commit}")
        if one.unrecorded is not None:
            lines.append(f"It is not recorded: {one.unrecorded}")
            lines.append(f"When that is mended: badc jobs record {named(one.folder)}")
    return "\n".join(lines)


def detached_text(folder: Path) -> str:
    """Return where a run is that goes on by itself, and what can be done with it."""
    from badc_core.run_folders import named

    run = named(folder)
    return "\n".join(
        (
            f"The run {folder.name} goes on by itself.",
            f"To look:    badc jobs status {run}",
            f"To follow:  badc jobs resume {run}",
            f"To stop:    badc jobs cancel {run}",
            f"Run         {folder}",
        )
    )


def outcome_text(summary: RunSummary) -> str:
    """Return the outcome in a few lines: the per-worker table, and where everything lies."""
    plan, counts, planned = summary.plan, summary.counts, summary.planned
    lines = [gathered_text(summary.gathered), ""] if summary.gathered else []
    if not plan.chunks:
        all_done = "the only chunk is" if planned.total == 1 else f"all {planned.total:,} chunks are"
        lines.append(f"Nothing to do: {all_done} done.")
    else:
        speed = (
            f", {counts.audio_ms / 1000 / summary.elapsed_s:,.1f} audio-seconds per second" if counts.audio_ms else ""
        )
        lines.append(f"{counted(counts.chunks, 'chunk')} in {duration(summary.elapsed_s)}{speed}.")
        if planned.done:
            lines.append(f"{planned.done} of {planned.total} were done before.")
        lines += ["", *_worker_table(summary)]
    if counts.failures:
        lines += ["", *_failures(summary)]
    for text, number in (
        ("with a damaged result, done again", planned.damaged),
        ("that failed before, tried again", planned.failed_before),
        ("that the summary calls done, without a result, done again", planned.unconfirmed),
        ("of another runner, model or options, made anew", planned.replaced),
        ("named twice by the manifest, done once", planned.repeated),
    ):
        if number:
            lines.append(f"{counted(number, 'chunk')} {text}.")
    for sink, number in summary.dropped.items():
        if number:
            lines.append(f"The telemetry sink {sink} was too slow for {number} events, which it did not get.")
    lines += ["", *(f"Results    {base}" for base in plan.bases)]
    if summary.telemetry_log is not None:
        lines.append(f"Telemetry  {summary.telemetry_log}")
    if summary.summary_path is not None:
        lines.append(f"Summary    {summary.summary_path}")
    if summary.folder is not None:
        lines.append(f"Run        {summary.folder}")
    if summary.commit is not None:
        lines.append(f"Recorded   {summary.commit}")
    if summary.unrecorded is not None:
        lines += ["", f"The run is complete, but not recorded: {summary.unrecorded}"]
        lines.append(f"When that is mended: badc jobs record {shlex.quote(str(summary.folder or ''))}")
    return "\n".join(lines)


def _failures(summary: RunSummary) -> list[str]:
    """Return how many chunks failed, and the reasons met most often."""
    counts = summary.counts
    lines = [
        f"{counted(counts.failures, 'chunk')} failed; running the same command tries again. Their results say why:"
    ]
    reasons = sorted(counts.errors.items(), key=lambda item: -item[1])
    for error, number in reasons[:_REASONS_SHOWN]:
        first = (error.strip().splitlines() or ["it was not said"])[0]
        lines.append(f"  {number} x {first if len(first) <= _REASON_WIDTH else first[: _REASON_WIDTH - 1] + '…'}")
    if (others := counts.failures - sum(number for _, number in reasons[:_REASONS_SHOWN])) > 0:
        lines.append(f"  {others} x other reasons")
    return lines


def _worker_table(summary: RunSummary) -> list[str]:
    heads = ("worker", "jobs", "failures", "retries", "failed attempts", "waiting for samples")
    waits = {report.worker: report for report in summary.reports}
    rows = [heads]
    for name, one in summary.counts.workers.items():
        report = waits.get(name)
        wait = "-" if report is None else f"{report.waiting_s:.1f} s"
        row = (name, one.jobs, one.failure, one.retries, one.failed_retries, wait)
        rows.append(tuple(map(str, row)))  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

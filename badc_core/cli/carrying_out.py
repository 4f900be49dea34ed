"""Doing what was planned for the manifests of a dataset, and telling how it goes."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import evolve

from badc_core.cli.bundling import Bundling
from badc_core.cli.complaints import Complaints
from badc_core.cli.infer_work import Work
from badc_core.cli.wording import counted
from badc_core.errors import BadcError, Interrupted
from badc_core.infer_jobs import InferJob
from badc_core.stopping import signals_caught

if TYPE_CHECKING:
    from badc_core.runs import RunSummary

__all__ = ["carry_out"]


def carry_out(jobs: Sequence[InferJob], work: Work, complaints: Complaints) -> None:
    """Analyse manifests, and tell how it goes; one that fails does not stop the others.

    One after the other on this machine. A scheduler whose work goes on by itself gets all of them at once.

    Raises
    ------
    Interrupted
        It was asked to stop; what was committed stays, and jobs that go on by themselves go on.
    """
    from badc_core.cli.infer import goes_on_by_itself

    steps = _all_at_once if goes_on_by_itself(work.scheduler) else _one_by_one
    stop = threading.Event()  # a signal that comes when a run is at its end must not get lost
    with signals_caught(lambda number: stop.set()):
        for number, (job, summary) in enumerate(steps(jobs, work, complaints, stop), 1):
            click.echo(f"[{number}/{len(jobs)}] {job.recording_id}: {_told(job, summary, complaints)}")
            if work.bundling is not None:
                _bundle(job, work.bundling, complaints)
    if work.bundling is not None and not work.bundling.finish():
        complaints.lose("Some tables could not be counted.")


_Ended = Iterator[tuple[InferJob, "RunSummary"]]


def _one_by_one(jobs: Sequence[InferJob], work: Work, complaints: Complaints, stop: threading.Event) -> _Ended:
    from badc_core.cli.progress import ProgressLine
    from badc_core.engine import run

    for job in jobs:
        if stop.is_set():
            raise Interrupted("Stopped between two recordings.", hint="Run the same command again to go on.")
        try:
            with ProgressLine() as progress:
                summary = run(work.request(job), progress)
        except Interrupted:
            raise
        except BadcError as error:
            complaints.lose(f"{job.recording_id}: {error}")
            continue
        yield job, summary


def _all_at_once(jobs: Sequence[InferJob], work: Work, complaints: Complaints, stop: threading.Event) -> _Ended:
    """Hand all over before the first is followed, so that the cluster has work for all of its nodes.

    Runs of an earlier call that are still under way are followed, not handed over again.
    """
    from badc_core.cli.progress import ProgressLine
    from badc_core.following import resume

    handed: list[tuple[InferJob, RunSummary | Path]] = []
    try:
        for one in _handed_over(jobs, work, complaints):
            handed.append(one)
            if stop.is_set():
                break
    except Interrupted:  # while one was planned
        stop.set()
    if stop.is_set():
        raise _left_running(f"{len(handed)} of {counted(len(jobs), 'recording')} were handed over.")
    going = sum(isinstance(found, Path) for _, found in handed)
    if going:
        click.echo(f"{counted(going, 'run')} under way; this command follows them.")
    for job, found in handed:
        if not isinstance(found, Path):
            yield job, found
            continue
        if stop.is_set():
            raise _left_running("It was stopped between two of them.")
        try:
            with ProgressLine() as progress:
                summary = resume(found, progress)
        except Interrupted as error:
            raise _left_running(str(error)) from error
        except BadcError as error:
            complaints.lose(f"{job.recording_id}: {error}")
            continue
        assert summary is not None
        yield job, summary


def _left_running(why: str) -> Interrupted:
    return Interrupted(
        f"The jobs go on without this command. {why}", hint="The same command follows them to their end."
    )


def _handed_over(
    jobs: Sequence[InferJob], work: Work, complaints: Complaints
) -> Iterator[tuple[InferJob, RunSummary | Path]]:
    """Yield, for each manifest, the folder of its run; or how it ended, where nothing was left to do."""
    from badc_core.engine import run
    from badc_core.host import default_host
    from badc_core.preparing import prepare
    from badc_core.run_folders import under_way

    known = {folder: under_way(folder) for folder in {job.output_dir for job in jobs}}
    for job in jobs:
        request = evolve(work.request(job), detach=True, share=True)
        try:
            earlier = known[job.output_dir].get(job.manifest_path)
            if earlier is not None and earlier.fingerprint == prepare(request, default_host()).fingerprint:
                yield job, earlier.folder
                continue
            summary = run(request)
        except Interrupted:
            raise
        except BadcError as error:
            complaints.lose(f"{job.recording_id}: {error}")
            continue
        yield job, summary.folder if summary.detached and summary.folder is not None else summary


def _told(job: InferJob, summary: RunSummary, complaints: Complaints) -> str:
    from badc_core.cli.outcome import gathered_text
    from badc_core.cli.progress import duration

    counts, planned = summary.counts, summary.planned
    if counts.failures:
        complaints.lose(f"{job.recording_id}: {counted(counts.failures, 'chunk')} failed; the results say why.")
    if summary.gathered:
        click.echo(gathered_text(summary.gathered))
    if summary.unrecorded is not None:
        hint = f"When that is mended: badc jobs record {shlex.quote(str(summary.folder))}"
        complaints.lose(f"{job.recording_id} is done, but not recorded: {summary.unrecorded} {hint}")
    before = f", {planned.done} done before" if planned.done else ""
    recorded = ", recorded" if summary.commit is not None else ""
    return f"{counted(counts.chunks, 'chunk')} in {duration(summary.elapsed_s)}{before}{recorded}"


def _bundle(job: InferJob, bundling: Bundling, complaints: Complaints) -> None:
    try:
        if not bundling.make(job):
            complaints.lose(f"{job.recording_id}: some results are not in its tables, or not finished.")
    except BadcError as error:
        complaints.lose(f"{job.recording_id} has no reports: {error}")

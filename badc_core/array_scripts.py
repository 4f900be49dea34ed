"""A script with which somebody analyses a dataset by hand: one task of an array for each manifest.

What a task does is told here, in bash; what goes around it is the scheduler's: see
:class:`~badc_core.scheduling.ArrayScript`.
Whatever comes from users and paths lies in arrays of the shell, quoted by :func:`shlex.quote`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import frozen

from badc_core.infer_jobs import InferJob
from badc_core.scheduling import ArrayScript
from badc_core.summary_form import summary_path

__all__ = ["CLAIM_WAIT_S", "HandBundle", "array_of_jobs"]

CLAIM_WAIT_S = 120.0
"""A task that begins again waits so long for the claim of its killed predecessor to be seen as stale."""

NO_STATUS, NOT_COMPLETED = 2, 3

_CHECK = (
    "if [[ -n $chunk_status ]]; then",
    "    if [[ ! -f $chunk_status ]]; then",
    '        printf \'%s: there is no %s; cut the recording first\\n\' "$recording" "$chunk_status" >&2',
    f"        exit {NO_STATUS}",
    "    fi",
    '    if ! grep -Eq \'"status"[[:space:]]*:[[:space:]]*"completed"\' -- "$chunk_status"; then',
    '        printf \'%s: its chunk files are not complete, says %s\\n\' "$recording" "$chunk_status" >&2',
    f"        exit {NOT_COMPLETED}",
    "    fi",
    "fi",
)


@frozen
class HandBundle:
    """Tables and reports that each task makes of its results.

    Parameters
    ----------
    folder
        Where they go.
    bucket_minutes
        Width of the timelines' buckets.
    """

    folder: Path
    bucket_minutes: int


def array_of_jobs(
    name: str,
    jobs: Sequence[InferJob],
    dataset: Path,
    flags: Sequence[str],
    *,
    globals_: Sequence[str] = (),
    log_dir: Path | None = None,
    check_chunks: bool = True,
    again: bool = True,
    trust_summaries: bool = False,
    bundle: HandBundle | None = None,
) -> ArrayScript:
    """Return what each task of an array does.

    Parameters
    ----------
    name
        Of the array.
    jobs
        One for each task.
    dataset
        Its folder; tasks work there, and what lies in it is named from there.
    flags
        For ``badc infer run``, the same for all.
    globals_
        For ``badc``, before the command.
    log_dir
        Where logs go; ``None``: as the jobs say.
    check_chunks
        End a task with status 2 where a chunk status file is missing, and with 3 where it says other than completed.
    again
        A task that was stopped goes on where it was.
    trust_summaries
        Have results without a fingerprint count as done when the summary of an earlier run says so.
    bundle
        Tables and reports to make; ``None``: none.
    """

    def named(path: Path) -> str:
        return str(path.relative_to(dataset) if path.is_relative_to(dataset) else path)

    def log_word(path: Path) -> str:
        return shlex.quote(named(path)) if log_dir is None else f'"$LOG_DIR"/{shlex.quote(path.name)}'

    logs = [job.telemetry_log for job in jobs]
    checked = [job.chunk_status_path if check_chunks else None for job in jobs]
    prepare = [
        "",
        f"DATASET={shlex.quote(str(dataset))}",
        *([] if log_dir is None else [f"LOG_DIR={shlex.quote(named(log_dir))}"]),
        *_array("RECORDINGS", (shlex.quote(job.recording_id) for job in jobs)),
        *_array("MANIFESTS", (shlex.quote(named(job.manifest_path)) for job in jobs)),
        *_array("CHUNK_STATUS", (shlex.quote("" if path is None else named(path)) for path in checked)),
        *_array("OUTPUTS", (shlex.quote(named(job.output_dir)) for job in jobs)),
        *_array("TELEMETRY", map(log_word, logs)),
        *(_array("RESUMES", (log_word(summary_path(path)) for path in logs)) if trust_summaries else ()),
        "",
        "recording=${RECORDINGS[index]} manifest=${MANIFESTS[index]} chunk_status=${CHUNK_STATUS[index]}",
        "output=${OUTPUTS[index]} telemetry=${TELEMETRY[index]}",
        'cd -- "$DATASET"',
        "[[ $output == /* ]] || output=$DATASET/$output",
        *([] if log_dir is None else ['mkdir -p -- "$LOG_DIR"']),
        *_CHECK,
        "resume=()",
        *(_RESUME if trust_summaries else ()),
    ]
    words = ['"${badc[@]}"', *map(shlex.quote, globals_), "infer run"]
    words += ['--output-dir="$output"', '--telemetry-log="$telemetry"', *map(shlex.quote, flags)]
    words += ['${resume[@]+"${resume[@]}"}', '-- "$manifest"']
    folders = dict.fromkeys([dataset, *(job.output_dir for job in jobs), *((bundle.folder,) if bundle else ())])
    return ArrayScript(
        name=name,
        tasks=len(jobs),
        prepare=tuple(prepare),
        command=" ".join(words),
        finish=() if bundle is None else _reports(bundle, named, globals_),
        again=again,
        workdir=dataset,
        folders=tuple(folders),
    )


_RESUME = ('if [[ -f ${RESUMES[index]} ]]; then resume=(--resume-summary="${RESUMES[index]}"); fi',)


def _array(name: str, words: Iterable[str]) -> list[str]:
    return [f"{name}=(", *(f"    {word}" for word in words), ")"]


def _reports(bundle: HandBundle, named: Callable[[Path], str], globals_: Sequence[str]) -> tuple[str, ...]:
    """Return the lines that make what ``badc infer orchestrate --bundle`` would; some chunks may have failed."""
    badc = " ".join(['"${badc[@]}"', *map(shlex.quote, globals_)])
    return (
        "",
        f"AGGREGATES={shlex.quote(named(bundle.folder))}",
        "if ((status == 0 || status == 3)); then",
        "    made=0",
        f'    {badc} infer aggregate --manifest="$manifest" --output="$AGGREGATES/${{recording}}_summary.csv" \\',
        '        --parquet="$AGGREGATES/$recording.parquet" -- "$output/$recording" || made=$?',
        "    if [[ -f $AGGREGATES/$recording.parquet ]]; then",
        f'        {badc} report bundle --parquet="$AGGREGATES/$recording.parquet" --output-dir="$AGGREGATES" \\',
        f'            --run-prefix="$recording" --bucket-minutes={bundle.bucket_minutes} || made=$?',
        "    fi",
        "    if ((status == 0)); then status=$made; fi",
        "fi",
    )

"""Cutting recordings into chunk files with manifests: one recording, or all of a dataset."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from badc_core import manifest
from badc_core.atomic import write_text
from badc_core.chunk_status import ChunkStatus, Job, needs_work
from badc_core.chunking import chunk_files, planned_files
from badc_core.errors import BadcError, RecordingError, StoreError
from badc_core.host import Host
from badc_core.layout import relative_to_dataset
from badc_core.model import Chunk
from badc_core.opening import find_reader, known_suffixes, open_signal
from badc_core.recordings import RecordingRules, assign_ids, described, find

__all__ = [
    "Outcome",
    "cut",
    "datalad_argv",
    "may_record",
    "plan_dataset",
    "run_jobs",
    "run_recorded",
    "write_plan_csv",
    "write_plan_json",
]

Tell = Callable[[str], None]


def _no_one(text: str) -> None:
    pass


@frozen
class Outcome:
    """What became of one job.

    Parameters
    ----------
    job
        What was to be done.
    rows
        Chunks in its manifest.
    error
        Why it failed; ``None``: it did not.
    """

    job: Job
    rows: int = 0
    error: str | None = None


# ------------------------------------------------------------------------------------------ one recording


def cut(
    job: Job,
    rules: RecordingRules,
    *,
    dry_run: bool = False,
    host: Host | None = None,
    root: Path | None = None,
    on_problem: Tell = _no_one,
    on_loss: Tell | None = None,
) -> int:
    """Write the chunk files of a recording, then its manifest and the file of recordings beside it.

    Parameters
    ----------
    job
        What to do.
    rules
        How to read names, folders and clocks.
    dry_run
        Write the manifests only, marked as a dry run.
    host
        Where readers come from.
    root
        Folder from which folder patterns count.
    on_problem
        Called with a sentence about everything that is not as it should be.
    on_loss
        Called instead for chunks that are incomplete or left out; ``None``: `on_problem`.

    Returns
    -------
    int
        Rows of the manifest; 0: there was nothing to cut, and nothing was written.

    Raises
    ------
    RecordingError
        The recording cannot be read at all.
    StoreError
        The system refused to write.
    """
    suffix = find_reader(job.audio_path, host).export_suffix
    with contextlib.closing(open_signal(job.audio_path, host)) as file:
        told = described(job.audio_path, job.recording_id, file.info, file.hints(), rules, root)
        for problem in told.problems:
            on_problem(problem)
        if file.info.damage:
            on_problem(f"{job.audio_path}: {file.info.damage}")
        where = (job.chunk_duration, job.overlap, job.chunk_output_dir, suffix)
        chunks: Iterator[Chunk]
        if dry_run:
            chunks = (chunk for _, chunk in planned_files(job.recording_id, file.info, *where))
        else:
            chunks = chunk_files(file, job.recording_id, *where, on_problem=on_loss or on_problem)
        first = next(chunks, None)
        if first is None:
            return 0
        manifest.write_recordings(job.manifest_path, [told.recording])
        return manifest.write(job.manifest_path, chain([first], chunks))  # last: it says that the rest is there


# ---------------------------------------------------------------------------------------- a whole dataset


def plan_dataset(
    dataset: Path,
    *,
    pattern: str,
    chunk_duration: float,
    overlap: float,
    manifest_dir: Path,
    chunks_dir: Path,
    include_existing: bool = False,
    limit: int = 0,
    host: Host | None = None,
    on_problem: Tell = _no_one,
) -> list[Job]:
    """Return what is to be cut in a dataset: the recordings below its folder ``audio``, sorted.

    Recordings that have a manifest are left out, unless their status says that cutting failed or was cut short.

    Parameters
    ----------
    dataset
        The dataset's folder.
    pattern
        Shell pattern for names.
    chunk_duration, overlap
        Seconds.
    manifest_dir, chunks_dir
        Count from the dataset when relative.
    include_existing
        Leave nothing out.
    limit
        At most so many jobs; 0: all.
    host
        Where readers come from.
    on_problem
        Called with a sentence about what could not be looked at.

    Raises
    ------
    RecordingError
        The dataset has no folder ``audio``.
    """
    dataset = dataset.expanduser().absolute()
    audio = dataset / "audio"
    if not audio.is_dir():
        raise RecordingError(
            f"There is no folder {audio}.", hint="Recordings of a dataset lie below audio/. Is it the right folder?"
        )
    found = find(audio, known_suffixes(host), pattern=pattern, recursive=True, on_problem=on_problem)
    jobs = []
    for path, recording_id in assign_ids(found, audio).items():
        job = Job(
            recording_id,
            path,
            relative_to_dataset(manifest_dir, dataset) / f"{recording_id}.csv",
            relative_to_dataset(chunks_dir, dataset) / recording_id,
            chunk_duration,
            overlap,
        )
        if include_existing or needs_work(job):
            jobs.append(job)
    return jobs[:limit] if limit > 0 else jobs


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job], int],
    *,
    workers: int = 1,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Do jobs on threads, each with its status file; one that fails does not stop the others.

    Parameters
    ----------
    jobs
        What to do.
    work
        Does one job and returns the rows of its manifest.
    workers
        Threads.
    tell
        Called with every outcome, one at a time.

    Returns
    -------
    list of Outcome
        In the order of `jobs`.
    """
    lock = threading.Lock()

    def do(job: Job) -> Outcome:
        outcome = _with_status(job, work)
        with lock:
            tell(outcome)
        return outcome

    if workers <= 1:
        return [do(job) for job in jobs]
    pool = ThreadPoolExecutor(workers, thread_name_prefix="badc-chunk")
    try:
        return list(pool.map(do, jobs))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _with_status(job: Job, work: Callable[[Job], int]) -> Outcome:
    status = ChunkStatus(job)
    try:
        status.begin()
        rows = work(job)
        if not rows:
            raise RecordingError(f"{job.audio_path}: there is nothing in it to cut.")
        status.complete(rows)
    except Exception as error:
        text = error.message if isinstance(error, BadcError) else f"{type(error).__name__}: {error}"
        with contextlib.suppress(StoreError):  # the disk may be what failed
            status.fail(text)
        return Outcome(job, error=str(error) if isinstance(error, BadcError) else text)
    return Outcome(job, rows)


# ------------------------------------------------------------------------------------------------- plans


def write_plan_json(path: Path, jobs: Iterable[Job]) -> None:
    """Write a chunk plan as a JSON array of objects."""
    write_text(path, json.dumps([_row(job) for job in jobs], indent=2, ensure_ascii=False) + "\n")


def write_plan_csv(path: Path, jobs: Iterable[Job]) -> None:
    """Write a chunk plan as CSV; fields are quoted only where they must be."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [spec.name for spec in attrs.fields(Job)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(job) for job in jobs)
    write_text(path, text.getvalue())


def _row(job: Job) -> dict[str, Any]:
    row = attrs.asdict(job)
    return {key: str(value) if isinstance(value, Path) else value for key, value in row.items()}


# ----------------------------------------------------------------------------------------------- datalad


def may_record(dataset: Path) -> bool:
    """Whether work can be recorded with ``datalad run``: a dataset, the tool, and nobody who forbids it."""
    return (
        "BADC_DISABLE_DATALAD" not in os.environ
        and (dataset / ".datalad").exists()
        and shutil.which("datalad") is not None
    )


def datalad_argv(dataset: Path, job: Job) -> list[str]:
    """Return the ``datalad run`` command that cuts one recording, to be run in the dataset's folder.

    Braces are doubled, because ``datalad run`` takes them for placeholders. ``--explicit``, because the status file
    makes the dataset look modified.
    """

    def inside(path: Path) -> str:
        return os.path.relpath(path, dataset)

    audio, table, chunks = inside(job.audio_path), inside(job.manifest_path), inside(job.chunk_output_dir)
    command = ["badc", "chunk", "run", "--chunk-duration", _plain(job.chunk_duration), "--overlap", _plain(job.overlap)]
    command += ["--recording-id", job.recording_id, "--output-dir", chunks, "--manifest", table, "--", audio]
    recordings = inside(manifest.recordings_path(job.manifest_path))
    head = ["datalad", "run", "--explicit", "-m", f"badc chunk {job.recording_id}", "-i", audio]
    head += ["-o", chunks, "-o", table, "-o", recordings, "--"]
    return head + [part.replace("{", "{{").replace("}", "}}") for part in command]


def _plain(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def run_recorded(dataset: Path, job: Job) -> int:
    """Cut one recording through ``datalad run``, and return the rows of its manifest.

    Raises
    ------
    StoreError
        The command failed; the message ends with the last of what it wrote.
    """
    done = subprocess.run(
        datalad_argv(dataset, job), cwd=dataset, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise StoreError(f"`datalad run` for {job.recording_id} ended with status {done.returncode}: {said}")
    return sum(1 for _ in manifest.read(job.manifest_path))

"""Cutting recordings into chunk files with manifests: one recording, or all of a dataset."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

from badc_core import datalad, manifest
from badc_core.chunk_status import ChunkStatus, Job, needs_work, read_content
from badc_core.chunking import chunk_files, planned_files
from badc_core.errors import BadcError, ExitCode, RecordingError, StoreError
from badc_core.host import Host
from badc_core.layout import dataset_root, relative_to_dataset
from badc_core.model import Chunk
from badc_core.opening import find_reader, known_suffixes, open_signal
from badc_core.recordings import RecordingRules, assign_ids, described, find

__all__ = [
    "Outcome",
    "cut",
    "datalad_argv",
    "plan_dataset",
    "run_jobs",
    "run_recorded",
    "with_status",
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
    with contextlib.closing(open_signal(job.audio_path, host)) as file:
        suffix = find_reader(job.audio_path, host).export_suffix
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
        # Last: it says that the rest is there.
        return manifest.write(job.manifest_path, itertools.chain([first], chunks))


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
    """Do jobs on threads; one that fails does not stop the others.

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
        try:
            outcome = Outcome(job, work(job))
        except Exception as error:
            outcome = Outcome(job, error=_in_words(error))
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


def with_status(job: Job, work: Callable[[Job], int]) -> int:
    """Do a job, and keep its status file: in progress, then completed or failed.

    Parameters
    ----------
    job
        What to do.
    work
        Does it and returns the rows of its manifest, which is returned.

    Raises
    ------
    RecordingError
        There are no rows.
    Exception
        Whatever `work` raises.
    """
    status = ChunkStatus(job)
    try:
        status.begin()
        rows = work(job)
        if not rows:
            raise RecordingError(f"{job.audio_path}: there is nothing in it to cut.")
        status.complete(rows)
    except Exception as error:
        with contextlib.suppress(StoreError):  # the disk may be what failed
            status.fail(_in_words(error))
        raise
    return rows


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, BadcError) else f"{type(error).__name__}: {error}"


# ----------------------------------------------------------------------------------------------- datalad


def datalad_argv(dataset: Path, job: Job, config: Path | None = None) -> list[str]:
    """Return the ``datalad run`` command that cuts one recording, to be run in the dataset's folder.

    The recorded command keeps the status file itself, so that its end is saved with the rest.

    Parameters
    ----------
    dataset
        The dataset's folder.
    job
        What to do.
    config
        Settings to use instead of the dataset's ``badc.toml``.
    """

    def inside(path: Path) -> str:
        return os.path.relpath(path, dataset)

    audio, table, chunks = inside(job.audio_path), inside(job.manifest_path), inside(job.chunk_output_dir)
    recordings = inside(manifest.recordings_path(job.manifest_path))
    # Of a recording in a dataset below, relative folders would count from there.
    here = "" if dataset_root(job.audio_path) == dataset else "{dspath}/"
    inputs, command = [audio], ["badc"]
    if config is not None and config.absolute() != dataset / "badc.toml":
        own = config.absolute().is_relative_to(dataset)
        inputs += [inside(config.absolute())] if own else []
        command += ["--config", datalad.doubled(inside(config.absolute()) if own else str(config.absolute()))]
    command += ["chunk", "run", "--status", "--chunk-duration", _plain(job.chunk_duration)]
    command += ["--overlap", _plain(job.overlap), "--recording-id", datalad.doubled(job.recording_id)]
    command += ["--output-dir", here + datalad.doubled(chunks), "--manifest", here + datalad.doubled(table)]
    command += ["--", datalad.doubled(audio)]
    return datalad.run_argv(f"badc chunk {job.recording_id}", inputs, [chunks, table, recordings], command)


def _plain(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def run_recorded(
    dataset: Path,
    job: Job,
    config: Path | None = None,
    *,
    on_problem: Tell = _no_one,
    on_loss: Tell = _no_one,
) -> int:
    """Cut one recording through ``datalad run``, and return the rows of its manifest.

    Parameters
    ----------
    dataset, job, config
        As for :func:`datalad_argv`.
    on_problem, on_loss
        As for :func:`cut`.

    Raises
    ------
    RecordingError
        The recording cannot be cut.
    StoreError
        It cannot be recorded; the message ends with the last of what was written.
    """
    before = read_content(job.chunk_output_dir)
    done = datalad.captured(datalad_argv(dataset, job, config), dataset)
    for line in done.stderr.splitlines():
        kind, _, text = line.partition(": ")
        tell = {"Warning": on_problem, "Problem": on_loss}.get(kind)
        if tell is not None:
            tell(text)
    after = read_content(job.chunk_output_dir)
    if after.get("status") == "failed" and after != before:
        raise RecordingError(str(after.get("error")))
    if done.returncode not in (ExitCode.OK, ExitCode.SOME_FAILED):
        said = (done.stderr + done.stdout).strip()[-500:]
        what = "was cut, but" if after.get("status") == "completed" and after != before else "was not cut:"
        raise StoreError(
            f"{job.recording_id} {what} `datalad run` ended with status {done.returncode}: {said}",
            hint="See what is not saved: datalad status. Or work without records: --no-record-datalad",
        )
    return sum(1 for _ in manifest.read(job.manifest_path))

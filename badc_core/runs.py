"""What a run is asked for, and what it tells: the values at the engine's border."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from badc_core import layout
from badc_core.config import Settings
from badc_core.errors import ExitCode
from badc_core.plan import Plan, Shard
from badc_core.planning import Counted
from badc_core.results import Layout
from badc_core.scheduling import WorkerReport
from badc_core.tally import Counts

__all__ = ["Gathered", "Preview", "Progress", "RunRequest", "RunSummary"]


@frozen
class RunRequest:
    """What the user asks for.

    Parameters
    ----------
    manifest
        The chunks.
    runner, options
        Name of the runner; its options as texts or TOML values.
    output_dir
        Where results go; the default means: the dataset of each chunk, else here.
    layout
        ``files`` or ``segments``.
    max_gpus, cpu_workers
        Worker slots; see :func:`badc_core.devices.worker_slots`.
    max_retries
        Attempts after the first.
    timeout_s
        Limit per chunk, for runners in processes.
    fail_fast
        Stop at the first chunk that fails for good.
    scheduler, scheduler_options
        Where to run.
    telemetry
        Sinks besides the log: ``NAME`` or ``NAME=target``.
    telemetry_log
        The log; ``None``: its default place.
    resume
        Do only what is missing; otherwise everything anew.
    resume_summary
        Summary of an earlier run, whose word is taken for results that carry no fingerprint.
    replace
        Do chunks again whose result is of another runner, model or options.
    wait_s
        How long to wait for another run that holds the folder.
    settings
        From TOML.
    detach
        Return once the run was handed over, where the scheduler's work goes on by itself.
    record
        Whether the run is recorded in its DataLad dataset when it has come to its end; ``None``: where that can be,
        and where no ``datalad run`` around it does so.
    share
        Share output folders with runs over manifests of other names; they must list other recordings.
    """

    manifest: Path
    runner: str = "stub"
    options: Mapping[str, Any] = field(factory=dict)
    output_dir: Path = layout.DEFAULT_OUTPUT
    layout: Layout = "files"
    max_gpus: int | None = None
    cpu_workers: int = 0
    max_retries: int = 2
    timeout_s: float | None = None
    fail_fast: bool = False
    scheduler: str = "local"
    scheduler_options: Mapping[str, Any] = field(factory=dict)
    telemetry: tuple[str, ...] = ()
    telemetry_log: Path | None = None
    resume: bool = True
    resume_summary: Path | None = None
    replace: bool = False
    wait_s: float = 0.0
    settings: Settings = field(factory=Settings)
    detach: bool = False
    record: bool | None = None
    share: bool = False

    @property
    def share_name(self) -> str | None:
        """Name of this run's share of output folders; ``None``: it has the whole."""
        return self.manifest.stem if self.share else None


@frozen
class Progress:
    """Where a run stands.

    Parameters
    ----------
    total, done_before
        Chunks in the manifest, and finished before this run.
    counts
        What this run did so far.
    audio_ms
        Length of all that this run has to do.
    elapsed_s
        Since the first shard was handed over.
    stopping
        It was asked to stop.
    note
        Where the shards stand, for runs that go on by themselves.
    """

    total: int
    done_before: int
    counts: Counts
    audio_ms: int
    elapsed_s: float
    stopping: bool = False
    note: str = ""


@frozen
class Gathered:
    """An earlier run that had ended while nobody followed it: what became of it.

    Parameters
    ----------
    folder
        Its run folder.
    chunks, done
        Of its plan, and how many of them have results.
    complete
        It came to its end.
    commit, unrecorded
        As in :class:`RunSummary`.
    """

    folder: Path
    chunks: int
    done: int
    complete: bool
    commit: str | None = None
    unrecorded: str | None = None


@frozen
class RunSummary:
    """How a run ended.

    Parameters
    ----------
    plan
        What was to be done.
    folder
        The run folder; ``None`` where nothing was to be done.
    counts
        What was done, per worker.
    planned
        What planning met.
    reports
        Where the workers' time went.
    telemetry_log, summary_path
        Where the log and the summary lie; ``None`` where there is none, because nothing was to be done.
    elapsed_s
        Wall time, planning included.
    exit_code
        :attr:`~badc_core.errors.ExitCode.OK` or ``SOME_FAILED``.
    problems
        Stored results that could not be read, in words.
    dropped
        Events that a telemetry sink was too slow for, by sink.
    detached
        The run goes on by itself; nothing is known of its end.
    commit
        The commit in which a DataLad dataset remembers the run; ``None``: it does not.
    unrecorded
        Why it does not, although it should.
    gathered
        Earlier runs in the same place that were gathered before this one began.
    """

    plan: Plan
    folder: Path | None
    counts: Counts
    planned: Counted
    reports: tuple[WorkerReport, ...]
    telemetry_log: Path | None
    summary_path: Path | None
    elapsed_s: float
    exit_code: ExitCode
    problems: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(factory=dict)
    detached: bool = False
    commit: str | None = None
    unrecorded: str | None = None
    gathered: tuple[Gathered, ...] = ()


@frozen
class Preview:
    """What a run would do, for ``--dry-run``.

    Parameters
    ----------
    plan
        As it would be.
    planned
        What planning met.
    devices
        Labels of the worker slots.
    files
        What the scheduler would write: name to text.
    shards
        As they would be.
    """

    plan: Plan
    planned: Counted
    devices: tuple[str, ...]
    files: Mapping[str, str]
    shards: tuple[Shard, ...] = ()

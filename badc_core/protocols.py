"""What the core and its plugins say to each other: protocols that import strings of specs lead to, and their values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from badc_core.model import ChunkResult, Detection, Device, Event, Measurement, Prediction, Signal, StartTime

if TYPE_CHECKING:
    import numpy as np

    from badc_core.plan import Plan, Shard, ShardSize

__all__ = [
    "ArrayScript",
    "DetachedScheduler",
    "ExportBatch",
    "Exporter",
    "Finisher",
    "InputSpec",
    "Readiness",
    "RecordingHints",
    "Run",
    "Runner",
    "RunnerIdentity",
    "RunnerInfo",
    "Sampler",
    "Scheduler",
    "ScriptWriter",
    "ShardState",
    "SignalFile",
    "SignalInfo",
    "Sink",
    "SinkContext",
    "Source",
    "Submission",
    "WorkerContext",
    "WorkerReport",
]

_EMPTY: Mapping[str, Any] = {}


# -------------------------------------------------------------------------------------------------------------- runners


@frozen
class InputSpec:
    """What a runner wants for each chunk.

    Parameters
    ----------
    kind
        ``samples``: an array, read and resampled ahead by the worker. ``file``: a path to a file that holds exactly
        the chunk (made for the occasion when the chunk is a slice). ``nothing``: the chunk's description alone.
        ``checked``: the same, of chunks that can be read, for runners that open the source themselves.
    sample_rate_hz
        Rate to resample to; ``None``: as recorded.
    mono
        Mean of all channels when true; otherwise all channels are kept.
    halo_ms
        Context wanted on both sides of the chunk, where the recording has it.
    max_batch
        How many chunks `predict` takes at once; fewer of very long ones.
    readers
        How many chunks are read side by side; 0: as many as there are processors, up to four.
    """

    kind: Literal["samples", "file", "nothing", "checked"] = "samples"
    sample_rate_hz: int | None = None
    mono: bool = True
    halo_ms: int = 0
    max_batch: int = 1
    readers: int = 0


@frozen
class RunnerIdentity:
    """Which model answers: everything besides the options that can change a result.

    Parameters
    ----------
    model
        Name of the model.
    version
        Its version, written into every result as ``model_version``.
    weights_digest
        SHA-256 of what was loaded, hex; ``None`` for models without weights.
    """

    model: str
    version: str | None = None
    weights_digest: str | None = None


@frozen
class RunnerInfo:
    """What a loaded runner says of itself.

    Parameters
    ----------
    identity
        Which model was loaded; checked against the plan.
    input
        What it wants to be fed with.
    labels
        All labels it can give; ``None`` when open-ended. A label outside it is refused.
    name
        What results call it; ``None``: its name in ``--runner``.
    needs_finish
        ``False``: opened with these options its answers are final, although its spec has a finisher.
    """

    identity: RunnerIdentity
    input: InputSpec = field(factory=InputSpec)
    labels: frozenset[str] | None = None
    name: str | None = None
    needs_finish: bool = True


@frozen
class WorkerContext:
    """What a runner is told of the place it works in.

    Parameters
    ----------
    device
        The one device it may use. In a child process ``CUDA_VISIBLE_DEVICES`` is already set to it.
    worker
        Label of the worker.
    scratch
        A folder of its own, emptied when the worker ends.
    timeout_s
        Limit for one chunk, for runners that start processes of their own; ``None``: no limit.
    stopping
        Says whether the run was asked to stop, for runners that wait on something.
    """

    device: Device
    worker: str
    scratch: Path
    timeout_s: float | None = None
    stopping: Callable[[], bool] = field(default=lambda: False, eq=False)


@runtime_checkable
class Runner(Protocol):
    """A model, loaded once per worker."""

    @property
    def info(self) -> RunnerInfo:
        """What it is and what it wants."""

    def predict(self, batch: Sequence[Signal], /) -> Sequence[Prediction | Sequence[Detection]]:
        """Return one answer per signal: same order, same length.

        A chunk in which nothing was heard gets an empty list. An exception means that the whole batch failed; the
        worker then tries its chunks in smaller batches, down to one by one.
        """

    def close(self) -> None:
        """Give everything back. Idempotent, always called."""


class Finisher(Protocol):
    """Turns what was found in the chunks of one recording into its detections: what ``RunnerSpec.finish`` leads to.

    A pure function: it reads no file and no clock, imports no model library, and the same results give the same
    detections. So compiling results again, elsewhere, gives the same table.
    """

    def __call__(self, results: Sequence[ChunkResult], /) -> Iterable[tuple[str, Detection]]:
        """Return the recording's detections, each with the ``chunk_id`` of the chunk in which it begins.

        Parameters
        ----------
        results
            Of one recording, one run's output folder and one fingerprint, by start of the chunk: at least one, as far
            as there are any. Those that failed are among them, with their status; chunks that were never analysed are
            not. `attempts`, `runtime_s` and `error` are not told, since they differ from one run to the next, and of
            `chunk` and `recording` what a result says. `extra` holds what the runner put there.

        Returns
        -------
        iterable
            In any order. `start_ms` lies within the chunk, `end_ms` may lie past its end. A chunk that failed has none.
        """


@frozen
class Readiness:
    """Whether something can be used here, for ``badc doctor``.

    Parameters
    ----------
    ready
        Whether it can.
    detail
        What was found, or what is missing.
    fix
        The command that mends it.
    """

    ready: bool
    detail: str = ""
    fix: str = ""


# ----------------------------------------------------------------------------------------------------------- schedulers


@frozen
class ShardState:
    """Where a shard stands, as its scheduler sees it.

    Parameters
    ----------
    state
        ``unknown`` is an answer: the scheduler cannot tell just now.
    detail
        A word for people: the node, the reason.
    error
        The exception that ended it, for ``failed``; the engine raises it.
    """

    state: Literal["waiting", "running", "done", "failed", "cancelled", "unknown"]
    detail: str = ""
    error: BaseException | None = field(default=None, eq=False)


@frozen
class Submission:
    """What `submit` leaves behind: plain data, saved in the run folder as ``submission.json``.

    Parameters
    ----------
    scheduler
        Name of the scheduler.
    shards
        How many shards were handed over.
    details
        Whatever the scheduler needs to find its work again; JSON values only.
    """

    scheduler: str
    shards: int
    details: Mapping[str, Any] = _EMPTY


@frozen
class WorkerReport:
    """Where a worker's time went.

    Parameters
    ----------
    worker
        Its label.
    opening_s, predicting_s, waiting_s
        Wall time spent in opening the runner, in `predict`, and waiting for samples.
    chunks
        How many chunks it settled.
    """

    worker: str
    opening_s: float = 0.0
    predicting_s: float = 0.0
    waiting_s: float = 0.0
    chunks: int = 0


@frozen
class Run:
    """One run as a scheduler sees it; it knows nothing of audio or models.

    Parameters
    ----------
    folder
        The run folder: ``plan.json``, ``chunks.jsonl``, ``shards.jsonl``.
    plan
        The frozen plan.
    devices
        The worker slots that may be used on this machine.
    emit
        Takes events from workers of this process; any thread.
    latest
        The last measurement of a device, by index.
    verify
        Called before every commit; raises :class:`~badc_core.errors.HeldError` when another run took the folder over.
    report
        Takes what a worker of this process says at its end.
    stop
        Set when the run was asked to end: take no further shard.
    """

    folder: Path
    plan: Plan
    devices: tuple[Device, ...]
    emit: Callable[[Event], None] = field(default=lambda event: None, eq=False)
    latest: Callable[[int], Measurement | None] = field(default=lambda index: None, eq=False)
    verify: Callable[[], None] = field(default=lambda: None, eq=False)
    report: Callable[[WorkerReport], None] = field(default=lambda report: None, eq=False)
    stop: threading.Event = field(factory=threading.Event, eq=False)


class Scheduler(Protocol):
    """Places shards on workers."""

    def render(self, run: Run, /) -> Mapping[str, str]:
        """Return the files it would write, name to text: for ``--dry-run`` and for review. A pure function."""

    def submit(self, run: Run, shards: Iterable[Shard], /) -> Submission:
        """Hand the shards over and return soon."""

    def states(self, submission: Submission, /) -> Mapping[int, ShardState]:
        """Say where every shard stands, by shard index: one question for all."""

    def cancel(self, submission: Submission, /) -> None:
        """End everything; shards in hand may be lost, committed results may not."""


class DetachedScheduler(Scheduler, Protocol):
    """A scheduler whose work goes on when this process ends (``SchedulerSpec.detached``).

    Every shard is done by a process: ``badc worker RUN_FOLDER --shard N``. What the scheduler must remember lies in the
    run folder, which ``Submission.details["folder"]`` names, so that any process on any machine that sees it can ask,
    cancel and try again, also when `submit` never came to its end. `submit` may be called again for the same folder:
    it finds what was handed over already, and hands over the rest.
    """

    def shard_size(self, speed: float | None, cpu_workers: int, /) -> ShardSize:
        """Say how large shards should be.

        `speed`: seconds of recording per second and worker, where it is known; `cpu_workers`: asked for, besides GPUs.
        """

    def retry(self, submission: Submission, /, *, everything: bool = False) -> int:
        """Hand over again what failed or got lost, within its budget; `everything`: whatever is not done has ended.

        Returns how many shards.
        """

    def log(self, submission: Submission, shard: int, /) -> Path | None:
        """Return the file with what a shard's worker wrote, where there is one."""


@frozen
class ArrayScript:
    """What each task of an array is to do, for a script that somebody submits by hand: lines of bash, in strict mode.

    ``$index`` is the task's number, from 0; ``"${badc[@]}"`` calls ``badc``.

    Parameters
    ----------
    name, tasks
        Of the job; how many.
    prepare, command, finish
        What comes first, and may ``exit``; the work; what comes after it, where ``$status`` is its exit status. Near
        the time limit `command` is told to end, by SIGTERM, and its status 75 says that the task is to go on later.
    again
        A task that was stopped may go on where it was. Else it would begin anew.
    workdir, folders
        Where relative paths count from after `prepare`; what else the command must see where it runs in a container.
    """

    name: str
    tasks: int
    prepare: tuple[str, ...]
    command: str
    finish: tuple[str, ...]
    again: bool
    workdir: Path
    folders: tuple[Path, ...] = ()


@runtime_checkable
class ScriptWriter(Protocol):
    """What a scheduler can besides, whose work may be submitted by hand: ``badc infer orchestrate --slurm-script``."""

    def script(self, array: ArrayScript, /) -> str:
        """Return a script; a pure function."""


# ------------------------------------------------------------------------------------------------------------ telemetry


@frozen
class SinkContext:
    """What a sink is told when it is opened.

    Parameters
    ----------
    run_id
        Of the run that is starting.
    default_path
        Where the log goes when the user named no place.
    """

    run_id: str
    default_path: Path


class Sink(Protocol):
    """Takes events; called from one thread of the hub, but may be opened and closed from another."""

    def emit(self, event: Event, /) -> None:
        """Take one event; must not block long. An exception mutes the sink and is reported once; the run goes on."""

    def flush(self) -> None:
        """Make what was emitted visible to readers."""

    def close(self) -> None:
        """Flush and give everything back. Idempotent."""


class Sampler(Protocol):
    """Looks at devices from time to time."""

    def devices(self) -> Sequence[Device]:
        """Return the devices this process may use, in the order of their indices."""

    def sample(self) -> Iterable[Measurement]:
        """Look once at every device. Called by one thread of the core."""

    def close(self) -> None:
        """Give everything back. Idempotent."""


# ------------------------------------------------------------------------------------------------------------ exporters


class ExportBatch(Protocol):
    """Some rows of the detections table, in table order."""

    def __arrow_c_stream__(self, requested_schema: object = None, /) -> object:
        """Hand over the rows as Arrow columns, without a copy, to any library that speaks the PyCapsule interface."""

    def rows(self) -> Iterable[Mapping[str, Any]]:
        """Return the rows as dicts: slow, for the simple case."""


class Exporter(Protocol):
    """Writes the detections table in some format."""

    def write(self, batch: ExportBatch, /) -> None:
        """Take the next rows."""

    def checkpoint(self) -> None:
        """Put what was written so far on disk; it may still be discarded."""

    def close(self, summary: Mapping[str, Any] | None, /) -> None:
        """Finish. ``None``: the export was aborted, and nothing half-made may be left behind.

        Idempotent: after a close that finished, a further one changes nothing, ``close(None)`` neither.
        """


# -------------------------------------------------------------------------------------------------------------- readers


@frozen
class SignalInfo:
    """What the header of a file promises, and what is there.

    Parameters
    ----------
    sample_rate_hz, channels
        As recorded.
    frames
        Frames that the header promises; for a header without a length, what the file size allows.
    damage
        What is wrong with the file, in a sentence; ``None`` when nothing is known to be wrong.
    bits_per_sample
        As stored; ``None`` where that has no meaning (lossy compression).
    """

    sample_rate_hz: int
    channels: int
    frames: int
    damage: str | None = None
    bits_per_sample: int | None = None

    @property
    def duration_ms(self) -> int:
        """Length in whole milliseconds, rounded down."""
        return self.frames * 1000 // self.sample_rate_hz


@frozen
class RecordingHints:
    """What a file's own metadata says; everything optional.

    Parameters
    ----------
    started_at
        From GUANO or a vendor's header.
    device
        Serial number or name of the recorder.
    latitude, longitude
        Decimal degrees, WGS 84.
    problems
        Sentences about metadata that is there but cannot be trusted.
    """

    started_at: StartTime | None = None
    device: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    problems: tuple[str, ...] = ()


class SignalFile(Protocol):
    """An open file of samples. One thread at a time."""

    @property
    def info(self) -> SignalInfo:
        """Rate, channels, length, damage."""

    def read(self, start_frame: int, frames: int, /) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return float32 of shape ``(n, channels)`` from `start_frame` on.

        ``n < frames`` where the file ends early or is damaged: what can be read up to there is returned. Does not read
        what lies before `start_frame`.
        """

    def hints(self) -> RecordingHints:
        """Return what the file's own metadata says."""

    def export(self, start_frame: int, frames: int, target: Path, /) -> int:
        """Write a slice as a file of its own, samples unchanged where the format allows; return the frames written."""

    def close(self) -> None:
        """Close the file. Idempotent."""


# -------------------------------------------------------------------------------------------------------------- sources


class Source(Protocol):
    """Recordings that arrive over time.

    It may also have ``pending() -> str``, which says in one sentence what the last look found unfinished, or nothing;
    ``badc watch --once`` shows it.
    """

    def poll(self) -> Sequence[Path]:
        """Return the recordings that were finished since the last call; never one twice, never an unfinished one."""

    def close(self) -> None:
        """Give everything back. Idempotent."""

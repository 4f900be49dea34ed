"""What the core and its plugins say to each other: protocols that import strings of specs lead to, and their values.

What it says to schedulers is in :mod:`badc_core.scheduling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from badc_core.model import ChunkResult, Detection, Device, Event, Measurement, Prediction, Signal, StartTime

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ExportBatch",
    "Exporter",
    "Finisher",
    "InputSpec",
    "Readiness",
    "RecordingHints",
    "Runner",
    "RunnerIdentity",
    "RunnerInfo",
    "Sampler",
    "SignalFile",
    "SignalInfo",
    "Sink",
    "SinkContext",
    "Source",
    "WorkerContext",
]


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

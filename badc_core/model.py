"""The values that travel from stage to stage: frozen, with units in their names.

Times outside are integer milliseconds. Positions in samples are integer frames, computed once, by rounding,
in :mod:`badc_core.signals`. Instants are aware UTC; a local time without a zone is a type of its own, and
nothing here turns one into the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs import field, frozen

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Chunk",
    "ChunkResult",
    "Detection",
    "Device",
    "Event",
    "Instant",
    "LocalTime",
    "Measurement",
    "Prediction",
    "Recording",
    "Signal",
    "StartTime",
    "Status",
]

_EMPTY: Mapping[str, Any] = {}

Status = str
"""``ok``, ``no_detections``, ``no_output``, ``stub`` or ``failed``; a runner may use words of its own."""


@frozen(order=True)
class Instant:
    """A point in time that everyone agrees on.

    Parameters
    ----------
    utc
        Aware datetime; converted to UTC.
    """

    utc: dt.datetime = field()

    def __attrs_post_init__(self) -> None:
        if self.utc.tzinfo is None:
            raise ValueError(f"{self.utc.isoformat()} has no zone: it is a LocalTime, not an Instant")
        object.__setattr__(self, "utc", self.utc.astimezone(dt.UTC))

    def plus_ms(self, milliseconds: int) -> Instant:
        """Return the instant `milliseconds` later."""
        return Instant(self.utc + dt.timedelta(milliseconds=milliseconds))

    def isoformat(self) -> str:
        """Return ISO 8601 with microseconds and offset: ``2026-01-31T08:15:02.123456+00:00``."""
        return self.utc.isoformat(timespec="microseconds")


@frozen(order=True)
class LocalTime:
    """What a recorder's clock showed, zone unknown. Never silently made UTC.

    Parameters
    ----------
    wall
        Naive datetime.
    """

    wall: dt.datetime = field()

    def __attrs_post_init__(self) -> None:
        if self.wall.tzinfo is not None:
            raise ValueError(f"{self.wall.isoformat()} has a zone: it is an Instant, not a LocalTime")

    def plus_ms(self, milliseconds: int) -> LocalTime:
        """Return what the same clock showed `milliseconds` later, had nobody touched it."""
        return LocalTime(self.wall + dt.timedelta(milliseconds=milliseconds))

    def isoformat(self) -> str:
        """Return ISO 8601 with microseconds and **no** offset: ``2026-01-31T08:15:02.123456``."""
        return self.wall.isoformat(timespec="microseconds")


StartTime = Instant | LocalTime


@frozen
class Recording:
    """One recording: what it is called, where and when it was made.

    Parameters
    ----------
    recording_id
        Unique within a manifest; becomes a folder name.
    path
        The file, as given (links are not resolved).
    sample_rate_hz, channels, duration_ms
        As its header promises; ``None`` when never opened.
    started_at
        When the first sample was taken.
    study_area, site, device
        Who and where, from the folders, the name or the header.
    latitude, longitude
        Decimal degrees, WGS 84, north and east positive.
    """

    recording_id: str
    path: Path
    sample_rate_hz: int | None = None
    channels: int | None = None
    duration_ms: int | None = None
    started_at: StartTime | None = None
    study_area: str | None = None
    site: str | None = None
    device: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@frozen
class Chunk:
    """A slice of a file, analysed as one piece: one row of a manifest.

    Parameters
    ----------
    chunk_id
        Unique within its recording; names the result.
    recording_id
        The recording it was cut from; names the result's folder.
    source_path
        The file to read: the recording itself, or a chunk file.
    start_ms, end_ms
        The window **in the recording**; ``None`` when the manifest does not tell.
    overlap_ms
        How much of the window belongs to the chunk before, too.
    offset_ms
        Where in `source_path` the window begins; ``None``: the whole file is the chunk.
    sha256
        Of the chunk file, 64 lower-case hex digits; ``None`` when never computed.
    notes
        Free text.
    """

    chunk_id: str
    recording_id: str
    source_path: Path
    start_ms: int | None = None
    end_ms: int | None = None
    overlap_ms: int | None = None
    offset_ms: int | None = None
    sha256: str | None = None
    notes: str | None = None

    @property
    def duration_ms(self) -> int | None:
        """Length of the window, or ``None`` when the manifest does not tell."""
        if self.start_ms is None or self.end_ms is None:
            return None
        return self.end_ms - self.start_ms


@frozen
class Detection:
    """Something heard, with its place in the chunk.

    Parameters
    ----------
    start_ms, end_ms
        Within the chunk: 0 is the chunk's first sample. ``None`` when the model gives no times.
    label
        What was heard; the code, else the name.
    label_code, label_name
        Short code and readable name, where the model has them.
    confidence
        0 to 1; ``None`` when unknown.
    low_hz, high_hz
        Frequency bounds, where the model gives them.
    extra
        Anything else, JSON values only.
    """

    start_ms: int | None
    end_ms: int | None
    label: str
    label_code: str | None = None
    label_name: str | None = None
    confidence: float | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    extra: Mapping[str, Any] = _EMPTY


@frozen
class Prediction:
    """A runner's answer for one chunk, where a plain list of detections does not say enough.

    Parameters
    ----------
    detections
        What was heard.
    status
        ``None``: ``ok`` with detections, ``no_detections`` without.
    model_version
        Overrides the runner's, where the answer itself names it.
    extra
        Further keys for the result's JSON (``hawkears_output``, …); the fixed keys cannot be overridden.
    runner
        Overrides the runner's name in the result, where the answer itself names who made it.
    output
        The last of what a process wrote while it answered, for telemetry only.
    """

    detections: Sequence[Detection] = ()
    status: Status | None = None
    model_version: str | None = None
    extra: Mapping[str, Any] = _EMPTY
    runner: str | None = None
    output: str = ""


@frozen(eq=False)
class Signal:
    """What a runner gets to hear: one chunk, read and prepared as its :class:`InputSpec` asks.

    Parameters
    ----------
    chunk
        The chunk.
    recording
        The recording it comes from: date and place for models that use them.
    samples
        float32, shape ``(frames,)`` for mono and ``(frames, channels)`` otherwise, within about -1 to 1, **not to be
        written to**. ``None`` for runners that ask for a file or for nothing.
    sample_rate_hz
        Of `samples`; 0 without samples.
    halo_before, halo_after
        Frames of `samples` that lie before and after the chunk. Time 0 of a detection is frame `halo_before`.
    path
        A file that holds exactly the chunk, for runners that ask for a file.
    missing_ms
        How much of the chunk could not be read because the file is damaged or ends early.
    read_to
        The first frame of the file, at its own rate, that was not read for `samples`; ``None``: not known. Where the
        recording ends in `samples`, that is its exact length, which a resampled array does not tell.
    """

    chunk: Chunk
    recording: Recording
    samples: np.ndarray[Any, np.dtype[np.float32]] | None = None
    sample_rate_hz: int = 0
    halo_before: int = 0
    halo_after: int = 0
    path: Path | None = None
    missing_ms: int = 0
    read_to: int | None = None


@frozen
class ChunkResult:
    """What became of one chunk. "Analysed, nothing heard" is a result: survey effort is data.

    Parameters
    ----------
    chunk, recording
        What was analysed.
    status
        See :data:`Status`.
    detections
        What was heard, in order of start.
    runner
        Name of the runner.
    model_version
        Of the model, where known.
    fingerprint
        Digest of runner, model, weights and the options that change results; see :mod:`badc_core.plan`.
    attempts
        How often it was tried, from 1.
    runtime_s
        Wall time of the last attempt; a batch's time is shared out evenly.
    error
        Why it failed, for ``failed``.
    missing_ms
        How much of the chunk could not be read.
    extra
        Further JSON keys, from :class:`Prediction`.
    finisher
        ``PLUGIN:RUNNER``, whose finisher makes final detections of all results of the recording; ``None``: these are.
    """

    chunk: Chunk
    recording: Recording
    status: Status
    detections: Sequence[Detection]
    runner: str
    model_version: str | None = None
    fingerprint: str | None = None
    attempts: int = 1
    runtime_s: float | None = None
    error: str | None = None
    missing_ms: int = 0
    extra: Mapping[str, Any] = _EMPTY
    finisher: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the chunk could not be analysed."""
        return self.status == "failed"


@frozen
class Device:
    """Where a worker computes.

    Parameters
    ----------
    kind
        ``cpu`` or ``gpu``.
    index
        Number among the devices this process may use, from 0; worker labels are made of it.
    name
        As the driver gives it.
    uuid
        The driver's name that does not depend on ordering.
    visible_as
        What to put into ``CUDA_VISIBLE_DEVICES`` so that a child sees just this one.
    memory_total_mib
        ``None`` when the driver does not tell.
    """

    kind: Literal["cpu", "gpu"] = "cpu"
    index: int = 0
    name: str | None = None
    uuid: str | None = None
    visible_as: str | None = None
    memory_total_mib: int | None = None

    @property
    def label(self) -> str:
        """Worker label: ``gpu-0``, ``cpu-0``, …"""
        return f"{self.kind}-{self.index}"


@frozen
class Measurement:
    """One look at one device by a sampler.

    Parameters
    ----------
    device_index
        As :attr:`Device.index`.
    utilization_percent, memory_used_mib, memory_total_mib
        ``None`` where the driver refuses to tell.
    """

    device_index: int
    utilization_percent: int | None = None
    memory_used_mib: int | None = None
    memory_total_mib: int | None = None


@attrs.define
class Event:
    """Something a worker did; telemetry observes events, nothing depends on them.

    Parameters
    ----------
    chunk_id, recording_id
        Which chunk.
    status
        ``start``, ``success`` or ``failure`` (one attempt), see ``docs/reference/formats/telemetry.md``.
    worker
        Label of the worker, :attr:`Device.label`.
    timestamp
        When it was noted, ISO 8601 UTC.
    device
        The worker's device.
    finished_at
        When the attempt ended; ``None`` for ``start``.
    runtime_s
        Of this attempt.
    audio_ms
        Length of the chunk, for rates.
    final
        No further attempt follows: the chunk is settled, and its result committed.
    details
        ``attempt``, ``output``, ``runner``, ``stdout``, ``stderr``, ``returncode``, ``backoff_s``, ``gpu_metrics``.
    """

    chunk_id: str
    recording_id: str
    status: Literal["start", "success", "failure"]
    worker: str
    timestamp: str
    device: Device
    finished_at: str | None = None
    runtime_s: float | None = None
    audio_ms: int = 0
    final: bool = False
    details: Mapping[str, Any] = _EMPTY

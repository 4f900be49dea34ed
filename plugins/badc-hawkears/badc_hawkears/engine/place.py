"""Where a chunk lies in its recording, in samples and in frames. Pure functions of what the worker hands over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_core.grids import sample_at
from badc_core.model import Signal
from badc_core.signals import frames_of, milliseconds_of
from badc_hawkears.engine.grid import Grid, counted_frames, touched_frames

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["Place", "fitted", "place_of"]

_TOLERANCE_MS = 10
"""Context that is shorter than asked for by more than this ends where the recording ends."""

_ROUNDING_SAMPLES = 2


@frozen
class Place:
    """A chunk in its recording.

    Parameters
    ----------
    key
        Which recording: the file that was read, and how long it is as far as this chunk can tell.
    start_ms, end_ms
        The chunk in the file.
    first_sample
        Which sample of the recording is the first of the array; the context before the chunk belongs to the array.
    total_samples
        Length of the recording, where the array reaches its end; ``None``: it goes on beyond all that matters.
    touched
        Frames that the chunk touches, half-open, on the recording's grid.
    counted
        Frames that this chunk answers for, half-open: each frame of a recording is counted by one chunk.
    """

    key: tuple[str, int | None]
    start_ms: int
    end_ms: int
    first_sample: int
    total_samples: int | None
    touched: tuple[int, int]
    counted: tuple[int, int]


def place_of(signal: Signal, grid: Grid, halo: int) -> Place:
    """Find a chunk's place.

    Parameters
    ----------
    signal
        The chunk, its samples at the grid's rate.
    grid
        The main models' grid.
    halo
        The context that was asked for, in ms.

    Returns
    -------
    Place
        A chunk without an offset is a file of its own, hence a recording of its own: it has no context, and its frames
        are counted from its first sample on.

    Notes
    -----
    The reader begins where a sample of the resampled recording falls on one of the original. So the chunk's first
    sample is exactly sample ``round(round(offset_ms * rate / 1000) * 28000 / rate)`` of the whole recording resampled.
    """
    assert signal.samples is not None
    rate = grid.sample_rate_hz
    chunk = signal.chunk
    offset_ms = chunk.offset_ms or 0
    begin = sample_at(offset_ms, signal.recording.sample_rate_hz, rate)
    first = begin - signal.halo_before
    total = None
    if chunk.offset_ms is None or signal.halo_after < frames_of(halo - _TOLERANCE_MS, rate):
        total = _length(signal, first + len(signal.samples), rate)
    end_ms = _end_ms(signal, offset_ms, first, total, rate)
    touched = touched_frames(offset_ms, end_ms)
    begin_ms = offset_ms + (chunk.overlap_ms or 0) if offset_ms else 0  # manifests give the first chunk an overlap, too
    counted = counted_frames(min(begin_ms, end_ms), end_ms)
    if total is not None:
        last = grid.frames(total)
        touched, counted = _until(touched, last), _until(counted, last)
    return Place((str(chunk.source_path), total), offset_ms, end_ms, first, total, touched, counted)


def fitted(samples: FloatArray, place: Place) -> FloatArray:
    """Return a chunk's samples, to the recording's last one where they reach its end: HawkEars' may be a zero more."""
    import numpy as np

    if place.total_samples is None:
        return samples
    samples = samples[: max(0, place.total_samples - place.first_sample)]
    lacking = place.total_samples - place.first_sample - len(samples)
    return np.pad(samples, (0, lacking)) if lacking > 0 else samples


def _length(signal: Signal, total: int, rate: int) -> int:
    """Return how many samples HawkEars has of a recording of which the array reaches to sample `total`.

    librosa rounds ``frames * (28000 / rate)`` up and fills the array with zeros, and floating-point arithmetic makes it
    one more for many whole numbers: 980001 for 35 s at 96 kHz. What networks say of the last window hangs on that one.
    """
    recorded_hz = signal.recording.sample_rate_hz
    if signal.read_to is not None and recorded_hz is not None:
        exact = math.ceil(signal.read_to * (float(rate) / recorded_hz))
        if abs(exact - total) <= _ROUNDING_SAMPLES + 1:
            return exact
    return _whole_ms(total, signal.recording.duration_ms, rate)


def _whole_ms(total: int, duration_ms: int | None, rate: int) -> int:
    """Return the length of a recording of whole milliseconds exactly.

    Chunk and context are rounded to samples each, so their sum can be off by two. HawkEars makes one window more or
    less where a recording of whole seconds is a sample longer or shorter, so for those the sum is put right.
    """
    nearest_ms = milliseconds_of(total, rate)
    exact = nearest_ms * rate // 1000
    if abs(exact - total) <= _ROUNDING_SAMPLES and duration_ms in (None, nearest_ms):
        return exact
    return total


def _end_ms(signal: Signal, offset_ms: int, first: int, total: int | None, rate: int) -> int:
    """Return where the chunk ends: as the manifest says; a file of its own ends where its samples do."""
    told = signal.chunk.duration_ms
    if told is not None and signal.chunk.offset_ms is not None:
        return offset_ms + told
    assert signal.samples is not None
    end = first + len(signal.samples) - signal.halo_after
    end = end if total is None else min(total, first + len(signal.samples))
    return -(-end * 1000 // rate)


def _until(frames: tuple[int, int], last: int) -> tuple[int, int]:
    return min(frames[0], last), min(frames[1], last)

"""Where windows lie: on a grid of the recording, so that it does not matter how that is cut. Pure functions.

All places are in samples of the recording at the network's rate, from its first one on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_core.model import Signal
from badc_core.seams import own_part
from badc_core.signals import frames_of, resampled_frames

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["Place", "cut", "halo_ms", "place_of", "to_ms", "window_starts"]

_ROUNDING = 2
"""Chunk and context are rounded to samples each: so much can the length of a recording seem to differ."""

_SLACK_MS = 10


def halo_ms(window: int, rate: int) -> int:
    """Return how much context a chunk needs on both sides: a window, and a little for rounding."""
    return -(-window * 1000 // rate) + _SLACK_MS


def window_starts(first: int, until: int, total: int, window: int, hop: int, least: int) -> range:
    """Return where the windows of a recording begin, of those that begin in one part of it.

    Parameters
    ----------
    first, until
        The part.
    total
        Length of the recording; or how far it is known, at least a window beyond `until`.
    window, hop
        Length of a window, and from one to the next.
    least
        How much sound a window must have.

    Returns
    -------
    range
        Windows begin at multiples of `hop`. None is made with too little sound, and none that would lie wholly inside
        the one before.
    """
    enough = total + _ROUNDING - least
    anything_new = max(total - _ROUNDING - window + hop - 1, 0)
    last = min(until - 1, total - 1, enough, anything_new)
    return range(max(0, -(-first // hop)) * hop, last + 1, hop)


@frozen
class Place:
    """A chunk in its recording.

    Parameters
    ----------
    zero
        Which sample of the recording is the first of the chunk's array; context belongs to the array.
    first, until
        The part that this chunk answers for.
    total
        How far the array reaches.
    offset_ms
        Time 0 of the chunk.
    length_ms
        Length of the chunk; ``None`` when the manifest does not tell.
    """

    zero: int
    first: int
    until: int
    total: int
    offset_ms: int
    length_ms: int | None


def place_of(signal: Signal, rate: int) -> Place:
    """Find a chunk's place, rounding as the core does."""
    assert signal.samples is not None
    offset_ms = signal.chunk.offset_ms or 0
    zero = _sample_at(offset_ms, signal, rate) - signal.halo_before
    total = zero + len(signal.samples)
    first_ms, until_ms = own_part(signal.chunk)
    return Place(
        zero=zero,
        first=_sample_at(first_ms, signal, rate),
        until=total if until_ms is None else _sample_at(until_ms, signal, rate),
        total=total,
        offset_ms=offset_ms,
        length_ms=signal.chunk.duration_ms,
    )


def _sample_at(milliseconds: int, signal: Signal, rate: int) -> int:
    recorded_hz = signal.recording.sample_rate_hz or rate
    return resampled_frames(frames_of(milliseconds, recorded_hz), recorded_hz, rate)


def to_ms(sample: int, rate: int) -> int:
    """Return a place in whole milliseconds, rounded."""
    return (sample * 1000 + rate // 2) // rate


def cut(samples: FloatArray, start: int, window: FloatArray) -> None:
    """Fill a window with samples from `start` on; what lies outside of them is silence.

    Parameters
    ----------
    samples
        The array.
    start
        Where in it the window begins; may be negative.
    window
        What to fill, all zeros before.
    """
    lead = max(0, -start)
    there = samples[max(0, start) : max(0, start + len(window))]
    window[lead : lead + len(there)] = there

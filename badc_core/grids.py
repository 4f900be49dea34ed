"""Windows on a grid of the recording, so that it does not matter how that is cut. Pure functions.

All places are in samples of the recording at the rate that a runner wants, from its first one on, rounded as
:mod:`badc_core.signals` does. What a window tells of belongs to the chunk in which the window begins.
"""

from __future__ import annotations

from attrs import frozen

from badc_core.model import Signal
from badc_core.seams import own_part
from badc_core.signals import frames_of, resampled_frames

__all__ = ["Part", "grid_starts", "part_of", "sample_at"]

_ROUNDING = 2
"""Chunk and context are rounded to samples each: so much can the length of a recording seem to differ."""


@frozen
class Part:
    """A chunk in its recording.

    Parameters
    ----------
    zero
        Which sample of the recording is the first of the chunk's array; context belongs to the array.
    first, until
        What belongs to this chunk and no other.
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


def part_of(signal: Signal, rate: int) -> Part:
    """Find a chunk's part of its recording.

    Parameters
    ----------
    signal
        The chunk, with samples.
    rate
        Of these samples.
    """
    assert signal.samples is not None
    recorded_hz, offset_ms = signal.recording.sample_rate_hz, signal.chunk.offset_ms or 0
    zero = sample_at(offset_ms, recorded_hz, rate) - signal.halo_before
    total = zero + len(signal.samples)
    first_ms, until_ms = own_part(signal.chunk)
    return Part(
        zero=zero,
        first=sample_at(first_ms, recorded_hz, rate),
        until=total if until_ms is None else sample_at(until_ms, recorded_hz, rate),
        total=total,
        offset_ms=offset_ms,
        length_ms=signal.chunk.duration_ms,
    )


def sample_at(milliseconds: int, recorded_hz: int | None, rate: int) -> int:
    """Return a place in a recording as a sample at another rate.

    Parameters
    ----------
    milliseconds
        The place.
    recorded_hz
        Rate of the recording; ``None``, where that is not known, is exact for rates with whole frames in a millisecond.
    rate
        The other rate.
    """
    recorded_hz = recorded_hz or rate
    return resampled_frames(frames_of(milliseconds, recorded_hz), recorded_hz, rate)


def grid_starts(first: int, until: int, total: int, window: int, hop: int, least: int) -> range:
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
        the one before. Lengths may be off by the two samples that resampling a recording in pieces can cost.
    """
    enough = total + _ROUNDING - least
    anything_new = max(total - _ROUNDING - window + hop - 1, 0)
    last = min(until - 1, total - 1, enough, anything_new)
    return range(max(0, -(-first // hop)) * hop, last + 1, hop)

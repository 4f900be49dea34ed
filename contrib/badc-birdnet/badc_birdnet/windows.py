"""The arithmetic of BirdNET: where its windows lie, and what its outputs mean. Pure functions.

The rules are those of BirdNET-Analyzer and birdnetlib, so that scores can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from badc_core.signals import milliseconds_of

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["SAMPLE_RATE_HZ", "SHORTEST_FRAMES", "WINDOW_FRAMES", "frames_to_ms", "scores", "window_starts"]

SAMPLE_RATE_HZ = 48_000
"""What the model was trained on."""

WINDOW_FRAMES = 3 * SAMPLE_RATE_HZ
"""One window: three seconds."""

SHORTEST_FRAMES = WINDOW_FRAMES // 2
_LARGEST_LOGIT = 15.0


def window_starts(frames: int, overlap_frames: int = 0) -> range:
    """Return the first frame of every window of a chunk.

    Parameters
    ----------
    frames
        Length of the chunk.
    overlap_frames
        How much neighbouring windows share; less than a window.

    Returns
    -------
    range
        Windows start at frame 0 and follow each other. The last may reach beyond the chunk, by half a window at most; a
        rest shorter than half a window is not analysed. With overlap, a window that would lie wholly inside the one
        before is not made.
    """
    step = WINDOW_FRAMES - overlap_frames
    if frames < SHORTEST_FRAMES:
        return range(0)
    count = 1
    if frames > WINDOW_FRAMES:
        count += -(-(frames - WINDOW_FRAMES) // step)  # until the end is reached
        if frames - (count - 1) * step < SHORTEST_FRAMES:
            count -= 1
    return range(0, count * step, step)


def frames_to_ms(frame: int) -> int:
    """Return a position in whole milliseconds, rounded."""
    return milliseconds_of(frame, SAMPLE_RATE_HZ)


def scores(logits: FloatArray, sensitivity: float = 1.0) -> FloatArray:
    """Turn the model's outputs into scores from 0 to 1.

    Parameters
    ----------
    logits
        Of any shape.
    sensitivity
        As BirdNET's users know it. The slope of the curve is ``2 - sensitivity``, within 0.5 to 1.5: a flatter curve
        brings weak sounds nearer to 0.5.
    """
    import numpy as np

    slope = np.float32(min(max(2.0 - sensitivity, 0.5), 1.5))
    return 1.0 / (1.0 + np.exp(-slope * np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)))  # type: ignore[no-any-return]

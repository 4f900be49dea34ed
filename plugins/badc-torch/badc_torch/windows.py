"""Windows as the network takes them: how much context they need, and what is in them. Pure functions.

Where they lie is the business of :mod:`badc_core.grids`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["cut", "halo_ms"]

_SLACK_MS = 10


def halo_ms(window: int, rate: int) -> int:
    """Return how much context a chunk needs on both sides: a window, and a little for rounding."""
    return -(-window * 1000 // rate) + _SLACK_MS


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

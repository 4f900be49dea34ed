"""The scores that a chunk leaves behind: few of the frames matter, and those are kept exactly.

The form, under the key ``hawkears_frames`` of a result::

    {"frame_ms": 250, "first": 240, "count": 120, "floor": 0.41,
     "classes": {"COYE": [[243, [0.51, 0.93, 0.88]], [310, [0.47]]]}}

`first` and `count` say which frames the chunk counts, on the grid that begins with the first sample of the file
that was read: frame `f` covers 250 ms from ``250 * f`` ms on. Each run is its first frame and the scores from there on;
frames that are counted and not in a run scored below `floor`. Classes are named by the code that the models were
trained with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from badc_hawkears.engine.grid import FRAME_MS

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["KEY", "encode", "runs"]

KEY = "hawkears_frames"
_DECIMALS = 5


def runs(on: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    """Yield first and one-past-last index of every run of true values, in order."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.r_[False, on, False]))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def encode(
    scores: FloatArray, first: int, counted: tuple[int, int], codes: Sequence[str], floor: float
) -> Mapping[str, Any]:
    """Return the counted frames that reach the floor, as JSON values.

    Parameters
    ----------
    scores
        Shape ``(frames, classes)``; a score that is no number is below every floor.
    first
        The frame of the recording that the first row is.
    counted
        Which frames of the recording to keep, half-open. Those outside `scores` have no scores, and are counted.
    codes
        Of the classes.
    floor
        Scores below it are left out.
    """
    begin, stop = counted
    part = scores[max(0, begin - first) : max(0, stop - first)]
    high = part >= floor
    base = max(begin, first)
    classes = {
        codes[number]: [
            [base + start, [round(score, _DECIMALS) for score in part[start:end, number].tolist()]]
            for start, end in runs(high[:, number])
        ]
        for number in high.any(axis=0).nonzero()[0].tolist()
    }
    return {"frame_ms": FRAME_MS, "first": begin, "count": max(0, stop - begin), "floor": floor, "classes": classes}

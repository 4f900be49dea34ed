"""From frame scores of a whole recording to labels, as HawkEars 2.3.0 goes there; numpy only.

The order of the steps is HawkEars': classes that are mistaken for others are silenced, rare ones become common ones,
confirmed ones are boosted, some are lowered, what is not wanted or does not occur goes, and runs of high frames become
labels. All sums and powers are taken in float32, as there, so that the same frames give the same labels.
(``hawkears.heuristics.canada``, ``Analyzer._update_frame_map``, ``Predictor.get_frame_labels``.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_hawkears.engine.grid import FRAMES_PER_S
from badc_hawkears.rules import Alike, ClassRules, Settings

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]
    BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

__all__ = ["Frames", "Label", "labels", "least_scores", "runs"]

_MARGIN = 1e-4
"""A score this much below the one that can matter is kept, too: powers of float32 are not exact."""


@frozen
class Label:
    """Something that HawkEars names.

    Parameters
    ----------
    trained_code
        The class.
    start_s, end_s
        On the recording's clock; the end may lie past the recording's by less than a frame, or less than a segment.
    score
        The highest of its frames.
    """

    trained_code: str
    start_s: float
    end_s: float
    score: float


class Frames:
    """The frames that are known of a recording, or of a part of it; all others count as 0.

    Parameters
    ----------
    first, stop
        Which frames of the recording, half-open.
    """

    def __init__(self, first: int, stop: int) -> None:
        self.first, self.stop = first, stop
        self._kept: dict[str, list[tuple[int, FloatArray]]] = {}
        self._rest: dict[str, float] = {}

    def add(self, code: str, kept: Iterable[tuple[int, FloatArray]]) -> None:
        """Take runs of a class, each its first frame and the scores from there on."""
        self._kept.setdefault(code, []).extend(kept)

    def add_rest(self, code: str, score: float) -> None:
        """Take the sum of scores that are not kept."""
        self._rest[code] = self._rest.get(code, 0.0) + score

    def column(self, code: str) -> FloatArray:
        """Return a new array with all scores of a class, shape ``(stop - first,)``."""
        import numpy as np

        column = np.zeros(self.stop - self.first, np.float32)
        for begin, scores in self._kept.get(code, ()):
            column[begin - self.first : begin - self.first + len(scores)] = scores
        return column

    def rest(self, code: str) -> float:
        """Return the sum of the scores that are not kept, as far as it was told."""
        return self._rest.get(code, 0.0)


def labels(frames: Frames, rules: Mapping[str, ClassRules], settings: Settings) -> Iterator[Label]:
    """Yield the labels, class by class, each class in order of start.

    Parameters
    ----------
    frames
        Of the whole recording.
    rules
        Of the classes, by trained code; of a class without rules, frames speak against others and give no labels.
    settings
        What holds for all.
    """
    import numpy as np

    gone: dict[str, list[str]] = {}  # what became of rare classes: target, and all that became it
    for code, rule in rules.items():
        if rule.becomes:
            gone.setdefault(_target(frames, rule, rules, settings), []).append(code)
    moved = {code for sources in gone.values() for code in sources}
    for code, rule in rules.items():
        if not rule.reported or code in moved:
            continue
        column = _silenced(frames, code, rules, settings)
        for source in gone.get(code, ()):
            column = np.maximum(column, _silenced(frames, source, rules, settings))
        if rule.boosted and (column > settings.boost_score).sum() >= settings.boost_frames:
            column[column > settings.boost_above] **= settings.boost_exponent
        if rule.lowered is not None:
            column = column ** (rule.lowered + (1 - column) ** 3.0)
        for start_s, end_s, score in _labels_of(column, frames.first, settings):
            yield Label(code, start_s, end_s, score)


def least_scores(rules: Mapping[str, ClassRules], settings: Settings) -> dict[str, float]:
    """Return from which score on a frame of a class can change any label; classes that cannot are left out."""
    least: dict[str, float] = {}

    def need(code: str, score: float) -> None:
        least[code] = min(score, least.get(code, math.inf))

    for code, rule in rules.items():
        ends_as = [rules[target] for target in rule.becomes] or [rule]
        for end in ends_as:
            if end.reported:
                need(code, _reach(end, settings))
        if code in least:
            for alike in rule.alike:
                need(code, settings.alike_score)
                need(alike.other, settings.alike_score)
    return {code: score - _MARGIN for code, score in least.items()}


def runs(on: BoolArray) -> Iterator[tuple[int, int]]:
    """Yield first and one-past-last index of every run of true values, in order."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.r_[False, on, False]))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _reach(rule: ClassRules, settings: Settings) -> float:
    """Return the score that can become a detection, or count towards one."""
    if not rule.boosted:
        return settings.min_score
    boosted = max(settings.boost_above, float(settings.min_score ** (1 / settings.boost_exponent)))
    return min(settings.min_score, settings.boost_score, boosted)


def _target(frames: Frames, rule: ClassRules, rules: Mapping[str, ClassRules], settings: Settings) -> str:
    """Return what a rare class becomes: of several, the one with the most in all frames of the recording.

    HawkEars adds up what earlier rules left. A class that may be chosen is common, and only rare ones are changed by
    such a rule before, so what counts here is the same.
    """
    if len(rule.becomes) == 1:
        return rule.becomes[0]
    return max(rule.becomes, key=lambda code: frames.rest(code) + float(_silenced(frames, code, rules, settings).sum()))


def _silenced(frames: Frames, code: str, rules: Mapping[str, ClassRules], settings: Settings) -> FloatArray:
    """Return a class' scores, without those that are another class mistaken for it."""
    column = frames.column(code)
    rule = rules.get(code)
    for alike in rule.alike if rule is not None and rule.included else ():
        highest = column.max(initial=0.0)
        if highest >= settings.min_score and highest >= settings.alike_score:
            column[_mistaken(column, frames.column(alike.other), alike, settings.alike_score)] = 0
    return column


def _mistaken(column: FloatArray, other: FloatArray, alike: Alike, high: float) -> BoolArray:
    """Return which frames go."""
    import numpy as np

    ours, theirs = column >= high, other >= high
    nothing, everything = np.zeros(len(ours), np.bool_), np.ones(len(ours), np.bool_)
    if not theirs.any():
        return nothing
    around = _around(theirs, alike.frames)
    if alike.coverage <= 0:
        return ours & (around >= alike.least) if theirs.sum() >= alike.least else nothing
    covered = (ours & (around > 0)).sum()
    if ours.sum() - covered >= alike.independent:
        return nothing
    return everything if covered / ours.sum() >= alike.coverage else nothing


def _around(on: BoolArray, reach: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return for each frame how many are on among it and the `reach` frames on both sides."""
    import numpy as np

    count = np.r_[0, np.cumsum(on)]
    index = np.arange(len(on))
    around: np.ndarray[Any, np.dtype[np.int64]] = (
        count[np.minimum(index + reach + 1, len(on))] - count[np.maximum(index - reach, 0)]
    )
    return around


def _labels_of(column: FloatArray, first: int, settings: Settings) -> Iterator[tuple[float, float, float]]:
    """Yield start and end in s and the score of each label of one class."""
    if settings.segment_s is not None:
        yield from _segments(column, first, settings)
        return
    for start, stop in runs(column >= settings.min_score):
        score = float(column[start:stop].max())
        for start_s, end_s in _split((first + start) / FRAMES_PER_S, (first + stop) / FRAMES_PER_S, settings):
            if settings.min_label_s is None or end_s - start_s >= settings.min_label_s - 1e-9:
                yield start_s, end_s, score


def _segments(column: FloatArray, first: int, settings: Settings) -> Iterator[tuple[float, float, float]]:
    """Yield those segments of the recording's grid in which a frame is high.

    A segment is a whole number of frames, but HawkEars tells its place by the length that was asked for.
    """
    import numpy as np

    length = settings.segment_frames or 1
    high = np.flatnonzero(column >= settings.min_score)
    for number in np.unique((high + first) // length).tolist():
        begin = max(0, number * length - first)
        start_s = float(np.float32(number) * np.float32(settings.segment_s))
        end_s = float(np.float32(start_s) + np.float32(settings.segment_s))
        yield start_s, end_s, float(column[begin : (number + 1) * length - first].max())


def _split(start_s: float, end_s: float, settings: Settings) -> Sequence[tuple[float, float]]:
    """Cut a label that is too long into pieces of the greatest length, or a little more where the last would be short.

    In floating point, operation for operation as HawkEars: whether a piece is too short can depend on the last bit.
    """
    most = settings.max_label_s
    if most is None or end_s - start_s <= most:
        return [(start_s, end_s)]
    length = end_s - start_s
    count = int(length // most)
    rest = length - count * most
    if 0 < rest <= settings.merge_s and count > 0:
        piece = length / count
        return [
            (start_s + number * piece, end_s if number == count - 1 else start_s + (number + 1) * piece)
            for number in range(count)
        ]
    pieces = [(start_s + number * most, start_s + (number + 1) * most) for number in range(count)]
    return [*pieces, (start_s + count * most, end_s)] if rest > 0 else pieces

"""What a chunk leaves behind: the few frames that can matter to the whole recording, and the rules for them.

The form, under the key ``hawkears_frames`` of a result::

    {"frame_ms": 250, "first": 240, "count": 240,
     "settings": {"min_score": 0.7, "merge_s": 0.5, "alike_score": 0.5, "boost_frames": 24, "boost_score": 0.85,
                  "boost_above": 0.35, "boost_exponent": 0.4},
     "classes": {"COYE": {"name": "Common Yellowthroat", "boosted": true, "frames": "243:510000,931235 310:471003"},
                 "FROG-PEEP": {"included": false, "frames": "250:881021"}},
     "rest": {"GCTH": 0.31, "SWTH": 1.92}}

frame_ms, first, count
    Which frames the chunk counts, on the grid that begins with the first sample of the file that was read: frame `f`
    covers 250 ms from ``250 * f`` ms on. Each frame of a recording is counted by one chunk.
floor
    Only with ``-o keep=scores`` or ``-o floor=…``: all frames of all classes from this score on are there.
settings
    :class:`~badc_hawkears.rules.Settings`, the same in all results of a run.
classes
    By the code that the models were trained with: what is done with the class
    (:class:`~badc_hawkears.rules.ClassRules`; `label` and `code` only where they are not the trained code), and its
    frames: runs, each its first frame and the scores from there on, in millionths. Without `floor`, frames that
    cannot change any label are left out, see :func:`~badc_hawkears.meaning.least_scores`. Classes without frames are
    there where a rare class becomes them.
rest
    Sum of the scores of all counted frames that are left out, of classes among which a rare one has to choose what it
    becomes; mostly there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from badc_hawkears.engine.grid import FRAME_MS
from badc_hawkears.meaning import least_scores, runs
from badc_hawkears.rules import ClassRules, Settings, to_json, to_text

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["KEY", "Keeping", "encode"]

KEY = "hawkears_frames"
_DECIMALS = 4


@frozen(eq=False)
class Keeping:
    """What to keep of the frames of a recording.

    Parameters
    ----------
    settings
        What holds for all classes.
    classes
        In the order of the columns.
    floor
        Keep all scores from here on; ``None``: what can matter.
    """

    settings: Settings
    classes: Sequence[ClassRules]
    floor: float | None = None
    rules: Mapping[str, ClassRules] = field(init=False)
    choices: frozenset[str] = field(init=False)
    _least: FloatArray = field(init=False)

    @rules.default
    def _rules(self) -> Mapping[str, ClassRules]:
        return {rule.trained_code: rule for rule in self.classes}

    @choices.default
    def _choices(self) -> frozenset[str]:
        return frozenset(code for rule in self.classes if len(rule.becomes) > 1 for code in rule.becomes)

    @_least.default
    def _least_of_columns(self) -> FloatArray:
        import numpy as np

        needed = least_scores(self.rules, self.settings)
        most = np.inf if self.floor is None else self.floor
        return np.array([min(most, needed.get(rule.trained_code, np.inf)) for rule in self.classes], np.float32)

    def high(self, scores: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which scores to keep, shape ``(frames, classes)``; one that is no number is not kept."""
        return scores >= self._least


def encode(scores: FloatArray, first: int, counted: tuple[int, int], keeping: Keeping) -> dict[str, Any]:
    """Return the counted frames that are kept, as JSON values.

    Parameters
    ----------
    scores
        Shape ``(frames, classes)``.
    first
        The frame of the recording that the first row is.
    counted
        Which frames of the recording to keep, half-open. Those outside `scores` have no scores, and are counted.
    keeping
        What to keep.
    """
    import numpy as np

    begin, stop = counted
    part = scores[max(0, begin - first) : max(0, stop - first)]
    base = max(begin, first)
    high = keeping.high(part)
    classes: dict[str, Any] = {}
    for number in np.flatnonzero(high.any(axis=0)).tolist():
        rule, column = keeping.classes[number], part[:, number]
        kept = [(base + start, column[start:end].tolist()) for start, end in runs(high[:, number])]
        classes[rule.trained_code] = {**to_json(rule), "frames": to_text(kept)}
    for code in [code for present in classes for code in keeping.rules[present].becomes if code not in classes]:
        classes[code] = to_json(keeping.rules[code])
    entry: dict[str, Any] = {"frame_ms": FRAME_MS, "first": begin, "count": max(0, stop - begin)}
    if keeping.floor is not None:
        entry["floor"] = keeping.floor
    entry |= {"settings": to_json(keeping.settings), "classes": classes}
    rest = _rest(part, high, keeping)
    return {**entry, "rest": rest} if rest else entry


def _rest(part: FloatArray, high: np.ndarray[Any, np.dtype[np.bool_]], keeping: Keeping) -> dict[str, float]:
    import numpy as np

    return {
        rule.trained_code: round(float(np.nansum(part[:, number], where=~high[:, number])), _DECIMALS)
        for number, rule in enumerate(keeping.classes)
        if rule.trained_code in keeping.choices
    }

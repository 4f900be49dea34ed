"""From scores to detections: what reaches the threshold, where, and what of it the chunk's end cuts off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_core.grids import Part
from badc_core.model import Detection
from badc_core.seams import CONTINUES, RUNS_ON_MS
from badc_core.signals import milliseconds_of
from badc_torch.card import Card
from badc_torch.labels import Label

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]
    IntArray = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["Spans", "detections", "frame_spans", "window_spans"]

_DECIMALS = 5


@frozen(eq=False)
class Spans:
    """Stretches of a recording with a score for every label, in order of their beginning.

    Parameters
    ----------
    begins, ends
        In samples of the recording.
    scores
        Shape ``(spans, labels)``.
    """

    begins: IntArray
    ends: IntArray
    scores: FloatArray


def window_spans(starts: Sequence[int], answers: Sequence[FloatArray], card: Card) -> Spans:
    """Return windows as they are; `answers` are of shape ``(labels,)``."""
    import numpy as np

    begins = np.asarray(starts, np.int64)
    scores = np.stack(answers) if answers else np.zeros((0, len(card.labels)), np.float32)
    return Spans(begins, begins + card.window, scores)


def frame_spans(starts: Sequence[int], answers: Sequence[FloatArray], card: Card, place: Part) -> Spans:
    """Lay the frames of windows on the recording, and keep those that begin in the chunk's own part.

    Parameters
    ----------
    starts
        Of all windows that reach into that part.
    answers
        Of shape ``(frames, labels)``.
    card
        Of the network.
    place
        Where the chunk lies.

    Returns
    -------
    Spans
        Where windows overlap, a frame's score is their mean. Where they only follow each other, the last frame of each
        reaches to the next window.
    """
    import numpy as np

    hop = card.frame_hop
    assert hop is not None
    if not answers:
        return window_spans((), (), card)
    offsets = np.arange(len(answers[0]), dtype=np.int64) * hop
    begins = (np.asarray(starts, np.int64)[:, None] + offsets).ravel()
    ends = begins + hop
    if card.hop == card.window:
        ends[len(offsets) - 1 :: len(offsets)] = np.asarray(starts) + card.window
    places, first, which, count = np.unique(begins, return_index=True, return_inverse=True, return_counts=True)
    scores = np.concatenate(answers)[first]
    if len(places) < len(begins):
        sums = np.zeros(scores.shape, np.float64)
        np.add.at(sums, which, np.concatenate(answers))
        scores = (sums / count[:, None]).astype(np.float32)
    own = (places >= place.first) & (places < min(place.until, place.total))
    return Spans(places[own], ends[first][own], scores[own])


def detections(spans: Spans, labels: Sequence[Label], min_score: float, card: Card, place: Part) -> list[Detection]:
    """Return what reaches the threshold.

    Parameters
    ----------
    spans
        The chunk's own.
    labels
        One for each score; those that are ignored are dropped.
    min_score
        The threshold.
    card
        Of the network.
    place
        Where the chunk lies.
    """
    joined = card.join or card.frames is not None
    ignored = set(card.ignore)
    high = spans.scores >= min_score
    found: list[Detection] = []
    for number in high.any(axis=0).nonzero()[0].tolist():
        if labels[number].text in ignored:
            continue
        hits = high[:, number].nonzero()[0]
        pieces = zip(
            spans.begins[hits].tolist(), spans.ends[hits].tolist(), spans.scores[hits, number].tolist(), strict=True
        )
        for begin, end, score in _joined(pieces) if joined else pieces:
            found.append(_detection(labels[number], begin, min(end, place.total), score, joined, card, place))
    return sorted(found, key=lambda one: (one.start_ms or 0, -(one.confidence or 0.0), one.label))


def _joined(pieces: Iterator[tuple[int, int, float]]) -> Iterator[tuple[int, int, float]]:
    """Join what touches or overlaps; the rule of :func:`badc_core.seams.join`, within a chunk."""
    begin, end, score = next(pieces)
    for other in pieces:
        if other[0] <= end:
            end, score = max(end, other[1]), max(score, other[2])
        else:
            yield begin, end, score
            begin, end, score = other
    yield begin, end, score


def _detection(label: Label, begin: int, end: int, score: float, joined: bool, card: Card, place: Part) -> Detection:
    rate = card.sample_rate_hz
    start_ms = max(milliseconds_of(begin, rate) - place.offset_ms, 0)
    end_ms = milliseconds_of(end, rate) - place.offset_ms
    extra: dict[str, Any] = {}
    if place.length_ms is not None:
        if joined and end >= place.until:
            extra[CONTINUES] = True
        if end_ms > place.length_ms:
            extra[RUNS_ON_MS] = end_ms - place.length_ms
            end_ms = place.length_ms
    return Detection(
        start_ms, end_ms, label.text, label.code, label.name, confidence=round(score, _DECIMALS), extra=extra
    )

"""Windows lie on the recording's grid: however it is cut, each is made once; frames likewise."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from badc_core.grids import Part
from badc_core.seams import CONTINUES, RUNS_ON_MS
from badc_torch.card import Card, Frames
from badc_torch.findings import detections, frame_spans, window_spans
from badc_torch.labels import Label
from badc_torch.windows import cut, halo_ms

RATE_HZ = 1000  # samples are milliseconds
CARD = Card("m", "1", RATE_HZ, 3.0, (Label("a"), Label("b")), "logits")


def test_a_window_reaches_over_the_ends_of_what_is_there():
    samples = np.arange(1, 6, dtype=np.float32)
    for start, expected in ((-2, [0, 0, 1, 2]), (1, [2, 3, 4, 5]), (3, [4, 5, 0, 0]), (7, [0] * 4), (-9, [0] * 4)):
        window = np.zeros(4, np.float32)
        cut(samples, start, window)
        assert window.tolist() == expected


def test_the_halo_is_a_window_and_a_little():
    assert halo_ms(16_000, 16_000) == 1010
    assert halo_ms(65_536, 22_050) == 2973 + 10


CHUNK = Part(zero=7000, first=10_000, until=20_000, total=23_000, offset_ms=10_000, length_ms=10_000)


def _found(card: Card, *, starts: list[int], heard: list[float], place: Part = CHUNK):
    answers = [np.array([score, 0], np.float32) for score in heard]
    return detections(window_spans(starts, answers, card), card.labels, 0.5, card, place)


def test_what_runs_on_is_marked():
    first, last = _found(CARD, starts=[12_000, 15_000, 18_000], heard=[0.9, 0.1, 0.8])
    assert (first.start_ms, first.end_ms, first.confidence, first.extra) == (2000, 5000, 0.9, {})
    assert (last.start_ms, last.end_ms, last.extra) == (8000, 10_000, {RUNS_ON_MS: 1000})


def test_joined_windows_are_cut_open_at_the_end():
    card = attrs.evolve(CARD, join=True, hop_s=1.0)
    starts = [10_000, 11_000, 12_000, 13_000, 14_000, 18_000, 19_000]
    one, two = _found(card, starts=starts, heard=[0.9, 0.1, 0.1, 0.6, 0.1, 0.5, 0.7])
    assert (one.start_ms, one.end_ms, one.confidence, one.extra) == (0, 6000, 0.9, {})
    assert (two.start_ms, two.end_ms, two.confidence) == (8000, 10_000, 0.7)
    assert two.extra == {CONTINUES: True, RUNS_ON_MS: 2000}


def test_a_recording_that_ends_ends_what_is_heard():
    ended = attrs.evolve(CHUNK, total=19_400, length_ms=9400, until=19_400)
    (found,) = _found(CARD, starts=[18_000], heard=[0.7], place=ended)
    assert (found.start_ms, found.end_ms, found.extra) == (8000, 9400, {})


def test_frames_of_overlapping_windows_are_averaged():
    card = attrs.evolve(CARD, window_s=2.0, hop_s=1.0, frames=Frames(0.5))
    answers = [np.full((4, 2), value, np.float32) for value in (0.2, 0.6, 0.4)]
    spans = frame_spans([9000, 10_000, 11_000], answers, card, attrs.evolve(CHUNK, until=12_500))
    assert spans.begins.tolist() == [10_000, 10_500, 11_000, 11_500, 12_000]
    assert spans.ends.tolist() == [10_500, 11_000, 11_500, 12_000, 12_500]
    assert spans.scores[:, 0].tolist() == pytest.approx([0.4, 0.4, 0.5, 0.5, 0.4])


def test_the_last_frame_reaches_to_the_next_window():
    """Three frames of 0.6 s in a window of 2 s."""
    card = attrs.evolve(CARD, window_s=2.0, frames=Frames(0.6))
    spans = frame_spans([10_000, 12_000], [np.ones((3, 2), np.float32)] * 2, card, CHUNK)
    assert spans.begins.tolist() == [10_000, 10_600, 11_200, 12_000, 12_600, 13_200]
    assert spans.ends.tolist() == [10_600, 11_200, 12_000, 12_600, 13_200, 14_000]


def test_no_windows_no_detections():
    for card in (CARD, attrs.evolve(CARD, frames=Frames(0.5)), attrs.evolve(CARD, join=True)):
        spans = window_spans([], [], card) if card.frames is None else frame_spans([], [], card, CHUNK)
        assert detections(spans, card.labels, 0.0, card, CHUNK) == []

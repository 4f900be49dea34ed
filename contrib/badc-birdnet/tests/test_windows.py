"""The arithmetic: where windows lie and what outputs mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_birdnet.windows import SAMPLE_RATE_HZ, WINDOW_FRAMES, frames_to_ms, scores, window_starts

HALF = WINDOW_FRAMES // 2


@pytest.mark.parametrize(
    ("seconds", "overlap_s", "starts_s"),
    [
        (0, 0, []),
        (1.49, 0, []),
        (1.5, 0, [0]),
        (3, 0, [0]),
        (4.49, 0, [0]),
        (4.5, 0, [0, 3]),
        (5.9, 0, [0, 3]),
        (60, 0, list(range(0, 60, 3))),
        (6, 1.5, [0, 1.5, 3]),  # and not 4.5, which lies inside 3 to 6
        (7, 1, [0, 2, 4]),
        (5.4, 1, [0, 2]),
        (9, 2.5, [0.5 * k for k in range(13)]),
    ],
)
def test_windows_lie_where_birdnet_puts_them(seconds, overlap_s, starts_s):
    """Same grid as BirdNET-Analyzer, but for windows inside another."""
    starts = window_starts(round(seconds * SAMPLE_RATE_HZ), round(overlap_s * SAMPLE_RATE_HZ))
    assert [start / SAMPLE_RATE_HZ for start in starts] == starts_s


@given(frames=st.integers(0, 40 * SAMPLE_RATE_HZ), overlap=st.integers(0, WINDOW_FRAMES - 4800))
def test_windows_leave_out_less_than_half_a_window(frames, overlap):
    """Whatever the length: all but a rest below 1.5 s is heard, and no window is mostly padding."""
    starts = window_starts(frames, overlap)
    heard = min(starts[-1] + WINDOW_FRAMES, frames) if starts else 0
    assert frames - heard < HALF
    assert all(frames - start >= HALF for start in starts)
    assert all(start + WINDOW_FRAMES < frames for start in starts[:-1])  # each but the last leaves something to hear


def test_frames_become_milliseconds_by_rounding():
    """The end of the yellowthroat's 5.9 s falls between two milliseconds."""
    assert [frames_to_ms(frame) for frame in (0, 24, 23, 283_370, WINDOW_FRAMES)] == [0, 1, 0, 5904, 3000]


def test_scores_are_a_clipped_sigmoid():
    """A sensitivity of 1 is the plain sigmoid; above 1 the curve is flatter, as in BirdNET."""
    logits = np.array([-100, -1, 0, 1, 100], dtype=np.float32)
    plain = scores(logits)
    assert plain.dtype == np.float32
    assert plain == pytest.approx([3.059e-7, 0.268941, 0.5, 0.731059, 0.9999997], rel=1e-4)
    assert scores(logits, 1.25)[1] == pytest.approx(1 / (1 + np.exp(0.75)))
    assert scores(logits, 0.5)[3] == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert (scores(logits, 1.5)[:2] > plain[:2]).all()

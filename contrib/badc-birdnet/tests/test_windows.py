"""The arithmetic: where windows lie and what outputs mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from badc_birdnet.windows import SAMPLE_RATE_HZ, SHORTEST_FRAMES, WINDOW_FRAMES, frames_to_ms, scores, window_starts
from badc_core.grids import grid_starts

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


@given(
    frames=st.integers(0, 40 * SAMPLE_RATE_HZ).flatmap(lambda n: st.sampled_from([n, n // HALF * HALF])),
    overlap=st.sampled_from([0, 48_000, HALF, 100_000]),
    cuts=st.lists(st.integers(1, 40 * SAMPLE_RATE_HZ), max_size=8),
    rounding=st.integers(-1, 1),
)
def test_parts_have_the_windows_of_the_whole(frames, overlap, cuts, rounding):
    """However a recording is cut, each window begins in one part, though its length may seem a frame off."""
    step = WINDOW_FRAMES - overlap
    off = [(frames - length + step // 2) % step - step // 2 for length in (HALF, WINDOW_FRAMES)]
    assume(not any(0 < abs(distance) <= 3 for distance in off))  # nobody can tell; those of exactly 0 are common
    seams = sorted({0, frames, *(cut for cut in cuts if cut < frames)})
    known = [min(frames + rounding, seam + WINDOW_FRAMES) if seam < frames else frames + rounding for seam in seams]
    found = [
        start
        for begin, until, total in zip(seams[:-1], seams[1:], known[1:], strict=True)
        for start in grid_starts(begin, until, total, WINDOW_FRAMES, step, SHORTEST_FRAMES)
    ]
    assert found == list(window_starts(frames, overlap))


@pytest.mark.parametrize("rounding", [-1, 0, 1])
@pytest.mark.parametrize(
    ("seconds", "overlap_s"), [(31.5, 0), (30, 0), (30, 1.5), (6, 1.5), (1.5, 0), (3, 0), (4.5, 0)]
)
def test_round_lengths_do_not_hang_on_a_frame(seconds, overlap_s, rounding):
    """Resampled in pieces, a recording may seem a frame longer or shorter."""
    frames, overlap = round(seconds * SAMPLE_RATE_HZ), round(overlap_s * SAMPLE_RATE_HZ)
    found = grid_starts(0, frames, frames + rounding, WINDOW_FRAMES, WINDOW_FRAMES - overlap, SHORTEST_FRAMES)
    assert list(found) == list(window_starts(frames, overlap))

"""Windows lie on the recording's grid: however that is cut, each is made once."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.grids import Part, grid_starts, part_of, sample_at
from badc_core.model import Chunk, Recording, Signal
from badc_core.signals import milliseconds_of


@pytest.mark.parametrize(
    ("total", "hop", "least", "starts"),
    [
        (9000, 3000, 1500, [0, 3000, 6000]),
        (10_400, 3000, 1500, [0, 3000, 6000]),
        (10_600, 3000, 1500, [0, 3000, 6000, 9000]),
        (9000, 1000, 1500, [0, 1000, 2000, 3000, 4000, 5000, 6000]),
        (9500, 1000, 1500, [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000]),
        (9500, 1000, 3000, [0, 1000, 2000, 3000, 4000, 5000, 6000]),
        (2000, 3000, 1500, [0]),
        (1400, 3000, 1500, []),
        (1, 3000, 1, [0]),
        (0, 3000, 1, []),
    ],
)
def test_windows_of_a_whole_recording(total, hop, least, starts):
    assert list(grid_starts(0, total, total, 3000, hop, least)) == starts


@given(st.data())
def test_each_window_is_made_by_the_chunk_in_which_it_begins(data):
    window = data.draw(st.integers(1, 50))
    hop = data.draw(st.integers(1, window))
    least = data.draw(st.integers(1, window))
    total = data.draw(st.integers(0, 300))
    seams = sorted({0, total, *data.draw(st.lists(st.integers(0, total), max_size=8))})
    whole = list(grid_starts(0, total, total, window, hop, least))
    known = 10  # context is a little longer than a window
    parts = [
        start
        for first, until in itertools.pairwise(seams)
        for start in grid_starts(first, until, min(total, until + window + known), window, hop, least)
    ]
    assert parts == whole
    assert all(start % hop == 0 and start < total for start in whole)


@given(st.integers(8000, 192_000), st.integers(0, 10**8), st.integers(0, 4000))
def test_a_chunk_and_the_next_meet(rate, offset_ms, overlap_ms):
    """Where one's own part ends the next one's begins, at any rate."""
    recording = Recording("r", Path("r.wav"), rate)

    def place(first_ms: int, last_ms: int, overlap: int) -> Part:
        chunk = Chunk("c", "r", Path("r.wav"), first_ms, last_ms, overlap, first_ms)
        return part_of(Signal(chunk, recording, np.zeros(0, np.float32), 16_000), 16_000)

    one = place(offset_ms, offset_ms + 5000, 0)
    other = place(offset_ms + 5000 - overlap_ms, offset_ms + 12_000, overlap_ms)
    assert one.until == other.first
    assert milliseconds_of(one.until, 16_000) in range(offset_ms + 4999, offset_ms + 5002)


# ---------------------------------------------------------------------------------------------------------- detections


@given(st.integers(0, 10**8), st.integers(8000, 192_000))
def test_an_unknown_rate_is_the_other_one(milliseconds, rate):
    assert sample_at(milliseconds, None, rate) == sample_at(milliseconds, rate, rate)

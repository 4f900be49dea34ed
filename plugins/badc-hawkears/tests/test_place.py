"""Where a chunk lies, and what of its scores is kept: arithmetic, without HawkEars."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.model import Chunk, Recording, Signal
from badc_core.signals import frames_of, resampled_frames
from badc_hawkears.engine.frames import Keeping, encode
from badc_hawkears.engine.grid import Grid
from badc_hawkears.engine.place import fitted, place_of
from badc_hawkears.meaning import runs
from badc_hawkears.rules import ClassRules, Settings, to_runs

GRID = Grid(28_000, window=12, columns_per_frame=32, windows_per_block=3, hop_samples=218, fft_samples=3248)
HALO_MS = 12_250
PATH = Path("recording.wav")

rates = st.sampled_from([8_000, 11_025, 22_050, 28_000, 32_000, 44_100, 48_000, 96_000, 192_000])


def signal(rate: int, total: int, start_ms: int, end_ms: int, *, overlap_ms: int = 0) -> Signal:
    """What the worker hands over for a chunk of a recording of `total` frames."""
    first = frames_of(start_ms, rate)
    frames = min(frames_of(end_ms - start_ms, rate), total - first)
    halo = frames_of(HALO_MS, rate)
    before, after = min(halo, first), min(halo, total - first - frames)
    frames_read = frames
    before, frames, after = (resampled_frames(count, rate, 28_000) for count in (before, frames, after))
    samples = np.zeros(before + frames + after, np.float32)
    chunk = Chunk("chunk", "recording", PATH, start_ms, end_ms, overlap_ms, start_ms)
    recording = Recording("recording", PATH, sample_rate_hz=rate)
    return Signal(chunk, recording, samples, 28_000, before, after, read_to=min(total, first + frames_read + halo))


@given(rates, st.integers(1_000, 90_000), st.integers(0, 47), st.data())
def test_chunks_count_every_frame_once(rate: int, length_ms: int, rest: int, data: st.DataObject) -> None:
    """Whatever the rate and the cuts; only the chunks near the end know where the end is."""
    total = frames_of(length_ms, rate) + min(rest, rate // 1000 - 1)
    length_ms = total * 1000 // rate
    cuts = sorted(data.draw(st.sets(st.integers(1, length_ms - 1), max_size=6)))
    counted = []
    for start, end in zip([0, *cuts], [*cuts, length_ms], strict=True):
        place = place_of(signal(rate, total, start, end), GRID, HALO_MS)
        counted += range(*place.counted)
        assert place.touched[0] <= place.counted[0]
        assert place.counted[1] <= place.touched[1]
        if place.total_samples is None:
            assert length_ms - end > HALO_MS - 50
        else:
            assert abs(place.total_samples - total * 28_000 / rate) < 3
    frames = round(4 * total / rate)
    assert counted in ([*range(frames)], [*range(len(counted))])
    assert abs(len(counted) - frames) <= (1 if abs((4 * total / rate) % 1 - 0.5) < 0.001 else 0)


@given(rates, st.integers(1, 40_000), st.integers(1, 40_000))
def test_the_first_sample_is_that_of_the_whole_recording(rate: int, start_ms: int, length_ms: int) -> None:
    """Within half a sample of where the recording, resampled as a whole, has it."""
    total = frames_of(start_ms + length_ms, rate)
    one = signal(rate, total, start_ms, start_ms + length_ms)
    place = place_of(one, GRID, HALO_MS)
    begin = place.first_sample + one.halo_before
    assert abs(begin - frames_of(start_ms, rate) * 28_000 / rate) <= 0.5


def librosa_length(frames: int, rate: int) -> int:
    """Return how long librosa makes a recording that it resamples."""
    return math.ceil(frames * (float(28_000) / rate))


@given(rates, st.integers(1, 60), st.sampled_from([0, 0, 1, 17]), st.data())
def test_a_recording_is_as_long_as_hawkears_makes_it(rate: int, seconds: int, more: int, data: st.DataObject) -> None:
    """Wherever a chunk is cut, it knows the length to the sample: HawkEars' last windows hang on it."""
    total = seconds * rate + more
    cut = data.draw(st.integers(max(1, seconds * 1000 - 12_000), seconds * 1000 - 1))
    for start, end in ((0, cut), (cut, seconds * 1000)):
        one = signal(rate, total, start, end)
        place = place_of(one, GRID, HALO_MS)
        assert place.total_samples == librosa_length(total, rate)
        assert one.samples is not None
        assert place.first_sample + len(fitted(one.samples, place)) == place.total_samples


def test_lengths_that_floating_point_makes_longer() -> None:
    """35 s at 96 kHz are 980000 samples; librosa rounds up, and makes it 980001."""
    place = place_of(signal(96_000, 35 * 96_000, 0, 35_000), GRID, HALO_MS)
    assert place.total_samples == 980_001
    assert (place.end_ms, place.counted) == (35_000, (0, 140))


@given(rates, st.integers(1, 60), st.data())
def test_whole_seconds_are_whole_seconds(rate: int, seconds: int, data: st.DataObject) -> None:
    """Where nobody says how much was read, as far as samples tell."""
    cut = data.draw(st.integers(max(1, seconds * 1000 - 12_000), seconds * 1000 - 1))
    for start, end in ((0, cut), (cut, seconds * 1000)):
        one = attrs.evolve(signal(rate, seconds * rate, start, end), read_to=None)
        assert place_of(one, GRID, HALO_MS).total_samples == seconds * 28_000


def test_an_overlap_belongs_to_the_chunk_before() -> None:
    """Heard by both, counted by one; but the first chunk has none before it."""
    later = place_of(signal(48_000, 480_000, 3_000, 8_000, overlap_ms=1_000), GRID, HALO_MS)
    assert (later.touched, later.counted) == ((12, 32), (16, 32))
    first = place_of(signal(48_000, 480_000, 0, 8_000, overlap_ms=1_000), GRID, HALO_MS)
    assert first.counted == (0, 32)


def test_a_file_of_its_own_begins_at_frame_0() -> None:
    """A chunk file has no offset: wherever it was cut from, it is a recording by itself."""
    chunk = Chunk("chunk", "recording", PATH, start_ms=60_000, end_ms=63_100)
    one = Signal(chunk, Recording("recording", PATH), np.zeros(86_800, np.float32), 28_000)
    place = place_of(one, GRID, HALO_MS)
    assert (place.first_sample, place.total_samples, place.start_ms, place.end_ms) == (0, 86_800, 0, 3_100)
    assert place.counted == (0, 12)


@given(st.lists(st.booleans(), max_size=30))
def test_runs(flags: list[bool]) -> None:
    """Each run is as long as it can be, and all true values lie in one."""
    found = list(runs(np.array(flags, bool)))
    assert [index for first, stop in found for index in range(first, stop)] == [i for i, on in enumerate(flags) if on]
    assert all(stop < first for (_, stop), (first, _) in itertools.pairwise(found))


@given(st.data())
def test_what_is_kept_is_what_was_counted(data: st.DataObject) -> None:
    """Scores that reach the floor, of counted frames, rounded; everything else is left out, NaN too."""
    count = data.draw(st.integers(0, 20))
    values = st.floats(0, 1, width=32) | st.just(float("nan"))
    scores = np.array([[data.draw(values) for _ in range(2)] for _ in range(count)], np.float32).reshape(count, 2)
    begin = data.draw(st.integers(0, count))
    stop = data.draw(st.integers(begin, count))
    keeping = Keeping(Settings(min_score=0.7), [ClassRules(code, code, code, code) for code in "AB"], 0.5)
    told = encode(scores, 100, (100 + begin, 100 + stop), keeping)
    assert (told["first"], told["count"], told["frame_ms"], told["floor"]) == (100 + begin, stop - begin, 250, 0.5)
    kept = {
        (code, frame): score
        for code, found in told["classes"].items()
        for first, values in to_runs(found["frames"])
        for frame, score in enumerate(values.tolist(), first)
    }
    expected = {
        (code, 100 + row): pytest.approx(float(scores[row, column]), abs=1e-6)
        for column, code in enumerate("AB")
        for row in range(begin, stop)
        if scores[row, column] >= 0.5
    }
    assert kept == expected

"""The grids, against HawkEars' rules spelled out in seconds for a whole recording."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_hawkears.arguments import ENSEMBLES
from badc_hawkears.engine.grid import Grid, Member, counted_frames, halo_ms, members, touched_frames

MAIN = Grid(28_000, window=12, columns_per_frame=32, windows_per_block=3, hop_samples=218, fft_samples=3248)
LOW = Grid(1_280, window=16, columns_per_frame=24, windows_per_block=3, hop_samples=13, fft_samples=384)

grids = st.sampled_from([MAIN, LOW])
ensembles = st.sampled_from(ENSEMBLES)


def whole_recording(grid: Grid, member: Member, total: int) -> list[tuple[float, int, int]]:
    """What HawkEars makes of a whole recording, in its own words: start in seconds, first and last column."""
    duration = total / grid.sample_rate_hz
    length, offset = grid.window / 4, member.offset / 4
    starts = [offset]
    if duration - offset > length:
        while starts[-1] + length <= duration - 1.0:
            starts.append(starts[-1] + length)
    if member.leads:
        starts.insert(0, offset - length)
    per_second = grid.columns_per_frame * 4
    made = []
    for start in starts:
        first, stop = max(0, int(start * per_second)), min(int((start + length) * per_second), grid.columns(total))
        if stop - first < per_second:
            break
        made.append((start, first, stop))
    return made


@given(grids, ensembles, st.floats(0.05, 60.0), st.data())
def test_windows_of_a_stretch_are_those_of_the_whole(
    grid: Grid, size: int, seconds: float, data: st.DataObject
) -> None:
    """Whatever the stretch: the windows that touch it, no other, at the same place with the same columns."""
    total = max(1, int(seconds * grid.sample_rate_hz))
    last = grid.frames(total)
    first = data.draw(st.integers(0, last))
    stop = data.draw(st.integers(first, last))
    for member in members(size):
        made = whole_recording(grid, member, total)
        found = grid.windows(member, first, stop, total)
        if not made:
            assert found is None
            continue
        assert found is not None
        expected = [one for one in made if one[0] * 4 < stop and one[0] * 4 + grid.window > first]
        spans = [grid.span(place, total) for place in found]
        assert [(place / 4, span.start, span.stop) for place, span in zip(found, spans, strict=True)] == expected


@given(grids, ensembles, st.integers(0, 400), st.integers(1, 200))
def test_a_recording_that_goes_on_has_the_same_windows(grid: Grid, size: int, first: int, length: int) -> None:
    """Not knowing where the recording ends changes nothing, where it ends beyond the halo."""
    stop = first + length
    total = (stop * 250 + halo_ms((grid, False))) * grid.sample_rate_hz // 1000
    for member in members(size):
        known, unknown = (grid.windows(member, first, stop, end) for end in (total, None))
        assert known == unknown
        for place in known or ():
            assert grid.span(place, total) == grid.span(place, None)


@given(grids, ensembles, st.integers(0, 200_000), st.integers(1, 60_000))
def test_the_halo_holds_every_block_that_is_needed(grid: Grid, size: int, start_ms: int, length_ms: int) -> None:
    """All blocks of all windows that touch a chunk lie in the chunk and its halo, or before the recording."""
    first, stop = touched_frames(start_ms, start_ms + length_ms)
    inside = size == 1
    reach = halo_ms((grid, inside))
    for member in members(size):
        for place in grid.windows(member, first, stop, None) or ():
            blocks = grid.blocks(grid.span(place, None))
            block_ms = grid.windows_per_block * grid.window * 250
            assert blocks.start * block_ms >= max(0, start_ms - reach)
            assert blocks.stop * block_ms <= start_ms + length_ms + reach


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=20))
def test_each_frame_is_counted_once(lengths: list[int]) -> None:
    """Chunks that follow each other count every frame of the recording, once; each counts frames it touches."""
    frames, at = [], 0
    for length in lengths:
        counted, touched = counted_frames(at, at + length), touched_frames(at, at + length)
        assert counted[0] >= touched[0]
        assert counted[1] <= touched[1]
        frames += range(*counted)
        at += length
    assert frames == list(range(math.ceil(at / 250)))


def test_offsets_are_those_of_hawkears() -> None:
    """Half a window apart for two, seconds for three; the fourth of four begins with the first and leads not."""
    assert members(2) == [Member(0, False), Member(6, True)]
    assert members(4) == [Member(0, False), Member(4, True), Member(8, True), Member(0, False)]
    assert members(6)[3:] == members(3)
    assert members(9)[6:] == [Member(0, False), Member(4, True), Member(8, True)]
    assert len(members(12)) == 12


@pytest.mark.parametrize("count", [0, 7, 8, 10, 11])
def test_other_ensembles_are_refused(count: int) -> None:
    """HawkEars raises for these; so does this."""
    with pytest.raises(ValueError, match=f"ensemble of {count}"):
        members(count)


def test_half_second_offsets_lose_a_member_as_in_hawkears() -> None:
    """Its first window holds half a second, is not made, and ends that member for the whole recording."""
    silent = [grid_member for grid_member in members(12) if MAIN.windows(grid_member, 0, 400, None) is None]
    assert [member.offset for member in silent] == [2, 2]


@pytest.mark.parametrize(
    ("samples", "columns"),
    [(100, 1), (252_000, 1156), (252_001, 1152), (252_000 + 3247, 1152), (252_000 + 3248, 1152 + 15), (504_000, 2304)],
)
def test_columns(samples: int, columns: int) -> None:
    """One block is not cut; a rest shorter than a transform has no columns."""
    assert MAIN.columns(samples) == columns


def test_the_halo_of_hawkears() -> None:
    """A block and a window: 12 s for both kinds of model, and a quarter to be safe."""
    assert halo_ms((MAIN, False), (LOW, True)) == 12_250

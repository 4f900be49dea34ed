"""Reading chunks: the right frames, the right length, seams that nobody hears, and errors that name the place."""

from __future__ import annotations

import os
import shlex
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import RATE, cut_off, noise, write

from badc_core.errors import PluginError, RecordingError
from badc_core.hookspecs import hookimpl
from badc_core.host import Host
from badc_core.model import Chunk, Recording
from badc_core.protocols import InputSpec, RecordingHints, SignalInfo
from badc_core.signals import (
    SignalReader,
    downmix,
    frames_of,
    known_suffixes,
    open_signal,
    probe,
    require_content,
    resampled_frames,
)
from badc_core.specs import ReaderSpec


def chunk(path: Path, start_ms: int, end_ms: int, *, whole: bool = False) -> Chunk:
    return Chunk(f"a_{start_ms}_{end_ms}", "a", path, start_ms, end_ms, 0, None if whole else start_ms)


def recording(path: Path) -> Recording:
    return Recording("a", path)


@pytest.fixture
def reader(tmp_path: Path):
    opened = []

    def make(**wanted: object) -> SignalReader:
        opened.append(SignalReader(InputSpec(**wanted), tmp_path / "scratch"))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


# ------------------------------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize(
    ("milliseconds", "rate", "frames"),
    [(0, 48000, 0), (3000, 48000, 144_000), (1, 44100, 44), (10, 11025, 110), (5, 100, 1), (4, 100, 0), (1, 500, 1)],
)
def test_milliseconds_become_frames_by_rounding(milliseconds: int, rate: int, frames: int):
    assert frames_of(milliseconds, rate) == frames


@given(st.integers(0, 10**9), st.integers(1, 400_000))
def test_frames_are_the_nearest(milliseconds: int, rate: int):
    assert abs(1000 * frames_of(milliseconds, rate) - milliseconds * rate) <= 500


@given(st.integers(0, 10**10), st.integers(1, 400_000), st.integers(1, 400_000))
def test_resampled_frames_are_the_nearest(frames: int, from_hz: int, to_hz: int):
    assert abs(2 * from_hz * resampled_frames(frames, from_hz, to_hz) - 2 * frames * to_hz) <= from_hz


def test_downmix_is_the_mean_and_copies_nothing_it_need_not():
    samples = noise(0.1, channels=3)
    assert np.allclose(downmix(samples), samples.mean(axis=1, dtype=np.float64), atol=1e-7)
    mono = noise(0.1)
    assert np.shares_memory(downmix(mono), mono)


# --------------------------------------------------------------------------------------- opening files


def test_unknown_suffix_names_the_known_ones(tmp_path: Path):
    path = tmp_path / "a.xyz"
    path.touch()
    with pytest.raises(RecordingError, match=r"a\.xyz: its name ends in '\.xyz'") as caught:
        open_signal(path)
    assert ".wav" in caught.value.hint
    assert ".flac" in known_suffixes()


def test_suffix_in_capitals_is_known(tmp_path: Path):
    path = write(tmp_path / "a.WAV", noise(1))
    info, hints = probe(path)
    assert (info.sample_rate_hz, info.frames, info.bits_per_sample) == (RATE, RATE, 16)
    assert hints == RecordingHints()


def test_two_readers_of_one_suffix_are_both_named(tmp_path: Path):
    class Other:
        @staticmethod
        @hookimpl
        def badc_readers():
            yield ReaderSpec("other", "Reads too", open="x:y", suffixes=(".wav",))

    with pytest.raises(PluginError, match="audio and other"):
        open_signal(write(tmp_path / "a.wav", noise(0.1)), Host([Other]))


def test_what_is_not_there_is_told(tmp_path: Path):
    for name in ("a.wav", "nope", "a.xyz"):
        with pytest.raises(RecordingError, match=f"There is no file .*{name}"):
            open_signal(tmp_path / name)
    (tmp_path / "dir.wav").mkdir()
    with pytest.raises(RecordingError, match="is a folder"):
        open_signal(tmp_path / "dir.wav")
    (tmp_path / "link.wav").symlink_to("nowhere")
    with pytest.raises(RecordingError, match="is a link to nowhere"):
        open_signal(tmp_path / "link.wav")


def test_annex_link_without_content_says_how_to_fetch_it(tmp_path: Path):
    path = tmp_path / "it's a file.wav"
    path.symlink_to(".git/annex/objects/Xx/Yy/MD5E-s1--aa.wav/MD5E-s1--aa.wav")
    with pytest.raises(RecordingError) as caught:
        require_content(path)
    assert caught.value.hint == f"Fetch it: datalad get {shlex.quote(str(path))}"


def test_unlocked_annex_pointer_says_how_to_fetch_it(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_text("/annex/objects/MD5E-s38112038--1eca.wav\n")
    with pytest.raises(RecordingError, match="git-annex") as caught:
        open_signal(path)
    assert "datalad get" in caught.value.hint


# --------------------------------------------------------------------------------------------- samples


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_slices_are_the_frames_of_the_window(tmp_path: Path, reader, suffix: str):
    path = write(tmp_path / f"a{suffix}", noise(20, channels=2))
    for mono in (True, False):
        read = reader(mono=mono)
        for start in (3000, 0, 17_500, 3001, 19_000):
            signal = read.read(chunk(path, start, start + 1000), recording(path))
            first = frames_of(start, RATE)
            expected = noise(20, channels=2)[first : first + RATE]
            expected = expected.mean(axis=1) if mono else expected
            assert signal.samples.dtype == np.float32
            assert np.allclose(signal.samples, expected, atol=1e-7)
            assert (signal.sample_rate_hz, signal.halo_before, signal.halo_after, signal.missing_ms) == (RATE, 0, 0, 0)


def test_samples_cannot_be_written_to(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(2))
    for rate in (None, 8000):
        signal = reader(sample_rate_hz=rate).read(chunk(path, 0, 1000), recording(path))
        with pytest.raises(ValueError, match="read-only"):
            signal.samples[0] = 1


def test_halo_is_what_lies_around_where_there_is_something(tmp_path: Path, reader):
    path = write(tmp_path / "a.flac", noise(10))
    read = reader(halo_ms=500)
    half = RATE // 2
    for start, before, after in (
        (0, 0, half),
        (200, RATE // 5, half),
        (5000, half, half),
        (8800, half, RATE // 5),
        (9000, half, 0),
    ):
        signal = read.read(chunk(path, start, start + 1000), recording(path))
        first = frames_of(start, RATE)
        assert (signal.halo_before, signal.halo_after) == (before, after)
        assert np.array_equal(signal.samples, noise(10)[first - before : first + RATE + after, 0])


def test_whole_file_has_no_halo(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(3))
    signal = reader(halo_ms=500).read(chunk(path, 60_000, 63_000, whole=True), recording(path))
    assert np.array_equal(signal.samples, noise(3)[:, 0])
    assert (signal.halo_before, signal.halo_after) == (0, 0)


@pytest.mark.parametrize(
    ("from_hz", "to_hz"),
    [(44_100, 48_000), (48_000, 32_000), (16_000, 48_000), (192_000, 48_000), (24_000, 22_050), (47_999, 48_000)],
)
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_resampled_slices_join_without_a_seam(tmp_path: Path, reader, from_hz: int, to_hz: int, suffix: str):
    samples = noise(6, rate=from_hz)
    path = write(tmp_path / f"a{suffix}", samples, rate=from_hz)
    whole = soxr.resample(samples[:, 0], from_hz, to_hz, quality="HQ")
    for halo_ms in (0, 250):
        read = reader(sample_rate_hz=to_hz, halo_ms=halo_ms)
        halo = resampled_frames(frames_of(halo_ms, from_hz), from_hz, to_hz)
        for start in range(0, 6000, 1000):
            signal = read.read(chunk(path, start, start + 1000), recording(path))
            first = start * to_hz // 1000 - signal.halo_before
            assert len(signal.samples) - signal.halo_before - signal.halo_after == to_hz
            assert signal.halo_before == (0 if start == 0 else halo)
            assert signal.halo_after == (0 if start == 5000 else halo)
            expected = whole[first : first + len(signal.samples)]
            assert np.abs(signal.samples[: len(expected)] - expected).max() < 1e-4


@pytest.mark.parametrize("frames", [437_358, 437_359, 441_000, 699_279])
def test_the_last_sample_of_a_recording_is_heard(tmp_path: Path, reader, frames: int):
    """A file of any length, cut at a millisecond: rounding chunk and context apart must not lose its last sample."""
    samples = np.sin(np.arange(frames) / 7)[:, None].astype(np.float32)
    path = write(tmp_path / "a.wav", samples, rate=44_100)
    whole = soxr.resample(samples[:, 0], 44_100, 28_000, quality="HQ")
    end_ms = frames * 1000 // 44_100
    for cut in (0, 3_333, end_ms - 1_001):
        signal = reader(sample_rate_hz=28_000, halo_ms=500).read(chunk(path, cut, end_ms), recording(path))
        first = resampled_frames(frames_of(cut, 44_100), 44_100, 28_000) - signal.halo_before
        assert (first + len(signal.samples), signal.read_to) == (len(whole), frames)
        assert abs(signal.samples[-1] - whole[-1]) < 2e-2


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 2500),
    length=st.integers(1, 1500),
    to_hz=st.sampled_from([None, 8000, 16_000, 22_050, 48_000, 11_111]),
    halo_ms=st.sampled_from([0, 7, 300]),
)
def test_length_is_exact(tmp_path_factory, start: int, length: int, to_hz: int | None, halo_ms: int):
    path = tmp_path_factory.getbasetemp() / "length.wav"
    if not path.exists():
        write(path, noise(4))
    read = SignalReader(InputSpec(sample_rate_hz=to_hz, halo_ms=halo_ms), path.parent)
    signal = read.read(chunk(path, start, start + length), recording(path))
    read.close()
    rate = to_hz or RATE
    wanted = resampled_frames(frames_of(length, RATE), RATE, rate)
    assert len(signal.samples) == signal.halo_before + wanted + signal.halo_after
    most = resampled_frames(frames_of(halo_ms, RATE), RATE, rate)
    assert 0 <= signal.halo_before <= most
    assert 0 <= signal.halo_after <= most


def test_shorter_last_chunk_is_not_missing_anything(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(2.5))
    signal = reader().read(chunk(path, 2000, 2500), recording(path))
    assert (len(signal.samples), signal.missing_ms) == (RATE // 2, 0)
    signal = reader().read(chunk(path, 2000, 3000), recording(path))
    assert (len(signal.samples), signal.missing_ms) == (RATE // 2, 0)


def test_slice_without_end_goes_to_the_end(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(2.5))
    signal = reader().read(Chunk("c", "a", path, offset_ms=2000), recording(path))
    assert np.array_equal(signal.samples, noise(2.5)[2 * RATE :, 0])


def test_chunk_behind_the_end_is_told(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(2.5))
    with pytest.raises(RecordingError, match=r"a\.wav ends at 2\.500 s: nothing of chunk a_3000_4000 at 3\.000 s"):
        reader().read(chunk(path, 3000, 4000), recording(path))


# ---------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("to_hz", [None, 48_000])
def test_damage_costs_its_own_part(tmp_path: Path, reader, suffix: str, to_hz: int | None):
    path = write(tmp_path / f"a{suffix}", noise(20))
    cut_off(path, 0.5)
    read = reader(sample_rate_hz=to_hz, halo_ms=500)
    lost = {}
    for start in range(0, 20_000, 1000):
        try:
            signal = read.read(chunk(path, start, start + 1000), recording(path))
        except RecordingError as error:
            lost[start] = str(error)
            continue
        rate = to_hz or RATE
        there = len(signal.samples) - signal.halo_before - signal.halo_after
        assert abs(there / rate * 1000 + signal.missing_ms - 1000) <= 1
        if start < 8000:
            assert signal.missing_ms == 0
        if signal.missing_ms:
            assert signal.halo_after == 0
    first = min(lost)
    assert list(lost) == list(range(first, 20_000, 1000))
    assert 9000 <= first <= 11_000
    assert [s for s, text in lost.items() if path.name not in text or f"{s / 1000:.3f} s; cut off" not in text] == []


def test_damaged_context_does_not_cost_the_chunk(tmp_path: Path, reader):
    samples = noise(4)
    samples[2 * RATE - 10] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    read = reader(sample_rate_hz=8000, halo_ms=500)
    for start in (0, 2000, 3000):
        signal = read.read(chunk(path, start, start + 1000), recording(path))
        assert signal.missing_ms == 0
        assert np.isfinite(signal.samples).all()
    with pytest.raises(RecordingError, match=r"at 1\.999 s is not a finite number"):
        read.read(chunk(path, 1000, 2000), recording(path))


# -------------------------------------------------------------------------------------- files, nothing


def test_nothing_touches_no_disk(reader):
    path = Path("/nowhere/a.wav")
    signal = reader(kind="nothing").read(chunk(path, 0, 1000), recording(path))
    assert (signal.samples, signal.path, signal.sample_rate_hz) == (None, None, 0)


def test_a_checked_chunk_is_one_that_can_be_read(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(10))
    read = reader(kind="checked")
    signal = read.read(chunk(path, 2000, 3000), recording(path))
    assert (signal.samples, signal.path, signal.missing_ms) == (None, None, 0)
    assert read.read(chunk(path, 0, 10_000, whole=True), recording(path)).missing_ms == 0
    with pytest.raises(RecordingError, match=r"ends at 10\.000 s"):
        read.read(chunk(path, 11_000, 12_000), recording(path))
    cut_off(path, 0.55)
    read = reader(kind="checked")
    assert 490 <= read.read(chunk(path, 5000, 6000), recording(path)).missing_ms <= 510
    with pytest.raises(RecordingError, match="cut off"):
        read.read(chunk(path, 7000, 8000), recording(path))
    with pytest.raises(RecordingError, match="There is no file"):
        read.read(chunk(tmp_path / "b.wav", 0, 1000, whole=True), recording(path))


def test_a_long_chunk_is_checked_piece_by_piece(tmp_path: Path, reader, monkeypatch):
    monkeypatch.setattr("badc_core.signals._PIECE_S", 1)
    path = write(tmp_path / "a.flac", noise(5))
    read = reader(kind="checked")
    assert read.read(chunk(path, 500, 4700), recording(path)).missing_ms == 0
    cut_off(path, 0.55)
    assert reader(kind="checked").read(chunk(path, 500, 4700), recording(path)).missing_ms > 1500


def test_whole_file_is_handed_over_as_it_is(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(1))
    read = reader(kind="file")
    signal = read.read(chunk(path, 0, 1000, whole=True), recording(path))
    assert signal.path == path
    read.release(signal)
    assert path.exists()
    with pytest.raises(RecordingError, match="There is no file"):
        read.read(chunk(tmp_path / "b.wav", 0, 1000, whole=True), recording(path))


def test_slice_becomes_a_file_that_is_deleted(tmp_path: Path, reader):
    path = write(tmp_path / "a b.flac", noise(5))
    read = reader(kind="file")
    signal = read.read(chunk(path, 2000, 3000), recording(path))
    assert signal.path.name == "a_2000_3000.wav"
    with SignalReaderOf(signal.path) as samples:
        assert np.array_equal(samples, noise(5)[2 * RATE : 3 * RATE])
    read.release(signal)
    assert not signal.path.exists()
    read.release(signal)
    assert path.exists()


def test_slice_over_the_cut_becomes_a_shorter_file(tmp_path: Path, reader):
    path = write(tmp_path / "a.wav", noise(10))
    cut_off(path, 0.55)
    read = reader(kind="file")
    signal = read.read(chunk(path, 5000, 6000), recording(path))
    assert 490 <= signal.missing_ms <= 510
    with pytest.raises(RecordingError, match="cut off"):
        read.read(chunk(path, 7000, 8000), recording(path))


class SignalReaderOf:
    """All samples of a file, for a moment."""

    def __init__(self, path: Path) -> None:
        self._file = open_signal(path)

    def __enter__(self) -> np.ndarray:
        return self._file.read(0, self._file.info.frames)

    def __exit__(self, *_: object) -> None:
        self._file.close()


# --------------------------------------------------------------------------------------------- threads


def test_several_threads_read_side_by_side(tmp_path: Path, reader):
    paths = [write(tmp_path / f"{n}.flac", noise(20, seed=n)) for n in range(6)]
    read = reader()
    wrong = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(60):
            number, second = int(random.integers(6)), int(random.integers(19))
            signal = read.read(chunk(paths[number], second * 1000, second * 1000 + 1000), recording(paths[number]))
            if not np.array_equal(signal.samples, noise(20, seed=number)[second * RATE : (second + 1) * RATE, 0]):
                wrong.append((number, second))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_files_stay_open_for_consecutive_slices_and_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[Path] = []
    open_now = 0

    class Counted:
        info = SignalInfo(100, 1, 1000)

        def __init__(self, path: Path) -> None:
            nonlocal open_now
            opened.append(path)
            open_now += 1

        def read(self, start: int, frames: int, /) -> np.ndarray:
            return np.zeros((frames, 1), np.float32)

        def close(self) -> None:
            nonlocal open_now
            open_now -= 1

    module = types.ModuleType("counted_reader")
    module.open_file = Counted
    monkeypatch.setitem(sys.modules, "counted_reader", module)

    class Plugin:
        @staticmethod
        @hookimpl
        def badc_readers():
            yield ReaderSpec("counted", "Counts", open="counted_reader:open_file", suffixes=(".cnt",))

    read = SignalReader(InputSpec(), tmp_path, Host([Plugin], installed=False))
    paths = [tmp_path / f"{n}.cnt" for n in range(10)]
    for path in paths:
        path.touch()
        for start in range(0, 3000, 1000):
            read.read(chunk(path, start, start + 1000), recording(path))
    assert opened == paths
    assert open_now <= 4
    read.close()
    assert open_now == 0
    read.close()


def test_no_descriptor_is_left_open(tmp_path: Path):
    paths = [write(tmp_path / f"{n}{suffix}", noise(1)) for n in range(10) for suffix in (".wav", ".flac")]
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"nonsense" * 100)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    read = SignalReader(InputSpec(), tmp_path)
    for path in paths:
        read.read(chunk(path, 0, 500), recording(path))
        with pytest.raises(RecordingError):
            read.read(chunk(bad, 0, 500), recording(bad))
    read.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before

"""What is wrong with a file is told, what can be read of it is read, and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, add_piece, cut_off, data_at, noise, overwrite, set_data_size, write

from badc_audio.flac import map_flac
from badc_audio.reader import open_file
from badc_core.errors import RecordingError


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write(tmp_path / "a.wav", noise(10))


@pytest.fixture
def flac(tmp_path: Path) -> Path:
    return write(tmp_path / "a.flac", noise(60))


def slices(path: Path, seconds: int, length: int = 1) -> list[int]:
    """Read second by second; check every sample, and return the frames that came."""
    expected = noise(seconds)
    with open_file(path) as file:
        got = []
        for start in range(0, seconds, length):
            samples = file.read(start * RATE, length * RATE)
            assert np.array_equal(samples, expected[start * RATE :][: len(samples)])
            got.append(len(samples))
    return got


# ------------------------------------------------------------------------------------------------ WAV


def test_wav_cut_in_half_keeps_its_promise_and_tells(wav: Path):
    there = (cut_off(wav, 0.5) - 44) // 2
    with open_file(wav) as file:
        assert file.info.frames == 10 * RATE
        assert file.info.damage == f"cut off: it ends after {there / RATE:.3f} of the 10.000 s that its header promises"
        assert np.array_equal(file.read(0, 10 * RATE), noise(10)[:there])
        assert np.array_equal(file.read(4 * RATE, 2 * RATE), noise(10)[4 * RATE : there])
        assert file.read(6 * RATE, RATE).shape == (0, 1)


@pytest.mark.parametrize("suffix", [".wav", ".w64", ".rf64", ".aiff", ".caf", ".au"])
def test_other_headers_keep_their_promise_too(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"a{suffix}", noise(10))
    cut_off(path, 0.5)
    with open_file(path) as file:
        assert len(file.read(0, RATE)) == RATE
        assert np.array_equal(file.read(2 * RATE, RATE), noise(10)[2 * RATE : 3 * RATE])
        assert len(file.read(6 * RATE, RATE)) == 0
        if suffix != ".au":  # libsndfile trusts the file's size there, and so do we
            assert file.info.frames == 10 * RATE
            assert "cut off" in file.info.damage


def test_wav_that_lost_power_has_its_length_from_the_file(wav: Path):
    set_data_size(wav, 0)
    with open_file(wav) as file:
        assert file.info.frames == 10 * RATE
        assert "never finished" in file.info.damage
        assert np.array_equal(file.read(3 * RATE, RATE), noise(10)[3 * RATE : 4 * RATE])
        assert np.array_equal(file.read(0, 20 * RATE), noise(10))


def test_wav_that_lost_power_is_exported_whole(wav: Path, tmp_path: Path):
    set_data_size(wav, 0)
    overwrite(wav, 4, struct.pack("<I", 0))
    with open_file(wav) as file:
        assert file.export(RATE, RATE, tmp_path / "b.wav") == RATE
    with open_file(tmp_path / "b.wav") as file:
        assert np.array_equal(file.read(0, RATE), noise(10)[RATE : 2 * RATE])


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFDB])
def test_wav_of_a_stream_has_its_length_from_the_file(wav: Path, size: int):
    set_data_size(wav, size)
    with open_file(wav) as file:
        assert (file.info.frames, file.info.damage) == (10 * RATE, None)
        assert np.array_equal(file.read(9 * RATE, RATE), noise(10)[9 * RATE :])


def test_header_only_is_empty(wav: Path):
    os.truncate(wav, data_at(wav))
    for size in (0, 0xFFFFFFFF):
        set_data_size(wav, size)
        with pytest.raises(RecordingError, match=r"a\.wav is empty"):
            open_file(wav)


def test_header_only_that_promises_is_told_when_read(wav: Path):
    os.truncate(wav, data_at(wav))
    with open_file(wav) as file:
        assert file.info.frames == 10 * RATE
        assert "ends after 0.000" in file.info.damage
        assert len(file.read(0, RATE)) == 0


def test_empty_wav_with_notes_behind_is_empty(wav: Path):
    """A length of 0 is meant when what follows is no samples."""
    os.truncate(wav, data_at(wav))
    set_data_size(wav, 0)
    add_piece(wav, b"guan", b"GUANO|Version:1.0\n")
    with pytest.raises(RecordingError, match="is empty"):
        open_file(wav)


def test_wav_without_samples_piece_is_empty(wav: Path):
    os.truncate(wav, data_at(wav) - 8)
    with pytest.raises(RecordingError, match="is empty"):
        open_file(wav)


def test_absurd_promise_costs_no_memory(wav: Path):
    set_data_size(wav, 0xFFFFFFF0)
    with open_file(wav) as file:
        assert "cut off" in file.info.damage
        assert np.array_equal(file.read(0, file.info.frames), noise(10))


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sample_that_is_no_number_is_named_and_costs_its_slice_only(tmp_path: Path, subtype: str, value: float):
    samples = noise(3, channels=2)
    samples[RATE + 800, 1] = value
    path = write(tmp_path / "a.wav", samples, subtype=subtype)
    with open_file(path) as file:
        assert np.array_equal(file.read(0, RATE), samples[:RATE])
        with pytest.raises(RecordingError, match=r"a\.wav: the sample at 1\.050 s is not a finite number"):
            file.read(RATE, RATE)
        assert np.array_equal(file.read(2 * RATE, RATE), samples[2 * RATE :])


@pytest.mark.parametrize("content", [b"\0" * 5000, b"hello, this is a note\n" * 50, b"\xff" * 100, b"RIFF", b"fLaC"])
def test_what_is_no_sound_is_unreadable(tmp_path: Path, content: bytes):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"a\.wav is (unreadable|empty)"):
        open_file(path)


def test_nothing_at_all_is_empty(tmp_path: Path):
    path = tmp_path / "a.flac"
    path.touch()
    with pytest.raises(RecordingError, match=r"a\.flac is empty: a file of 0 bytes"):
        open_file(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(RecordingError, match="no regular file"):
        open_file(tmp_path / "pipe.wav")


# ----------------------------------------------------------------------------------------------- FLAC


def test_cut_flac_keeps_what_comes_before(flac: Path):
    cut_off(flac, 0.5)
    with open_file(flac) as file:
        assert file.info.frames == 60 * RATE
        assert file.info.damage.startswith("cut off: it ends after 29.")
        assert file.info.damage.endswith(" of the 60.000 s that its header promises")
    got = slices(flac, 60)
    assert got[:29] == [RATE] * 29
    assert 0 < sum(got[29:31]) < 2 * RATE
    assert got[31:] == [0] * 29


def test_cut_flac_is_read_backwards_too(flac: Path):
    cut_off(flac, 0.5)
    with open_file(flac) as file:
        for second in (59, 45, 31, 20, 10, 0):
            samples = file.read(second * RATE, RATE)
            assert np.array_equal(samples, noise(60)[second * RATE :][: len(samples)])
            assert len(samples) == (RATE if second < 29 else 0)


@pytest.mark.parametrize("mend", ["zeros", "nonsense", "gone"])
def test_hole_in_flac_costs_only_itself(flac: Path, mend: str):
    data = flac.read_bytes()
    at, length = len(data) // 2, 100_000
    filling = {"zeros": bytes(length), "nonsense": np.random.default_rng(1).bytes(length), "gone": b""}[mend]
    flac.write_bytes(data[:at] + filling + data[at + length :])
    got = slices(flac, 60)
    seconds_lost = length / len(data) * 60
    assert 60 * RATE - sum(got) < (seconds_lost + 3) * RATE
    assert got[:29] == [RATE] * 29
    assert got[36:] == [RATE] * 24


def test_flac_with_zeros_behind_does_not_search_them(flac: Path):
    """A file whose blocks were never written: libsndfile's own seek looks through them byte by byte, many times."""
    size = cut_off(flac, 0.5)
    os.truncate(flac, size + 2_000_000_000)
    with open_file(flac) as file:
        assert "cut off" in file.info.damage
        began = time.process_time()
        for second in (50, 40, 31, 5, 58):
            file.read(second * RATE, RATE)
        assert time.process_time() - began < 5
        assert np.array_equal(file.read(5 * RATE, RATE), noise(60)[5 * RATE : 6 * RATE])


def test_large_hole_of_zeros_is_not_searched(flac: Path):
    data = flac.read_bytes()
    half = len(data) // 2
    with flac.open("wb") as file:
        file.write(data[:half])
        file.seek(half + 500_000_000)
        file.write(data[half:])
    with open_file(flac) as file:
        began = time.process_time()
        for second in (50, 30, 29, 5, 58):
            samples = file.read(second * RATE, RATE)
            assert np.array_equal(samples, noise(60)[second * RATE :][: len(samples)])
        assert time.process_time() - began < 10
        assert len(file.read(40 * RATE, RATE)) == RATE


def test_flac_header_without_frames_is_empty(flac: Path):
    with flac.open("rb") as file:
        first = map_flac(file.fileno()).first
    flac.write_bytes(flac.read_bytes()[:first] + bytes(5000))
    with pytest.raises(RecordingError, match="is empty"):
        open_file(flac)


def test_flac_of_a_stream_has_its_length_from_the_last_frame(flac: Path):
    data = bytearray(flac.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    flac.write_bytes(data)
    with open_file(flac) as file:
        assert (file.info.frames, file.info.damage) == (60 * RATE, None)
    assert slices(flac, 60) == [RATE] * 60


def test_flac_chunk_over_the_cut_is_exported_as_far_as_it_goes(flac: Path, tmp_path: Path):
    cut_off(flac, 0.5)
    target = tmp_path / "b.wav"
    with open_file(flac) as file:
        got = file.export(28 * RATE, 4 * RATE, target)
        assert RATE < got < 3 * RATE
        assert file.export(40 * RATE, RATE, tmp_path / "c.wav") == 0
    with open_file(target) as written:
        assert (written.info.frames, written.info.damage) == (got, None)
        assert np.array_equal(written.read(0, got), noise(60)[28 * RATE : 28 * RATE + got])
    assert not (tmp_path / "c.wav").exists()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happened_to_a_flac_its_samples_are_right_or_missing(tmp_path: Path, seed: int):
    random = np.random.default_rng(seed)
    path = write(tmp_path / "a.flac", noise(20))
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(100, path.stat().st_size))
        overwrite(path, at, random.bytes(int(random.integers(1, 30_000))))
    os.truncate(path, int(random.integers(path.stat().st_size // 2, path.stat().st_size)))
    expected = noise(20)
    with open_file(path) as file:
        for start in random.integers(0, 20 * RATE, 15).tolist():
            samples = file.read(start, RATE)
            assert np.array_equal(samples, expected[start:][: len(samples)])


# ---------------------------------------------------------------------------------------- lossy formats


@pytest.mark.parametrize(("suffix", "subtype"), [(".mp3", "MPEG_LAYER_III"), (".ogg", "VORBIS"), (".ogg", "OPUS")])
def test_cut_lossy_file_keeps_what_comes_before(tmp_path: Path, suffix: str, subtype: str):
    path = write(tmp_path / f"a{suffix}", noise(20), subtype=subtype)
    with open_file(path) as file:
        whole = file.read(0, 20 * RATE)
    cut_off(path, 0.5)
    with open_file(path) as file:
        assert np.allclose(file.read(2 * RATE, RATE), whole[2 * RATE : 3 * RATE], atol=1e-3)
        assert len(file.read(15 * RATE, RATE)) == 0
        if suffix == ".mp3":
            assert "cut off" in file.info.damage


# ------------------------------------------------------------------------------------------ whatever else

FORMATS = [(".wav", "PCM_16"), (".wav", "FLOAT"), (".wav", "IMA_ADPCM"), (".flac", "PCM_16"), (".aiff", "PCM_16")]
FORMATS += [(".caf", "PCM_16"), (".w64", "PCM_24"), (".rf64", "PCM_16"), (".ogg", "VORBIS"), (".au", "PCM_16")]


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_wrong_bytes_give_an_error_that_names_the_file_or_samples(tmp_path: Path, suffix: str, subtype: str):
    base = write(tmp_path / f"base{suffix}", noise(1, channels=2), subtype=subtype).read_bytes()
    path = tmp_path / f"a{suffix}"
    for seed in range(60):
        random = np.random.default_rng(seed)
        data = bytearray(base)
        for _ in range(random.integers(1, 6)):
            reach = min(len(data), int(random.choice([60, 300, len(data)])))
            data[random.integers(reach)] = int(random.choice([0, 127, 128, 255, random.integers(256)]))
        path.write_bytes(data[: random.integers(1, len(data))] if seed % 3 == 0 else data)
        try:
            file = open_file(path)
        except RecordingError as error:
            message = str(error)
            assert str(path) in message
            continue
        with file:
            file.hints()
            for start in (0, 100, max(file.info.frames - 10, 0), 20_000):
                with contextlib.suppress(RecordingError):
                    samples = file.read(start, 8000)
                    assert samples.shape == (len(samples), file.info.channels)
                    assert len(samples) <= 8000
            with contextlib.suppress(RecordingError):
                assert file.export(100, 8000, tmp_path / "out.wav") <= 8000

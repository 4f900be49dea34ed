"""Sound files that are as they should be: every format, seeks, slices, links."""

from __future__ import annotations

import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, cut_off, noise, write

from badc_audio import SUFFIXES
from badc_audio.reader import open_file
from badc_core.host import Host
from badc_core.specs import ReaderSpec

EXACT = [
    *(
        (".wav", subtype)
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM")
    ),
    *((".flac", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24")),
    *((suffix, "PCM_16") for suffix in (".w64", ".rf64", ".aiff", ".caf", ".au")),
]


def test_plugin_is_installed_and_takes_its_suffixes():
    spec = Host().find(ReaderSpec, "audio")
    assert spec.suffixes == SUFFIXES
    assert spec.export_suffix == ".wav"
    assert {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".w64", ".caf"} <= set(SUFFIXES)


@pytest.mark.parametrize(("suffix", "subtype"), EXACT)
def test_any_slice_is_what_soundfile_reads(tmp_path: Path, suffix: str, subtype: str):
    path = write(tmp_path / f"a{suffix}", noise(5), subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    with open_file(path) as file:
        assert (file.info.sample_rate_hz, file.info.channels, file.info.damage) == (RATE, 1, None)
        assert file.info.frames == len(expected)
        for start, frames in (
            (3 * RATE, RATE),
            (0, 7),
            (7, RATE),
            (len(expected) - 5, 100),
            (2 * RATE + 1, 1),
            (0, 10**9),
        ):
            samples = file.read(start, frames)
            assert samples.dtype == np.float32
            assert np.array_equal(samples, expected[start : start + frames])
        assert file.read(10**9, 5).shape == (0, 1)


@pytest.mark.parametrize(("suffix", "subtype"), [(".mp3", "MPEG_LAYER_III"), (".ogg", "VORBIS"), (".ogg", "OPUS")])
def test_slices_of_lossy_files_are_those_of_the_whole(tmp_path: Path, suffix: str, subtype: str):
    time = np.arange(20 * RATE) / RATE
    sweep = (0.3 * np.sin(2 * np.pi * (200 + 50 * time) * time)).astype(np.float32)[:, None]
    path = write(tmp_path / f"a{suffix}", sweep, subtype=subtype)
    with open_file(path) as file:
        whole = file.read(0, file.info.frames)
    with open_file(path) as file:
        for start in (12 * RATE, 3 * RATE + 17, 1, 18 * RATE, 0):
            assert np.abs(file.read(start, RATE) - whole[start : start + RATE]).max() < 1e-4


@pytest.mark.parametrize(("rate", "channels"), [(192_000, 1), (RATE, 8), (384_000, 2), (8000, 1), (11_025, 3)])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_any_rate_and_number_of_channels(tmp_path: Path, rate: int, channels: int, suffix: str):
    path = write(tmp_path / f"a{suffix}", noise(1, rate=rate, channels=channels), rate=rate)
    with open_file(path) as file:
        assert (file.info.sample_rate_hz, file.info.channels, file.info.frames) == (rate, channels, rate)
        half = file.read(rate // 2, rate)
        assert np.array_equal(half, noise(1, rate=rate, channels=channels)[rate // 2 :])


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_one_sample_is_a_recording(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"a{suffix}", noise(1)[:1])
    with open_file(path) as file:
        assert file.info.frames == 1
        assert np.array_equal(file.read(0, 10), noise(1)[:1])


@pytest.mark.parametrize("seconds", [600])
def test_slice_in_the_middle_of_a_long_flac_reads_little(tmp_path: Path, seconds: int):
    path = write(tmp_path / "a.flac", noise(seconds))

    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    if not Path("/proc/self/io").exists():
        pytest.skip("needs Linux's /proc")
    before = bytes_read()
    with open_file(path) as file:
        samples = file.read(400 * RATE, 3 * RATE)
    assert np.array_equal(samples, noise(seconds)[400 * RATE : 403 * RATE])
    assert bytes_read() - before < path.stat().st_size // 5


def test_format_is_found_by_content(tmp_path: Path):
    """A dataset's file is a link to a key; older keys have no suffix, and a recorder's name may be wrong."""
    key = tmp_path / ".git/annex/objects/aa/bb/SHA256-s123--0a1b"
    write(key, noise(1), format="FLAC")
    (tmp_path / "site 1.flac").symlink_to(key)
    (tmp_path / "wrong.wav").symlink_to(key)
    for name in ("site 1.flac", "wrong.wav"):
        with open_file(tmp_path / name) as file:
            assert np.array_equal(file.read(0, RATE), noise(1))


@pytest.mark.parametrize(
    "name",
    ["a b.wav", "a,b.wav", 'a"b.wav', "a\nb.wav", "äöü.wav", unicodedata.normalize("NFD", "äöü.wav"), "b\udcff.wav"],
)
def test_any_name(tmp_path: Path, name: str):
    plain = write(tmp_path / "plain.wav", noise(1))
    plain.rename(tmp_path / name)
    with open_file(tmp_path / name) as file:
        assert len(file.read(0, RATE)) == RATE


def test_close_twice(tmp_path: Path):
    file = open_file(write(tmp_path / "a.wav", noise(1)))
    file.read(0, 10)
    file.close()
    file.close()


# ---------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_of_wav_are_copied_byte_for_byte(tmp_path: Path, subtype: str, channels: int):
    path = write(tmp_path / "a.wav", noise(3, channels=channels), subtype=subtype)
    target = tmp_path / "b.wav"
    with open_file(path) as file:
        assert file.export(RATE + 1, RATE, target) == RATE
    old, new = path.read_bytes(), target.read_bytes()
    width = channels * {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}.get(subtype, 4)
    frames = old[old.index(b"data") + 8 + (RATE + 1) * width :][: RATE * width]
    assert new[new.index(b"data") + 8 :][: RATE * width] == frames
    with soundfile.SoundFile(target) as written:
        assert (written.samplerate, written.channels, written.frames) == (RATE, channels, RATE)
        assert written.subtype == subtype
    assert struct.unpack("<I", new[4:8])[0] == len(new) - 8


def test_plain_wav_has_the_header_that_python_writes(tmp_path: Path):
    """BADC 0.1 wrote chunks with Python's wave: the same recording gives the same digests."""
    import wave

    path = write(tmp_path / "a.wav", noise(2))
    with open_file(path) as file:
        file.export(0, RATE, tmp_path / "b.wav")
    with wave.open(str(path)) as old, wave.open(str(tmp_path / "c.wav"), "wb") as new:
        new.setparams(old.getparams())
        new.writeframes(old.readframes(RATE))
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()


@pytest.mark.parametrize("suffix", [".flac", ".aiff", ".caf"])
def test_others_become_16_bit_wav(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"a{suffix}", noise(3, channels=2))
    with open_file(path) as file:
        assert file.export(RATE, RATE, tmp_path / "b.wav") == RATE
    with soundfile.SoundFile(tmp_path / "b.wav") as written:
        assert (written.format, written.subtype, written.channels) == ("WAV", "PCM_16", 2)
        assert np.array_equal(written.read(dtype="float32"), noise(3, channels=2)[RATE : 2 * RATE])


def test_export_of_a_long_slice_and_of_the_end(tmp_path: Path):
    path = write(tmp_path / "a.flac", noise(40))
    with open_file(path) as file:
        assert file.export(RATE, 10**9, tmp_path / "b.wav") == 39 * RATE
        assert file.export(40 * RATE, RATE, tmp_path / "c.wav") == 0
    with open_file(tmp_path / "b.wav") as file:
        assert np.array_equal(file.read(0, 40 * RATE), noise(40)[RATE:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.flac", "b.wav"]


def test_export_of_24_bit_flac_is_rounded_and_never_wraps(tmp_path: Path):
    samples = np.array([[0.999999], [-1.0], [0.25 + 2**-17], [0.0]], np.float32)
    path = write(tmp_path / "a.flac", samples, subtype="PCM_24")
    with open_file(path) as file:
        file.export(0, 4, tmp_path / "b.wav")
    values, _ = soundfile.read(tmp_path / "b.wav", dtype="int16")
    assert values.tolist() == [32767, -32768, 8192, 0]


def test_cut_wav_is_exported_as_far_as_it_goes(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(10))
    there = (cut_off(path, 0.5) - 44) // 2
    with open_file(path) as file:
        assert file.export(4 * RATE, 2 * RATE, tmp_path / "b.wav") == there - 4 * RATE
        assert file.export(6 * RATE, RATE, tmp_path / "c.wav") == 0
    assert not (tmp_path / "c.wav").exists()

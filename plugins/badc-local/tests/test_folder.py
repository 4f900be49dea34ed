"""The watched folder: finished recordings only, each once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from badc_core.config import fill
from badc_core.errors import RecordingError, UsageError
from badc_local.folder import FolderOptions, FolderSource, open_source


class Clock:
    """The time of day, moved on by hand."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(tmp_path: Path, clock: Clock) -> FolderSource:
    return FolderSource(tmp_path, {".wav"}, FolderOptions(settle_s=10.0), clock)


def test_a_recording_is_given_once_after_it_has_settled(tmp_path: Path, source: FolderSource, clock: Clock) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x")
    assert source.poll() == []
    clock.ahead_s = 9
    assert source.poll() == []
    clock.ahead_s = 11
    assert source.poll() == [path]
    clock.ahead_s = 100
    path.write_bytes(b"other")
    assert source.poll() == []


def test_what_is_not_finished_is_counted(tmp_path: Path, source: FolderSource, clock: Clock) -> None:
    source.poll()
    assert source.pending() == ""
    (tmp_path / "a.wav").write_bytes(b"x")
    source.poll()
    assert source.pending() == "1 file is not finished yet: empty, or changed within settle_s=10 seconds."
    (tmp_path / "b.wav").touch()
    source.poll()
    assert source.pending().startswith("2 files are not finished yet")
    clock.ahead_s = 11
    source.poll()
    assert source.pending().startswith("1 file is not finished yet")


def test_one_that_still_grows_is_not_given(tmp_path: Path, source: FolderSource, clock: Clock) -> None:
    path = tmp_path / "a.wav"
    for n in range(1, 6):
        with path.open("ab") as file:
            file.write(b"x")
        assert source.poll() == []
        clock.ahead_s = 8 * n
    path.write_bytes(b"xxxxxxx")
    assert source.poll() == []
    clock.ahead_s += 11
    assert source.poll() == [path]


def test_one_that_was_there_long_before_is_given_at_the_first_look(
    tmp_path: Path, source: FolderSource, clock: Clock
) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    clock.ahead_s = 3600
    assert source.poll() == [tmp_path / "a.wav"]


def test_a_copy_with_the_times_of_its_original_must_settle_too(
    tmp_path: Path, source: FolderSource, clock: Clock
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    assert source.poll() == []
    clock.ahead_s = 11
    assert source.poll() == [path]


def test_a_time_in_the_future_is_not_waited_for(tmp_path: Path, source: FolderSource, clock: Clock) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x")
    os.utime(path, (4e9, 4e9))
    assert source.poll() == []
    clock.ahead_s = 11
    assert source.poll() == [path]


def test_unfinished_names_and_empty_files_are_passed_over(tmp_path: Path, source: FolderSource, clock: Clock) -> None:
    for name in ("a.wav.part", "b.tmp", ".c.wav", ".d.wav.Xy12Za", "e.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty.wav").touch()
    source.poll()
    clock.ahead_s = 60
    assert source.poll() == []
    (tmp_path / ".d.wav.Xy12Za").rename(tmp_path / "d.wav")
    (tmp_path / "empty.wav").write_bytes(b"x")
    clock.ahead_s = 120
    assert source.poll() == [tmp_path / "d.wav", tmp_path / "empty.wav"]


def test_files_and_folders_may_go_away(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    source = FolderSource(folder, {".wav"}, FolderOptions(), clock)
    (folder / "a.wav").write_bytes(b"x")
    assert source.poll() == []
    (folder / "a.wav").unlink()
    folder.rmdir()
    clock.ahead_s = 60
    assert source.poll() == []
    folder.mkdir()
    (folder / "b.wav").write_bytes(b"x")
    clock.ahead_s = 120
    assert source.poll() == [folder / "b.wav"]


def test_subfolders_and_patterns(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "s").mkdir()
    for name in ("a.wav", "s/b.wav", "s/noise.wav"):
        (tmp_path / name).write_bytes(b"x")
    clock.ahead_s = 60
    flat = FolderSource(tmp_path, {".wav"}, FolderOptions(recursive=False), clock)
    some = FolderSource(tmp_path, {".wav"}, FolderOptions(pattern="?.WAV"), clock)
    assert flat.poll() == [tmp_path / "a.wav"]
    assert some.poll() == [tmp_path / "a.wav", tmp_path / "s/b.wav"]


def test_it_opens_by_name_and_says_what_is_missing(tmp_path: Path) -> None:
    source = open_source(str(tmp_path), fill(FolderOptions, {"settle_s": "0", "recursive": "no"}, "source 'folder'"))
    (tmp_path / "a.txt").write_bytes(b"x")
    assert tmp_path / "b.wav" not in source.poll()
    source.close()
    source.close()
    with pytest.raises(RecordingError, match="nowhere"):
        open_source(str(tmp_path / "nowhere"), None)
    with pytest.raises(UsageError, match="settle_s"):
        fill(FolderOptions, {"settle_s": "-1"}, "source 'folder'")

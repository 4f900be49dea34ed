"""Digests of files are computed once, and never of what was there before."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from badc_core import digests
from badc_core.digests import cache_file, digest_of, sha256_of

LARGE = b"weights!" * (1 << 18)
LONG_AGO = time.time_ns() - 10**12


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_file()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files were read."""
    found: list[Path] = []
    truly = digests.sha256_of

    def sha256(path: Path) -> str:
        found.append(path)
        return truly(path)

    monkeypatch.setattr(digests, "sha256_of", sha256)
    monkeypatch.setattr(digests, "_SETTLED_NS", 0)  # nobody can set back the time at which an entry changed
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of weights that has lain there for long."""
    path = tmp_path / "a.ckpt"
    path.write_bytes(LARGE)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


def test_it_is_the_sha256(file: Path, reads: list[Path]) -> None:
    """The first time and the second, when nothing is read."""
    expected = hashlib.sha256(LARGE).hexdigest()
    assert digest_of(file) == digest_of(file) == expected
    assert reads == [file]


def test_another_content_of_the_same_size_and_time_is_noticed(file: Path, reads: list[Path]) -> None:
    """As ``rsync --times`` or ``cp -p`` leave it: the entry changed, or is another."""
    first = digest_of(file)
    time.sleep(0.05)  # several ticks of the file system's clock
    other = LARGE[::-1]
    file.write_bytes(other)
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    assert digest_of(file) == hashlib.sha256(other).hexdigest() != first
    copy = file.with_name("copy")
    copy.write_bytes(LARGE)
    os.utime(copy, ns=(LONG_AGO, LONG_AGO))
    copy.replace(file)
    assert digest_of(file) == first
    assert len(reads) == 3


def test_what_changed_just_now_is_not_kept(file: Path, cache: Path) -> None:
    """It could change again within one tick of the file system's clock."""
    assert digest_of(file) == hashlib.sha256(LARGE).hexdigest()  # its entry was changed just now
    assert not cache.exists()


def test_small_files_are_read_each_time(tmp_path: Path, cache: Path, reads: list[Path]) -> None:
    """That is as quick."""
    (tmp_path / "small").write_bytes(b"x")
    assert digest_of(tmp_path / "small") == digest_of(tmp_path / "small")
    assert len(reads) == 2
    assert not cache.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"%s": 3}', '{"%s": [1, 2, 3, 4, "lie"]}'])
def test_a_damaged_cache_changes_nothing(file: Path, cache: Path, reads: list[Path], content: str) -> None:
    """It is made anew."""
    cache.parent.mkdir(parents=True)
    cache.write_text(content.replace("%s", str(file)))
    assert digest_of(file) == hashlib.sha256(LARGE).hexdigest()
    assert json.loads(cache.read_text())[str(file.resolve())][-1] == hashlib.sha256(LARGE).hexdigest()


def test_without_a_place_for_the_cache_it_works(file: Path, reads: list[Path], monkeypatch, tmp_path: Path) -> None:
    """Only slower: a home that is full, or not there."""
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    assert digest_of(file) == digest_of(file) == hashlib.sha256(LARGE).hexdigest()
    assert len(reads) == 2


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Plugins say what it was for."""
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path / "gone")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "x").write_bytes(data)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(data).hexdigest()

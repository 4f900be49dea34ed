"""Whole files: all or nothing, also when writing fails; many small files without many open ones."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from badc_core import atomic
from badc_core.errors import StoreError


def test_a_file_is_made_with_its_folder(tmp_path: Path):
    target = tmp_path / "a" / "b" / "file.txt"
    atomic.write_text(target, "Größe\n")
    assert target.read_bytes() == "Größe\n".encode()
    atomic.write_bytes(target, b"\0\1")
    assert target.read_bytes() == b"\0\1"
    assert os.listdir(target.parent) == ["file.txt"]


def test_names_that_are_no_utf_8_keep_their_bytes(tmp_path: Path):
    atomic.write_text(tmp_path / "x", os.fsdecode(b"\xf6"))
    assert (tmp_path / "x").read_bytes() == b"\xf6"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_the_old_file_stays_when_writing_fails(error: BaseException, tmp_path: Path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    wanted = StoreError if isinstance(error, OSError) else type(error)

    def fail() -> None:
        with atomic.replacing(target) as file:
            file.write("new")
            raise error

    with pytest.raises(wanted):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_nothing_appears_before_the_end(tmp_path: Path):
    target = tmp_path / "file.txt"
    with atomic.replacing(target) as file:
        file.write("something")
        file.flush()
        assert not target.exists()
        (only,) = os.listdir(tmp_path)
        assert only.startswith(atomic.TEMPORARY_PREFIX)
    assert target.read_text() == "something"


def test_an_error_about_another_file_is_left_alone(tmp_path: Path):
    """The block may read other files; what is wrong with them is not said of ours."""
    with pytest.raises(FileNotFoundError), atomic.replacing(tmp_path / "file.txt"):
        (tmp_path / "source").read_text()


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EDQUOT, "Your quota is used up"),
        (errno.EROFS, "The file system is read-only"),
        (errno.EACCES, "You may not write there"),
        (errno.ENAMETOOLONG, "A name is too long"),
        (errno.EIO, "Mend that"),
    ],
)
def test_what_the_system_said_is_explained(code: int, hint: str):
    error = atomic.explain(OSError(code, os.strerror(code)), Path("out/x.json"))
    assert "out/x.json" in error.message
    assert os.strerror(code) in error.message
    assert error.hint is not None
    assert error.hint.startswith(hint)
    assert error.hint.endswith("run the same command again: what was committed stays done.")


def test_names_for_temporary_files_are_used_once(tmp_path: Path):
    names = {atomic.temporary_name() for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(f"{atomic.TEMPORARY_PREFIX}") and str(os.getpid()) in name for name in names)


def test_a_forked_process_uses_other_names():
    program = (
        "import os\n"
        "from badc_core.atomic import temporary_name\n"
        "print(temporary_name(), flush=True)\n"
        "pid = os.fork()\n"
        "pid and os.waitpid(pid, 0)\n"
        "print(temporary_name(), flush=True)\n"
    )
    names = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert len(set(names)) == 3


@pytest.mark.parametrize("count", [1, atomic._SYNCFS_FROM])
def test_new_files_are_synced_and_closed(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Few of them one by one; many by one call for each place, whatever its file system."""
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), real(handle)))
    together: list[int] = []
    if (syncfs := atomic._syncfs()) is not None:
        monkeypatch.setattr(atomic, "_syncfs", lambda: lambda handle: (together.append(handle), syncfs(handle))[1])
    files = atomic.NewFiles(2 * count)
    handles = []
    for place in ("a", "b"):
        for number in range(count):
            handles.append(os.open(tmp_path / f"{place}{number}", os.O_WRONLY | os.O_CREAT))
            files.take(handles[-1], Path(place))
    files.sync()
    files.close()
    assert (len(together), len(synced)) == ((0, 2) if count == 1 or syncfs is None else (2, 0))
    for handle in set(handles):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)


@pytest.mark.skipif(atomic._syncfs() is None, reason="this system has no syncfs")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_sync_that_fails_is_heard(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(atomic, "_syncfs", lambda: lambda handle: -1)
    monkeypatch.setattr(atomic.ctypes, "get_errno", lambda: code)
    files = atomic.NewFiles(100)
    files.take(os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT), tmp_path)
    with pytest.raises(OSError, match=os.strerror(code)):
        files.sync()


def test_many_new_files_need_few_handles(tmp_path: Path):
    """A process may often have 1024 files open, and a run has many workers."""
    program = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "from pathlib import Path\n"
        "from badc_core.committing import FilesWriter\n"
        "from badc_core.model import Chunk, ChunkResult, Recording\n"
        "base = Path(sys.argv[1])\n"
        "recording = Recording('REC', Path('x'))\n"
        "chunks = [Chunk(f'c{n}', 'REC', Path('x')) for n in range(300)]\n"
        "results = [(base, ChunkResult(chunk, recording, 'ok', (), 'r')) for chunk in chunks]\n"
        "assert len(FilesWriter('run').commit(results)) == 300\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert len(os.listdir(tmp_path / "REC")) == 300
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 40

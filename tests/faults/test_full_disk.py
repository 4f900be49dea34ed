"""Disks that are full, over quota, read-only or out of reach: a clear error, nothing half-made, and the rest later."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs

from badc_core import engine
from badc_core.errors import StoreError
from badc_core.host import Host
from badc_core.results import Problem, scan
from badc_core.runs import RunRequest, RunSummary

LAYOUTS = ("files", "segments")
LAB = ("--runner", "lab", "--quiet")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own, of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    options = "size=1m,nr_inodes=1000"
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _fill(disk: Path, leave_kib: int) -> Path:
    ballast = disk / "ballast"
    ballast.write_bytes(b"")
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(bytes(free - leave_kib * 1024))
    return ballast


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_disk_that_runs_full(layout: str, small_disk: Path, run_badc: Callable[..., Any], isolated: Path):
    """What was committed stays and is whole; with room again, the same command does the rest."""
    manifest = runs.make_manifest(isolated / "m.csv", 60, 2)
    command = ("infer", "run", manifest, *LAB, "--layout", layout, "--telemetry-log", isolated / "log.jsonl")
    command += ("-o", "batch=3", "-o", "sleep_ms=5")
    whole = isolated / "whole"
    run_badc(*command, "--output-dir", whole, env=runs.lab_environment()).ok()
    output = small_disk / "out"
    ballast = _fill(small_disk, 130)
    ended = run_badc(*command, "--output-dir", output, env=runs.lab_environment())
    assert ended.code == 1
    assert str(output) in ended.stderr
    assert "The disk is full. Free some space, then run the same command again" in ended.stderr
    assert "Traceback" not in ended.stderr
    problems: list[Problem] = []
    there = len(list(scan(output, problems.append)))
    assert there < 120
    assert problems == []
    assert list(output.glob("REC*/.badc-tmp-*")) == []
    ballast.unlink()
    run_badc(*command, "--output-dir", output, env=runs.lab_environment()).ok()
    assert runs.aggregate(output, isolated / "a.csv") == runs.aggregate(whole, isolated / "b.csv")


def test_a_disk_that_is_full_from_the_start(small_disk: Path, run_badc: Callable[..., Any], isolated: Path):
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    _fill(small_disk, 0)
    ended = run_badc("infer", "run", manifest, *LAB, "--output-dir", small_disk / "out", env=runs.lab_environment())
    assert ended.code == 1
    assert "The disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_only_the_telemetry_s_disk_is_full(small_disk: Path, run_badc: Callable[..., Any], isolated: Path):
    """No result is lost because a log line could not be written."""
    manifest = runs.make_manifest(isolated / "m.csv", 40, 2)
    log = small_disk / "log.jsonl"
    _fill(small_disk, 8)
    ended = run_badc(
        "infer", "run", manifest, *LAB, "--output-dir", "out", "--telemetry-log", log, env=runs.lab_environment()
    )
    assert ended.code == 0, ended.stderr
    assert len(runs.committed(isolated / "out")) == 80
    assert str(log) in ended.stderr
    assert "The disk is full" in ended.stderr


def test_a_disk_that_is_read_only(small_disk: Path, run_badc: Callable[..., Any], isolated: Path):
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ended = run_badc("infer", "run", manifest, *LAB, "--output-dir", small_disk / "out", env=runs.lab_environment())
    assert ended.code == 1
    assert "The file system is read-only. Choose another folder" in ended.stderr
    assert str(small_disk / "out") in ended.stderr


# ------------------------------------------------------------------------ refusals at every kind of write

CALLS = ("open", "write", "fsync", "rename", "replace", "link", "mkdir")


class _Refusing:
    """Makes the system refuse what touches paths below a folder, from the `after`-th call on."""

    def __init__(self, folder: Path, name: str, code: int, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = str(folder)
        self._code = code
        self._after = after
        self._ours: set[int] = set()
        self.refused = 0
        real_open, real_close = os.open, os.close

        def opened(path: Any, *args: Any, **kwargs: Any) -> int:
            if name == "open" and args and args[0] & os.O_CREAT:
                self._count(path)
            handle = real_open(path, *args, **kwargs)
            if str(path).startswith(self._folder):
                self._ours.add(handle)
            return handle

        def closed(handle: int) -> None:
            self._ours.discard(handle)
            real_close(handle)

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "close", closed)
        if name != "open":
            real = getattr(os, name)

            def call(what: Any, *args: Any, **kwargs: Any) -> Any:
                self._count(what)
                return real(what, *args, **kwargs)

            monkeypatch.setattr(os, name, call)

    def _count(self, what: Any) -> None:
        if what in self._ours or (not isinstance(what, int) and str(what).startswith(self._folder)):
            self._after -= 1
            if self._after < 0:
                self.refused += 1
                raise OSError(self._code, os.strerror(self._code))


def _error_of(do: Callable[[], object]) -> StoreError | None:
    try:
        do()
    except StoreError as error:
        return error
    return None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_system_refuses(layout: str, code: int, isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """Each kind of call, at once and later: an error that names the place, and the same command does the rest."""
    manifest = runs.make_manifest(isolated / "m.csv", 4, 2)

    def go(output: Path) -> RunSummary:
        request = RunRequest(
            manifest,
            "lab",
            {"batch": "3"},
            output,
            layout,
            telemetry_log=isolated / "log.jsonl",  # type: ignore[arg-type]
        )
        return engine.run(request, host=Host(extra=[faulty_lab]))

    monkeypatch.setattr("badc_core.settling.COMMIT_AFTER_S", 0.001)
    monkeypatch.setattr("badc_core.telemetry.DISPATCH_S", 0.01)
    refused = 0
    for name in CALLS:
        for after in (0, 4):
            output = isolated / f"{name}-{after}"
            with monkeypatch.context() as patch:
                refusing = _Refusing(output, name, code, after, patch)
                error = _error_of(lambda output=output: go(output))
            if error is not None:
                assert str(output) in error.message
                assert error.hint
            elif refusing.refused:
                assert name in ("link", "replace"), f"{name}: a refusal went unnoticed"
            refused += refusing.refused > 0
            problems: list[Problem] = []
            if output.exists():
                list(scan(output, problems.append))
            assert problems == []
            go(output)
            assert len(runs.committed(output)) == len(runs.documents(output)) == 8
    assert refused >= 8


# ---------------------------------------------------------------------------------------- out of reach


def _as_nobody(*args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``badc`` without root's right to read and write everything."""
    plain = [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    if plain and not shutil.which("setpriv"):
        pytest.skip("root reads everything, and there is no setpriv to change that")
    return subprocess.run(
        [*plain, *runs.BADC, *map(str, args)],
        env=runs.lab_environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_that_cannot_be_read(layout: str, isolated: Path, run_badc: Callable[..., Any]):
    """Nobody can say what is done there: the run refuses instead of doing it again, and names the folder."""
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    command = ("infer", "run", manifest, *LAB, "--output-dir", "out", "--layout", layout)
    run_badc(*command, env=runs.lab_environment()).ok()
    folder = isolated / "out" / ("REC0" if layout == "files" else "_segments")
    folder.chmod(0)
    ended = _as_nobody(*command, cwd=isolated)
    told = _as_nobody("infer", "aggregate", "out", cwd=isolated)
    folder.chmod(0o755)
    assert ended.returncode == 1
    assert str(folder) in ended.stderr
    assert "Traceback" not in ended.stderr + told.stderr
    assert str(folder.name) in told.stderr
    run_badc(*command, env=runs.lab_environment()).ok()


def test_a_recording_that_may_not_be_read(isolated: Path):
    """That recording's chunks fail and say why; the others are done."""
    sources = [isolated / "closed.wav", isolated / "open.wav"]
    for source in sources:
        source.write_bytes(b"RIFF and more")
    sources[0].chmod(0)
    chunks = [runs.Chunk(path.stem, path.stem, path) for path in sources]
    manifest = runs.make_manifest(isolated / "m.csv", chunks)
    ended = _as_nobody("infer", "run", manifest, *LAB, "-o", "wants=file", "--output-dir", "out", cwd=isolated)
    assert ended.returncode == 3, ended.stderr
    found = {entry["chunk_id"]: entry for entry in runs.documents(isolated / "out")}
    assert found["open"]["status"] != "failed"
    assert "closed.wav" in found["closed"]["error"]
    assert "Permission denied" in found["closed"]["error"]


def test_an_output_folder_that_may_not_be_written(isolated: Path):
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    (isolated / "out").mkdir(mode=0o555)
    ended = _as_nobody("infer", "run", manifest, *LAB, "--output-dir", "out", cwd=isolated)
    assert ended.returncode == 1
    assert str(isolated / "out") in ended.stderr
    assert "You may not write there" in ended.stderr

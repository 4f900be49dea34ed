"""A recording of twelve hours takes no more memory than one of ten minutes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from badc_core import manifest
from badc_core.model import Chunk

RATE = 8_000
TEN_MINUTES_MS, TWELVE_HOURS_MS = 600_000, 43_200_000


def silence(path: Path, length_ms: int) -> Path:
    """Write a WAV file of silence; no blocks of the disk are used for what is zero."""
    size = 2 * RATE * length_ms // 1000
    head = struct.pack(
        "<4sI8sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVEfmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", size
    )
    path.write_bytes(head)
    os.truncate(path, len(head) + size)
    return path


def peak_mb(folder: Path, length_ms: int, python: Path, root: Path) -> float:
    """Return the largest memory of a process that heard ten minutes, spread over a recording."""
    folder.mkdir()
    source = silence(folder / "REC.wav", length_ms)
    starts = range(0, length_ms, length_ms // 10)
    chunks = [Chunk(f"REC_{start}", "REC", source, start, start + 60_000, 0, start) for start in starts]
    manifest.write(folder / "chunks.csv", chunks)
    argv = [sys.executable, "-m", "badc_core", "infer", "run", "chunks.csv", "--runner", "hawkears", "--max-gpus", "0"]
    argv += ["--output-dir", "out", "--quiet"]
    for option in (f"python={python}", f"root={root}", "models=1", "low_band=no", "threads=1"):
        argv += ["-o", option]
    process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert len(list((folder / "out").rglob("REC_*.json"))) == 10
    return usage.ru_maxrss / 1000


@pytest.mark.slow
def test_twelve_hours(hawkears_python: Path, hawkears_root: Path, tmp_path: Path) -> None:
    """A tenth more would be noticed: the samples alone of twelve hours are 4.8 GB."""
    short = peak_mb(tmp_path / "short", TEN_MINUTES_MS, hawkears_python, hawkears_root)
    long = peak_mb(tmp_path / "long", TWELVE_HOURS_MS, hawkears_python, hawkears_root)
    assert 200 < short < 3000
    assert long < 1.1 * short

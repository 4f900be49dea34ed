"""Long recordings: memory does not grow with their length."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import runs

RATE = 8000


def _silence(path: Path, seconds: int) -> Path:
    """Write a recording of silence that takes no room on the disk: a header, and a hole."""
    size = 2 * RATE * seconds
    header = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16) + b"data" + struct.pack("<I", size)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(header) + size) + header)
    os.truncate(path, len(header) + 8 + size)
    return path


def _peak_mib(*args: object) -> float:
    """Run ``badc`` with the lab and return the most memory that it had at once."""
    process = subprocess.Popen(
        [*runs.BADC, *map(str, args)], env=runs.lab_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = process.stdout.read() if process.stdout else b""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.decode()
    return used.ru_maxrss / 1024


LAB = ("--runner", "lab", "-o", "wants=samples", "-o", "batch=2", "--quiet")


def test_a_recording_of_a_day_takes_no_more_memory_than_one_of_two_hours(isolated: Path):
    """Cut without being read, and analysed slice by slice; a day is 1.4 GB here."""
    cut, run = {}, {}
    for hours in (2, 24):
        sound, manifest = _silence(isolated / f"{hours}.wav", 3600 * hours), isolated / f"{hours}.csv"
        cut[hours] = _peak_mib("chunk", "manifest", sound, "--chunk-duration", 60, "--output", manifest)
        run[hours] = _peak_mib("infer", "run", manifest, *LAB, "--output-dir", isolated / str(hours))
        assert len(runs.committed(isolated / str(hours))) == 60 * hours
    assert cut[24] < cut[2] + 20
    assert run[24] < run[2] + 30

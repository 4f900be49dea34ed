"""What large archives and clusters cost: the figures that ``docs/explanation/scale.md`` calculates with."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inputs
from measure import badc, measure, median_of
from rows import Row

__all__ = ["archive", "cluster"]

_RATE_HZ = 44_100
_MINUTES = 10
_CHUNK_MS = 60_000


def _stereo(path: Path, seconds: int) -> Path:
    """Write a WAV file of quiet noise, 16 bits, two channels at 44.1 kHz: 176.4 kB a second."""
    import numpy as np

    generator = np.random.default_rng(2)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        for _ in range(seconds):
            file.writeframes(generator.normal(0, 300, (_RATE_HZ, 2)).astype("<i2").tobytes())
    return path


def _decoding(folder: Path, sound: Path, rate_hz: int) -> float:
    """Return how many seconds of a stereo recording one core reads, mixes down and resamples in a second of CPU."""
    from badc_core import manifest
    from badc_core.model import Recording
    from badc_core.protocols import InputSpec
    from badc_core.signals import SignalReader

    inputs.slices(folder / "slices.csv", sound, _MINUTES, _CHUNK_MS)
    reader = SignalReader(InputSpec(sample_rate_hz=rate_hz), folder)
    with contextlib.closing(reader):
        todo = list(manifest.read(folder / "slices.csv"))
        for first in (True, False):  # what is read first is not in memory, and modules are not imported
            began = time.process_time()
            for chunk in todo:
                reader.read(chunk, Recording(chunk.recording_id, chunk.source_path))
            if not first:
                return len(todo) * _CHUNK_MS / 1000 / (time.process_time() - began)
    raise AssertionError


def archive(folder: Path) -> Iterator[Row]:
    """Stereo recordings: how fast they are listed and decoded, and how much room results take."""
    sound = _stereo(folder / "STEREO.wav", _MINUTES * 60)
    for rate_hz in (_RATE_HZ, 48_000, 28_000):
        how = "read and mixed" if rate_hz == _RATE_HZ else f"read, mixed, resampled to {rate_hz / 1000:g} kHz"
        yield Row(f"stereo 44.1 kHz, {how}", f"{_decoding(folder, sound, rate_hz):.0f}x real time, one core")
    small = _stereo(folder / "one.wav", 1).read_bytes()
    many = folder / "many"
    many.mkdir()
    for number in range(2000):
        (many / f"REC{number:04d}.wav").write_bytes(small)
    argv = badc("chunk", "manifest", "many", "--output", "many.csv")
    found = median_of(1, lambda: measure(argv, folder))
    start = median_of(3, lambda: measure(badc("version"), folder))
    each_ms = (found.cpu_s - start.cpu_s) / 2000 * 1000
    yield Row("chunk manifest, from headers", f"{each_ms:.2f} ms CPU a recording")
    inputs.manifest(folder / "chunks.csv", 10_000, chunk_ms=_CHUNK_MS)
    for layout in ("files", "segments"):
        measure(badc("infer", "run", "chunks.csv", "--layout", layout, "--output-dir", layout, "--quiet"), folder)
        results = [path for path in (folder / layout).glob("[!.]*/*") if path.is_file()]
        size, room = (sum(path.stat().st_size for path in results), sum(p.stat().st_blocks * 512 for p in results))
        shown = f"{size / 10_000:.0f} bytes a chunk without detections, {room / 10_000:.0f} on disk"
        yield Row(f"results, layout {layout}", f"{shown}, {len(results):,} files")
    yield from _annexed(folder)


def _annexed(folder: Path) -> Iterator[Row]:
    """A thousand results, saved in a DataLad dataset."""
    from badc_core import datalad

    path = datalad.environment()["PATH"]
    if shutil.which("datalad", path=path) is None:
        return
    os.environ.update(PATH=path, GIT_AUTHOR_NAME="Bench", GIT_AUTHOR_EMAIL="bench@example.org")
    os.environ.update(GIT_COMMITTER_NAME="Bench", GIT_COMMITTER_EMAIL="bench@example.org")
    measure(["datalad", "create", "set"], folder)
    inputs.detections(folder / "set/results", 1000, 3)
    before = _entries(folder / "set")
    found = measure(["datalad", "save", "-d", "set", "-m", "results", "set/results"], folder)
    more = (_entries(folder / "set") - before) / 1000
    yield Row("datalad save, 1 000 results", f"{found.wall_s:.1f} s, {more:.1f} inodes a file, besides its own")


def _entries(folder: Path) -> int:
    return sum(len(names) + len(files) for _, names, files in os.walk(folder))


def cluster(folder: Path) -> Iterator[Row]:
    """Plans, submissions and states of large runs, on an emulated SLURM whose nodes do nothing."""
    million = ("--scheduler", "slurm", "-s", "shard_chunks=1000")
    inputs.manifest(folder / "million.csv", 1_000_000)
    argv = badc("infer", "run", "million.csv", *million, "--output-dir", "planned", "--dry-run")
    found = measure(argv, folder)
    reached = found.wall_s < 10 and found.peak_mb < 300
    shown = f"{found.wall_s:.1f} s, {found.cpu_s:.1f} s CPU, {found.peak_mb:.0f} MB"
    yield Row("plan of 1 000 000 chunks in 1 000 shards", shown, "< 10 s, < 300 MB", "", reached)
    from badc_slurm.rehearsal import Cluster, missing

    if missing():
        yield Row("a run of 10 000 tasks", "SLURM is not installed here")
        return
    inputs.manifest(folder / "tasks.csv", 10_000)
    usual = Cluster(folder / "usual")
    with _started(usual):
        shown, reached = _submitting(folder, "usual-out")
        yield Row("submitting 10 000 tasks, where SLURM takes 10 000 jobs", shown, "< 5 s", "", reached)
        measure(badc("jobs", "cancel", "--output-dir", "usual-out"), folder)
    large = Cluster(folder / "large", max_array=10_001, extra=("MaxJobCount=30000",))
    with _started(large):
        yield Row("an array of 400 tasks that do nothing", f"{_bare_array(folder):.0f} tasks a second")
        shown, reached = _submitting(folder, "large-out")
        yield Row("submitting 10 000 tasks, where it takes more", shown, "< 5 s", "", reached)
        look = badc("jobs", "status", "--output-dir", "large-out")
        found = median_of(3, lambda: measure(look, folder))
        if "10,000 waiting" not in found.output:
            raise RuntimeError(f"not all tasks are known: {found.output}")
        shown = f"{found.wall_s:.2f} s, {found.cpu_s:.2f} s CPU"
        yield Row("badc jobs status, 10 000 tasks", shown, "< 1 s", "", found.wall_s < 1)
        measure(badc("jobs", "cancel", "--output-dir", "large-out"), folder)


@contextlib.contextmanager
def _started(emulated: Any) -> Iterator[None]:
    """Have an emulated cluster for as long as the block runs."""
    emulated.start()
    try:
        os.environ.update(emulated.environment)
        yield
    finally:
        emulated.stop()


def _submitting(folder: Path, output: str) -> tuple[str, bool]:
    """Submit 10 000 tasks to nodes that take none; return what that took, and whether it was less than 5 s."""
    subprocess.run(["scontrol", "update", "nodename=n[1-4]", "state=drain", "reason=bench"], check=True)
    run = ("tasks.csv", "--scheduler", "slurm", "-s", "shard_chunks=1", "--output-dir", output, "--detach")
    found = measure(badc("infer", "run", *run), folder)
    left = re.search(r"[\d,]+ shards? wait\S* .*", found.output)
    shown = f"{found.wall_s:.1f} s, {found.cpu_s:.1f} s CPU, {found.peak_mb:.0f} MB" + (f"; {left[0]}" if left else "")
    return shown, found.wall_s < 5


def _bare_array(folder: Path) -> float:
    """Return how many tasks of an array SLURM itself starts and ends in a second."""
    (folder / "nothing.sh").write_text("#!/bin/sh\n:\n")
    began = time.perf_counter()
    subprocess.run(["sbatch", "-Q", "--array=0-399", "-o", "/dev/null", "nothing.sh"], cwd=folder, check=True)
    while subprocess.run(["squeue", "-h"], capture_output=True, check=True).stdout:
        time.sleep(0.1)
    return 400 / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit("This is a part of benchmarks/run.py: make bench ARGS='archive cluster'")

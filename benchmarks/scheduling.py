"""What BADC adds to a job array: the same tasks, with and without the command that plans, follows and gathers."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import inputs
from measure import badc, measure
from rows import Row

__all__ = ["scheduling"]

_TASKS = 200
_PAIRS = 3
_MOST = 0.10


def scheduling(folder: Path) -> Iterator[Row]:
    """An array of 200 tasks on an emulated SLURM: what planning, following and gathering add to the array alone."""
    from badc_slurm.rehearsal import Cluster, missing

    if missing():
        yield Row("a run of 200 tasks, over the bare array", "SLURM is not installed here")
        return
    inputs.manifest(folder / "tasks.csv", _TASKS * 50)
    emulated = Cluster(folder / "slurm")
    emulated.start()
    try:
        os.environ.update(emulated.environment)
        names = itertools.count()
        _whole(folder, f"out-{next(names)}")  # modules are compiled, files are in memory
        pairs = [(_bare(folder, f"out-{next(names)}"), _whole(folder, f"out-{next(names)}")) for _ in range(_PAIRS)]
    finally:
        emulated.stop()
    bare_s, whole_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    more = statistics.median(whole / bare for bare, whole in pairs) - 1
    runs = ", ".join(f"{whole / bare - 1:+.0%}" for bare, whole in pairs)
    shown = f"{more:+.1%}: {whole_s:.1f} s against {bare_s:.1f} s ({runs})"
    yield Row(f"a run of {_TASKS} tasks, over the bare array", shown, f"≤ {_MOST:.0%}", "", more <= _MOST)


def _command(output: str, *more: str) -> list[str]:
    run = ("tasks.csv", "--scheduler", "slurm", "-s", "shard_chunks=50", "--output-dir", output, "--quiet", *more)
    return badc("infer", "run", *run)


def _whole(folder: Path, output: str) -> float:
    """Return how many seconds the whole command takes."""
    return measure(_command(output), folder).wall_s


def _bare(folder: Path, output: str) -> float:
    """Return how many seconds SLURM takes for the very same tasks, which wait for nodes when the clock starts."""
    _nodes("state=drain", "reason=bench")
    measure(_command(output, "--detach"), folder)
    began = time.perf_counter()
    _nodes("state=resume")
    while subprocess.run(["squeue", "-h"], capture_output=True, check=True).stdout:
        time.sleep(0.5)
    return time.perf_counter() - began


def _nodes(*words: str) -> None:
    subprocess.run(["scontrol", "update", "nodename=n[1-4]", *words], check=True)


if __name__ == "__main__":
    sys.exit("This is a part of benchmarks/run.py: make bench ARGS=scheduling")

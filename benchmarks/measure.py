"""Measuring whole commands: CPU seconds and peak memory as the operating system accounts for them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

__all__ = ["Measured", "badc", "measure", "median_of"]


@frozen
class Measured:
    """One finished command.

    Parameters
    ----------
    cpu_s
        User and system time, of the process and of all children it waited for.
    wall_s
        Elapsed time.
    peak_mb
        Largest resident memory of one process, in MB (10^6 bytes).
    output
        What it wrote on stdout.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: str


def badc(*arguments: str) -> list[str]:
    """Return the command line of `badc` in this environment."""
    return [str(Path(sys.executable).with_name("badc")), *arguments]


def measure(
    argv: Sequence[str], cwd: Path, *, ok: Sequence[int] = (0,), more: Mapping[str, str] | None = None
) -> Measured:
    """Run a command, with `more` in its environment, and measure it.

    Raises
    ------
    RuntimeError
        It ended with a status that is not in `ok`.
    """
    # Compiled modules are kept, as they are for users: the run that does not count makes them.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= more or {}
    began = time.perf_counter()
    with (cwd / "stdout.txt").open("w+b") as out, (cwd / "stderr.txt").open("w+b") as err:
        process = subprocess.Popen(list(argv), cwd=cwd, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        output = out.read().decode()
        if process.returncode not in ok:
            raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}: {err.read().decode()[-2000:]}")
    return Measured(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024 / 1e6, output)


def median_of(runs: int, once: Callable[[], Measured]) -> Measured:
    """Repeat a measurement after one run that does not count, and return the run with the median of CPU seconds."""
    once()
    found = sorted((once() for _ in range(runs)), key=lambda run: run.cpu_s)
    middle = statistics.median_low([run.cpu_s for run in found])
    return next(run for run in found if run.cpu_s == middle)

"""HawkEars in four ways: a process per chunk, its own command, a bare loop over its predictor, and BADC.

The same recordings and the same networks, of full size and with random weights, for all of them. CPU seconds; ways that
are compared take turns, and each figure is a median. All compute with one thread: threads that wait for each other on a
busy machine use CPU seconds, too, and say nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import inputs
from measure import Measured, badc, measure
from rows import Row

__all__ = ["hawkears", "interpreter", "make_root"]

_BARE = Path(__file__).with_name("bare_hawkears.py")
_MADE = Path(__file__).parents[1] / ".venv-hawkears/hawkears/env/bin/python"
_RECORDINGS, _MINUTES, _CHUNK_MS, _TURNS = 2, 2, 60_000, 3
_AUDIO_S = 60 * _RECORDINGS * _MINUTES
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def interpreter() -> Path | None:
    """Return the interpreter of an environment with HawkEars, if there is one."""
    found = Path(os.environ.get("BADC_TEST_HAWKEARS_PYTHON") or _MADE)
    return found if found.exists() else None


def make_root(python: Path, root: Path, members: int, network: str = "bknet.5", fitted: bool = False) -> Path:
    """Make a data folder with networks; of full size and with random weights, unless told otherwise."""
    argv = [python, "-m", "badc_hawkears.testing.checkpoint", root, "--members", ",".join([network] * members)]
    subprocess.run([*map(str, argv), *([] if fitted else ["--random"])], check=True, capture_output=True)
    return root


def hawkears(folder: Path) -> Iterator[Row]:
    """HawkEars over four minutes: a process per chunk, its command, a bare loop, and BADC."""
    python = interpreter()
    if python is None:
        yield Row("HawkEars", "left out: it has no environment here. Make it: make hawkears-env")
        return
    root = make_root(python, folder / "root", 3)
    sounds = folder / "sounds"
    sounds.mkdir()
    for number in range(_RECORDINGS):
        inputs.recording(sounds / f"REC{number}.wav", _MINUTES)
    inputs.recording(folder / "chunk.wav", 1)
    turns = _take_turns(_ways(folder, python, root, sounds))
    chunks = _AUDIO_S * 1000 // _CHUNK_MS
    each = _middle(turns["chunk"])
    ours, vendor, start = (_middle(turns[name]) for name in ("ours whole", "vendor", "ours start"))
    yield _row(
        "1 a process per chunk (one, times the number of chunks)", each, chunks * each.cpu_s, chunks * each.wall_s
    )
    yield _row("2 its command, on the folder", vendor, vendor.cpu_s, vendor.wall_s)
    worker = _middle(turns["ours"])
    for name, what in (("bare200", "3 a bare loop, 200 spectrograms at once"), ("bare16", "3 the same, 16 at once")):
        found = _middle(turns[name])
        yield _row(what, found, found.cpu_s, found.wall_s)
    ratio = statistics.median(bare.cpu_s / one.cpu_s for bare, one in zip(turns["bare16"], turns["ours"], strict=True))
    yield _row(
        "4 BADC's worker alone", worker, worker.cpu_s, worker.wall_s, "≥ 97 % of 3", ratio >= 0.97, f"{ratio:.0%}"
    )
    goal = ours.cpu_s <= vendor.cpu_s
    times = f"{chunks * each.cpu_s / ours.cpu_s:.1f} times 1"
    yield _row("4 badc infer run, whole", ours, ours.cpu_s, ours.wall_s, "≤ 2", goal, times)
    yield _row("  of it, with a single chunk", start, start.cpu_s, start.wall_s)


def _ways(folder: Path, python: Path, root: Path, sounds: Path) -> dict[str, Callable[[], Measured]]:
    command = [str(python.with_name("hawkears")), "analyze", "-r", "csv", "--threads", "1", "--quiet"]
    command += ["--models", "3", "--no-low-band", "-o", str(folder / "theirs")]
    rows = (inputs.slices(folder / f"{path.stem}.csv", path, _MINUTES, _CHUNK_MS) for path in sorted(sounds.iterdir()))
    head, *lines = [line for one in rows for line in one.read_text().splitlines(keepends=True)]
    (folder / "all.csv").write_text(head + "".join(line for line in lines if line != head))
    (folder / "one.csv").write_text(head + lines[0])

    def run(manifest: str) -> Measured:
        shutil.rmtree(folder / "out", ignore_errors=True)
        argv = badc(
            "infer", "run", manifest, "--runner", "hawkears", "--max-gpus", "0", "--output-dir", "out", "--quiet"
        )
        for option in (f"python={python}", f"root={root}", "models=3", "low_band=no"):
            argv += ["-o", option]
        return measure([*argv, "--telemetry-log", "log.jsonl"], folder, more=_ONE_THREAD)

    def bare(way: str) -> Measured:
        found = measure([str(python), str(_BARE), str(root), str(sounds), way, "2"], folder, more=_ONE_THREAD)
        told = json.loads(found.output.rpartition("\n\0")[2])
        return Measured(told["cpu_s"], told["wall_s"], told["peak_mb"], "")

    return {
        "bare200": lambda: bare("bare200"),
        "ours": lambda: bare("ours"),
        "bare16": lambda: bare("bare16"),
        "vendor": lambda: measure([*command, "-i", str(sounds)], root, more=_ONE_THREAD),
        "ours whole": lambda: run("all.csv"),
        "ours start": lambda: run("one.csv"),
        "chunk": lambda: measure([*command, "-i", str(folder / "chunk.wav")], root, more=_ONE_THREAD),
    }


def _take_turns(ways: dict[str, Callable[[], Measured]]) -> dict[str, list[Measured]]:
    """Measure every way a few times, all in turn: the machine's speed changes in between."""
    found: dict[str, list[Measured]] = {name: [] for name in ways}
    for turn in range(_TURNS):
        for name in list(ways) if turn % 2 == 0 else reversed(ways):
            found[name].append(ways[name]())
    return found


def _middle(runs: list[Measured]) -> Measured:
    return sorted(runs, key=lambda run: run.cpu_s)[len(runs) // 2]


def _row(
    what: str, found: Measured, cpu_s: float, wall_s: float, goal: str = "", reached: bool | None = None, more: str = ""
) -> Row:
    shown = f"{cpu_s:.1f} s CPU, {wall_s:.1f} s wall, {_AUDIO_S / cpu_s:.0f}x real time by CPU, {found.peak_mb:.0f} MB"
    return Row(f"HawkEars {what}", f"{shown}; {more}" if more else shown, goal, "", reached)

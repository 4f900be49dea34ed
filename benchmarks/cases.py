"""The cases: what is measured, what BADC 0.1 needed for it, and what is to be reached."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import inputs
from hawkears_cpu import hawkears
from large import archive, cluster
from measure import Measured, badc, measure, median_of
from rows import Row
from scheduling import scheduling

__all__ = ["CASES"]

_BARE_BIRDNET = Path(__file__).with_name("bare_birdnet.py")
_BARE_STORE = Path(__file__).with_name("bare_store.py")
QUIET = ("--quiet", "--telemetry-log", "log.jsonl")


def startup(folder: Path) -> Iterator[Row]:
    """``badc --help`` and ``badc plugins``, against Python that imports the libraries they cannot do without."""
    bare = median_of(9, lambda: measure([sys.executable, "-c", "import attrs, click, pluggy"], folder))
    for words, before in ((["--help"], "0.45 s"), (["plugins"], "")):
        found = median_of(9, lambda words=words: measure(badc(*words), folder))
        shown = f"{found.cpu_s:.3f} s CPU ({bare.cpu_s:.3f} s is Python with attrs, click and pluggy)"
        yield Row(f"badc {words[0]}", shown, "< 0.12 s", before, found.cpu_s < 0.12)


def stub(folder: Path) -> Iterator[Row]:
    """The stub runner over 10 000 chunks, in both layouts."""
    inputs.manifest(folder / "chunks.csv", 10_000)
    for layout, goal_us in (("segments", 60), ("files", 150)):
        # Every run gets a new folder, and nothing is deleted in between: ext4 searches long for a free inode when
        # thousands were deleted in the last minute, which costs more than all the rest.
        def once(layout: str = layout, runs: Iterator[int] = itertools.count()) -> Measured:  # noqa: B008
            out = f"{layout}-{next(runs)}"
            argv = badc("infer", "run", "chunks.csv", "--layout", layout, "--output-dir", out, "--quiet")
            return measure([*argv, "--telemetry-log", f"{out}.jsonl"], folder)

        found = median_of(5, once)
        cost_us = found.cpu_s / 10_000 * 1e6
        bare = median_of(3, lambda layout=layout: measure([sys.executable, str(_BARE_STORE), layout, "10000"], folder))
        shown = f"{cost_us:.0f} µs CPU a chunk, {found.peak_mb:.0f} MB ({bare.cpu_s / 10_000 * 1e6:.0f} µs a bare loop)"
        yield Row(f"stub run, 10 000 chunks, {layout}", shown, f"≤ {goal_us} µs", "550 µs, 84 MB", cost_us <= goal_us)
    argv = badc("infer", "run", "chunks.csv", "--output-dir", "files-0", *QUIET)
    found = median_of(3, lambda: measure(argv, folder))
    yield Row("resume, 10 000 done, files", f"{found.cpu_s:.2f} s CPU, {found.peak_mb:.0f} MB", "", "0.74 s")


def command(folder: Path) -> Iterator[Row]:
    """A Python program per chunk, against a bare loop that starts the same program."""
    inputs.recording(folder / "REC.wav", 1)
    inputs.slices(folder / "chunks.csv", folder / "REC.wav", 1, 60_000)
    text = (folder / "chunks.csv").read_text().splitlines()
    rows = [text[1].replace("REC_0_60000", f"REC_{number}").rpartition(",")[0] + "," for number in range(240)]
    (folder / "chunks.csv").write_text("\n".join([text[0], *rows]) + "\n")
    (folder / "program.py").write_text("import sys, json\njson.dump({}, open(sys.argv[4], 'w'))\n")
    program = f"{sys.executable} {folder / 'program.py'}"
    (folder / "loop.py").write_text(
        "import subprocess, sys\n"
        "for _ in range(240):\n"
        f"    argv = [{sys.executable!r}, 'program.py', '--input', 'REC.wav', '--output', 'out.json']\n"
        "    subprocess.run(argv, check=True)\n"
    )

    def once() -> Measured:
        shutil.rmtree(folder / "out", ignore_errors=True)
        argv = badc("infer", "run", "chunks.csv", "--runner-cmd", program, "--output-dir", "out", *QUIET)
        return measure(argv, folder)

    ours = median_of(3, once)
    bare = median_of(3, lambda: measure([sys.executable, "loop.py"], folder))
    shown = f"{ours.cpu_s:.1f} s CPU ({ours.cpu_s / bare.cpu_s:.2f}x a bare loop's {bare.cpu_s:.1f} s)"
    yield Row("--runner-cmd, Python program, 240 chunks", shown, "", "7.0 s")


def million(folder: Path) -> Iterator[Row]:
    """A million chunks: planned and done by the stub, then resumed."""
    inputs.manifest(folder / "chunks.csv", 1_000_000)
    argv = badc("infer", "run", "chunks.csv", "--layout", "segments", "--output-dir", "out", *QUIET)
    first = measure(argv, folder)
    shown = f"{first.cpu_s:.0f} s CPU, {first.peak_mb:.0f} MB"
    yield Row("stub run, 1 000 000 chunks, segments", shown, "< 300 MB", "", first.peak_mb < 300)
    again = median_of(1, lambda: measure(argv, folder))
    reached = again.cpu_s < 10 and again.peak_mb < 300
    shown = f"{again.cpu_s:.1f} s CPU, {again.wall_s:.1f} s wall, {again.peak_mb:.0f} MB"
    yield Row("resume, 1 000 000 done, segments", shown, "< 10 s, < 300 MB", "21.7 s, 1.9 GB", reached)


def aggregate(folder: Path) -> Iterator[Row]:
    """100 000 detections in 10 000 files to CSV and Parquet."""
    inputs.detections(folder / "results", 10_000, 10)
    argv = badc("infer", "aggregate", "results", "--output", "table.csv", "--parquet", "table.parquet")
    found = median_of(3, lambda: measure(argv, folder))
    shown = f"{found.cpu_s:.2f} s CPU, {found.peak_mb:.0f} MB"
    yield Row("aggregate, 100 000 detections in 10 000 files", shown, "< 3 s", "157 s", found.cpu_s < 3)


def birdnet(folder: Path) -> Iterator[Row]:
    """BirdNET over an hour, one thread, against a bare loop around the same interpreter; pairs, in turn."""
    minutes, chunk_ms = 60, 60_000
    recording = inputs.recording(folder / "NOISE.wav", minutes)
    inputs.slices(folder / "chunks.csv", recording, minutes, chunk_ms)
    argv = [*badc("infer", "run", "chunks.csv", "--runner", "birdnet", "-o", "threads=1", "--json"), *QUIET]
    loop = [sys.executable, str(_BARE_BIRDNET), str(recording), str(chunk_ms), str(minutes)]
    ours: list[Measured] = []
    bare: list[Measured] = []
    for pair in range(5):
        # The first of a pair has a rested processor, so each is first in turn.
        for first in (True, False):
            if first == (pair % 2 == 0):
                ours.append(measure([*argv, "--output-dir", f"out{pair}"], folder))
            else:
                bare.append(measure(loop, folder))
    ours_s, bare_s = (statistics.median(run.cpu_s for run in runs) for runs in (ours, bare))
    extra = (ours_s / bare_s - 1) * 100
    shown = f"{extra:+.1f} % CPU ({ours_s:.1f} s against {bare_s:.1f} s)"
    yield Row(f"BirdNET, {minutes} min, over a bare loop", shown, "< 3 %", "", extra < 3)
    told = [json.loads(run.output) for run in ours]
    waits = [sum(one["waiting_s"].values()) / sum(one["predicting_s"].values()) for one in told]
    waiting = statistics.median(waits) * 100
    yield Row("  worker waiting for samples", f"{waiting:.2f} % of predicting", "< 1 %", "", waiting < 1)


CASES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "startup": startup,
    "stub": stub,
    "command": command,
    "aggregate": aggregate,
    "birdnet": birdnet,
    "hawkears": hawkears,
    "million": million,
    "archive": archive,
    "cluster": cluster,
    "scheduling": scheduling,
}


def commit() -> str:
    """Return the short name of the commit in hand."""
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"

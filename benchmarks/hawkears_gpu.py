"""``make bench-gpu``: HawkEars on a GPU, its whole ensemble of six networks of full size, with random weights.

``python benchmarks/hawkears_gpu.py [--save] [--minutes N] [--readers N] [--precision P]`` measures apart how fast files
are decoded, how fast the networks hear samples that lie in memory, and how fast the whole command is, which cannot be
faster than either; and how busy the GPU was meanwhile. It needs HawkEars' environment with a torch made for CUDA.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import inputs
from cases import commit
from hawkears_cpu import interpreter, make_root
from measure import badc, measure
from rows import Row
from run import machine, save, table

_DEVICE = Path(__file__).with_name("device_hawkears.py")
_CHUNK_MS, _RECORDING_MIN = 30_000, 30
_TOLERANCE = 1e-3


def gpu_name() -> str | None:
    """Return the name of the first GPU, if there is one."""
    with contextlib.suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)))
    return None


@contextlib.contextmanager
def utilisation() -> Iterator[list[float]]:
    """Fill a list with how busy the first GPU is, in percent, ten times a second."""
    import pynvml

    seen: list[float] = []
    done = threading.Event()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)

    def look() -> None:
        while not done.wait(0.1):
            seen.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def decoding(folder: Path, chunks: Path, readers: int, halo_ms: int = 12_250) -> float:
    """Return how many seconds of sound are read and resampled in a second."""
    from concurrent.futures import ThreadPoolExecutor

    from badc_core import manifest
    from badc_core.model import Chunk, Recording
    from badc_core.protocols import InputSpec
    from badc_core.signals import SignalReader

    todo = list(manifest.read(chunks))
    reader = SignalReader(InputSpec(sample_rate_hz=28_000, halo_ms=halo_ms), folder)

    def read(chunk: Chunk) -> None:
        reader.read(chunk, Recording(chunk.recording_id, chunk.source_path))

    began = time.perf_counter()
    with contextlib.closing(reader), ThreadPoolExecutor(readers) as pool:
        for _ in pool.map(read, todo):
            pass
    return len(todo) * _CHUNK_MS / 1000 / (time.perf_counter() - began)


def rows(folder: Path, python: Path, minutes: int, readers: int, precision: str) -> Iterator[Row]:
    """Measure."""
    full = make_root(python, folder / "full", 6)
    fitted = make_root(python, folder / "fitted", 3, network="bknet.1", fitted=True)
    lines = []
    for number in range(minutes // _RECORDING_MIN):
        sound = inputs.recording(folder / f"REC{number}.wav", _RECORDING_MIN)
        made = inputs.slices(folder / "some.csv", sound, _RECORDING_MIN * 60_000 // _CHUNK_MS, _CHUNK_MS)
        head, *some = made.read_text().splitlines(keepends=True)
        lines += some
    (folder / "all.csv").write_text(head + "".join(lines))
    decode = decoding(folder, folder / "all.csv", readers)
    yield Row("decoding alone", f"{decode:.0f}x real time, {readers} readers")
    told = measure([str(python), str(_DEVICE), str(full), str(fitted), precision, "10"], folder).output
    alone = json.loads(told.rpartition("\n\0")[2])
    model, near = alone["speed"], alone["equality"]
    kind = "half precision" if model["half"] else "float32"
    shown = f"{model['speed']:.0f}x, {kind}, {model['batch']} windows at once, {model['peak_gb']:.1f} GB of the GPU's"
    yield Row("networks alone, samples in memory", shown)
    reached = near["difference"] <= _TOLERANCE and near["highest"] > 0.5
    yield Row("scores, GPU against CPU", f"{near['difference']:.1e} apart", f"≤ {_TOLERANCE:g}", "", reached)
    argv = badc("infer", "run", "all.csv", "--runner", "hawkears", "--max-gpus", "1", "--output-dir", "out", "--json")
    for option in (f"python={python}", f"root={full}", f"readers={readers}", f"precision={precision}", "low_band=no"):
        argv += ["-o", option]
    with utilisation() as seen:
        found = measure([*argv, "--quiet", "--telemetry-log", "log.jsonl"], folder)
    worker = json.loads(found.output)
    worked_s = sum(worker["predicting_s"].values()) + sum(worker["waiting_s"].values())
    whole = 60 * minutes / worked_s
    limit = min(decode, model["speed"])
    shown = f"{whole:.0f}x ({whole / limit:.0%} of the slower), {found.wall_s:.0f} s, of them {worked_s:.0f} s of work"
    yield Row("badc infer run, whole", shown, "≥ 70 %", "", whole >= 0.7 * limit)
    busy = statistics.mean(seen[-int(10 * worked_s) :] or [0.0])
    bound = model["speed"] <= decode
    yield Row("GPU busy", f"{busy:.0f} %", "≥ 90 %, if the networks are the slower", "", busy >= 90 if bound else None)


def main(arguments: list[str]) -> int:
    """Measure, where that can be done."""
    reads = argparse.ArgumentParser(description="Measure HawkEars on a GPU.")
    reads.add_argument("--save", action="store_true", help="put the table at the top of benchmarks/RESULTS.md, too")
    reads.add_argument("--minutes", type=int, default=600, help="of sound; a multiple of 30")
    reads.add_argument("--readers", type=int, default=os.cpu_count() or 1, help="files read side by side")
    reads.add_argument("--precision", default="auto", help="auto, float32 or half")
    given = reads.parse_args(arguments)
    python, name = interpreter(), gpu_name()
    if name is None:
        print("There is no NVIDIA GPU here, so there is nothing to measure.", file=sys.stderr)
        return 1
    if python is None:
        print(
            "HawkEars has no environment here. Make one with a torch for CUDA; see benchmarks/README.md",
            file=sys.stderr,
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="badc-bench-") as folder:
        found = []
        for row in rows(Path(folder), python, given.minutes, given.readers, given.precision):
            print(f"  {row.what}: {row.measured}", file=sys.stderr, flush=True)
            found.append(row)
    made = table(found)
    print(made)
    if given.save:
        title = f"## {dt.date.today().isoformat()}, commit {commit()}, HawkEars on a GPU"
        save(f"{title}\n\n{name}; {machine()}\n\n{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

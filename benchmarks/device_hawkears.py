"""HawkEars' models on a GPU, without files and without BADC's command: run by HawkEars' interpreter.

``python device_hawkears.py FULL FITTED PRECISION CALLS`` prints a JSON object. FULL is a data folder with networks of
full size, for speed; FITTED one with networks that detect, to compare the GPU's scores with the CPU's.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"

import numpy as np
import torch

from badc_core.model import Chunk, Device, Recording, Signal
from badc_core.protocols import WorkerContext
from badc_hawkears.engine.chunks import Scorer
from badc_hawkears.engine.model import load
from badc_hawkears.engine.place import Place
from badc_hawkears.engine.selfcheck import check_against_hawkears
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.runner import open_runner
from badc_hawkears.testing.checkpoint import yellowthroat

CHUNK_S = 30


def speed(root: Path, precision: Any, calls: int) -> dict[str, object]:
    """Return how many seconds of sound a second of the runner's time hears, samples in memory."""
    options = HawkEarsOptions(root=root, precision=precision)
    runner: Any = open_runner(options, WorkerContext(Device("gpu"), "gpu-0", Path.cwd()))
    wanted = runner.info.input
    rate, halo = wanted.sample_rate_hz, wanted.halo_ms * wanted.sample_rate_hz // 1000
    noise = np.random.default_rng(0).normal(0, 0.01, CHUNK_S * rate + 2 * halo).astype(np.float32)
    numbers = itertools.count(1)

    def call() -> None:
        signals = []
        for number in itertools.islice(numbers, wanted.max_batch):
            path, start = Path(f"{number}.wav"), 60_000  # recordings of their own: nothing is remembered
            chunk = Chunk(f"c{number}", f"r{number}", path, start, start + 1000 * CHUNK_S, 0, start)
            signals.append(Signal(chunk, Recording(f"r{number}", path), noise, rate, halo, halo))
        runner.predict(signals)

    call()  # the first call fills caches of memory and of kernels
    began = time.perf_counter()
    for _ in range(calls):
        call()
    wall_s = time.perf_counter() - began
    heard_s = calls * wanted.max_batch * CHUNK_S
    peak_gb = torch.cuda.max_memory_allocated() / 1e9
    half, batch = runner._scorer.processor.half, runner._scorer.batch
    return {"speed": heard_s / wall_s, "chunks": wanted.max_batch, "batch": batch, "half": half, "peak_gb": peak_gb}


def equality(root: Path, precision: str) -> dict[str, float]:
    """Return how far scores of the GPU are from those of the CPU, on songs that the networks know."""
    rate = 28_000
    samples = np.random.default_rng(3).normal(0, 0.004, 60 * rate).astype(np.float32)
    song = yellowthroat(rate)
    for start_s in range(3, 50, 9):
        samples[start_s * rate : start_s * rate + len(song)] += 0.1 * (start_s % 5 + 1) * song
    place = Place(("songs", len(samples)), 0, 60_000, 0, len(samples), (0, 240), (0, 240))
    found = []
    for kind in ("cpu", "gpu"):
        ensemble = load(HawkEarsOptions(root=root), kind)
        scorer = Scorer(ensemble)
        check_against_hawkears(ensemble, scorer, precision)
        found.append(scorer.score(samples, place))
    return {"highest": float(found[0].max()), "difference": float(np.abs(found[0] - found[1]).max())}


def main(full: Path, fitted: Path, precision: str, calls: int) -> None:
    """Measure."""
    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} of HawkEars' environment sees no GPU; install one made for CUDA")
    said = {"speed": speed(full, precision, calls), "equality": equality(fitted, precision)}
    print("\n\0" + json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))

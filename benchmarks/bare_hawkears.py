"""HawkEars' models at work, without BADC's command around them: run by HawkEars' interpreter.

``python bare_hawkears.py ROOT FOLDER WAY PASSES`` goes over the WAV files in a folder and prints as JSON what
the last pass took. Loading is told apart. Ways:

bare200, bare16
    A bare loop around HawkEars' own predictor, loaded once: the file, spectrograms, networks, labels; with its block of
    200 spectrograms at once, or with 16.
ours
    What BADC's worker has in its child process: the plugin's runner, fed with chunks of a minute and their context.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"

import numpy as np
import soundfile
import soxr

MODELS, CHUNK_S, STARTS = 3, 60, [0, 1, 2]


def bare(root: Path, block: int) -> Callable[[Path], object]:
    """Load HawkEars, and return what hears a file."""
    from copy import deepcopy

    from hawkears.core import analyzer as vendor
    from hawkears.core.config_loader import get_config

    config = deepcopy(get_config(data_root=root))
    config.infer.num_threads, config.infer.max_models, config.infer.block_size = 1, MODELS, block
    config.audio.choose_channel = config.hawkears.low_band_classifier = False
    analyzer = vendor.Analyzer(config)
    analyzer.occur_mgr = None
    predictor = vendor.Predictor(config.misc.ckpt_folder, cfg=config)
    heuristics = analyzer._load_heuristics_manager(predictor.audio)

    def hear(path: Path) -> object:
        frames = predictor.get_overlapping_scores(str(path), STARTS)
        heuristics.process_recording(str(path), frames, 0)
        return predictor.get_dataframe(None, frames, None, path.stem)

    return hear


def ours(root: Path) -> Callable[[Path], object]:
    """Load the runner, and return what hears a file."""
    from badc_core.model import Chunk, Device, Recording, Signal
    from badc_core.protocols import WorkerContext
    from badc_hawkears.options import HawkEarsOptions
    from badc_hawkears.runner import open_runner

    options = HawkEarsOptions(root=root, models=MODELS, low_band=False)
    runner: Any = open_runner(options, WorkerContext(Device(), "cpu-0", Path.cwd()))
    wanted = runner.info.input
    rate, halo = wanted.sample_rate_hz, wanted.halo_ms * wanted.sample_rate_hz // 1000

    def hear(path: Path) -> object:
        samples, recorded = soundfile.read(path, dtype="float32")
        samples = np.asarray(soxr.resample(samples, recorded, rate, quality="HQ"), np.float32)
        signals = []
        for start_s in range(0, len(samples) // rate, CHUNK_S):
            first, stop = start_s * rate, min(len(samples), (start_s + CHUNK_S) * rate)
            before, after = min(halo, first), min(halo, len(samples) - stop)
            start_ms, length_ms = start_s * 1000, (stop - first) * 1000 // rate
            chunk = Chunk(f"{path.stem}_{start_s}", path.stem, path, start_ms, start_ms + length_ms, 0, start_ms)
            part = samples[first - before : stop + after]
            signals.append(Signal(chunk, Recording(path.stem, path), part, rate, before, after))
        step = wanted.max_batch
        return [runner.predict(signals[at : at + step]) for at in range(0, len(signals), step)]

    return hear


def main(root: Path, folder: Path, way: str, passes: int) -> None:
    """Measure one way."""
    began = time.process_time()
    hear = ours(root) if way == "ours" else bare(root, int(way.removeprefix("bare")))
    opening_s = time.process_time() - began
    for _ in range(passes):
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for path in sorted(folder.glob("*.wav")):
            hear(path)
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print("\n\0" + json.dumps({"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": peak_mb, "opening_s": opening_s}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))

"""Make recordings, and write down what HawkEars' own loop says of them: run by HawkEars' interpreter.

``python vendor.py ROOT FOLDER SETTINGS`` uses HawkEars as its command does: it loads the file itself, goes over the
whole recording, and applies the low band; then it makes labels of the frames.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"

import numpy as np
import soundfile
import soxr
from hawkears.core import analyzer as vendor
from hawkears.core.config_loader import get_config

from badc_hawkears.testing.checkpoint import drumming, yellowthroat

STARTS = {1: [0], 2: [0, 1.5], 3: [0, 1, 2], 4: [0, 1, 2, 0], 5: [0, 1, 2, 0, 1.5], 6: [0, 1, 2]}
RECORDINGS = [  # rate in Hz, channels, seconds
    (48_000, 1, 47.126),
    (44_100, 2, 27.07),
    (28_000, 1, 18.1),
    (96_000, 1, 12.05),
    (22_050, 1, 9.0),
    (8_000, 1, 9.13),
    (32_000, 3, 2.99),  # PyAV 18 dies of eight
    (48_000, 1, 0.6),
    (44_100, 1, 10.0),
    (48_000, 1, 17.0),  # librosa makes it a sample longer
    (44_100, 1, 9.917415),  # not a whole number of milliseconds, nor of samples at 28 kHz
]


def make(path: Path, rate: int, channels: int, seconds: float) -> None:
    """Write noise with songs and drumming in it, loud and soft."""
    rng = np.random.default_rng(round(seconds * 100))
    sound = rng.normal(0, 0.004, (round(seconds * rate), channels))
    song, drums = yellowthroat(28_000), 0.5 * drumming(28_000)
    for number, at in enumerate(np.arange(0.4, seconds, 4.3)):
        thing = soxr.resample((song, drums)[number % 2], 28_000, rate)[: len(sound) - int(at * rate)]
        sound[int(at * rate) : int(at * rate) + len(thing), number % channels] += rng.uniform(0.3, 0.9) * thing
    soundfile.write(path, np.clip(sound, -1, 1), rate, subtype="PCM_16")


def configuration(root: Path, setting: dict) -> Any:
    """Return HawkEars' configuration for a setting."""
    config = deepcopy(get_config(data_root=root))
    config.audio.choose_channel = False
    config.hawkears.low_band_classifier = setting["low_band"]
    if setting["models"] is not None:
        config.infer.max_models = setting["models"]
    if config.infer.max_models is None:
        config.infer.max_models = len([*Path(config.misc.ckpt_folder).glob("*.ckpt")])
    config.infer.num_threads = 1
    return config


def frames(root: Path, folder: Path, names: list[str], setting: dict) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield for each recording the classes' codes and what HawkEars says of each frame."""
    config = configuration(root, setting)
    analyzer = vendor.Analyzer(config)
    analyzer.occur_mgr = None
    predictor = vendor.Predictor(config.misc.ckpt_folder, cfg=config)
    heuristics = analyzer._load_heuristics_manager(predictor.audio)
    codes = list(predictor.class_codes)
    for name in names:
        path = str(folder / f"{name}.wav")
        found = predictor.get_overlapping_scores(path, STARTS[config.infer.max_models])
        if found is not None:
            heuristics.handlers[0](path, found, 0)
            predictor.audio.set_config(config, resample=False)  # which the low band changed
        yield codes, np.zeros((0, len(codes)), np.float32) if found is None else found


def labels(root: Path, folder: Path, setting: dict) -> dict[str, list]:
    """Return the labels of all recordings, by name: label, start and end in s, score."""
    paths = sorted(folder.glob("*.wav"))
    analyzer = vendor.Analyzer(configuration(root, setting))
    found = analyzer.run(
        str(folder), str(folder), [], quiet=True, return_results=True, recording_paths_override=paths
    ).detections
    return {
        path.stem: [
            (one.species, one.start_time, one.end_time, one.score) for one in found if one.recording_path == path
        ]
        for path in paths
    }


def main(root: Path, folder: Path, settings: dict[str, dict]) -> None:
    """Write recordings, frames and labels into `folder`; print the recordings' names."""
    names = []
    for rate, channels, seconds in RECORDINGS:
        names.append(f"r{rate}x{channels}_{seconds}".replace(".", "_"))
        make(folder / f"{names[-1]}.wav", rate, channels, seconds)
    for setting, options in settings.items():
        for name, (codes, found) in zip(names, frames(root, folder, names, options), strict=True):
            np.savez(folder / f"{name}.{setting}.npz", codes=codes, frames=found)
        (folder / f"{setting}.json").write_text(json.dumps(labels(root, folder, options)))
    print("\n\0" + json.dumps(names))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))

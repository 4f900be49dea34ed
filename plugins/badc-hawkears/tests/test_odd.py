"""Odd recordings and a failing HawkEars, through the command: one clear error each, and the rest is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from badc_core import manifest, results
from badc_core.model import Chunk

HERE = Path(__file__).parent


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Return quiet noise, always the same."""
    return np.random.default_rng(0).normal(0, 0.01, (round(seconds * rate), channels))


def spoilt() -> np.ndarray:
    """Return noise with a second that is no number."""
    sound = noise(12, 28_000)
    sound[28_000:56_000] = np.nan
    return sound


RECORDINGS: dict[str, tuple[int, np.ndarray]] = {
    "plain": (28_000, noise(12, 28_000)),
    "silent": (44_100, np.zeros((44_100 * 12, 1))),
    "clipped": (48_000, np.sign(np.sin(np.arange(48_000 * 10) / 5))[:, None]),
    "short": (28_000, noise(0.3, 28_000)),
    "slow": (8_000, noise(10, 8_000)),
    "fast": (192_000, noise(4, 192_000)),
    **{f"{channels}-channels": (22_050, noise(3.5, 22_050, channels)) for channels in range(2, 9)},
}
BAD = ("torn", "not-numbers", "raises", "full")


@pytest.fixture(scope="module")
def told(hawkears_python: Path, hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run over all of them left: results by name, the exit status, and whether the device was lost."""
    folder = tmp_path_factory.mktemp("odd")
    for name, (rate, sound) in RECORDINGS.items():
        soundfile.write(folder / f"{name}.wav", sound, rate, subtype="FLOAT")
    (folder / "torn.wav").write_bytes((folder / "plain.wav").read_bytes()[:30])
    soundfile.write(folder / "not-numbers.wav", spoilt(), 28_000, subtype="FLOAT")
    for name in ("raises", "full", "lost"):
        (folder / f"{name}.wav").write_bytes((folder / "plain.wav").read_bytes())
    chunks = [
        Chunk(name, name, folder / f"{name}.wav", 0, length, 0, 0)
        for name in [*RECORDINGS, *BAD, "lost"]
        for length in [12_000 if name not in RECORDINGS else len(RECORDINGS[name][1]) * 1000 // RECORDINGS[name][0]]
    ]
    manifest.write(folder / "chunks.csv", chunks)
    argv = [sys.executable, "-m", "badc_core", "infer", "run", "chunks.csv", "--runner", "hawkears-raising"]
    argv += ["--max-gpus", "0", "--output-dir", "out", "--max-retries", "1", "--quiet"]
    for option in (f"python={hawkears_python}", f"root={hawkears_root}", "models=1", "low_band=no", "threads=1"):
        argv += ["-o", option]
    happened = folder / "happened"
    env = {**os.environ, "BADC_PLUGINS": str(HERE / "raising.py"), "BADC_TEST_HAPPENED": str(happened)}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert (folder / "out").exists(), done.stderr
    found = {stored.document["chunk_id"]: stored.document for stored in results.scan(folder / "out")}
    return {"status": done.returncode, "results": found, "lost": happened.exists(), "said": done.stderr}


@pytest.mark.parametrize("name", [*RECORDINGS, "lost"])
def test_an_odd_recording_is_answered(told: dict[str, Any], name: str) -> None:
    """With a frame for every quarter of a second there is, and values that JSON can hold."""
    result = told["results"][name]
    assert result["status"] in ("ok", "no_detections"), result
    kept = result["hawkears_frames"]
    rate, sound = RECORDINGS.get(name, RECORDINGS["plain"])
    assert abs(kept["count"] - 4 * len(sound) / rate) <= 1
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torn", "torn.wav"),
        ("not-numbers", "the sample at 1.000 s is not a finite number"),
        ("raises", "a bug of HawkEars"),
        ("full", "Out of memory, even with one"),
    ],
)
def test_what_fails_is_told(told: dict[str, Any], name: str, words: str) -> None:
    """Once, and of that recording alone."""
    result = told["results"][name]
    assert result["status"] == "failed"
    assert words in result["error"]
    assert told["status"] == 3
    assert {name for name, one in told["results"].items() if one["status"] == "failed"} == set(BAD)


def test_a_lost_device_costs_an_attempt(told: dict[str, Any]) -> None:
    """The process starts anew, and the recording is heard then."""
    assert told["lost"]
    assert told["results"]["lost"]["status"] in ("ok", "no_detections")

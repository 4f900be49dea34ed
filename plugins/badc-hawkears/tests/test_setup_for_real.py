"""From nothing to a table: the real environment, made by ``badc hawkears setup``, and a run that uses it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from badc_hawkears.places import remembered

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MAKE_RECORDING = """
import sys, wave
import numpy as np
from badc_hawkears.testing.checkpoint import yellowthroat
sound = np.random.default_rng(1).normal(0, 0.003, 70 * 32_000)
song = yellowthroat(32_000)
for at_s in (10, 57):
    sound[at_s * 32_000 : at_s * 32_000 + len(song)] += song
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, 32_000, 0, "NONE", ""))
    file.writeframes((np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())
"""
"""Noise with two songs of the bird that HawkEars brings as an example; chunks of 60 s cut the second in half."""

SONGS_MS = (10_000, 57_000)


def test_from_nothing_to_a_table(run_badc, hawkears_root: Path, isolated: Path):
    """One command makes the environment, and runs find it without a word."""
    said = run_badc("hawkears", "setup", "--cpu", "--no-weights", "--path", "made", timeout=1200).ok().stdout
    assert "Check: a small model hears a bird" in said
    made = isolated / "made"
    size = sum(file.lstat().st_size for file in made.rglob("*") if not file.is_dir())
    assert size < 2.5e9
    assert not [*(made / "env").rglob("PySide6")]
    assert run_badc("hawkears", "setup", "--cpu", "--no-weights", "--path", "made").ok().stdout.count("already") == 8

    # What the network would bring: here, small models that detect.
    places = remembered()
    assert places is not None
    for name in ("ckpt", "ckpt-low-band"):
        shutil.copytree(hawkears_root / "data" / name, places.root / "data" / name, dirs_exist_ok=True)
    subprocess.run([places.python, "-c", MAKE_RECORDING, "song.wav"], check=True)
    run_badc("chunk", "manifest", "song.wav", "--output", "m.csv", "--chunk-duration", "60").ok()
    run_badc(
        "infer", "run", "m.csv", "--use-hawkears", "-o", "keep=scores", "--output-dir", "results", timeout=300
    ).ok()
    run_badc("infer", "aggregate", "results", "--manifest", "m.csv", "--output", "table.csv").ok()
    with Path("table.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == "COYE" and float(row["confidence"]) > 0.9]
    spans = [(int(row["absolute_time_ms"]), int(row["absolute_end_ms"])) for row in rows]
    first, second = ([span for span in spans if begin <= span[1] and span[0] <= begin + 6000] for begin in SONGS_MS)
    assert sum(end - begin for begin, end in first) > 2000, spans
    assert any(begin < 60_000 for begin, _ in second), spans
    assert any(end > 60_000 for _, end in second), spans

    run_badc("hawkears", "scores", "results", "--output", "scores.parquet").ok()
    run_badc(
        "hawkears", "aggregate", "results", "--min-score", "0.7", "--output", "same.csv", "--manifest", "m.csv"
    ).ok()
    assert Path("same.csv").read_bytes() == Path("table.csv").read_bytes()
    runners = json.loads(run_badc("doctor", "--json").stdout)["runners"]
    assert [one["readiness"]["ready"] for one in runners if one["name"] == "hawkears"] == [True]


def test_weights_that_cannot_be_fetched_are_told(hawkears_python: Path, hawkears_root: Path, tmp_path: Path):
    """The real initializer, behind a network that is not there."""
    root = tmp_path / "root"
    shutil.copytree(hawkears_root, root)
    shutil.rmtree(root / "data/ckpt")
    (root / "data/.ckpt-left0ver").mkdir()
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [hawkears_python, "-m", "badc_hawkears.inside", "weights", root],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["fetched"] == []
    assert "refused" in found["problem"]
    assert [path.name for path in (root / "data").glob(".ckpt*")] == []
    assert (root / "data/classes.csv").exists()

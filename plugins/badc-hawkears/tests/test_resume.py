"""``badc infer run`` with the real HawkEars: results of two models, or of two settings, never mix."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short recording, and a data folder of two members."""
    made = tmp_path_factory.mktemp("resume")
    shutil.copytree(hawkears_root, made / "root", ignore=shutil.ignore_patterns("*.ckpt", "recordings", "__pycache__"))
    for path in sorted((hawkears_root / "data/ckpt").glob("*.ckpt"))[:2]:
        shutil.copy(path, made / "root/data/ckpt")
    sound = np.random.default_rng(1).normal(0, 0.05, 24_000 * 4).astype(np.float32)
    soundfile.write(made / "REC.wav", sound, 24_000)
    return made


@pytest.fixture(scope="module")
def run(hawkears_python: Path, folder: Path) -> Run:
    """Return ``run(*options)``, which runs over the recording and returns its process."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}

    def badc(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "badc_core", *map(str, words)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    assert badc("chunk", "manifest", "REC.wav", "--output", "m.csv").returncode == 0
    common = ("--use-hawkears", "--cpu-workers", 1, "--max-gpus", 0, "--output-dir", "out", "--json")
    places = ("-o", f"python={hawkears_python}", "-o", "root=root", "-o", "low_band=no", "-o", "threads=1")
    return lambda *options: badc("infer", "run", "m.csv", *common, *places, *options)


def _said(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _result(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "out").glob("REC/*.json")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hawkears-arg", "--min-score 0.3"], ["no argument --min-score", "--min_score"]),
        (["--hawkears-arg", "--region CA-XY"], ["no region 'CA-XY'"]),
        (["--hawkears-arg", "--lat 45"], ["latitude alone", "--lon"]),
        (["--hawkears-arg", "--threads 2"], ["--cpu-workers"]),
        (["-o", "models=6"], ["6 members", "has 2", "preset=full"]),
        (["-o", "config=typo.yaml"], ["typo.yaml", "min_scoore", "min_score"]),
        (["-o", "config=kind.yaml"], ["kind.yaml", "infer.min_score"]),
        (["-o", "config=channel.yaml"], ["choose_channel", "mean of all channels"]),
        (["-o", "config=list.yaml"], ["list.yaml"]),
        (["-o", "config=torn.yaml"], ["torn.yaml is no YAML"]),
        (["-o", "config=none.yaml"], ["none.yaml cannot be read"]),
        (["-o", "config=cache.yaml"], ["use_spec_cache", "mode=api"]),
        (["-o", "config=floor.yaml", "-o", "floor=0.4"], ["floor"]),
    ],
)
def test_what_hawkears_cannot_do_is_said_before_anything_runs(
    run: Run, folder: Path, options: list[str], words: list[str]
) -> None:
    """With the place and the next step, and nothing is written."""
    for name, text in {
        "typo": "infer:\n  min_scoore: 0.3\n",
        "kind": "infer:\n  min_score: much\n",
        "channel": "audio:\n  choose_channel: true\n",
        "list": "- infer\n",
        "torn": "infer: [\n",
        "cache": "audio:\n  use_spec_cache: false\n",
        "floor": "infer:\n  min_score: 0.3\n",
    }.items():
        (folder / f"{name}.yaml").write_text(text)
    refused = run(*options)
    assert refused.returncode == 2, refused.stderr
    for word in words:
        assert word in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not [*(folder / "out").rglob("*.json")]


def test_resume(run: Run, folder: Path) -> None:
    """The same goes on; other weights, YAML, arguments or options are refused, unless they are to replace."""
    assert _said(run())["done"] == 1
    version = _result(folder)["model_version"]
    assert version.startswith("2.3.0+britekit.1.8.4 2 members weights ")

    same = [
        [],
        ["-o", "models=2"],
        ["-o", "preset=full"],
        ["--hawkears-arg", "--models 2"],
        ["--hawkears-arg", "--min_score", "--hawkears-arg", "0.7"],
        ["-o", "batch=3"],
    ]
    assert [_said(run(*options))["done_before"] for options in same] == [1] * len(same)

    (folder / "more.yaml").write_text("infer:\n  audio_power: 0.71\n")
    other = [
        ["-o", "models=1"],
        ["-o", "min_score=0.6"],
        ["--hawkears-arg", "--region CA-ON"],
        ["--hawkears-arg", "--label names"],
        ["-o", f"config={folder / 'more.yaml'}"],
    ]
    for options in other:
        refused = run(*options)
        assert refused.returncode == 1, options
        assert "another runner, model or options" in refused.stderr

    weights = min((folder / "root/data/ckpt").glob("*.ckpt"))
    shutil.copy(max((folder / "root/data/ckpt").glob("*.ckpt")), weights)
    assert "another runner, model or options" in run().stderr
    assert _said(run("--replace"))["done"] == 1
    assert _result(folder)["model_version"].split()[4] != version.split()[4]
    assert _said(run())["done_before"] == 1

    default = folder / "root/yaml/default.yaml"
    default.write_text(default.read_text().replace("min_score: 0.7", "min_score: 0.8"))
    assert "another runner, model or options" in run().stderr

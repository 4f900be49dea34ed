"""What changes or is missing between runs: never mixed in silence, and no run stopped by what it does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import faulty_lab
import pytest
import runs

LAYOUTS = ("files", "segments")
LAB = ("--runner", "lab", "--quiet", "--json", "--output-dir", "out")


@pytest.fixture
def lab(isolated: Path, run_badc: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``lab(*options, env={})``, which runs the lab over six chunks."""
    runs.make_manifest(isolated / "m.csv", 3, 2)

    def call(*options: object, env: dict[str, str] | None = None) -> Any:
        return run_badc("infer", "run", "m.csv", *LAB, *options, env={**runs.lab_environment(), **(env or {})})

    return call


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("change", ["options", "model", "runner"])
def test_another_model_or_other_options(change: str, layout: str, lab: Callable[..., Any], isolated: Path):
    """Refused, with what to do; --replace makes all anew; going back is refused again."""
    before = ("--layout", layout)
    after: tuple[object, ...] = before
    env: dict[str, str] = {}
    if change == "options":
        after = (*before, "-o", "flavour=strong")
    elif change == "model":
        env = {"LAB_WEIGHTS": "0" * 64}
    else:
        after = (*before, "--runner", "stub")
    lab(*before).ok()
    first = runs.aggregate(isolated / "out", isolated / "a.csv")
    refused = lab(*after, env=env)
    assert refused.code == 1
    assert "REC0_0_3000" in refused.stderr
    assert "--replace" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert runs.aggregate(isolated / "out", isolated / "a.csv") == first
    anew = json.loads(lab(*after, "--replace", env=env).ok().stdout)
    assert (anew["done"], anew["done_before"]) == (6, 0)
    assert {entry["fingerprint"] for entry in runs.documents(isolated / "out")} == {anew["fingerprint"]}
    assert len(runs.documents(isolated / "out")) == 6
    assert json.loads(lab(*after, env=env).ok().stdout)["done"] == 0
    assert lab(*before).code == 1


def test_an_option_that_changes_no_result(lab: Callable[..., Any]):
    lab().ok()
    assert json.loads(lab("-o", "batch=1", "--cpu-workers", 2, "--layout", "segments").ok().stdout)["done"] == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_chunking(layout: str, lab: Callable[..., Any], isolated: Path):
    """Chunks of one name but another window are not called done."""
    lab("--layout", layout).ok()
    runs.make_manifest(
        isolated / "m.csv", [attrs.evolve(chunk, end_ms=(chunk.end_ms or 0) + 1) for chunk in runs.chunks_of(2, 3)]
    )
    again = lab("--layout", layout)
    if layout == "files":
        assert again.code == 1
        assert "--replace" in again.stderr
        again = lab("--layout", layout, "--replace")
    assert json.loads(again.ok().stdout)["done"] == 6


def test_the_layout_changes(lab: Callable[..., Any], isolated: Path):
    """What one layout holds is done for the other."""
    lab("--layout", "files").ok()
    runs.make_manifest(isolated / "m.csv", 4, 2)
    assert json.loads(lab("--layout", "segments").ok().stdout)["done"] == 2
    assert json.loads(lab("--layout", "files").ok().stdout)["done"] == 0
    assert len(runs.documents(isolated / "out")) == 8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_failure_does_not_replace_what_was_done_well(layout: str, lab: Callable[..., Any], isolated: Path):
    """--no-resume with a model that fails costs nothing that is there."""
    lab("--layout", layout).ok()
    before = runs.aggregate(isolated / "out", isolated / "a.csv")
    failing = ("--no-resume", "-o", "wrong=nan", "-o", "at=REC0_0", "-o", "batch=1", "--max-retries", 0)
    ended = lab("--layout", layout, *failing)
    assert ended.code == 3
    assert json.loads(ended.stdout)["failed"] == 1
    assert runs.aggregate(isolated / "out", isolated / "b.csv") == before
    assert json.loads(lab("--layout", layout).ok().stdout)["done"] == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_chunk_that_failed_is_done_when_its_fault_is_gone(layout: str, lab: Callable[..., Any], isolated: Path):
    lab("--layout", layout).ok()
    whole = runs.aggregate(isolated / "out", isolated / "a.csv")
    other = ("--layout", layout, "--output-dir", "other")
    assert lab(*other, "-o", "wrong=nan", "-o", "at=REC0_0", "-o", "batch=1").code == 3
    assert json.loads(lab(*other).ok().stdout)["done"] == 1
    assert runs.aggregate(isolated / "other", isolated / "b.csv") == whole


# ------------------------------------------------------------------------------------------ telemetry


@pytest.mark.parametrize("sink", ["deaf", "shut"])
def test_a_telemetry_sink_that_fails(sink: str, lab: Callable[..., Any], isolated: Path):
    """It is muted and named; the run and the other sink go on."""
    ended = lab("--telemetry", sink, "--telemetry-log", "log.jsonl").ok()
    assert sink in ended.stderr
    assert len(runs.committed(isolated / "out")) == 6
    assert len((isolated / "log.jsonl").read_text().splitlines()) == 12


def test_a_telemetry_log_that_cannot_be_made(lab: Callable[..., Any], isolated: Path):
    """Whoever names an impossible place hears so before anything is run."""
    (isolated / "file").write_text("in the way")
    ended = lab("--telemetry-log", "file/log.jsonl")
    assert ended.code == 1
    assert "file/log.jsonl" in ended.stderr
    assert runs.documents(isolated / "out") == []


# ------------------------------------------------------------------------------------- what is missing


def test_a_broken_plugin_stops_only_who_asks_for_it(lab: Callable[..., Any], isolated: Path):
    """An optional dependency is missing in one plugin: it is named, and the others work."""
    (isolated / "lame.py").write_text("import a_library_that_nobody_has\n")
    (isolated / "leaver.py").write_text("raise SystemExit('not today')\n")
    plugins = os.pathsep.join([str(faulty_lab.PLUGIN), str(isolated / "lame.py"), str(isolated / "leaver.py")])
    env = {"BADC_PLUGINS": plugins}
    lab(env=env).ok()
    ended = lab("--runner", "lame", env=env)
    assert ended.code == 1
    assert "a_library_that_nobody_has" in ended.stderr
    assert "not today" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_runner_whose_library_is_missing(isolated: Path, run_badc: Callable[..., Any]):
    (isolated / "heavy.py").write_text(
        "from badc_core import RunnerSpec, hookimpl\n"
        "@hookimpl\n"
        "def badc_runners():\n"
        "    yield RunnerSpec('heavy', 'Needs much', open='heavy:open_runner')\n"
        "def open_runner(options, context):\n"
        "    import a_library_that_nobody_has\n"
    )
    runs.make_manifest(isolated / "m.csv", 1, 1)
    ended = run_badc(
        "infer", "run", "m.csv", "--runner", "heavy", "--quiet", env={"BADC_PLUGINS": str(isolated / "heavy.py")}
    )
    assert ended.code == 1
    assert "'heavy'" in ended.stderr
    assert "a_library_that_nobody_has" in ended.stderr
    assert "Traceback" not in ended.stderr


_WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from badc_core.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("absent", ["pynvml", "soundfile", "duckdb,pyarrow"])
def test_a_library_of_another_plugin_is_missing(absent: str, isolated: Path):
    """No NVML, no sound files, no tables: what does not need them runs."""
    runs.make_manifest(isolated / "m.csv", 2, 1)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, absent, "infer", "run", "m.csv", "--quiet", "--output-dir", "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(runs.documents(isolated / "out")) == 2


def test_no_nvml_library_and_no_driver(isolated: Path, run_badc: Callable[..., Any]):
    """A GPU asked for where there is none: one CPU worker does the work."""
    runs.make_manifest(isolated / "m.csv", 2, 1)
    ended = run_badc("infer", "run", "m.csv", "--max-gpus", 2, "--quiet", "--json", env={"CUDA_VISIBLE_DEVICES": ""})
    assert list(json.loads(ended.ok().stdout)["workers"]) == ["cpu-0"]


def test_a_sampler_that_fails(isolated: Path, run_badc: Callable[..., Any]):
    (isolated / "blind.py").write_text(
        "from badc_core import Device, SamplerSpec, hookimpl\n"
        "@hookimpl\n"
        "def badc_telemetry_samplers():\n"
        "    yield SamplerSpec('blind', 'Fails', open='blind:open_sampler')\n"
        "    yield SamplerSpec('gone', 'Fails at once', open='blind:nothing')\n"
        "class Blind:\n"
        "    def devices(self): return [Device('gpu', 0, 'A card', visible_as='0')]\n"
        "    def sample(self): raise RuntimeError('GPU is lost')\n"
        "    def close(self): raise RuntimeError('GPU is lost')\n"
        "def open_sampler(): return Blind()\n"
    )
    runs.make_manifest(isolated / "m.csv", 2, 1)
    env = {"BADC_PLUGINS": str(isolated / "blind.py")}
    ended = run_badc("infer", "run", "m.csv", "--quiet", "--json", "--output-dir", "out", env=env).ok()
    assert list(json.loads(ended.stdout)["workers"]) == ["gpu-0"]
    assert "blind" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(runs.documents(isolated / "out")) == 2

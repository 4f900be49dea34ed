"""``badc infer run-config``: the TOML of BADC 0.1, and nothing understood by half."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs

from badc_core.cli import infer
from badc_core.config import load_settings
from badc_core.errors import UsageError
from badc_core.run_config import RUNNER_KEYS, read_run_config
from badc_core.runs import RunRequest


def _write(folder: Path, text: str) -> Path:
    (folder / "run.toml").write_text(text)
    return folder / "run.toml"


@pytest.fixture
def asked(isolated: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], RunRequest]:
    """Return ``asked(toml)``, the request that the file makes."""

    def call(text: str) -> RunRequest:
        seen: list[RunRequest] = []
        monkeypatch.setattr(infer, "execute", lambda request, **more: seen.append(request) or 0)
        cli("infer", "run-config", _write(isolated, text)).ok()
        return seen[0]

    return call


def test_the_smallest_file(asked: Callable[[str], RunRequest]):
    assert asked('[runner]\nmanifest = "m.csv"\n') == RunRequest(Path("m.csv"))


def test_every_key(asked: Callable[[str], RunRequest]):
    request = asked("""
[runner]
manifest = "manifests/x y.csv"
runner_cmd = "model --fast 'a b'"
max_gpus = 1
cpu_workers = 3
max_retries = 0
output_dir = "out"
telemetry_log = "log.jsonl"
layout = "segments"
timeout = 90
fail_fast = true
scheduler = "local"
use_hawkears = false
[hawkears]
extra_args = "--ignored without hawkears"
[paths]
dataset_root = "for information only"
""")
    assert request == RunRequest(
        Path("manifests/x y.csv"), "command", {"command": "model --fast 'a b'"}, Path("out"), "segments", 1, 3, 0, 90,
        True, telemetry_log=Path("log.jsonl"),
    )  # fmt: skip


def test_options_of_a_runner(asked: Callable[[str], RunRequest]):
    request = asked(
        '[runner]\nmanifest = "m.csv"\nrunner = "birdnet"\n[runner.options]\nmin_confidence = 0.25\nx = [1, 2]\n'
    )
    assert (request.runner, request.options) == ("birdnet", {"min_confidence": "0.25", "x": ["1", "2"]})


@pytest.mark.parametrize("extra", ["\"--a 1 --b 'x y'\"", '["--a", "1", "--b", "x y"]'])
def test_arguments_for_hawkears(extra: str, isolated: Path):
    path = _write(isolated, f'[runner]\nmanifest = "m.csv"\nuse_hawkears = true\n[hawkears]\nextra_args = {extra}\n')
    manifest, values = read_run_config(load_settings(path))
    assert manifest == Path("m.csv")
    assert values["use_hawkears"] is True
    assert values["hawkears_args"] == ("--a", "1", "--b", "x y")


def test_hawkears_without_its_environment(isolated: Path, cli: Callable[..., Any]):
    ended = cli("infer", "run-config", _write(isolated, '[runner]\nmanifest = "m.csv"\nuse_hawkears = true\n'))
    assert ended.code == 1
    assert "badc hawkears setup" in ended.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no manifest"),
        ("[runner]\n", "names no manifest"),
        ('[runner]\nmanifest = "m.csv"\nmax_retrys = 1\n', "max_retries"),
        ('[runner]\nmanifest = "m.csv"\nmax_retries = "1"\n', "wrong type"),
        ('[runner]\nmanifest = "m.csv"\nmax_retries = true\n', "wrong type"),
        ('[runner]\nmanifest = ["m.csv"]\n', "wrong type"),
        ('[runner]\nmanifest = "m.csv"\nrunner_cmd = "x"\nuse_hawkears = true\n', "Keep one of them"),
        ('runner = "x"\n', "is not a table"),
        ("[runner\n", "is not valid TOML"),
        ('[runner]\nmanifest = "m.csv"\nlayout = "heap"\n', "layout"),
        ('[runner]\nmanifest = "m.csv"\nmax_retries = -1\n', "max_retries"),
        ('[runner]\nmanifest = "m.csv"\ntimeout = 0\n', "timeout"),
        ('[runner]\nmanifest = "m.csv"\noptions = 3\n', "options"),
    ],
)
def test_what_cannot_be_understood(text: str, said: str, isolated: Path, cli: Callable[..., Any]):
    ended = cli("infer", "run-config", _write(isolated, text))
    assert ended.code == 2, ended.stderr
    assert said in ended.stderr
    assert "run.toml" in ended.stderr


def test_no_such_file(cli: Callable[..., Any]):
    ended = cli("infer", "run-config", "gone.toml")
    assert ended.code == 2
    assert "gone.toml" in ended.stderr


def test_a_run_by_file(isolated: Path, cli: Callable[..., Any]):
    runs.make_manifest(isolated / "m.csv", 2, 1)
    path = _write(isolated, '[runner]\nmanifest = "m.csv"\noutput_dir = "out"\n')
    assert json.loads(cli("infer", "run-config", path, "--json").ok().stdout)["done"] == 2
    assert "2 chunks, 2 done" in cli("infer", "run-config", path, "--dry-run").ok().stdout
    assert len(runs.documents(isolated / "out")) == 2


def test_print_datalad_run(isolated: Path, cli: Callable[..., Any]):
    (isolated / ".datalad").mkdir()
    runs.make_manifest(isolated / "m.csv", [runs.Chunk("c", "r", isolated / "x.wav")])
    path = _write(isolated, '[runner]\nmanifest = "m.csv"\ncpu_workers = 2\n')
    told = cli("infer", "run-config", path, "--print-datalad-run").ok().stdout
    assert told.startswith(f"cd {isolated} && datalad ")
    assert "--cpu-workers 2" in told


def test_every_key_of_badc_0_1_is_taken():
    assert {
        "manifest", "use_hawkears", "runner_cmd", "max_gpus", "cpu_workers", "max_retries", "output_dir",
        "telemetry_log",
    } <= set(RUNNER_KEYS)  # fmt: skip


def test_errors_name_the_file(isolated: Path):
    with pytest.raises(UsageError, match=r"run\.toml"):
        read_run_config(load_settings(_write(isolated, "[runner]\nmanifest = 1\n")))

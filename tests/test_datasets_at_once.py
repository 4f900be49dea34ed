"""A dataset on a scheduler whose work goes on by itself: all of its recordings at once, from one command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from datasets import NAMES, make_recordings, results

from badc_core.errors import ExitCode
from badc_core.run_folders import in_flight, read_ended, run_folders

pytest_plugins = ["detached"]

YARD = ("--runner", "lab", "--scheduler", "yard", "--apply")


@pytest.fixture
def dataset(isolated: Path, cli: Any) -> Path:
    """Three recordings in three chunks each."""
    found = make_recordings(isolated / "my set")
    cli("chunk", "orchestrate", found, "--apply", "--chunk-duration", 3).ok()
    return found


@pytest.fixture
def orchestrate(start: Callable[..., subprocess.Popen[str]], dataset: Path) -> Callable[..., Any]:
    """Return ``orchestrate(*options)``, which starts the command."""
    return lambda *options: start("infer", "orchestrate", dataset, *YARD, *options)


def said(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, out + err
    return str(out)


def folders(dataset: Path) -> list[Path]:
    return run_folders(dataset / "artifacts/infer")


def until(ready: Callable[[], Any], patience_s: float = 60) -> None:
    end = time.monotonic() + patience_s
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_all_recordings_are_under_way_at_once(orchestrate: Callable[..., Any], dataset: Path):
    process = orchestrate("-o", "sleep_ms=3000", "-o", "batch=1")
    until(lambda: len([folder for folder in folders(dataset) if in_flight(folder)]) == 3)
    assert results(dataset) == [], "none has ended when the last is handed over"
    told = said(process)
    assert "3 runs under way; this command follows them." in told
    assert next(line for line in told.splitlines() if ": 3 chunks in" in line).startswith("[1/3] a: ")
    assert len(results(dataset)) == 9
    assert not [folder for folder in folders(dataset) if in_flight(folder)]
    for name in NAMES:
        log = dataset / f"artifacts/telemetry/infer/{name}.jsonl"
        events = [json.loads(line) for line in log.read_text().splitlines()]
        assert [event["status"] for event in events].count("success") == 3, "each in its own log"
    assert "Nothing to analyse" in said(orchestrate())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_the_same_command_follows_what_is_under_way(
    number: signal.Signals, orchestrate: Callable[..., Any], dataset: Path
):
    process = orchestrate("-o", "sleep_ms=3000", "-o", "batch=1")
    until(lambda: len([folder for folder in folders(dataset) if in_flight(folder)]) == 3)
    until(lambda: all((folder / "submission.json").exists() for folder in folders(dataset)))
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == ExitCode.RESUME, out + err
        assert "The jobs go on without this command." in err
        assert "The same command follows them" in err
    told = said(orchestrate("-o", "sleep_ms=3000", "-o", "batch=1"))
    assert "3 runs under way" in told
    assert len(folders(dataset)) == 3, "nothing was handed over twice"
    assert len(results(dataset)) == 9


def test_a_signal_while_recordings_are_handed_over_is_not_lost(orchestrate: Callable[..., Any], dataset: Path):
    process = orchestrate("-o", "sleep_ms=3000", "-o", "batch=1")
    until(lambda: [folder for folder in folders(dataset) if in_flight(folder)])
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.RESUME, out + err
    assert "The jobs go on without this command." in err
    said(orchestrate("-o", "sleep_ms=3000", "-o", "batch=1"))
    assert not [folder for folder in folders(dataset) if in_flight(folder)]
    ends = [how for folder in folders(dataset) if (how := read_ended(folder).get("how")) != "cancelled"]
    assert ends.count("complete") == 3, "what was just being handed over may have been taken back"
    assert len(results(dataset)) == 9


def test_runs_with_other_options_are_refused_one_by_one(orchestrate: Callable[..., Any], dataset: Path):
    process = orchestrate("-o", "sleep_ms=3000", "-o", "batch=1")
    until(lambda: len([folder for folder in folders(dataset) if in_flight(folder)]) == 3)
    until(lambda: all((folder / "submission.json").exists() for folder in folders(dataset)))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = orchestrate("-o", "flavour=other")
    out, err = again.communicate(timeout=60)
    assert again.returncode == ExitCode.SOME_FAILED, out + err
    assert err.count("goes on by itself") == 3
    assert len(results(dataset)) in range(10)
    said(orchestrate("-o", "sleep_ms=3000", "-o", "batch=1"))
    assert len(results(dataset)) == 9


def test_a_recording_that_fails_leaves_the_others_alone(orchestrate: Callable[..., Any], dataset: Path):
    options = ("-o", "wrong=die", "-o", "at=b c_", "-o", "batch=1", "-s", "retries=0")
    out, err = (process := orchestrate(*options)).communicate(timeout=120)
    assert process.returncode == ExitCode.SOME_FAILED, out + err
    assert "b c: " in err
    assert len(results(dataset)) >= 6
    assert runs.committed(dataset / "artifacts/infer")

"""Fixtures for tests of runs that go on by themselves: the lab in the yard, as a call and as a command.

A plugin: ``pytest_plugins = ["detached"]``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs
import yard

from badc_core import engine, follower
from badc_core.host import Host, default_host
from badc_core.runs import RunRequest, RunSummary

PLUGINS = f"{faulty_lab.PLUGIN}{os.pathsep}{yard.PLUGIN}"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Return the host of this process, with lab and yard."""
    monkeypatch.setenv("BADC_PLUGINS", PLUGINS)
    monkeypatch.setattr(follower, "FIRST_QUESTION_S", 0.2)
    default_host.cache_clear()
    yield default_host()
    default_host.cache_clear()


@pytest.fixture
def go(isolated: Path, host: Host) -> Callable[..., RunSummary]:
    """Return ``go(**request)``: the lab over a manifest of two recordings with three chunks each, in the yard."""
    runs.make_manifest(isolated / "m.csv", 3, 2)

    def call(**request: Any) -> RunSummary:
        values = {
            "manifest": isolated / "m.csv", "runner": "lab", "output_dir": isolated / "out", "scheduler": "yard",
            "telemetry_log": isolated / "log.jsonl", **request,
        }  # fmt: skip
        return engine.run(RunRequest(**values), host=host)

    return call


@pytest.fixture
def start(isolated: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return ``start(*words)``, which starts ``badc`` with lab and yard."""
    started: list[subprocess.Popen[str]] = []

    def call(*words: object) -> subprocess.Popen[str]:
        started.append(runs.start(*words, env={"BADC_PLUGINS": PLUGINS}, cwd=isolated))
        return started[-1]

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()

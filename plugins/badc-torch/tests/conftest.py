"""Real networks and a real torch for the tests, where a machine has one.

``BADC_TEST_TORCH_PYTHON`` names an interpreter with torch; else ``BADC_TEST_HAWKEARS_PYTHON``, whose environment has
torch, too; else the one of `make hawkears-env` is taken, else torch in this one. Without any, the tests that need torch
are skipped. They are slow ones, unless a variable asks for them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
VARIABLES = ("BADC_TEST_TORCH_PYTHON", "BADC_TEST_HAWKEARS_PYTHON")
RATE_HZ = 16_000
TONES = """\
name = "Tones"
version = "1"
sample_rate_hz = 16000
window_s = 1.0
labels = ["low", "high"]
output = "logits"
"""
"""The card of most networks here."""


@pytest.hookimpl(tryfirst=True)  # before they are chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs torch as slow."""
    if not any(variable in os.environ for variable in VARIABLES):
        for item in items:
            if "torch_python" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.slow)


def _interpreter() -> Path | None:
    for variable in VARIABLES:
        if named := os.environ.get(variable):
            assert Path(named).exists(), f"{variable} names {named}, which is not there"
            return Path(named)
    made = REPOSITORY / ".venv-hawkears"
    if (made / ".ready").exists():
        return made / "hawkears/env/bin/python"
    return Path(sys.executable) if importlib.util.find_spec("torch") else None


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """An interpreter with torch."""
    python = _interpreter()
    if python is None:
        pytest.skip("needs torch: make hawkears-env, or name an interpreter with BADC_TEST_TORCH_PYTHON")
    return python


@pytest.fixture(scope="session")
def search_path() -> str:
    """``PYTHONPATH`` by which another interpreter finds this plugin, and the core as it is here."""
    return os.pathsep.join(filter(None, (str(HERE.parent), str(REPOSITORY), os.environ.get("PYTHONPATH"))))


@pytest.fixture
def torch_here(torch_python: Path, search_path: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as child processes of a run need it."""
    monkeypatch.setenv("PYTHONPATH", search_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return torch_python


@pytest.fixture(scope="session")
def networks(torch_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks, see ``networks.py``."""
    folder = tmp_path_factory.mktemp("networks")
    command = [str(torch_python), "-W", "ignore", str(HERE / "networks.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@frozen
class Heard:
    """What the runner answered.

    Parameters
    ----------
    answers
        Detections of each chunk, as JSON.
    batch
        How many windows it takes at once from now on.
    error, hint, retry
        What it raised instead; `error` is a class and a message.
    """

    answers: tuple[list[dict[str, Any]], ...] = ()
    batch: int = 0
    error: str = ""
    hint: str = ""
    retry: bool | None = None

    def labels(self, chunk: int = 0) -> list[tuple[str, int, int]]:
        """Return label, start and end of each detection in a chunk."""
        return [(one["label"], one["start_ms"], one["end_ms"]) for one in self.answers[chunk]]


class Bench:
    """A process with torch, which opens one runner after another."""

    def __init__(self, python: Path, networks: Path, folder: Path, search_path: str) -> None:
        self._networks = networks
        self._folder = folder
        self._count = 0
        environment = {**os.environ, "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [str(python), str(HERE / "bench.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("w"),
            text=True,
            env=environment,
        )

    def hear(
        self,
        model: str | Path,
        *sounds: Any,
        card: str = TONES,
        rate: int = RATE_HZ,
        again: bool = False,
        worker: str = "cpu",
        **options: Any,
    ) -> Heard:
        """Open a runner with a card of its own, and play sounds to it."""
        self._count += 1
        place = self._folder / str(self._count)
        place.mkdir()
        (place / "card.toml").write_text(card)
        np.savez(place / "sounds.npz", **{f"c{i}": np.asarray(one, np.float32) for i, one in enumerate(sounds)})
        given = {"min_score": None, "batch": 0, "threads": 1, "precision": "float32", "device": "auto", "python": None}
        given |= {"model": str(self._networks / model), "config": str(place / "card.toml")} | options
        request = {"options": given, "rate": rate, "sounds": str(place / "sounds.npz"), "again": again}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({**request, "worker": worker}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, (self._folder / "stderr").read_text()[-4000:]
        answer = json.loads(line)
        if "error" in answer:
            return Heard(
                error=f"{answer['error']}: {answer['message']}", hint=answer["hint"] or "", retry=answer["retry"]
            )
        return Heard(tuple(answer["answers"]), answer["batch"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture(scope="session")
def bench(torch_python, networks, search_path, tmp_path_factory) -> Iterator[Bench]:
    """Opens runners, and plays to them."""
    made = Bench(torch_python, networks, tmp_path_factory.mktemp("bench"), search_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def card():
    """The common card, with more lines, or without some: ``card("join = true", without="labels|version")``."""

    def make(*lines: str, without: str = "") -> str:
        kept = [line for line in TONES.splitlines() if line.split(" ")[0] not in without.split("|")]
        return "\n".join([*kept, *lines])

    return make


def tones(seconds: float, *bursts: tuple[float, float, float], rate: int = RATE_HZ) -> Any:
    """Return silence with tones in it: each from, until (in seconds) and Hz; amplitude 0.3."""
    time = np.arange(round(seconds * rate)) / rate
    sound = np.zeros(len(time), np.float32)
    for begin, end, hertz in bursts:
        here = (time >= begin) & (time < end)
        sound[here] += (0.3 * np.sin(2 * np.pi * hertz * time[here])).astype(np.float32)
    return sound


@pytest.fixture(scope="session")
def make_tones():
    """``make_tones(seconds, (from, until, hertz), …, rate=16000)``: silence with tones in it."""
    return tones

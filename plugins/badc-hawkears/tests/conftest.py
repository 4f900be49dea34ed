"""The real HawkEars for the tests, where a machine has it.

`make hawkears-env` makes an environment and a data folder with small models that detect, in ``.venv-hawkears``. Tests
that need them are slow, whatever they say themselves, and are skipped where they are missing.

``BADC_TEST_HAWKEARS_PYTHON`` and ``BADC_TEST_HAWKEARS_ROOT`` name another interpreter and another data folder, made by
``python -m badc_hawkears.testing.checkpoint ROOT --members bknet.1,bknet.1,bknet.1 --low-band 1``; then these tests run
always.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import strategies as st

from badc_core.isolation import RemoteRunner
from badc_core.model import Device
from badc_core.protocols import WorkerContext

HERE = Path(__file__).parent
MADE = HERE.parents[2] / ".venv-hawkears"
PYTHON = "BADC_TEST_HAWKEARS_PYTHON"
SETTINGS = {"all": {"models": None, "low_band": True}, "one": {"models": 1, "low_band": False}}
"""Options of the runner, by the name that its tests and what HawkEars says go by."""


@pytest.hookimpl(tryfirst=True)  # before they are chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the real HawkEars as slow."""
    if PYTHON in os.environ:
        return
    for item in items:
        if "hawkears_python" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


def _named(variable: str, made: str) -> Path:
    """Return what a variable names, else what `make hawkears-env` made."""
    if value := os.environ.get(variable):
        path = Path(value)
        assert path.exists(), f"{variable} names {path}, which is not there"
        return path
    if not (MADE / ".ready").exists():
        pytest.skip("needs the real HawkEars: make hawkears-env")
    return MADE / made


@pytest.fixture(scope="session")
def hawkears_python() -> Path:
    """The interpreter of HawkEars' environment."""
    return _named(PYTHON, "hawkears/env/bin/python")


@pytest.fixture(scope="session")
def hawkears_root() -> Path:
    """A data folder with checkpoints that detect."""
    return _named("BADC_TEST_HAWKEARS_ROOT", "fitted")


@pytest.fixture(scope="session")
def in_hawkears(hawkears_python: Path) -> Callable[..., str]:
    """Run one of the scripts here with HawkEars' interpreter: ``in_hawkears("vendor.py", …)``; returns its stdout."""

    def run(script: str, *arguments: object) -> str:
        command = [hawkears_python, HERE / script, *arguments]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run


@frozen
class Spoken:
    """What HawkEars' own loop says of whole recordings.

    Parameters
    ----------
    folder
        ``NAME.wav`` are the recordings, ``NAME.SETTING.npz`` what it says: ``codes`` and ``frames``; ``SETTING.json``
        has the labels of all, by name.
    names
        Of the recordings.
    """

    folder: Path
    names: tuple[str, ...]


@pytest.fixture(scope="session")
def spoken(in_hawkears, hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    """Recordings of all sorts, and HawkEars' frames of them."""
    folder = tmp_path_factory.mktemp("spoken")
    names = json.loads(in_hawkears("vendor.py", hawkears_root, folder, json.dumps(SETTINGS)).rpartition("\n\0")[2])
    return Spoken(folder, tuple(names))


@pytest.fixture(scope="session", params=list(SETTINGS))
def warm(request, hawkears_python, hawkears_root, tmp_path_factory) -> Iterator[tuple[str, RemoteRunner]]:
    """The runner in its child process, opened once for each setting; with the setting's name."""
    options = {"root": str(hawkears_root), "python": str(hawkears_python), "floor": 0.2, **_whole(request.param)}
    context = WorkerContext(Device(), "cpu-0", tmp_path_factory.mktemp("scratch"))
    runner = RemoteRunner(
        "hawkears",
        "badc_hawkears.runner:open_runner",
        "badc_hawkears.options:HawkEarsOptions",
        options,
        context,
        hawkears_python,
    )
    yield request.param, runner
    runner.close()


def _whole(setting: str) -> dict[str, object]:
    return {"min_score": None, "batch": 5, "threads": 1, "trust": False, **SETTINGS[setting]}


@pytest.fixture(scope="session")
def cuttings() -> Callable[[int], st.SearchStrategy[list[tuple[int, int, int]]]]:
    """``data.draw(cuttings(length_ms))``: chunks ``(start_ms, end_ms, overlap_ms)`` of any length, in any order."""

    @st.composite
    def cut(draw: st.DrawFn, length_ms: int) -> list[tuple[int, int, int]]:
        cuts = sorted({0, length_ms, *draw(st.sets(st.integers(1, length_ms - 1), max_size=5))})
        overlap = draw(st.sampled_from([0, 0, 100, 1000, 3333]))
        chunks = []
        for start, end in itertools.pairwise(cuts):
            shared = max(0, min(overlap, start - 1))
            # badc's manifests tell an overlap of the first chunk, too
            chunks.append((start - shared, end, shared if start else overlap))
        return draw(st.permutations(chunks))

    return cut


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return what each process of the stand-in, :mod:`standin`, noted."""
    path = tmp_path / "standin.log"
    monkeypatch.setenv("STANDIN_LOG", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

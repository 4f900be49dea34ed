"""The real HawkEars for the tests, where a machine has it.

``BADC_TEST_HAWKEARS_PYTHON`` names the interpreter of an environment with HawkEars, badc-core and this plugin;
``BADC_TEST_HAWKEARS_ROOT`` a data folder made by ``python -m badc_hawkears.testing.checkpoint ROOT --members
bknet.1,bknet.1,bknet.1 --low-band 1``. Without them, the tests that need HawkEars are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from badc_core.isolation import RemoteRunner
from badc_core.model import Device
from badc_core.protocols import WorkerContext

HERE = Path(__file__).parent
SETTINGS = {"all": {"models": None, "low_band": True}, "one": {"models": 1, "low_band": False}}
"""Options of the runner, by the name that its tests and what HawkEars says go by."""


def _named(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} does not name {what}")
    path = Path(value)
    assert path.exists(), f"{variable} names {path}, which is not there"
    return path


@pytest.fixture(scope="session")
def hawkears_python() -> Path:
    """The interpreter of HawkEars' environment."""
    return _named("BADC_TEST_HAWKEARS_PYTHON", "the interpreter of an environment with HawkEars")


@pytest.fixture(scope="session")
def hawkears_root() -> Path:
    """A data folder with checkpoints that detect."""
    return _named("BADC_TEST_HAWKEARS_ROOT", "a data folder of HawkEars with fitted checkpoints")


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
        ``NAME.wav`` are the recordings, ``NAME.SETTING.npz`` what it says: ``codes`` and ``frames``.
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

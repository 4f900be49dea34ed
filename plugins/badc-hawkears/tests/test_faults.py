"""What is broken is named, with the next step, before anything is analysed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from badc_core.errors import RunnerError
from badc_core.isolation import RemoteRunner
from badc_core.model import Device
from badc_core.protocols import WorkerContext
from badc_core.serde import unstructure
from badc_hawkears.modes import isolation
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.runner import open_runner


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, in which ``faults.py`` leaves a data folder for each fault."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def said(in_hawkears, hawkears_root: Path, scratch: Path) -> dict[str, Any]:
    """What the engine says of each fault; see ``faults.py``."""
    answer: dict[str, Any] = json.loads(in_hawkears("faults.py", hawkears_root, scratch).rpartition("\n\0")[2])
    return answer


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("torn", "cannot be read"),
        ("text", "is no checkpoint"),
        ("empty", "cannot be read"),
        ("program", "more than numbers and texts"),
        ("other thing", "is no checkpoint of HawkEars 2"),
        ("other classes", "trained for other classes: number 0 is"),
        ("fewer classes", "trained for other classes: it has"),
        ("missing tensor", "lacks 1 of the model's tensors, head.frame_head.weight"),
        ("gone", "weights are missing"),
    ],
)
def test_broken_checkpoints(said: dict[str, Any], fault: str, words: str) -> None:
    """The file is named, and no further attempt is made."""
    assert words in said[fault]["message"]
    assert fault.replace(" ", "-") in said[fault]["message"]
    assert said[fault]["hint"]
    assert said[fault]["retry"] is False


def test_a_pickle_runs_no_program(said: dict[str, Any]) -> None:
    """Not even when it lies among the weights."""
    assert said["ran"] is False


@pytest.mark.parametrize("mode", ["api", "cli"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("torn", "cannot be read"),
        ("program", "more than numbers and texts"),
        ("other classes", "trained for other classes: number 0 is"),
    ],
)
def test_hawkears_own_programs_are_not_given_such_checkpoints(
    said: dict[str, Any], scratch: Path, hawkears_python: Path, tmp_path: Path, mode: str, fault: str, words: str
) -> None:
    """They would run the program, and give scores to wrong names without a word."""
    root = scratch / fault.replace(" ", "-")
    options = HawkEarsOptions(python=hawkears_python, root=root, mode=mode, models=1, low_band=False)
    context = WorkerContext(Device(), "cpu-0", tmp_path)
    where = "badc_hawkears.runner:open_runner", "badc_hawkears.options:HawkEarsOptions"
    opened = {
        "thread": lambda: open_runner(options, context),
        "process": lambda: RemoteRunner("hawkears", *where, unstructure(options), context, hawkears_python),
    }
    with pytest.raises(RunnerError, match=words) as caught:
        opened[isolation(options)]()
    assert root.name in caught.value.message
    assert not caught.value.retry
    assert not (scratch / "it ran").exists()


@pytest.mark.parametrize("fault", ["offset", "length", "power"])
def test_the_self_check_notices(said: dict[str, Any], fault: str) -> None:
    """Windows elsewhere, of another length, or prepared in another way."""
    assert "answers differently in its own loop" in said[fault]["message"]


def test_a_gpu_that_torch_does_not_see_is_refused(said: dict[str, Any]) -> None:
    """The worker was given one; nothing is said where torch sees it."""
    assert not said["no gpu"] or "sees none" in said["no gpu"]["message"]


def test_too_little_memory(said: dict[str, Any]) -> None:
    """Batches are halved until they fit, with the same scores; where not one window fits, that is said."""
    assert said["memory"]["batch"] in (1, 2)
    assert said["memory"]["difference"] < 1e-5
    assert "even with one item at a time" in said["memory"]["none"]

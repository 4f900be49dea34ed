"""For tests of orchestrate commands: a dataset of three recordings, and the lab's runners."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import faulty_lab
import pytest
from sounds import noise, write

from badc_core import host, worker

__all__ = ["NAMES", "cut_recordings", "install_lab", "make_recordings", "plan_of", "results", "untested"]

NAMES = ["a", "b c", "q\"u, o'te%"]


def install_lab(patch: pytest.MonkeyPatch) -> None:
    """Have ``badc`` in this process know the lab's runners, which need not wait before they try again."""
    made = host.Host(extra=[faulty_lab])
    patch.setattr(host, "default_host", lambda: made)
    patch.setattr("badc_core.engine.default_host", lambda: made)
    patch.setattr(worker, "backoff_s", lambda attempt: 0)


def make_recordings(root: Path) -> Path:
    """Write three recordings of nine seconds."""
    for name in NAMES:
        write(root / f"audio/sub/{name}.wav", noise(9))
    return root


def cut_recordings(root: Path, cli: Any, patch: pytest.MonkeyPatch) -> Path:
    """Write the same, cut into chunk files of three seconds, for a ``badc`` that knows the lab."""
    install_lab(patch)
    found = make_recordings(root)
    cli("chunk", "orchestrate", found, "--apply", "--chunk-duration", 3).ok()
    return found


def results(dataset: Path, folder: str = "artifacts/infer") -> list[str]:
    """Return the results in a dataset: ``recording/chunk``."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in (dataset / folder).glob("[!.]*/*.json"))


def plan_of(path: Path) -> list[dict[str, Any]]:
    """Read a plan."""
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def untested(command: click.Command) -> set[str]:
    """Return the options that no test of an orchestrate command names; they share most of theirs."""
    here = Path(__file__).parent
    files = [here / "test_cli_infer_orchestrate.py", here / "test_cli_pipeline.py", here / "test_bundling.py"]
    files.append(here.parent / "plugins/badc-slurm/tests/test_by_hand.py")
    tested = "".join(path.read_text("utf-8") for path in files)
    options = [option for option in command.params if isinstance(option, click.Option)]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    return {name for name in names if f'"{name}"' not in tested}

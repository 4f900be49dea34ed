"""The tutorial is true: its commands run, in its order, on the recordings of the demonstration."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from badc_demo.sounds import missing_packages

TUTORIAL = Path(__file__).resolve().parents[3] / "docs/tutorials/getting-started.md"


def commands(program: str) -> list[list[str]]:
    """Return the arguments of the tutorial's commands of one program."""
    lines = [line.removeprefix("$ ") for line in TUTORIAL.read_text(encoding="utf-8").splitlines() if line[:2] == "$ "]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]


def test_tutorial_runs(cli, isolated, capsys):
    """Every ``badc`` line, from the manifest to the report, and the question to the database."""
    if missing_packages():
        pytest.skip("; ".join(missing_packages()))
    cli("demo", "--minutes", "2").ok()
    listing, dry, run, compiling, report = (cli(*arguments) for arguments in commands("badc"))
    assert "9 chunks of 6 recordings" in listing.ok().stdout
    assert "cut off" in listing.stderr
    assert "9 chunks" in dry.ok().stdout
    assert run.code == 3  # as the tutorial says
    assert "1 chunk failed" in run.stdout
    assert "6 recordings" in compiling.ok().stdout
    assert "Common Yellowthroat" in report.ok().stdout
    header = (isolated / "manifest.recordings.csv").read_text(encoding="utf-8")
    assert "BoggyCreek,BC07" in header
    for name in ("manifest.csv", "results/.badc", "data/telemetry/infer", "detections.csv", "detections.parquet"):
        assert (isolated / name).exists()
        assert name in TUTORIAL.read_text(encoding="utf-8")
    ((_, question),) = commands("python")
    exec(question)
    assert "Common Yellowthroat" in capsys.readouterr().out

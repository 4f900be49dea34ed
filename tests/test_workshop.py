"""The Makefile does what it says on a machine that has nothing but git, make and Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import REPOSITORY

PROMISED = {"help", "demo", "test", "test-slow", "lint", "types", "docs", "bench", "clean"}


def make(folder: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run make as from a terminal, even where make runs these tests."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "VIRTUAL_ENV", "BADC_"))}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=folder, env=variables, timeout=timeout, check=False, capture_output=True, text=True
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a folder that holds the Makefile and nothing else."""
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    return tmp_path


def interpreter(folder: Path, script: str) -> str:
    """Write a stand-in for a Python that this machine lacks."""
    path = folder / "some-python"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return f"PYTHON={path}"


def test_help_lists_everything(bare: Path):
    done = make(bare)
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    declared = re.search(r"^\.PHONY: (.*)$", (bare / "Makefile").read_text(), re.MULTILINE)
    assert declared
    assert listed == set(declared[1].split()) - {"FORCE"}
    assert listed >= PROMISED


def test_missing_python_is_said(bare: Path):
    done = make(bare, ".venv/.made-for", "PYTHON=python3.0-is-not-there")
    assert done.returncode
    assert "There is no python3.0-is-not-there" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_old_python_is_said(bare: Path):
    old = interpreter(bare, 'case "$1" in -V) echo Python 3.9.2;; *) exit 1;; esac\n')
    done = make(bare, ".venv/.made-for", old)
    assert done.returncode
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr


def test_missing_venv_module_is_said(bare: Path):
    python = interpreter(bare, f'case "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    done = make(bare, ".venv/.made-for", python)
    assert done.returncode
    assert "apt-get install python3-venv" in done.stderr
    assert not (bare / ".venv").exists()


def test_ci_script_is_executable_and_begins_with_what_the_readme_says():
    script = REPOSITORY / ".ci/run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"\bmake [\w-]+$", script.read_text(), re.MULTILINE)[0] == "make test"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what git knows here, changes included; nothing that was installed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    target = tmp_path / "a clone"
    for name in filter(None, listed.stdout.split("\0")):
        source = REPOSITORY / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_runs_in_a_fresh_clone_and_installs_only_once(clone: Path):
    started = time.monotonic()
    done = make(clone, "demo", timeout=600)
    took = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Common Yellowthroat" in done.stdout
    for suffix in ("csv", "parquet", "duckdb"):
        assert (clone / f"badc-demo/artifacts/aggregate/detections.{suffix}").stat().st_size > 0
    assert took < 180, f"make demo took {took:.0f} s"

    assert "Installing" not in make(clone, "--dry-run", "demo").stdout
    moved = clone.rename(clone.parent / "moved")
    assert "Making .venv" in make(moved, "--dry-run", "demo").stdout, "its scripts name the old folder"

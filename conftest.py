"""Fixtures for all tests here, those of plugins too: a clean place to work in, and ``badc`` to call in it.

``isolated`` gives a test an empty home and working folder and an environment without ``BADC_…`` variables. ``cli``
runs ``badc`` in this process, which is quick; ``run_badc`` starts a process, for what only a process can show (signals,
what is imported, what happens to file descriptors).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import hypothesis
import pytest
from attrs import frozen

REPOSITORY = Path(__file__).resolve().parent

# How long an example takes says more about a busy machine than about the code.
hypothesis.settings.register_profile("badc", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("badc")


@frozen
class CliResult:
    """What a command did.

    Parameters
    ----------
    code
        Its exit status; negative: the signal that ended it.
    stdout, stderr
        What it wrote.
    """

    code: int
    stdout: str
    stderr: str

    def ok(self) -> CliResult:
        """Return itself, or fail with what was written when the exit status is not 0."""
        assert self.code == 0, f"exit status {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        return self


def _forget() -> None:
    """Empty what the core keeps for the life of a process: where data sets lie, and how much is logged."""
    from badc_core import layout, log

    for cached in vars(layout).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    log.configure()


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move to an empty working folder, with an empty home and no ``BADC_…`` variables; return the working folder."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    for name in list(os.environ):
        if name.startswith(("BADC_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(work)
    _forget()
    return work


@pytest.fixture
def cli(
    isolated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., CliResult]:
    """Return ``cli(*args) -> CliResult``, which runs ``badc`` in this process and in an isolated folder."""
    from badc_core.cli import COMMANDS, main
    from badc_core.cli import cli as root

    # It asks for the commands of plugins once; a test may have plugins of its own.
    monkeypatch.setattr(root, "_complete", False)
    monkeypatch.setattr(root, "commands", {})
    monkeypatch.setattr(root, "table", dict(COMMANDS))

    def call(*args: object) -> CliResult:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return CliResult(code, captured.out, captured.err)

    return call


@pytest.fixture
def run_badc(isolated: Path) -> Callable[..., CliResult]:
    """Return ``run_badc(*args, env={}, cwd=None, timeout=120)``, which runs ``badc`` as a process of its own."""

    def call(
        *args: object, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 120
    ) -> CliResult:
        done = subprocess.run(
            [sys.executable, "-m", "badc_core", *map(str, args)],
            env={**os.environ, **(env or {})},
            cwd=cwd or Path.cwd(),
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return CliResult(done.returncode, done.stdout, done.stderr)

    return call

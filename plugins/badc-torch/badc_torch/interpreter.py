"""The interpreter that runs the network: whether it has what that takes, and what to install when not."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from badc_core.errors import RunnerError
from badc_core.interpreters import packages_changed_ns
from badc_core.protocols import Readiness
from badc_torch.options import INTERPRETER_VARIABLE

__all__ = ["NEEDED", "check", "how_to_install", "missing", "require"]

NEEDED = {"torch": "torch", "badc_core": "badc-core", "badc_torch": "badc-torch"}
"""Modules that the network's process imports, and the distributions that bring them."""

_ASK = (
    "import importlib.util, json, sys\n"
    "print('\\0' + json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]))"
)
_LIMIT_S = 60


def missing(python: Path | None) -> tuple[str, ...]:
    """Return which of :data:`NEEDED` an interpreter lacks; ``None``: this one.

    Raises
    ------
    RunnerError
        The interpreter cannot be asked.
    """
    if python is None:
        return tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)
    try:
        return _ask(str(python), packages_changed_ns(python), os.environ.get("PYTHONPATH"))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise RunnerError(
            f"Cannot ask the interpreter {python} whether it has torch: {error}.",
            hint="Check -o python=PATH: it must be a Python 3.11 or newer.",
            retry=False,
        ) from error


def how_to_install(lacking: Sequence[str], python: Path | None) -> str:
    """Return the command that installs what is missing."""
    extra = "badc-torch[torch]" if "torch" in lacking else None
    names = [NEEDED[name] for name in lacking if not (extra and name in ("torch", "badc_torch"))]
    wanted = " ".join([*names, f"'{extra}'"] if extra else names)
    return f"{python or sys.executable} -m pip install {wanted}"


def require(python: Path | None) -> None:
    """Make sure that an interpreter has what the network's process imports.

    Raises
    ------
    RunnerError
        It has not; the hint is the command that mends it.
    """
    lacking = missing(python)
    if not lacking:
        return
    hint = f"Install it: {how_to_install(lacking, python)}"
    if python is None:
        hint += "; or name another interpreter that has it: -o python=PATH"
    raise RunnerError(
        f"The runner 'torch' needs {' and '.join(lacking)}, which {python or sys.executable} does not have.",
        hint=hint,
        retry=False,
    )


def check() -> Readiness:
    """Say whether networks can run here, and if not, which command mends that."""
    named = os.environ.get(INTERPRETER_VARIABLE)
    python = Path(named) if named else None
    try:
        lacking = missing(python)
    except RunnerError as error:
        return Readiness(False, error.message.rstrip("."), f"set {INTERPRETER_VARIABLE} to an interpreter with torch")
    if lacking:
        detail = f"{' and '.join(lacking)} not installed for {python or sys.executable}"
        if python is None:
            detail += f"; needed unless -o python=PATH or {INTERPRETER_VARIABLE} names an interpreter that has it"
        return Readiness(False, detail, how_to_install(lacking, python))
    return Readiness(True, f"torch of {python or sys.executable}")


@functools.lru_cache(maxsize=8)
def _ask(python: str, changed_ns: int, search_path: str | None) -> tuple[str, ...]:
    """Ask an interpreter; the other parameters are there to ask anew when something was installed."""
    answer = subprocess.run(
        [python, "-c", _ASK, *NEEDED],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=True,
    )
    _, nul, told = answer.stdout.rpartition("\0")
    if not nul:
        raise ValueError("it does not answer as Python does")
    return tuple(json.loads(told))

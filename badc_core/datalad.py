"""``datalad run``: whether there is one, and how it is called.

The command line is written once and used twice: for commands that are run here, and for those that are printed for a
user. What it consists of is told in ``docs/how-to/datalad.md``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from badc_core.errors import Interrupted

__all__ = ["call", "doubled", "environment", "exact", "may_record", "run_argv"]

_EXACT = {"[": "[[]", "*": "[*]", "?": "[?]", "{": "[z-|]", "}": "[|-~]"}


def environment() -> Mapping[str, str]:
    """Return the environment to call tools in: what is installed beside this Python is found first."""
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}"}


def may_record(dataset: Path) -> bool:
    """Whether work can be recorded with ``datalad run``: a dataset, the tool, and nobody who forbids it."""
    return (
        "BADC_DISABLE_DATALAD" not in os.environ
        and (dataset / ".datalad").exists()
        and shutil.which("datalad", path=environment()["PATH"]) is not None
    )


def exact(path: str) -> str:
    """Return the pattern that stands for one path in ``--input`` and ``--output``, which are patterns.

    Braces, which are placeholders there, become ranges of three characters around them. Doubling them works once only:
    the record then holds single ones, and ``datalad rerun`` takes those for placeholders again.
    """
    return "".join(_EXACT.get(letter, letter) for letter in path)


def doubled(argument: str) -> str:
    """Return a part of the command, with the braces doubled that would be placeholders."""
    return argument.replace("{", "{{").replace("}", "}}")


def run_argv(message: str, inputs: Iterable[str], outputs: Iterable[str], command: Iterable[str]) -> list[str]:
    """Return the ``datalad run`` that records a command; to be run in the dataset's folder.

    Parameters
    ----------
    message
        First line of the record.
    inputs, outputs
        Paths in the dataset: what is fetched before, and what is saved afterwards.
    command
        Program and arguments, after :func:`doubled`.

    Notes
    -----
    ``--explicit``: other changes in the dataset neither forbid the work nor get into its record. ``--assume-ready
    outputs``: BADC puts new files in the place of old ones, so nothing needs to be unlocked, which takes 30 ms a file.
    ``--on-failure continue``: what was done is saved with its exit status when some of it failed, and an input that
    cannot be fetched costs only the chunks that need it.
    """
    options = [f"--input={exact(path)}" for path in inputs] + [f"--output={exact(path)}" for path in outputs]
    head = ["datalad", "--on-failure", "continue", "run", "--explicit", "--assume-ready", "outputs", "-m", message]
    return [*head, *options, "--", *command]


def call(argv: Sequence[str], dataset: Path) -> tuple[int, str]:
    """Run a command in a dataset's folder; return its exit status and what it wrote to stdout. Its stderr is ours.

    Raises
    ------
    Interrupted
        Ctrl-C, which the command got, too; it was waited for.
    """
    with subprocess.Popen(
        argv,
        cwd=dataset,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
    ) as process:
        try:
            said, _ = process.communicate()
        except KeyboardInterrupt:
            process.communicate()
            raise Interrupted(
                "Stopped.", hint="The same command goes on; `datalad status` shows what is not saved."
            ) from None
    return process.returncode, said

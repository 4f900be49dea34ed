"""``datalad run``: whether there is one, how it is called, and whether it called us.

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

__all__ = ["captured", "doubled", "environment", "exact", "may_record", "run_argv", "within_run"]

_PROC = Path("/proc")
_EXACT = {"[": "[[]", "*": "[*]", "?": "[?]", "{": "[z-|]", "}": "[|-~]"}


def environment() -> Mapping[str, str]:
    """Return the environment to call tools in: what is installed beside this Python is found first."""
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}"}


def captured(argv: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Call a tool in a folder, and return how it ended and what it wrote.

    Raises
    ------
    OSError
        It cannot be called.
    """
    return subprocess.run(
        [*argv],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )


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


def within_run() -> bool:
    """Whether a ``datalad run`` or ``datalad rerun`` called this process, and will record what it does.

    DataLad leaves no word of that in the environment, so the processes that called this one are looked at.
    """
    pid = os.getppid()
    while pid > 0:
        pid, argv = _caller(pid)
        if _records(argv):
            return True
    return False


def _records(argv: Sequence[str]) -> bool:
    """Whether a command is one of DataLad's that record what they call."""
    names = [Path(word).name for word in argv[:4]]  # a script of its own, or after `python`, or after `python -m`
    if "datalad" not in names:
        return False
    known = ("run", "rerun", "containers-run", "foreach-dataset")
    return next((word for word in argv[names.index("datalad") + 1 :] if word in known), known[-1]) != known[-1]


def _caller(pid: int) -> tuple[int, list[str]]:
    """Return who called a process, and its own words; 0 where that cannot be told."""
    folder = _PROC / str(pid)
    try:
        parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[1]
        return int(parent), os.fsdecode((folder / "cmdline").read_bytes()).split("\0")
    except (OSError, ValueError, IndexError):
        pass
    try:
        argv = ["ps", "-o", "ppid=", "-o", "args=", "-p", str(pid)]
        said = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False).stdout
        words = os.fsdecode(said).split()
        return int(words[0]), words[1:]
    except (OSError, ValueError, IndexError):
        return 0, []

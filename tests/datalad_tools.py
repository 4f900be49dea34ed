"""For tests in real DataLad datasets: the tools, what they tell, and whether git-annex's store is untouched."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from badc_core import datalad

__all__ = ["commits", "identify", "kept", "making", "needs_tools", "objects", "shell", "tool", "unsaved"]

_TOOLS = datalad.environment()["PATH"]
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool, path=_TOOLS) is None for tool in ("datalad", "git-annex")),
    reason="datalad and git-annex are not installed",
)


def tool(*words: object, at: Path, code: int = 0) -> str:
    """Run a program in a folder; return all that it wrote."""
    done = subprocess.run(
        [*map(str, words)],
        cwd=at,
        env=datalad.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def shell(script: str, at: Path, code: int = 0) -> str:
    """Let a shell do what was printed for it."""
    return tool("sh", "-c", script, at=at, code=code)


def commits(dataset: Path) -> list[str]:
    """Return the first lines of all commits, the newest first."""
    return tool("git", "log", "--format=%s", at=dataset).splitlines()


def unsaved(dataset: Path) -> str:
    """Return what Git says is not committed."""
    return tool("git", "status", "--porcelain", at=dataset)


def objects(dataset: Path) -> Mapping[Path, str]:
    """Return what git-annex keeps, with the checksum of each."""
    found = (path for path in (dataset / ".git/annex/objects").rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def kept(before: Mapping[Path, str], dataset: Path) -> bool:
    """Whether everything that git-annex kept is there as it was: nobody wrote through a link."""
    return before.items() <= objects(dataset).items()


@contextlib.contextmanager
def making(root: Path) -> Iterator[Path]:
    """Make a dataset; what the block puts there is saved, in commits that have an author."""
    with pytest.MonkeyPatch.context() as patch:
        identify(patch)
        tool("datalad", "create", root, at=root.parent)
        yield root
        tool("datalad", "save", "-m", "recordings", at=root)


def identify(patch: pytest.MonkeyPatch) -> None:
    """Give commits an author."""
    for role in ("AUTHOR", "COMMITTER"):
        patch.setenv(f"GIT_{role}_NAME", "Tester")
        patch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")

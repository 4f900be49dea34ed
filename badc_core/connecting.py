"""Bringing datasets here, up to date, and away again, with Git or DataLad.

Nothing is deleted that exists nowhere else, unless a user says so: before a dataset goes, its tool is asked whether all
of its content and history is somewhere else, too.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from badc_core import datalad
from badc_core.errors import BadcError, StoreError, UsageError

__all__ = ["Step", "ToolError", "carry_out", "connecting", "disconnecting", "is_present", "origin", "siblings"]

GIT, DATALAD, SUBMODULE = "git", "datalad", "git-submodule"


class ToolError(BadcError):
    """A tool failed.

    Parameters
    ----------
    message, hint
        As for every error of ours.
    status
        Its exit status.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@frozen
class Step:
    """What is to be done to a dataset.

    Parameters
    ----------
    method
        ``git``, ``datalad`` or ``git-submodule``.
    what
        In words, for people: ``cloned``, ``updated``, ``exists``, ``dropped``, ``kept``.
    argv
        The command that does it; empty: nothing is to be done.
    cwd
        Where.
    delete
        A folder to delete afterwards.
    """

    method: str
    what: str
    argv: tuple[str, ...] = ()
    cwd: Path = field(factory=Path.cwd)
    delete: Path | None = None


def _has(tool: str) -> bool:
    return shutil.which(tool, path=datalad.environment()["PATH"]) is not None


def _said(argv: Sequence[str], cwd: Path) -> str | None:
    """Return what a tool prints; ``None`` when it fails or is not there."""
    try:
        done = datalad.captured(argv, cwd)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def is_present(target: Path) -> bool:
    """Whether there is anything in a dataset's folder."""
    try:
        return any(target.iterdir())
    except OSError:
        return False


def origin(target: Path) -> str:
    """Return where a dataset came from, as Git knows it; empty: it does not."""
    return (_said(["git", "config", "remote.origin.url"], target) or "").strip() if is_present(target) else ""


def siblings(target: Path) -> list[Mapping[str, Any]]:
    """Return the other places a dataset is kept at, as DataLad or else Git knows them: ``name`` and ``url``."""
    if (target / ".datalad").exists() and _has("datalad"):
        lines = (_said(["datalad", "-f", "json", "siblings", "-d", str(target)], target) or "").splitlines()
        found = [entry for line in lines if isinstance(entry := json.loads(line), dict)]
        return [{"name": entry.get("name", ""), "url": entry.get("url") or "here"} for entry in found]
    names = (_said(["git", "remote"], target) or "").split()
    return [{"name": name, "url": (_said(["git", "remote", "get-url", name], target) or "").strip()} for name in names]


def _is_submodule(target: Path) -> bool:
    """Whether its ``.git`` points into another repository's modules."""
    try:
        return "/modules/" in (target / ".git").read_text("utf-8")
    except OSError:
        return False


def _above(target: Path) -> Path:
    """Return the nearest folder above that exists."""
    return next(folder for folder in target.parents if folder.is_dir())


def _registered_above(target: Path) -> Path | None:
    """Return the repository that has `target` as a submodule, which may not be here yet."""
    top = (_said(["git", "rev-parse", "--show-toplevel"], _above(target)) or "").removesuffix("\n")
    if not top or not (Path(top) / ".gitmodules").exists():
        return None
    listed = _said(["git", "config", "-z", "--file", ".gitmodules", "--get-regexp", r"\.path$"], Path(top)) or ""
    paths = {entry.partition("\n")[2] for entry in listed.split("\0")}
    return Path(top) if os.path.relpath(target, top) in paths else None


# ----------------------------------------------------------------------------------------------- connect


def connecting(target: Path, url: str, method: str | None, *, pull: bool) -> Step:
    """Return what brings a dataset here, or up to date.

    Parameters
    ----------
    target
        Its folder.
    url
        Where it comes from; may be empty when it is here.
    method
        ``git`` or ``datalad``; ``None``: DataLad where it is installed.
    pull
        Bring what is here up to date.

    Raises
    ------
    UsageError
        There is something else in its place, or nothing says where it comes from.
    """
    chosen = method or (DATALAD if _has("datalad") else GIT)
    if is_present(target):
        if _is_submodule(target):
            return Step(SUBMODULE, "exists")
        if _said(["git", "rev-parse", "--verify", "HEAD"], target) is None or not (target / ".git").exists():
            raise UsageError(
                f"{target} holds something that is no Git repository, or one that was not cloned to its end.",
                hint="Move it away, or choose another --path.",
            )
        as_dataset = (target / ".datalad").exists() and chosen == DATALAD
        if not pull:
            return Step(DATALAD if as_dataset else GIT, "exists")
        if as_dataset:
            return Step(DATALAD, "updated", ("datalad", "update", "--how", "merge", "-r", "-d", str(target)), target)
        return Step(GIT, "updated", ("git", "pull", "--ff-only"), target)
    above = _registered_above(target)
    if above is not None:
        argv = ("git", "submodule", "update", "--init", "--recursive", "--", os.path.relpath(target, above))
        return Step(SUBMODULE, "cloned", argv, above)
    if not url:
        raise UsageError(f"Nothing says where {target.name} comes from.", hint="Say it: --url URL")
    return Step(chosen, "cloned", (chosen, "clone", "--", url, str(target)), _above(target))


# -------------------------------------------------------------------------------------------- disconnect


def disconnecting(target: Path, *, drop: bool, force: bool) -> Step:
    """Return what takes a dataset away from here.

    Parameters
    ----------
    target
        Its folder.
    drop
        Delete it, content and all.
    force
        Also when that loses what exists nowhere else.

    Raises
    ------
    StoreError
        Something in it would be lost.
    """
    if not drop or not is_present(target):
        return Step(GIT, "kept" if is_present(target) else "missing")
    if _is_submodule(target):
        above = _registered_above(target)
        if above is not None:
            how = ("--force",) if force else ()
            argv = ("git", "submodule", "deinit", *how, "--", os.path.relpath(target, above))
            return Step(SUBMODULE, "dropped", argv, above)
    if (target / ".datalad").exists() and _has("datalad"):
        careless = ("--reckless", "kill") if force else ()  # without: refuses what is not known to be elsewhere
        argv = ("datalad", "drop", "--what", "all", "--recursive", *careless, "-d", str(target))
        return Step(DATALAD, "dropped", argv, _above(target))
    if not force:
        _check_nothing_is_lost(target)
    return Step(GIT, "dropped", delete=target)


def _check_nothing_is_lost(target: Path) -> None:
    git = {
        "files that are not committed": ["git", "status", "--porcelain", "--ignored"],
        "commits that were not pushed": ["git", "log", "--oneline", "--branches", "--tags", "--not", "--remotes"],
        "stashed changes": ["git", "stash", "list"],
    }
    reason = None
    if not (target / ".git").exists():
        reason = "what is no Git repository"
    elif is_present(target / ".git/annex/objects"):
        reason = "content of git-annex, and DataLad, which could tell whether it is elsewhere, is not installed"
    else:
        reason = next((what for what, argv in git.items() if _said(argv, target) != ""), None)
    if reason is not None:
        raise StoreError(f"{target} holds {reason}. Nothing was deleted.", hint="To lose that: --drop-content --force")


def _delete(folder: Path) -> None:
    """Delete a folder, with the read-only folders that git-annex makes."""
    for root, names, _ in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IRWXU)
    shutil.rmtree(folder)


def carry_out(step: Step) -> None:
    """Do a step; the tool's words go to the user's screen.

    Raises
    ------
    ToolError
        The tool failed, or is not installed.
    """
    if step.argv:
        if not _has(step.argv[0]):
            raise ToolError(f"{step.argv[0]} is not installed.", hint="pip install datalad git-annex; or --method git")
        done = subprocess.run(
            step.argv, cwd=step.cwd, env=datalad.environment(), stdin=subprocess.DEVNULL, stdout=2, check=False
        )
        if done.returncode != 0:
            hint = None
            if step.what == "dropped":
                hint = "To delete it although something would be lost: --drop-content --force"
            raise ToolError(f"{step.argv[0]} ended with status {done.returncode}.", hint=hint, status=done.returncode)
    if step.delete is not None:
        try:
            _delete(step.delete)
        except OSError as error:
            raise ToolError(f"{step.delete} cannot be deleted: {error}.") from error

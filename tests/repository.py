"""What lies in this repository, for tests that look at all of it."""

from __future__ import annotations

import ast
import functools
import tomllib
from pathlib import Path
from typing import Any

from attrs import frozen

__all__ = ["PROJECTS", "REPOSITORY", "SOURCES", "Project", "parsed", "python_files", "text_files"]

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = ("badc_core", "plugins", "contrib")
"""Folders of what users install."""

_NOT_OURS = {".git", ".venv", "build", "dist", "_build", "__pycache__", "badc-demo"}
_NOT_OURS |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
_TEXT = {".py", ".md", ".toml", ".txt", ".cfg", ".sh", ".json", ".csv", ""}


def _ours(path: Path) -> bool:
    return not _NOT_OURS.intersection(path.relative_to(REPOSITORY).parts)


def python_files(*folders: str) -> list[Path]:
    """Return all Python files below the folders, or in the whole repository when none is named."""
    found: list[Path] = []
    for folder in folders or (".",):
        found += (path for path in (REPOSITORY / folder).rglob("*.py") if _ours(path))
    return sorted(found)


def text_files() -> list[Path]:
    """Return all text files of the repository."""
    return sorted(p for p in REPOSITORY.rglob("*") if p.suffix in _TEXT and p.is_file() and _ours(p))


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text("utf-8"), filename=str(path))


@frozen
class Project:
    """A distribution of this repository.

    Parameters
    ----------
    folder
        Where its ``pyproject.toml`` lies.
    table
        Its ``[project]``.
    package
        Its package folder, or its module file.
    """

    folder: Path
    table: dict[str, Any]
    package: Path

    @property
    def entry(self) -> Path:
        """Its entry module."""
        return self.package / "__init__.py" if self.package.is_dir() else self.package

    @property
    def place(self) -> str:
        """Its folder, as requirements files write it."""
        relative = self.folder.relative_to(REPOSITORY).as_posix()
        return "." if relative == "." else f"./{relative}"


def _project(file: Path) -> Project:
    settings = tomllib.loads(file.read_text("utf-8"))
    table = settings["project"]
    name = settings.get("tool", {}).get("flit", {}).get("module", {}).get("name", table["name"].replace("-", "_"))
    places = (file.parent / name, file.parent / "src" / name, file.parent / f"{name}.py")
    return Project(file.parent, table, next((place for place in places if place.exists()), places[0]))


PROJECTS = [
    _project(file)
    for file in sorted([*REPOSITORY.glob("plugins/*/pyproject.toml"), *REPOSITORY.glob("contrib/*/pyproject.toml")])
]
PROJECTS.insert(0, _project(REPOSITORY / "pyproject.toml"))
"""The core, then all plugins."""

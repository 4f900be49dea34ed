"""Texts as they were when somebody last read them: one whole, and of its variants the lines in which they differ."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

__all__ = ["check_snapshot"]


def check_snapshot(path: Path, text: str, plain: str | None = None) -> None:
    """Fail when a text is not what the file says; read the difference, then delete the file and run the test twice.

    Parameters
    ----------
    path
        The file; made where it is missing, and the test fails.
    text
        The text.
    plain
        Keep only how `text` differs from this one.
    """
    kept = text if plain is None else _difference(plain, text)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(kept)
        pytest.fail(f"{path} was not there; it is now")
    assert kept == path.read_text()


def _difference(plain: str, text: str) -> str:
    lines = difflib.unified_diff(plain.splitlines(keepends=True), text.splitlines(keepends=True), n=0)
    return "".join([*lines][2:])  # without the names of files

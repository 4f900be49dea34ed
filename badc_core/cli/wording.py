"""Words for people: numbers in sentences, names that are no text, what is wrong with results."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from badc_core.results import Problem

__all__ = ["counted", "naming", "plain"]


def counted(number: int, word: str) -> str:
    """Return a number with its word, which takes an s unless it is one: ``1 chunk``, ``12,000 chunks``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def plain(text: str) -> str:
    """Return text that any terminal and any JSON reader takes, also for names that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def naming(problem: Problem) -> str:
    """Return the line that names a problem to whoever makes tables of results, and says what became of it."""
    what = "Not finished" if problem.kept else "Left out"
    return f"{what}: {plain(str(problem))}"

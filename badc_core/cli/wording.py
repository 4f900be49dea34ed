"""Numbers in sentences."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, word: str) -> str:
    """Return a number with its word, which takes an s unless it is one: ``1 chunk``, ``12,000 chunks``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"

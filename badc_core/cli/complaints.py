"""Telling problems on stderr while the work goes on."""

from __future__ import annotations

import threading

import click

__all__ = ["Complaints"]


class Complaints:
    """Says what is wrong, and remembers whether something was lost by it; any thread."""

    def __init__(self) -> None:
        self.losses = 0
        self._lock = threading.Lock()

    def warn(self, text: str) -> None:
        """Say something that should be looked at."""
        with self._lock:
            click.secho(f"Warning: {_printable(text)}", fg="yellow", err=True)

    def lose(self, text: str) -> None:
        """Say what was left out."""
        with self._lock:
            self.losses += 1
            click.secho(f"Problem: {_printable(text)}", fg="red", err=True)


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

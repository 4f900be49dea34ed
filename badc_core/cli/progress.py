"""Progress of a run: one living line on a terminal, plain lines otherwise, always on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

from badc_core.runs import Progress

__all__ = ["ProgressLine", "duration", "progress_text"]

_PLAIN_EVERY_S = 10.0


def duration(seconds: float) -> str:
    """Return a length of time for people: ``0.3 s``, ``45 s``, ``3 min 05 s``, ``7 h 12 min``, ``4 d 3 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def progress_text(progress: Progress) -> str:
    """Return one line about a run: chunks done, audio-seconds per second, failures, time left."""
    counts = progress.counts
    done = progress.done_before + counts.chunks
    parts = [f"{done}/{progress.total} chunks"]
    if progress.elapsed_s > 0 and counts.audio_ms:
        rate = counts.audio_ms / 1000 / progress.elapsed_s
        parts.append(f"{rate:,.0f} audio-s/s")
    elif progress.elapsed_s > 0 and counts.chunks:
        parts.append(f"{counts.chunks / progress.elapsed_s:,.0f} chunks/s")
    parts.append(f"{counts.failures} failed")
    left = progress.total - done
    if counts.chunks and left > 0:
        parts.append(f"ETA {duration(progress.elapsed_s * left / counts.chunks)}")
    if progress.note:
        parts.append(f"shards: {progress.note}")
    if progress.stopping:
        parts.append("stopping after the batch in hand")
    return ", ".join(parts)


class ProgressLine:
    """Shows progress as it comes; a context manager.

    Parameters
    ----------
    quiet
        Show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._said_at = time.monotonic()
        self._last: Progress | None = None

    def __enter__(self) -> ProgressLine:
        return self

    def __call__(self, progress: Progress) -> None:
        """Take the latest progress."""
        self._last = progress
        if self._quiet:
            return
        try:
            self._show(progress)
        except OSError:
            self._quiet = True  # the terminal is gone: no reason to end a run

    def _show(self, progress: Progress) -> None:
        if self._terminal:
            self._draw(progress)
        elif time.monotonic() - self._said_at >= _PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            print(progress_text(progress), file=sys.stderr, flush=True)

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (SpinnerColumn(), BarColumn(bar_width=30), TextColumn("{task.description}"))
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("", total=max(1, progress.total))
        done = progress.done_before + progress.counts.chunks
        self._bar.update(self._task, completed=done, description=progress_text(progress))

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.stop()
        elif not self._quiet and self._last is not None and self._last.elapsed_s:
            print(progress_text(self._last), file=sys.stderr, flush=True)

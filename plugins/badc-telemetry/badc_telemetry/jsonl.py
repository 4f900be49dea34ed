"""The sink ``jsonl``: a log of JSON lines in the form of BADC 0.1."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from badc_core.annex import is_link, own_copy
from badc_core.model import Event
from badc_core.protocols import SinkContext
from badc_core.telemetry_log import to_line

__all__ = ["JsonlSink", "open_sink"]

FLUSH_S = 1.0
"""A line waits no longer than this while events come; the hub flushes when none come."""

FLUSH_BYTES = 1 << 16
"""Lines that wait are written when they are this much."""


class JsonlSink:
    """Appends a line for each event.

    The file is opened once. Lines are handed to the system in whole writes, so a killed process loses at most the lines
    of the last second, and one torn line at most is left by a machine that fails. A log that ends in a torn line gets a
    line end first, so that the first new line stays readable. A log that git-annex has locked is replaced by a copy,
    and the copy grows. As long as it does, the file has a shared lock (``flock``), so that no other run that writes to
    the same log gives it to git-annex.

    Parameters
    ----------
    path
        The log; its folders are made.

    Raises
    ------
    OSError
        It cannot be opened.
    StoreError
        A locked log cannot be copied.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle: int | None = _opened(path)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._written_at = time.monotonic()
        if _is_torn(self._handle):
            self._lines.append(b"\n")

    def emit(self, event: Event, /) -> None:
        """Take one event."""
        line = to_line(event)
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= FLUSH_BYTES or time.monotonic() - self._written_at >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait.

        Raises
        ------
        OSError
            The system refused; the log may then end in a torn line.
        """
        self._written_at = time.monotonic()
        if not self._lines or self._handle is None:
            return
        data = memoryview(b"".join(self._lines))
        self._lines.clear()
        self._bytes = 0
        while data:
            data = data[os.write(self._handle, data) :]

    def close(self) -> None:
        """Write what waits and close the file. Idempotent."""
        if self._handle is None:
            return
        try:
            self.flush()
        finally:
            handle, self._handle = self._handle, None
            os.close(handle)


def _opened(path: Path) -> int:
    """Open a log to append to it; wait while it is being saved in a dataset, as that makes a locked file of it."""
    while True:
        own_copy(path)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
        except OSError:
            return handle  # a file system without locks
        if not is_link(path):
            return handle
        os.close(handle)


def _is_torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def open_sink(target: str | None, context: SinkContext) -> JsonlSink:
    """Open the log at `target`, else at its default place."""
    return JsonlSink(Path(target).expanduser() if target else context.default_path)

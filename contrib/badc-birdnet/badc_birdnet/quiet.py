"""Keeping LiteRT's one line of chatter off the screen, and nothing else."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

__all__ = ["without_greeting"]

_GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate"
_lock = threading.Lock()


@contextlib.contextmanager
def without_greeting() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 in the block, then write it out, LiteRT's greeting left out.

    LiteRT writes from C++ and offers no way to stop it. Keep the block short: other threads' messages wait, too.
    """
    with _lock, tempfile.TemporaryFile() as held:
        try:
            real = os.dup(2)
        except OSError:  # stderr is closed: nothing to keep clean
            yield
            return
        try:
            os.dup2(held.fileno(), 2)
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            _write_all(b"".join(line for line in held if not line.startswith(_GREETING)))


def _write_all(data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(2, data) :]

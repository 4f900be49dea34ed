"""Signals as requests: what the system asks a process to do, told to code that can finish its work in hand."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

__all__ = ["signals_caught"]

_REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the system's request to end, and a connection that was lost."""


@contextlib.contextmanager
def signals_caught(asked: Callable[[int], None], numbers: tuple[int, ...] = _REQUESTS) -> Iterator[None]:
    """Have `asked` told of signals while the block runs; only the main thread may, elsewhere nothing is done.

    Parameters
    ----------
    asked
        Told the number of each signal; it must return at once.
    numbers
        The signals; SIGHUP stays ignored where it is, as under ``nohup``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(number: int, frame: object) -> None:
        asked(number)

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, heard) for number in numbers if number not in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Signals as requests: what the system asks a process to do, told to code that can finish its work in hand."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["signals_caught"]

_REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the system's request to end, and a connection that was lost."""


class _Heard:
    """Handler of a signal, that knows whose place it has taken."""

    def __init__(self, asked: Callable[[int], None], outer: object) -> None:
        self._asked = asked
        self._outer = outer

    def __call__(self, number: int, frame: object) -> None:
        self._asked(number)
        if isinstance(self._outer, _Heard):
            self._outer(number, frame)


@contextlib.contextmanager
def signals_caught(asked: Callable[[int], None], numbers: tuple[int, ...] = _REQUESTS) -> Iterator[None]:
    """Have `asked` told of signals while the block runs; only the main thread may, elsewhere nothing is done.

    Within another such block the outer one is told, too: what ends the work in hand ends what it is a part of.

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

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before: dict[int, Any] = {}
    for number in numbers:
        if number not in ignored:
            before[number] = signal.signal(number, _Heard(asked, signal.getsignal(number)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Signals as requests."""

from __future__ import annotations

import os
import signal
import threading

from badc_core.stopping import signals_caught


def test_the_blocks_around_are_told_too():
    """What ends the work in hand ends what it is a part of."""
    heard: list[tuple[str, int]] = []
    before = signal.getsignal(signal.SIGTERM)
    with signals_caught(lambda number: heard.append(("outer", number))):
        with signals_caught(lambda number: heard.append(("inner", number)), (signal.SIGTERM,)):
            os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [("inner", signal.SIGTERM), ("outer", signal.SIGTERM)]
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard[2:] == [("outer", signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_the_main_thread_may():
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def elsewhere() -> None:
        with signals_caught(lambda number: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]

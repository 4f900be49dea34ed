"""Processes that outlive who started them, named so that nobody mistakes another for them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["described", "over"]

_LOOK_S = 0.1
_LAST_WORDS_S = 2.0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _began(pid: str) -> str:
    """Return when a process began, in clock ticks since boot; empty when it is gone."""
    state, *facts = _read(f"/proc/{pid}/stat").rpartition(")")[2].split() or ["X"]
    return "" if state in "ZX" or len(facts) < 19 else facts[18]


def _here() -> dict[str, str]:
    """Return where process numbers mean what they mean here: a machine, since its last boot, and a namespace."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return {"host": socket.gethostname(), "boot": _read("/proc/sys/kernel/random/boot_id").strip(), "in": namespace}


def described(pid: int) -> dict[str, str]:
    """Return what tells a process from all others: plain texts."""
    return {**_here(), "pid": str(pid), "began": _began(str(pid))}


def over(process: Mapping[str, str], patience_s: float) -> bool:
    """Wait for the end of a process of this machine, and end it when that does not come; return whether it is over.

    Parameters
    ----------
    process
        As :func:`described` tells of it.
    patience_s
        How long to wait.

    Returns
    -------
    bool
        ``False``: it is, or was, on another machine, so that nobody here can say.
    """
    if not process.get("began") or any(process.get(key) != value for key, value in _here().items()):
        return False
    pid = process["pid"]
    for wait_s, number in ((patience_s, signal.SIGTERM), (_LAST_WORDS_S, signal.SIGKILL), (_LAST_WORDS_S, None)):
        until = time.monotonic() + wait_s
        while _began(pid) == process["began"] and time.monotonic() < until:
            time.sleep(_LOOK_S)
        if _began(pid) != process["began"]:
            return True
        if number is not None:
            with contextlib.suppress(OSError):
                os.kill(int(pid), number)
    return False

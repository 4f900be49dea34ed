"""Processes that can be ended for sure, with everything they started.

A process gets a session of its own and a mark in its environment, which its descendants inherit: whoever left the
session is found by the mark.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

__all__ = [
    "MARK",
    "Finished",
    "ending_with_us",
    "how_it_ended",
    "kill_all_marked",
    "kill_marked",
    "marked_environment",
    "run_command",
    "tail",
]

MARK = "BADC_PROCESS_MARK"
_KEEP_BYTES = 64 * 1024
_LOOK_S = 0.2

_BOUND = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() == int(sys.argv[1]):
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


@frozen
class Finished:
    """How a command ended.

    Parameters
    ----------
    returncode
        Its exit status; negative: the signal that ended it.
    stdout, stderr
        The last 64 KiB of what it wrote.
    timed_out
        It was ended because it took too long.
    stopped
        It was ended because somebody asked for that.
    """

    returncode: int
    stdout: str
    stderr: str
    timed_out: bool = False
    stopped: bool = False


def marked_environment(extra: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return a new mark, and this process's environment with it and `extra`."""
    mark = f"{os.getpid()}-{secrets.token_hex(12)}"
    return mark, {**os.environ, **extra, MARK: mark}


def kill_marked(process: subprocess.Popen[bytes], mark: str) -> None:
    """End a process that was started with a session of its own and a mark, and all its descendants."""
    for _ in range(20):  # a descendant may start another while we look
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        left = _find_marked(mark)
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def kill_all_marked() -> None:
    """End everything that this process started with a mark, whatever became of it since."""
    for pid in _find_marked(f"{os.getpid()}-"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _find_marked(mark: str) -> list[int]:
    """Return the living processes whose mark begins so; on systems without /proc, none: the session has to do."""
    if not sys.platform.startswith("linux"):
        return []
    wanted = f"\0{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted not in b"\0" + Path(f"/proc/{name}/environ").read_bytes():
                continue
            if Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(int(name))
    return found


def ending_with_us(argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` so that it ends when this process does, even by ``kill -9``; Linux only.

    It must be started and awaited by one thread: the system looks at that thread, not at the process.
    """
    if not sys.platform.startswith("linux"):
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid()), *argv]


def how_it_ended(returncode: int) -> str:
    """Say how a process ended: ``was ended by SIGKILL``, ``ended with status 1``."""
    if returncode < 0:
        with contextlib.suppress(ValueError):  # of a signal without a name
            return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"


def tail(text: str | bytes, length: int = 500) -> str:
    """Return the last characters of what a process wrote."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return text[-length:]


class _Drain(threading.Thread):
    """Reads a pipe to its end and keeps the last of it, so that a talkative process neither blocks nor fills memory."""

    def __init__(self, pipe: int) -> None:
        super().__init__(daemon=True)
        self._pipe = os.dup(pipe)  # its own, because a descendant may hold the other end for longer than we wait
        self._kept = bytearray()
        self.start()

    def run(self) -> None:
        while block := os.read(self._pipe, 1 << 16):
            self._kept += block
            del self._kept[:-_KEEP_BYTES]
        os.close(self._pipe)

    def text(self) -> str:
        self.join(1.0)
        return bytes(self._kept).decode("utf-8", "replace")


def run_command(
    argv: Sequence[str],
    *,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stopping: Callable[[], bool] | None = None,
) -> Finished:
    """Run a command to its end, or to its limit.

    Parameters
    ----------
    argv
        Program and arguments; no shell.
    timeout_s
        After so long it is killed, with all its descendants.
    env
        Added to the environment.
    cwd
        Where it runs.
    stopping
        Asked five times a second; once it says so, the command is killed, with all its descendants.

    Raises
    ------
    OSError
        It cannot be started.
    """
    mark, environment = marked_environment(env or {})
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=cwd,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    timed_out = stopped = False
    with process.stdout as stdout, process.stderr as stderr:
        out, err = _Drain(stdout.fileno()), _Drain(stderr.fileno())
        try:
            returncode = _wait(process, timeout_s, stopping)
        except (subprocess.TimeoutExpired, _Stopped) as ended:
            stopped = isinstance(ended, _Stopped)
            timed_out = not stopped
            kill_marked(process, mark)
            returncode = -signal.SIGKILL
        except BaseException:
            kill_marked(process, mark)
            raise
        return Finished(returncode, out.text(), err.text(), timed_out, stopped)


class _Stopped(Exception):  # noqa: N818 - never leaves this module
    """Somebody asked for the end."""


def _wait(process: subprocess.Popen[bytes], timeout_s: float | None, stopping: Callable[[], bool] | None) -> int:
    if stopping is None:
        return process.wait(timeout_s)
    until = math.inf if timeout_s is None else time.monotonic() + timeout_s
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, _LOOK_S))
        if stopping():
            raise _Stopped
    raise subprocess.TimeoutExpired(process.args, timeout_s or 0.0)

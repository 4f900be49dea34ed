"""One run at a time in an output folder: a lease that a file stands for.

``<output>/.badc/claim.json`` is made exclusively (which holds on NFS, too), says who holds the folder, and is touched
every few seconds. A claim whose holder is known to be dead, or that was not touched for a minute by the clock of the
file system, is taken over. Who lost a claim that way finds out before the next commit, and stops: see
:meth:`Claim.verify`. Runs that cannot get in each other's way may hold shares of a folder, ``claim-….json``, side by
side; who holds the whole folder holds it alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from badc_core.atomic import explain, temporary_name, write_text
from badc_core.errors import HeldError, Interrupted, StoreError
from badc_core.layout import STATE_FOLDER

__all__ = ["Claim", "claim"]

STALE_AFTER_S = 60.0
TOUCH_EVERY_S = 5.0
ASK_EVERY_S = 0.2
HANDING_OUT_S = 10.0
"""For so long a share is waited for, whatever else is waited for: many tasks of an array begin in one moment."""
_MOST_VANISHED = 20
"""So often a claim may be gone or set aside, and yet be there when it is to be made."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


def _whoami(run_id: str) -> dict[str, Any]:
    def read(path: str) -> str:
        try:
            return Path(path).read_text().strip()
        except OSError:
            return ""

    def link(path: str) -> str:
        try:
            return str(Path(path).readlink())
        except OSError:
            return ""

    return {
        "run_id": run_id,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        # A process number says nothing outside its boot and its namespace (containers).
        "boot": read("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": link("/proc/self/ns/pid"),
        "process_started": _process_started(os.getpid()),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "token": secrets.token_hex(8),
    }


def _process_started(pid: object) -> str:
    """Return the start time of a process in clock ticks since boot; empty when it is gone, reaped or not."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else facts[18]
    except (OSError, IndexError):
        return ""


class Claim:
    """A held output folder.

    Parameters
    ----------
    path
        The claim file.
    holder
        What it says.
    """

    def __init__(self, path: Path, holder: dict[str, Any]) -> None:
        self.path = path
        self.holder = holder
        self._inode = path.stat().st_ino

    def touch(self) -> None:
        """Say that the holder lives; says nothing in the name of another who took the folder over."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                os.utime(self.path)

    def verify(self) -> None:
        """Check that the folder is still ours; costs one ``stat``.

        Raises
        ------
        HeldError
            Another run took it over.
        StoreError
            The file system does not say.
        """
        try:
            if self.path.stat().st_ino == self._inode:
                return
            current = _read(self.path)
        except FileNotFoundError:
            current = None
        except OSError as error:
            raise explain(error, self.path) from error
        if current is None or current.get("token") != self.holder["token"]:
            raise HeldError(
                f"{self.path.parent.parent} was taken over by {_describe(current)}, because this run seemed dead.",
                hint="Nothing is lost: what was committed stays, and the other run does the rest.",
            )

    def release(self) -> None:
        """Give the folder back; harmless when it is ours no longer."""
        with contextlib.suppress(OSError):
            current = _read(self.path)
            if current is not None and current.get("token") == self.holder["token"]:
                self.path.unlink()


@contextlib.contextmanager
def kept_alive(claims: Sequence[Claim]) -> Iterator[None]:
    """Touch claims every few seconds while the block runs, whatever it is busy with.

    Parameters
    ----------
    claims
        May grow meanwhile.
    """
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(TOUCH_EVERY_S):
            for held in tuple(claims):
                held.touch()

    thread = threading.Thread(target=keep, name="badc-claims", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1.0)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _describe(holder: dict[str, Any] | None) -> str:
    if not holder:
        return "another run"
    return (
        f"run {holder.get('run_id')} on {holder.get('host')} (process {holder.get('pid')}, since {holder.get('since')})"
    )


def _is_dead(holder: dict[str, Any], me: dict[str, Any]) -> bool:
    """Whether the holder is known to be gone; only a process of the same boot and namespace can be known."""
    same = ("host", "boot", "pid_namespace")
    if not me["boot"] or any(holder.get(key) != me[key] for key in same):
        return False
    return _process_started(holder.get("pid")) != holder.get("process_started")


def _age_s(path: Path) -> float:
    """Return for how long a claim was not touched, by the file system's own clock."""
    probe = path.parent / temporary_name()
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink()


def claim(
    base: Path,
    run_id: str,
    *,
    wait_s: float = 0.0,
    stopping: Callable[[], bool] = lambda: False,
    share: str | None = None,
) -> Claim:
    """Claim an output folder, or a share of it.

    Parameters
    ----------
    base
        The output folder; made when missing.
    run_id
        Who wants it.
    wait_s
        How long to wait for another run to end.
    stopping
        Says whether to give up waiting.
    share
        Claim only what goes by this name. Shares of other names may be held at the same time; the whole folder and a
        share of it may not.

    Raises
    ------
    HeldError
        Another run holds it; the message says which.
    StoreError
        The folder cannot be made or written.
    Interrupted
        `stopping` said so.
    """
    folder = base / STATE_FOLDER
    me = _whoami(run_id)
    until = time.monotonic() + wait_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _hide(folder)
        while True:
            # Shares are handed out by who holds the whole folder, for that moment.
            patience_s = max(until, time.monotonic() + HANDING_OUT_S) if share is not None else until
            whole = _hold(folder / "claim.json", me, patience_s, stopping)
            try:
                if share is None:
                    _check_no_shares(folder, me)
                    return whole
                held = _hold(folder / f"claim-{_digest(share)}.json", me, 0.0, stopping)
            except HeldError:
                whole.release()
                if time.monotonic() >= until:
                    raise
            except BaseException:
                whole.release()
                raise
            else:
                whole.release()
                return held
            if stopping():
                raise Interrupted(f"Stopped while waiting for {base}, which is in use.")
            time.sleep(ASK_EVERY_S)
    except OSError as error:
        raise explain(error, folder / "claim.json") from error


def _hide(folder: Path) -> None:
    """Have Git pass over what is under way here: saved in a dataset, claims would become links that hold for ever."""
    ignored = folder / ".gitignore"
    if not ignored.exists():
        write_text(ignored, "*\n")


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _hold(path: Path, me: dict[str, Any], until: float, stopping: Callable[[], bool]) -> Claim:
    """Make a claim file, once nobody living holds it; `until` by the monotonic clock."""
    base = path.parent.parent
    vanished = 0
    while not _take(path, me):
        holder = None
        with contextlib.suppress(FileNotFoundError):  # given back just now
            holder = _living(path, me)
        if holder is None:
            vanished += 1
            if vanished > _MOST_VANISHED and time.monotonic() >= until:
                raise StoreError(
                    f"{path} can neither be taken nor read: another takes it again and again, or it is no file.",
                    hint=f"When no run works in {base}, delete it, and begin again.",
                )
        elif time.monotonic() >= until:
            raise _held(base, holder)
        if stopping():
            raise Interrupted(f"Stopped while waiting for {base}, which is in use by {_describe(holder)}.")
        if holder is not None or vanished > 1:
            time.sleep(ASK_EVERY_S)
    return Claim(path, me)


def _held(base: Path, holder: dict[str, Any]) -> HeldError:
    return HeldError(
        f"{base} is in use by {_describe(holder)}.",
        hint="Wait for it (--wait SECONDS), stop it, or choose another --output-dir.",
    )


def _check_no_shares(folder: Path, me: dict[str, Any]) -> None:
    for path in folder.glob("claim-*.json"):
        with contextlib.suppress(FileNotFoundError):
            if (holder := _living(path, me)) is not None:
                raise _held(folder.parent, holder)


def _living(path: Path, me: dict[str, Any]) -> dict[str, Any] | None:
    """Return who holds a claim; ``None``, and the claim is gone, when nobody does any longer."""
    if not stat.S_ISREG(path.lstat().st_mode) and not path.is_file():
        _set_aside(path, None)  # a folder, or a link to nowhere, as a clone makes of a claim that was saved: nobody's
        return None
    holder = _read(path)
    if (holder is not None and _is_dead(holder, me)) or _age_s(path) > STALE_AFTER_S:
        _set_aside(path, holder)
        return None
    return holder or {}


def _take(path: Path, me: dict[str, Any]) -> bool:
    """Make the claim file, whole and exclusively: written under another name, then linked."""
    text = json.dumps(me, indent=2) + "\n"
    temporary = path.parent / temporary_name()
    try:
        temporary.write_text(text)
        os.link(temporary, path)
    except FileExistsError:
        return temporary.stat().st_nlink == 2  # NFS may do it, lose the answer, and refuse when asked again
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _take_without_link(path, text)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return True


def _take_without_link(path: Path, text: str) -> bool:
    """Make the claim file exclusively, though a reader may see it empty for a moment."""
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _set_aside(path: Path, stale: dict[str, Any] | None) -> None:
    """Move a stale claim away; of several who try, one succeeds, and all go on to compete for the name."""
    aside = path.parent / f"stale-{temporary_name()[1:]}.json"
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if (moved := _read(aside)) is not None and moved.get("token") != (stale or {}).get("token"):
            # Somebody was quicker and holds it by now: give back the very file, so that its holder sees no change.
            # Where a third one took the name meanwhile it stays aside, so that its inode cannot come back as another's.
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
                aside.unlink()

"""Writing whole files: a reader sees all of a file or none of it, whenever the writer is killed.

A temporary name in the same folder, fsync, rename, fsync of the folder. Temporary names begin with ``.badc-tmp-`` and
do not hold the final name, so that a long name does not become too long.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from badc_core.errors import StoreError

__all__ = ["TEMPORARY_PREFIX", "NewFiles", "explain", "replacing", "sync_files", "sync_folder", "temporary_name"]
__all__ += ["write_bytes", "write_text"]

TEMPORARY_PREFIX = ".badc-tmp-"
"""Leftovers of killed writers begin so; nobody reads them, and ``badc`` may delete them."""

_BUFFER_BYTES = 1 << 18
_SYNCFS_FROM = 16

_counter = itertools.count()


@functools.cache
def _host_tag() -> str:
    return f"{socket.gethostname()[:20]}-{os.getpid()}".replace("/", "_")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_host_tag.cache_clear)


def temporary_name() -> str:
    """Return a file name that no other writer uses: it carries host, process and a count."""
    return f"{TEMPORARY_PREFIX}{_host_tag()}-{next(_counter)}"


def explain(error: OSError, path: Path) -> StoreError:
    """Turn a failed write into an error that says what to do.

    Parameters
    ----------
    error
        What the system said.
    path
        What was to be written.
    """
    hints = {
        errno.ENOSPC: "The disk is full. Free some space",
        errno.EDQUOT: "Your quota is used up. Free some space",
        errno.EROFS: "The file system is read-only. Choose another folder",
        errno.EACCES: "You may not write there. Choose another folder, or mend its permissions",
        errno.ENAMETOOLONG: "A name is too long. Shorten it, or use --layout segments",
    }
    hint = hints.get(error.errno or 0, "Mend that")
    return StoreError(
        f"Cannot write {path}: {error.strerror or error}.",
        hint=f"{hint}, then run the same command again: what was committed stays done.",
    )


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    return function


def sync_files(handles: Iterable[int]) -> None:
    """Make the content of open files durable."""
    for handle in handles:
        os.fsync(handle)


class NewFiles:
    """Makes new files durable together, and closes them; few are open at any time.

    Many small files are synced by one ``syncfs(2)``, which costs a third of the processor time of an ``fsync`` each;
    Linux 5.8 and newer report its errors.

    Parameters
    ----------
    count
        How many there will be.
    """

    def __init__(self, count: int) -> None:
        self._syncfs = _syncfs() if count >= _SYNCFS_FROM else None
        self._kept: dict[Path, int] = {}

    def take(self, handle: int, place: Path) -> None:
        """Take over a written file.

        Parameters
        ----------
        handle
            The file; closed here.
        place
            A folder above it; files of one place are on one file system.
        """
        if self._syncfs is not None and place not in self._kept:
            self._kept[place] = handle
            return
        try:
            if self._syncfs is None:
                os.fsync(handle)
        finally:
            os.close(handle)

    def sync(self) -> None:
        """Make all of them durable."""
        try:
            for handle in self._kept.values():
                assert self._syncfs is not None
                if self._syncfs(handle) != 0:
                    code = ctypes.get_errno()
                    if code not in (errno.ENOSYS, errno.EPERM):
                        raise OSError(code, os.strerror(code))
                    os.sync()
        finally:
            self.close()

    def close(self) -> None:
        """Close what is open still. Idempotent."""
        while self._kept:
            os.close(self._kept.popitem()[1])


@contextlib.contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    r"""Write a file whole.

    Parameters
    ----------
    path
        The file to make or replace; its folder is made when missing.
    mode
        ``w`` for text (UTF-8, ``\n``, surrogate escapes for names that are no UTF-8), ``wb`` for bytes.

    Yields
    ------
    IO
        The temporary file. When the block ends well it takes the place of `path`; when it raises, it is removed.

    Raises
    ------
    StoreError
        The system refused; the old file, if any, is untouched.
    """
    temporary = path.parent / temporary_name()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
        with temporary.open(mode, _BUFFER_BYTES, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        _forget(temporary)
        if error.filename is not None and Path(error.filename) not in (path, temporary, path.parent):
            raise  # it is about something that the block read, not about our file
        raise explain(error, path) from error
    except BaseException:
        _forget(temporary)
        raise


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole; see :func:`replacing`."""
    with replacing(path) as file:
        file.write(text)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole; see :func:`replacing`."""
    with replacing(path, "wb") as file:
        file.write(data)

"""SHA-256 of files, computed once: weights are large, and every command and worker wants to know which they are.

Digests of large files are kept in the user's cache, with size, times of change, and the place on the disk; when one of
them differs, the file is read again. A file that changed a moment ago is always read: file systems have coarse clocks,
and it could change once more without showing it. A cache that is lost, torn or not writable costs time, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from badc_core.atomic import write_text
from badc_core.errors import StoreError

__all__ = ["cache_file", "digest_of", "sha256_of"]

_LARGE_BYTES = 1 << 20
_MOST_FILES = 500
_SETTLED_NS = 10 * 10**9


def digest_of(path: Path) -> str:
    """Return a file's SHA-256, hex; that of a large one from the cache, if it did not change.

    Raises
    ------
    OSError
        It cannot be read.
    """
    before = _marks(path)
    if before[0] < _LARGE_BYTES:
        return sha256_of(path)
    kept = _kept()
    key = str(path.resolve())
    if (found := kept.get(key)) and found[:-1] == before and _settled(before):
        return str(found[-1])
    digest = sha256_of(path)
    if _marks(path) == before and _settled(before):
        _keep(kept, key, [*before, digest])
    return digest


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256, hex; it is read.

    Raises
    ------
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_file() -> Path:
    """Return where digests are kept: ``badc/sha256.json`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "badc" / "sha256.json"


def _marks(path: Path) -> list[int]:
    """Return what changes when a file does: size, times of content and of its entry, inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _settled(marks: list[int]) -> bool:
    return max(marks[1], marks[2]) < time.time_ns() - _SETTLED_NS


def _kept() -> dict[str, list[Any]]:
    try:
        found = json.loads(cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: there is no home
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(key): value for key, value in found.items() if isinstance(value, list) and len(value) == 5}


def _keep(kept: dict[str, list[Any]], key: str, entry: list[Any]) -> None:
    """Write the digest down; when two do so at once, one of them is computed again some day."""
    newest = list({**kept, key: entry}.items())[-_MOST_FILES:]
    with contextlib.suppress(OSError, StoreError, RuntimeError):
        write_text(cache_file(), json.dumps(dict(newest)) + "\n")

"""What the run summary keeps while a run goes on: lines on disk, and a set of their keys in little memory."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from badc_core.atomic import explain

__all__ = ["KeySet", "Spool"]

_BATCH = 1000


class KeySet:
    """A set of texts at some 16 bytes each: it keeps their 64-bit hashes, in open addressing.

    A million keys make a wrong "seen already" once in a hundred million runs; callers take care that it does no harm.
    """

    def __init__(self) -> None:
        self._table = array("q", bytes(8 * 1024))
        self._free = 512

    def __contains__(self, key: bytes) -> bool:
        table, mask = self._table, len(self._table) - 1
        wanted = hash(key) or 1
        at = wanted & mask
        while found := table[at]:
            if found == wanted:
                return True
            at = (at + 1) & mask
        return False

    def add(self, key: bytes) -> bool:
        """Add a key and return whether it is new."""
        table, mask = self._table, len(self._table) - 1
        wanted = hash(key) or 1
        at = wanted & mask
        while found := table[at]:
            if found == wanted:
                return False
            at = (at + 1) & mask
        table[at] = wanted
        self._free -= 1
        if not self._free:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._table
        self._table = table = array("q", bytes(16 * len(old)))
        self._free = len(old) // 2
        mask = len(table) - 1
        for value in old:
            if value:
                at = value & mask
                while table[at]:
                    at = (at + 1) & mask
                table[at] = value


class Spool:
    """Lines of this run on disk, in order; what the disk does not take waits in memory.

    Parameters
    ----------
    path
        The file. What a killed run left in it stays until :meth:`recover` is exhausted or lines are saved over it.

    Raises
    ------
    StoreError
        It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._good = 0
        self._waiting: list[bytes] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise explain(error, path) from error
        self._file = os.fdopen(handle, "r+b", buffering=0)

    def recover(self) -> Iterator[bytes]:
        """Yield the lines that a killed run left; a torn last one is dropped."""
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b",\n"):
                    return
                self._good += len(line)
                yield line[:-2]

    def add(self, line: bytes) -> None:
        """Keep a line; it is saved with some others."""
        self._waiting.append(line)
        if len(self._waiting) % _BATCH == 0:
            self.save()

    def save(self) -> None:
        """Append what waits; a full disk leaves it waiting."""
        if not self._waiting:
            return
        data = memoryview(b",\n".join([*self._waiting, b""]))
        with contextlib.suppress(OSError):
            self._file.seek(self._good)
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
            self._good += done
            self._waiting.clear()

    def lines(self) -> Iterator[bytes]:
        """Yield all lines, saved or waiting, in order."""
        with self._path.open("rb") as file:
            at = 0
            while at < self._good:
                line = file.readline()
                at += len(line)
                yield line[:-2]
        yield from self._waiting

    def copy(self, out: IO[bytes]) -> None:
        """Write all lines to `out`, each with its comma and line end."""
        with self._path.open("rb") as file:
            left = self._good
            while left and (block := file.read(min(1 << 20, left))):
                out.write(block)
                left -= len(block)
        out.writelines(line + b",\n" for line in self._waiting)

    def close(self, *, remove: bool) -> None:
        """Close the file, and remove it when it is needed no more."""
        self._file.close()
        if remove:
            self._path.unlink(missing_ok=True)

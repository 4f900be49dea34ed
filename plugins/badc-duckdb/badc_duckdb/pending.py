"""A file that is there in the end, or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO, Any

from badc_core import atomic
from badc_core.errors import StoreError


class _Discarded(Exception):  # noqa: N818 - thrown into `replacing` to make it forget the file
    pass


class PendingFile:
    """:func:`badc_core.atomic.replacing` for exporters, whose writing is spread over many calls.

    Parameters
    ----------
    target
        The file to make or replace; nothing appears there before :meth:`commit`.

    Raises
    ------
    StoreError
        Its folder cannot be written to.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._context = atomic.replacing(target, "wb")
        self.file: IO[Any] = self._context.__enter__()
        self._open = True

    def write(self, data: Any) -> None:
        """Append bytes; a failure says which file, and what to do."""
        try:
            self.file.write(data)
        except OSError as error:
            raise atomic.explain(error, self._target) from error

    def sync(self) -> None:
        """Put what was written on disk."""
        try:
            self.file.flush()
            atomic.sync_files([self.file.fileno()])
        except OSError as error:
            raise atomic.explain(error, self._target) from error

    def commit(self) -> None:
        """Put the file in its place. Idempotent."""
        if self._open:
            self._open = False
            self._context.__exit__(None, None, None)

    def discard(self) -> None:
        """Forget the file. Idempotent; after :meth:`commit` it does nothing."""
        if self._open:
            self._open = False
            reason = _Discarded()
            # Closing may want to write once more on a disk that is full; the file is removed all the same.
            with contextlib.suppress(_Discarded, StoreError):
                self._context.__exit__(_Discarded, reason, None)

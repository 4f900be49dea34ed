"""A file made of two: some bytes of ours, then a file from some place on.

So libsndfile gets to read what it would refuse as it lies there: a FLAC stream that begins in the middle of a file, or
samples behind a header that was never finished.
"""

from __future__ import annotations

import os

__all__ = ["Spliced"]


class Spliced:
    """What soundfile needs of a file object.

    Parameters
    ----------
    prefix
        Bytes that come first.
    handle
        Descriptor of the file; stays with the caller, and its position is not touched.
    start
        Where in the file the rest begins.

    Notes
    -----
    Nothing is delivered beyond :attr:`limit`: a decoder that goes astray meets the end of the file instead of looking
    for sense in gigabytes of nonsense.
    """

    def __init__(self, prefix: bytes, handle: int, start: int) -> None:
        self._prefix = prefix
        self._handle = handle
        self._shift = start - len(prefix)
        self._size = os.fstat(handle).st_size - self._shift
        self._at = 0
        self.limit = self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def allow(self, further: int) -> None:
        """Set :attr:`limit` to so many bytes from here."""
        self.limit = self._at + further

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as there is something; return how far."""
        view = memoryview(buffer)[: max(self.limit - self._at, 0)]
        done = 0
        if self._at < len(self._prefix):
            piece = self._prefix[self._at : self._at + len(view)]
            view[: len(piece)] = piece
            done = len(piece)
        while done < len(view):
            got = os.preadv(self._handle, [view[done:]], self._at + done + self._shift)
            if got == 0:
                break
            done += got
        self._at += done
        return done

    def write(self, data: bytes) -> int:
        """Refuse: soundfile asks for the method, and never calls it when reading."""
        raise OSError("read only")

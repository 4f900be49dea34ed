"""What the headers of WAV and its relatives promise, and where their samples and notes lie.

libsndfile reads a file that was cut off as if it were a shorter one, and a WAV whose recorder lost power as if it were
empty. So the promise is read here and compared with what is there.

Formats: RIFF/WAVE (Microsoft, IBM 1991), RF64 (EBU Tech 3306), Sony Wave64, AIFF 1.3 (Apple 1989), CAF (Apple).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Literal

from attrs import evolve, frozen

__all__ = ["Format", "Layout", "Piece", "read_layout"]

_NO_LENGTH = 0xFFFFFFFF
_STREAMED_FROM = 0x7FFFF000  # sox and others write about 2^31 when they cannot go back and fill the length in
_STREAMED_TO = 0x80000000
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FIXED_WIDTH = (_PCM, _FLOAT, 6, 7)  # linear, float, A-law, mu-law: every frame has block_align bytes
_MOST_PIECES = 1000


@frozen
class _Dialect:
    """How one family writes its pieces.

    Parameters
    ----------
    start
        Where the first piece begins.
    head
        :mod:`struct` format of a piece's name and length.
    counts_itself
        Whether the length holds the head, too.
    align
        Pieces begin at multiples of it.
    """

    start: int
    head: str
    counts_itself: bool = False
    align: int = 2


_RIFF = _Dialect(12, "<4sI")
_RIFX = _Dialect(12, ">4sI")
_W64 = _Dialect(40, "<4s12xQ", counts_itself=True, align=8)
_CAF = _Dialect(8, ">4sq", align=1)


@frozen
class Piece:
    """A named part of a file: `size` bytes from `start` on, as its head says."""

    name: bytes
    start: int
    size: int


@frozen
class Format:
    """How samples lie in a file.

    Parameters
    ----------
    tag
        1: integers, 3: floats (WAVE format tags).
    channels, sample_rate_hz
        Of the recording.
    frame_bytes
        Bytes per frame.
    bits
        Per sample, as stored.
    """

    tag: int
    channels: int
    sample_rate_hz: int
    frame_bytes: int
    bits: int


@frozen
class Layout:
    """What the header of a file says.

    Parameters
    ----------
    family
        Which header it is.
    frames
        Frames that the header promises, or that the file's size allows where it promises nothing; ``None``: unknown.
    data
        The samples.
    format
        How they lie; ``None`` for compressed ones.
    lost_length
        The header was never finished: it says 0, but samples follow.
    length_at
        Where the header holds the length of `data`.
    notes
        Pieces that may tell who, where and when.
    """

    family: Literal["riff", "rf64", "w64", "aiff", "caf"]
    frames: int | None = None
    data: Piece | None = None
    format: Format | None = None
    lost_length: bool = False
    length_at: int = 0
    notes: tuple[Piece, ...] = ()

    def trusted(self, channels: int, sample_rate_hz: int) -> Layout:
        """Return what remains of it beside what libsndfile found: a damaged header may be read in more than one way."""
        form = self.format
        if form is None or (
            self.data is not None and (form.channels, form.sample_rate_hz) == (channels, sample_rate_hz)
        ):
            return self
        return evolve(self, format=None, frames=None)

    def must_mend(self, size: int) -> bool:
        """Whether libsndfile would refuse a file of `size` bytes with this header, or find nothing in it."""
        cut_off = self.data is not None and self.data.start + self.data.size > size
        return self.lost_length or (self.family == "caf" and cut_off)


def read_layout(handle: int) -> Layout | None:
    """Read the header of an open file; ``None`` when it is of no family known here."""
    head = os.pread(handle, 40, 0)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wave(handle, _RIFF, "riff" if head[:4] == b"RIFF" else "rf64")
    if head[:4] == b"RIFX" and head[8:12] == b"WAVE":
        return _wave(handle, _RIFX, "riff")
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _wave(handle, _W64, "w64")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(handle)
    if head[:4] == b"caff":
        return _caf(handle)
    return None


def _pieces(handle: int, dialect: _Dialect, start: int | None = None) -> Iterator[Piece]:
    position = dialect.start if start is None else start
    head_bytes = struct.calcsize(dialect.head)
    file_size = os.fstat(handle).st_size
    for _ in range(_MOST_PIECES):
        if position >= file_size:
            return
        head = os.pread(handle, head_bytes, position)
        if len(head) < head_bytes:
            return
        name, size = struct.unpack(dialect.head, head)
        if dialect.counts_itself:
            size = max(size - head_bytes, 0)
        yield Piece(name, position + head_bytes, size)
        if size < 0:
            return
        position += head_bytes + size
        position += -position % dialect.align


def _wave(handle: int, dialect: _Dialect, family: Literal["riff", "rf64", "w64"]) -> Layout:
    size = os.fstat(handle).st_size
    data = form = None
    long_size = length_at = 0
    lost_length = False
    notes = []
    for piece in _pieces(handle, dialect):
        if piece.name == b"ds64":
            long_size = struct.unpack("<8xQ", os.pread(handle, 16, piece.start).ljust(16, b"\0"))[0]
        elif piece.name == b"fmt " and form is None:
            form = _wave_format(os.pread(handle, min(piece.size, 64), piece.start), dialect.head[0])
        elif piece.name == b"data" and data is None:
            length_at = piece.start - 4
            data, lost_length = _wave_data(handle, dialect, piece, long_size, size)
            if data.size != piece.size:
                break  # what follows is samples
        elif piece.name in (b"guan", b"LIST"):
            notes.append(piece)
    frames = data.size // form.frame_bytes if data is not None and form is not None and form.frame_bytes else None
    if dialect.head[0] == ">" and form is not None:
        form = None  # samples would have to be turned round before they could be copied
    return Layout(family, frames, data, form, lost_length, length_at, tuple(notes))


def _wave_data(handle: int, dialect: _Dialect, piece: Piece, long_size: int, size: int) -> tuple[Piece, bool]:
    """Return the samples' place with its true promise, and whether the header was never finished."""
    there = max(size - piece.start, 0)
    if piece.size == _NO_LENGTH and long_size:
        return Piece(piece.name, piece.start, long_size), False
    if piece.size == 0 and there and not _ends_in_pieces(handle, dialect, piece.start, size):
        return Piece(piece.name, piece.start, there), True
    streamed = piece.size == _NO_LENGTH or (_STREAMED_FROM <= piece.size < _STREAMED_TO and piece.size > there)
    if streamed and not dialect.counts_itself:
        return Piece(piece.name, piece.start, there), False
    return piece, False


def _ends_in_pieces(handle: int, dialect: _Dialect, start: int, size: int) -> bool:
    """Whether what follows is pieces up to the end: then a length of 0 is meant."""
    for piece in _pieces(handle, dialect, start):
        if not all(32 <= byte < 127 for byte in piece.name) or piece.start + piece.size > size:
            return False
        if size - (piece.start + piece.size) <= 1:
            return True
    return False


def _wave_format(raw: bytes, order: str) -> Format | None:
    if len(raw) < 16:
        return None
    tag, channels, rate, _, frame_bytes, _bits = struct.unpack(order + "HHIIHH", raw[:16])
    if tag == _EXTENSIBLE and len(raw) >= 26:
        tag = struct.unpack(order + "H", raw[24:26])[0]
    if tag not in _FIXED_WIDTH or not channels or not rate or not frame_bytes or frame_bytes % channels:
        return None
    return Format(tag, channels, rate, frame_bytes, frame_bytes // channels * 8)


def _aiff(handle: int) -> Layout:
    frames = data = None
    for piece in _pieces(handle, _RIFX):
        if piece.name == b"COMM" and piece.size >= 18:
            frames = struct.unpack(">2xI", os.pread(handle, 6, piece.start).ljust(6, b"\0"))[0]
        elif piece.name == b"SSND":
            data = piece
    return Layout("aiff", frames, data)


def _caf(handle: int) -> Layout:
    size = os.fstat(handle).st_size
    frames = data = None
    length_at = bytes_per_packet = frames_per_packet = 0
    for piece in _pieces(handle, _CAF):
        if piece.name == b"desc":
            raw = os.pread(handle, 32, piece.start).ljust(32, b"\0")
            bytes_per_packet, frames_per_packet = struct.unpack(">16xII8x", raw)
        elif piece.name == b"data":
            length = piece.size if piece.size >= 0 else size - piece.start
            data = Piece(piece.name, piece.start + 4, length - 4)  # an edit count comes first
            length_at = piece.start - 8
            if bytes_per_packet:
                frames = max(data.size, 0) // bytes_per_packet * frames_per_packet
    return Layout("caf", frames, data, length_at=length_at)

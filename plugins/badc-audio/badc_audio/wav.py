"""Writing WAV files: the header, and samples as 16-bit integers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from badc_audio.containers import Format

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LONGEST", "header", "pcm16"]

LONGEST = 0xFFFFFFFF - 100
"""Bytes of samples that a WAV can hold."""

_FLOAT = 3


def header(form: Format, frames: int) -> bytes:
    """Return the beginning of a WAV file up to its samples.

    For integers it is the plain header of 44 bytes that BADC 0.1 wrote; other formats get the ``fact`` piece, which
    the standard asks for.
    """
    data_bytes = frames * form.frame_bytes
    byte_rate = min(form.sample_rate_hz * form.frame_bytes, 0xFFFFFFFF)
    kind = struct.pack("<HHIIHH", form.tag, form.channels, form.sample_rate_hz, byte_rate, form.frame_bytes, form.bits)
    extra = b""
    if form.tag != 1:
        kind += b"\0\0"
        extra = b"fact" + struct.pack("<II", 4, frames)
    body = b"WAVEfmt " + struct.pack("<I", len(kind)) + kind + extra + b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", len(body) + data_bytes + data_bytes % 2) + body


def pcm16(samples: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    """Return samples as 16-bit little-endian integers: exact for what was 16 bits before, else rounded and clipped."""
    import numpy as np

    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2").tobytes()

"""Finding frames in a FLAC file, damaged or whole, without decoding.

libsndfile cannot seek in a FLAC file that was cut off or has a hole: it fails, or looks for sense in gigabytes of
zeros. But every FLAC frame says at its beginning which samples it holds, with a checksum over that. So the frame of a
sample is found by bisection here, and libsndfile only ever decodes forward from it.

Format: RFC 9639, sections 8 and 9.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from attrs import evolve, frozen

__all__ = ["FlacMap", "Frame", "StreamInfo", "map_flac"]

_WINDOW = 1 << 16
_LONGEST_WINDOW = 1 << 20
_LONGEST_HEADER = 16
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_BITS = (0, 8, 12, -1, 16, 20, 24, 32)
_STEREO_CODES = (8, 9, 10)
_STREAMINFO_BYTES = 34


def _crc8_table() -> bytes:
    table = bytearray()
    for byte in range(256):
        for _ in range(8):
            byte = ((byte << 1) ^ 0x07 if byte & 0x80 else byte << 1) & 0xFF
        table.append(byte)
    return bytes(table)


_CRC8 = _crc8_table()


@frozen
class StreamInfo:
    """What the first metadata block promises.

    Parameters
    ----------
    block
        Samples per frame (the most, when it varies).
    frame_bytes
        Length of the longest frame; 0: not told.
    sample_rate_hz, channels, bits
        Of the samples.
    frames
        Samples per channel in the whole file; 0: not told.
    raw
        The block's 34 bytes.
    """

    block: int
    frame_bytes: int
    sample_rate_hz: int
    channels: int
    bits: int
    frames: int
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> StreamInfo:
        """Read the block's 34 bytes."""
        packed = int.from_bytes(raw[10:18], "big")
        return cls(
            block=int.from_bytes(raw[2:4], "big"),
            frame_bytes=int.from_bytes(raw[7:10], "big"),
            sample_rate_hz=packed >> 44,
            channels=(packed >> 41 & 7) + 1,
            bits=(packed >> 36 & 31) + 1,
            frames=packed & ((1 << 36) - 1),
            raw=raw,
        )

    def header(self, frames: int) -> bytes:
        """Return the beginning of a file with just this block, for another length."""
        packed = int.from_bytes(self.raw[10:18], "big") >> 36 << 36 | min(frames, (1 << 36) - 1)
        block = self.raw[:10] + packed.to_bytes(8, "big") + bytes(16)  # no MD5: it would be that of the whole
        return b"fLaC\x80" + len(block).to_bytes(3, "big") + block


@frozen
class Frame:
    """One frame: `offset` of its first byte in the file, first sample, number of samples."""

    offset: int
    start: int
    samples: int

    @property
    def end(self) -> int:
        """First sample after it."""
        return self.start + self.samples


@frozen
class FlacMap:
    """Where the frames of one file lie.

    Parameters
    ----------
    handle
        Descriptor of the file; belongs to the caller.
    size
        Bytes in the file.
    info
        What the header promises.
    first
        Where the first frame should begin.
    """

    handle: int
    size: int
    info: StreamInfo
    first: int

    def frames_from(self, offset: int, end: int) -> Iterator[Frame]:
        """Yield the frames that begin in ``[offset, end)``."""
        length = _WINDOW
        while offset < end:
            window = os.pread(self.handle, length + _LONGEST_HEADER, offset)
            if not window:
                return
            if b"\xff" in window:  # a thousand times quicker than the loop, over gigabytes of zeros
                for match in _SYNC.finditer(window, 0, length + 1):
                    at = match.start()
                    frame = self._frame(window, at, offset) if at < min(length, end - offset) else None
                    if frame is not None:
                        yield frame
            offset += length
            length = min(2 * length, _LONGEST_WINDOW)

    def last(self) -> Frame | None:
        """Return the last frame of the file."""
        end, length = self.size, _WINDOW
        while end > self.first:
            start = max(end - length, self.first)
            found = None
            for found in self.frames_from(start, end):  # noqa: B007 - the last one is wanted
                pass
            if found is not None:
                return found
            end = start
            length = min(2 * length, _LONGEST_WINDOW)
        return None

    def locate(self, sample: int) -> Frame | None:
        """Return the frame that holds a sample; ``None`` where the file has lost it.

        Notes
        -----
        Bisection over the bytes: some twenty looks at 64 KiB each in a file of a day.
        """
        low, high, low_start = self.first, self.size, 0
        while high - low > 2 * _WINDOW:
            middle = (low + high) // 2
            frame = next((f for f in self.frames_from(middle, high) if f.start >= low_start), None)
            if frame is None or frame.start > sample:
                high = middle
            else:
                low, low_start = frame.offset, frame.start
        best = None
        for frame in self.frames_from(low, self.size):
            if frame.start > sample:
                break
            best = frame
        return best if best is not None and sample < best.end else None

    def _frame(self, window: bytes, at: int, base: int) -> Frame | None:
        """Read a frame header; ``None`` when it is none, or none of this stream."""
        head = window[at : at + _LONGEST_HEADER]
        if len(head) < 6 or not self._fits(head[2], head[3]):
            return None
        number, length = _coded_number(head)
        if number is None:
            return None
        block_code, rate_code = head[2] >> 4, head[2] & 15
        position = 4 + length
        extra = {6: 1, 7: 2}.get(block_code, 0)
        if extra:
            samples = int.from_bytes(head[position : position + extra], "big") + 1
        else:
            samples = 192 if block_code == 1 else 144 << block_code if block_code < 6 else 1 << block_code
        position += extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
        if position >= len(head) or samples > self.info.block:
            return None
        check = 0
        for byte in head[:position]:
            check = _CRC8[check ^ byte]
        if check != head[position]:
            return None
        start = number if head[1] & 1 else number * self.info.block
        return Frame(base + at, start, samples)

    def _fits(self, sizes: int, layout: int) -> bool:
        block_code, rate_code = sizes >> 4, sizes & 15
        channel_code, bits_code = layout >> 4, layout >> 1 & 7
        info = self.info
        right_rate = rate_code in (0, 12, 13, 14) or (rate_code < 12 and _RATES[rate_code] == info.sample_rate_hz)
        right_bits = bits_code == 0 or _BITS[bits_code] == info.bits
        right_channels = channel_code == info.channels - 1 or (info.channels == 2 and channel_code in _STEREO_CODES)
        return block_code != 0 and right_rate and right_bits and right_channels and not layout & 1


def _coded_number(head: bytes) -> tuple[int | None, int]:
    """Read the frame or sample number, coded like UTF-8 but up to seven bytes; return it and its length."""
    first = head[4]
    if first < 0x80:
        return first, 1
    length = 8 - (first ^ 0xFF).bit_length()
    rest = head[5 : 4 + length]
    if not 2 <= length <= 7 or len(rest) != length - 1 or any(byte & 0xC0 != 0x80 for byte in rest):
        return None, 0
    number = first & (0x7F >> length)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, length


def map_flac(handle: int) -> FlacMap | None:
    """Read the metadata of a FLAC file; ``None`` when it is none (Ogg FLAC is none)."""
    size = os.fstat(handle).st_size
    offset = _after_id3(handle)
    if os.pread(handle, 4, offset) != b"fLaC":
        return None
    offset += 4
    info = None
    while True:
        head = os.pread(handle, 4, offset)
        if len(head) < 4:
            break
        length = int.from_bytes(head[1:], "big")
        if info is None:
            raw = os.pread(handle, _STREAMINFO_BYTES, offset + 4)
            if head[0] & 0x7F or length != _STREAMINFO_BYTES or len(raw) < length:
                return None
            info = StreamInfo.parse(raw)
        offset += 4 + length
        if head[0] & 0x80 or offset >= size:
            break
    if info is None or not info.block or not info.sample_rate_hz:
        return None
    found = FlacMap(handle, size, info, min(offset, size))
    if not info.frames and (last := found.last()) is not None:
        return evolve(found, info=evolve(info, frames=last.end))
    return found


def _after_id3(handle: int) -> int:
    head = os.pread(handle, 10, 0)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size

"""Decoding: any slice of a file, exact, and as far as damage allows.

soundfile seeks after every read, and libsndfile's seek has two faults that matter here. In a damaged FLAC file it
fails, or searches the whole file byte by byte. In an MP3 file it forgets what came before, which the next frames need.
So reading on never seeks here, FLAC frames are looked up by :mod:`badc_audio.flac`, and a jump in an MP3 goes to a
little before the place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile

from badc_audio.flac import FlacMap
from badc_audio.splice import Spliced

__all__ = ["MP3_LEAD", "Decoder", "FlacDecoder", "Forward", "Samples"]

Samples = np.ndarray[Any, np.dtype[np.float32]]

_HELD_FRAMES = 1 << 16
MP3_LEAD = 16 * 1152
"""An MP3 frame may need the last 511 bytes before it, up to a dozen frames at low bit rates; without them libsndfile
gives silence or noise. Measured: wrong for up to 7900 samples after a jump."""


class Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that soundfile does not seek in behind our back, as it otherwise does after every read."""

    def seekable(self) -> bool:
        return False


class Decoder:
    """Samples of one file, by libsndfile's own seek.

    Parameters
    ----------
    open_
        Opens the file at its beginning.
    channels
        Of the file.
    lead
        Frames to decode before a place, after a jump to it, until the decoder has found its feet.
    """

    def __init__(self, open_: Callable[[], soundfile.SoundFile], channels: int, lead: int = 0) -> None:
        self._open = open_
        self._channels = channels
        self._lead = lead
        self._jumps_cost = lead > 0
        self._held = np.empty((0, channels), np.float32)  # what lies just before the place; slices with context overlap
        self._sound: soundfile.SoundFile | None = None
        self._at = 0

    def read(self, start: int, frames: int) -> Samples:
        """Return up to `frames` frames from `start` on: what can be read up to damage or the end."""
        back = self._at - start
        if self._sound is not None and 0 < back <= len(self._held):
            held = self._held[len(self._held) - back :][:frames]
            samples = self._take(frames - len(held), held)
        elif (self._sound is not None and back == 0) or self._go(start):
            samples = self._take(frames)
        else:
            return np.empty((0, self._channels), np.float32)
        if self._jumps_cost:
            self._held = samples[-_HELD_FRAMES:].copy() if self._at == start + len(samples) else self._held[:0]
        return samples

    def close(self) -> None:
        """Close what is open."""
        if self._sound is not None:
            self._sound.close()
            self._sound = None

    def _go(self, start: int) -> bool:
        try:
            if self._sound is None:
                self._sound = self._open()
                self._at = 0
            if self._at != start:
                self._at = self._sound.seek(max(start - self._lead, 0))
        except (soundfile.SoundFileError, OSError):
            self.close()
            return False
        if self._at > start:  # a damaged Ogg file: it went to the next place it could find
            self.close()
            return False
        return self._skip(start - self._at)

    def _skip(self, frames: int) -> bool:
        """Decode and forget; whether that went well."""
        return frames == 0 or (len(self._take(frames)) == frames and self._sound is not None)

    def _take(self, frames: int, held: Samples | None = None) -> Samples:
        """Decode the next frames, and put them behind those that are `held`."""
        sound = self._sound
        assert sound is not None
        ahead = 0 if held is None else len(held)
        out = np.empty((ahead + frames, self._channels), np.float32)
        if held is not None:
            out[:ahead] = held
        before = sound.tell()
        try:
            got = len(sound.read(out=out[ahead:]))
        except soundfile.SoundFileError:
            got = sound.tell() - before  # decoded before the damage
        if got < frames:
            self.close()  # libsndfile gives nothing more after an error; what lies behind it is reached by a jump
        self._at += got
        return out if got == frames else out[: ahead + max(got, 0)]


class FlacDecoder(Decoder):
    """Samples of a FLAC file, by looking the frame up and decoding forward from it."""

    def __init__(self, flac: FlacMap) -> None:
        super().__init__(self._no_start, flac.info.channels)
        self._map = flac
        self._jumps_cost = True
        self._splice: Spliced | None = None
        self._widest = flac.info.channels * (flac.info.bits // 8 + 1)

    def _go(self, start: int) -> bool:
        self.close()
        frame = self._map.locate(start)
        if frame is None:
            return False
        header = self._map.info.header(self._map.info.frames - frame.start)
        self._splice = Spliced(header, self._map.handle, frame.offset)
        try:
            self._sound = Forward(self._splice)
        except soundfile.SoundFileError:
            return False
        self._at = frame.start
        return self._skip(start - frame.start)

    def _take(self, frames: int, held: Samples | None = None) -> Samples:
        # No frame is much longer than its samples uncompressed: more than this is no longer decoding but searching.
        assert self._splice is not None
        self._splice.allow((frames + 4 * self._map.info.block) * self._widest + (1 << 16))
        return super()._take(frames, held)

    def _no_start(self) -> soundfile.SoundFile:
        raise AssertionError("opened by _go")

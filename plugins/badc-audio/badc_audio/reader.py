"""Reading sound files through libsndfile, and telling what is wrong with them.

What is done about each kind of damage stands in ``docs/explanation/reading-damaged-files.md``.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import numpy as np
import soundfile

from badc_audio import wav
from badc_audio.containers import Format, Layout, read_layout
from badc_audio.decoders import MP3_LEAD, Decoder, FlacDecoder, Forward, Samples
from badc_audio.flac import FlacMap, map_flac
from badc_audio.metadata import hints_from
from badc_audio.splice import Spliced
from badc_core.atomic import replacing
from badc_core.errors import RecordingError
from badc_core.protocols import RecordingHints, SignalInfo

__all__ = ["AudioFile", "open_file"]

_BLOCK_FRAMES = 1 << 18
_FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
_XING = (b"Xing", b"Info")


def open_file(path: Path) -> AudioFile:
    """Open a sound file; the format is found by content.

    Raises
    ------
    RecordingError
        It is not there, empty, or no sound file.
    """
    return AudioFile(path)


class AudioFile:
    """One open sound file; see :class:`badc_core.protocols.SignalFile`.

    Parameters
    ----------
    path
        The file, as given: links are followed by the system, the name is kept for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = _open_handle(path)
        try:
            self._open()
        except OSError as error:
            self.close()
            raise RecordingError(
                f"Cannot read {path}: {error.strerror or error}.", hint="Is the disk all right?"
            ) from error
        except BaseException:
            self.close()
            raise

    _decoder: Decoder | None = None

    def _open(self) -> None:
        size = os.fstat(self._handle).st_size
        if size == 0:
            raise RecordingError(
                f"{self._path} is empty: a file of 0 bytes.", hint="The recorder never wrote it; leave it out."
            )
        self._layout = read_layout(self._handle)
        flac = map_flac(self._handle)
        if flac is not None:
            self._open_flac(flac)
        else:
            self._open_other(size)

    def _open_flac(self, flac: FlacMap) -> None:
        info = flac.info
        last = flac.last()
        if last is None:
            raise self._empty("a FLAC header without any frame behind it")
        damage = None
        if last.end < info.frames:
            damage = _ends_early(last.start, info.frames, info.sample_rate_hz)
        self._info = SignalInfo(info.sample_rate_hz, info.channels, info.frames, damage, info.bits)
        self._there = min(last.end, info.frames)
        self._decoder = FlacDecoder(flac)
        self._finite = True

    def _open_other(self, size: int) -> None:
        layout = self._layout
        mended = _mended_header(self._handle, layout) if layout is not None and layout.must_mend(size) else None

        def open_sound() -> soundfile.SoundFile:
            if mended is not None:
                return Forward(Spliced(mended, self._handle, len(mended)))
            return Forward(os.fsencode(self._path))

        try:
            sound = open_sound()
        except (soundfile.SoundFileError, OSError) as error:
            if layout is not None and layout.data is None:
                raise self._empty("a header without samples") from None
            raise self._unreadable(error) from None
        with sound:
            rate, channels, there = sound.samplerate, sound.channels, sound.frames
            self._finite = sound.subtype not in _FLOAT_SUBTYPES
            bits = _BITS.get(sound.subtype)
            mp3 = sound.format == "MP3" or sound.subtype.startswith("MPEG")
        if layout is not None:
            layout = self._layout = layout.trusted(channels, rate)
        promised = there
        if layout is not None and layout.frames is not None:
            promised = max(layout.frames, there)
        if promised == 0:
            raise self._empty("a header without samples")
        damage = None
        if layout is not None and layout.lost_length:
            damage = "its header was never finished, as after a power loss; its length was taken from the file's size"
        elif promised > there:
            damage = _ends_early(there, promised, rate)
        elif mp3:
            damage = _mp3_damage(self._handle, size)
        self._info = SignalInfo(rate, channels, promised, damage, bits)
        self._there = there  # a header may promise more than memory can hold
        self._decoder = Decoder(open_sound, channels, MP3_LEAD if mp3 else 0)

    @property
    def info(self) -> SignalInfo:
        """Rate, channels, length, damage."""
        return self._info

    def read(self, start_frame: int, frames: int, /) -> Samples:
        """Return float32 of shape ``(n, channels)``; see :meth:`badc_core.protocols.SignalFile.read`.

        Raises
        ------
        RecordingError
            A sample is not a number: the message says where the first one is.
        """
        frames = max(min(frames, self._there - start_frame), 0)
        if frames == 0 or self._decoder is None:
            return np.empty((0, self._info.channels), np.float32)
        samples = self._decoder.read(start_frame, frames)
        # A sum costs a tenth of isfinite, and a NaN or infinity in it stays one.
        if not self._finite and not np.isfinite(samples.sum()) and not (good := np.isfinite(samples)).all():
            where = start_frame + int(np.argmin(good.all(axis=1)))
            raise RecordingError(
                f"{self._path}: the sample at {where / self._info.sample_rate_hz:.3f} s is not a finite number.",
                hint="The recorder or a conversion wrote nonsense there; chunks without such samples are analysed.",
            )
        return samples

    def hints(self) -> RecordingHints:
        """Return what GUANO and the AudioMoth's comment say."""
        if self._layout is None:
            return RecordingHints()
        return hints_from(self._handle, self._layout.notes)

    def export(self, start_frame: int, frames: int, target: Path, /) -> int:
        """Write a slice as WAV and return its frames; 0: nothing could be read, and no file is made.

        The samples of WAV, RF64 and W64 files are copied as they are; others are decoded to 16 bits.

        Raises
        ------
        RecordingError
            More than a WAV can hold.
        StoreError
            The system refused to write.
        """
        frames = max(min(frames, self._there - start_frame), 0)
        form = self._layout.format if self._layout is not None else None
        width = form.frame_bytes if form is not None else 2 * self._info.channels
        if frames * width > wav.LONGEST:
            raise RecordingError(f"{self._path}: {frames} frames are too much for one WAV file.", hint="Cut shorter.")
        if form is not None:
            return self._copy(form, start_frame, frames, target)
        return self._decode(start_frame, frames, target)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._decoder is not None:
            self._decoder.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _copy(self, form: Format, start: int, frames: int, target: Path) -> int:
        assert self._layout is not None
        assert self._layout.data is not None
        position = self._layout.data.start + start * form.frame_bytes
        there = (os.fstat(self._handle).st_size - position) // form.frame_bytes
        frames = max(min(frames, there), 0)
        if frames == 0:
            return 0
        with replacing(target, "wb") as file:
            file.write(wav.header(form, frames))
            left = frames * form.frame_bytes
            while left:
                block = os.pread(self._handle, min(left, 1 << 20), position)
                file.write(block)
                position += len(block)
                left -= len(block)
            if frames * form.frame_bytes % 2:
                file.write(b"\0")
        return frames

    def _decode(self, start: int, frames: int, target: Path) -> int:
        block = self.read(start, min(frames, _BLOCK_FRAMES))
        if not len(block):
            return 0
        channels = self._info.channels
        form = Format(1, channels, self._info.sample_rate_hz, 2 * channels, 16)
        done = 0
        with replacing(target, "wb") as file:
            file.write(wav.header(form, frames))
            while len(block):
                file.write(wav.pcm16(block))
                done += len(block)
                block = self.read(start + done, min(frames - done, _BLOCK_FRAMES))
            if done < frames:
                file.seek(0)
                file.write(wav.header(form, done))
        return done

    def _empty(self, what: str) -> RecordingError:
        return RecordingError(f"{self._path} is empty: {what}.", hint="The recorder wrote no sound; leave it out.")

    def _unreadable(self, error: Exception) -> RecordingError:
        reason = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
        return RecordingError(
            f"{self._path} is unreadable: no sound file that libsndfile knows ({reason}).",
            hint="Is it what its name says? Look at it with: file NAME",
        )


def _open_handle(path: Path) -> int:
    """Open a file, and refuse what is none; the core has looked for missing ones before, with better words."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never wait for the writer of a pipe
    except OSError as error:
        raise RecordingError(f"Cannot open {path}: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RecordingError(f"{path} is no regular file.")
    return handle


def _ends_early(there: int, promised: int, rate: int) -> str:
    return f"cut off: it ends after {there / rate:.3f} of the {promised / rate:.3f} s that its header promises"


def _mended_header(handle: int, layout: Layout) -> bytes:
    """Return the header with the lengths that belong to what is there, as far as a length can tell."""
    assert layout.data is not None
    raw = bytearray(os.pread(handle, layout.data.start, 0))
    there = os.fstat(handle).st_size - layout.data.start
    if layout.family == "caf":
        raw[layout.length_at : layout.length_at + 8] = (there + 4).to_bytes(8, "big")  # an edit count comes first
        return bytes(raw)
    raw[layout.length_at : layout.length_at + 4] = min(there, 0xFFFFFFFF).to_bytes(4, "little")
    raw[4:8] = min(layout.data.start + there - 8, 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(raw)


def _mp3_damage(handle: int, size: int) -> str | None:
    """Compare the length that an encoder noted in the first frame with the file's."""
    with contextlib.suppress(OSError, IndexError):
        head = os.pread(handle, 1 << 13, 0)
        at = max(head.find(mark) for mark in _XING)
        if at < 0 or head[at + 7] & 3 != 3:
            return None
        promised = int.from_bytes(head[at + 12 : at + 16], "big")
        if promised > size:
            return f"cut off: {size} of the {promised} bytes that its header promises are there"
    return None

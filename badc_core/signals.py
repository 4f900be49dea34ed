"""Reading samples: slices, mean of channels, resampling, context.

Frame arithmetic happens here and only here. A place in milliseconds becomes a frame by rounding, once:
``frame = round(ms * rate / 1000)``, halves upwards. A resampled slice of `n` frames has exactly
``round(n * out / in)``. So slices of one length in milliseconds give arrays of one length, whatever their place.

A resampler needs to hear a little of what lies around a slice, or the slice's edges differ from the same samples in
the whole recording resampled. So a few more frames are read, resampled too, and cut off.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_core.errors import RecordingError
from badc_core.host import Host, load_object
from badc_core.model import Chunk, Recording, Signal
from badc_core.opening import find_reader, known_suffixes, open_signal, probe, require_content
from badc_core.protocols import InputSpec, SignalFile, SignalInfo

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

__all__ = [
    "SignalReader",
    "downmix",
    "find_reader",
    "frames_of",
    "known_suffixes",
    "milliseconds_of",
    "open_signal",
    "probe",
    "require_content",
    "resampled_frames",
]

_OPEN_FILES = 4
_PIECE_S = 60
_FILTER_FRAMES = 128
"""Context that soxr's HQ filter needs on each side, in frames of the lower rate: with 96 a slice and the whole
recording resampled differ by less than 1e-6 (measured from 8 to 384 kHz); a third is added to be safe."""


# ------------------------------------------------------------------------------------------ arithmetic


def frames_of(milliseconds: int, sample_rate_hz: int) -> int:
    """Return a place or length in frames, rounded, halves upwards."""
    return (milliseconds * sample_rate_hz + 500) // 1000


def milliseconds_of(frames: int, sample_rate_hz: int) -> int:
    """Return a place or length in milliseconds, rounded, halves upwards."""
    return (frames * 1000 + sample_rate_hz // 2) // sample_rate_hz


def resampled_frames(frames: int, from_hz: int, to_hz: int) -> int:
    """Return how many frames remain after resampling: ``round(frames * to / from)``, halves upwards."""
    return (2 * frames * to_hz + from_hz) // (2 * from_hz)


def downmix(samples: Samples) -> Samples:
    """Return the mean of all channels.

    Parameters
    ----------
    samples
        Shape ``(frames, channels)``.

    Returns
    -------
    numpy.ndarray
        Shape ``(frames,)``; a view when there is but one channel.
    """
    if samples.shape[1] == 1:
        return samples.reshape(-1)
    mean: Samples = samples.mean(axis=1, dtype=samples.dtype)
    return mean


# -------------------------------------------------------------------------------------- reading chunks


@frozen
class _Window:
    """Where a chunk lies in its file, in frames of the file.

    Parameters
    ----------
    first, frames
        The chunk, as far as the header promises it.
    halo
        Context wanted on each side.
    start, end
        What to read.
    """

    first: int
    frames: int
    halo: int
    start: int
    end: int


@frozen
class _Opened:
    """An open file, and what is asked of it for every chunk."""

    file: SignalFile
    info: SignalInfo
    halo: int
    margin: int
    period: int
    to_hz: int


class SignalReader:
    """Reads chunks as a runner wants them; for several threads at once.

    Parameters
    ----------
    spec
        What the runner wants.
    scratch
        Folder for files that hold one chunk; made when needed.
    host
        Where readers come from.

    Notes
    -----
    Every thread keeps the last few files open, so consecutive slices of a long recording do not open it again.
    """

    def __init__(self, spec: InputSpec, scratch: Path, host: Host | None = None) -> None:
        self._spec = spec
        self._scratch = scratch
        self._host = host
        self._local = threading.local()
        self._lock = threading.Lock()
        self._files: set[SignalFile] = set()
        self._readers: dict[str, tuple[Callable[[Path], SignalFile], str]] = {}
        self._read = {
            "nothing": self._nothing,
            "checked": self._checked,
            "file": self._as_file,
            "samples": self._as_samples,
        }[spec.kind]
        if spec.kind == "samples":
            import numpy as np
            import soxr

            self._np = np
            self._resample = soxr.resample

    def read(self, chunk: Chunk, recording: Recording) -> Signal:
        """Return one chunk.

        Raises
        ------
        RecordingError
            Nothing of it can be read; the message names file, place and reason.
        """
        return self._read(chunk, recording)

    def release(self, signal: Signal) -> None:
        """Delete the file that was made for one chunk, if there is one."""
        if signal.path is not None and signal.path.parent.parent == self._scratch:
            signal.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close all files of all threads. Idempotent; no thread may be reading."""
        with self._lock:
            files, self._files = self._files, set()
        for file in files:
            file.close()
        self._local = threading.local()

    def _nothing(self, chunk: Chunk, recording: Recording) -> Signal:
        return Signal(chunk, recording)

    def _checked(self, chunk: Chunk, recording: Recording) -> Signal:
        """Read the chunk, and keep nothing but how much of it could be read."""
        opened = self._opened(chunk.source_path)
        window = _window(chunk, opened)
        piece = opened.info.sample_rate_hz * _PIECE_S
        got = 0
        while got < window.frames:
            wanted = min(piece, window.frames - got)
            try:
                read = len(opened.file.read(window.first + got, wanted))
            except RecordingError:
                if not got:
                    raise
                read = 0
            got += read
            if read < wanted:
                break
        if got == 0:
            raise _lost(chunk, opened.info)
        return Signal(chunk, recording, missing_ms=_missing_ms(window.frames - got, opened.info))

    def _as_file(self, chunk: Chunk, recording: Recording) -> Signal:
        if chunk.offset_ms is None:
            require_content(chunk.source_path)
            return Signal(chunk, recording, path=chunk.source_path)
        opened = self._opened(chunk.source_path)
        window = _window(chunk, opened)
        suffix = self._reader(chunk.source_path)[1]
        target = self._scratch / chunk.recording_id / f"{chunk.chunk_id}{suffix}"
        got = opened.file.export(window.first, window.frames, target)
        if got == 0:
            raise _lost(chunk, opened.info)
        return Signal(chunk, recording, path=target, missing_ms=_missing_ms(window.frames - got, opened.info))

    def _as_samples(self, chunk: Chunk, recording: Recording) -> Signal:
        opened = self._opened(chunk.source_path)
        window = _window(chunk, opened)
        info = opened.info
        start = window.start
        try:
            raw = opened.file.read(start, window.end - start)
        except RecordingError:  # perhaps only the context is damaged
            if (start, window.end) == (window.first, window.first + window.frames):
                raise
            raw = None
        if raw is None or (start + len(raw) <= window.first and start < window.first):
            start = window.first
            raw = opened.file.read(start, window.frames)
        read_to = start + len(raw)
        got = min(read_to - window.first, window.frames)
        if got <= 0:
            raise _lost(chunk, info)
        samples = downmix(raw) if self._spec.mono else raw
        before = min(window.halo, window.first - start)
        after = min(window.halo, read_to - window.first - got)
        lead = window.first - start
        if opened.to_hz != info.sample_rate_hz:
            samples = self._resample(samples, info.sample_rate_hz, opened.to_hz, quality="HQ")
            end = lead + got + after
            ends = after < window.halo
            lead, got_out, before, after, end = (
                resampled_frames(frames, info.sample_rate_hz, opened.to_hz)
                for frames in (lead, got, before, after, end)
            )
            if ends:  # not a sample of the recording's last ones is lost to rounding
                most = resampled_frames(window.halo, info.sample_rate_hz, opened.to_hz)
                after = min(max(0, end - lead - got_out), most)
        else:
            got_out = got
        samples = self._cut(samples, lead - before, before + got_out + after)
        samples.setflags(write=False)  # a batch may be tried again, and a runner that scribbled on it would hear that
        return Signal(
            chunk,
            recording,
            samples,
            opened.to_hz,
            before,
            after,
            missing_ms=_missing_ms(window.frames - got, info),
            read_to=read_to,
        )

    def _cut(self, samples: Samples, start: int, frames: int) -> Samples:
        """Return `frames` frames; at the very end soxr can be one short, which a zero fills."""
        cut = samples[start : start + frames]
        if len(cut) == frames:
            return cut
        whole = self._np.zeros((frames, *samples.shape[1:]), samples.dtype)
        whole[: len(cut)] = cut
        return whole

    def _opened(self, path: Path) -> _Opened:
        cache: OrderedDict[Path, _Opened] | None = getattr(self._local, "files", None)
        if cache is None:
            cache = self._local.files = OrderedDict()
        opened = cache.get(path)
        if opened is not None:
            cache.move_to_end(path)
            return opened
        while len(cache) >= _OPEN_FILES:
            _, old = cache.popitem(last=False)
            with self._lock:
                self._files.discard(old.file)
            old.file.close()
        open_, _ = self._reader(path)
        require_content(path)
        file = open_(path)
        with self._lock:
            self._files.add(file)
        opened = cache[path] = self._demands(file)
        return opened

    def _demands(self, file: SignalFile) -> _Opened:
        info = file.info
        rate = info.sample_rate_hz
        to_hz = self._spec.sample_rate_hz or rate
        margin, period = 0, 1
        if to_hz != rate:
            margin = math.ceil(_FILTER_FRAMES * max(1.0, rate / to_hz))
            # Reading begins where an output sample of the whole recording falls on an input sample.
            period = rate // math.gcd(rate, to_hz)
        return _Opened(file, info, frames_of(self._spec.halo_ms, rate), margin, period, to_hz)

    def _reader(self, path: Path) -> tuple[Callable[[Path], SignalFile], str]:
        suffix = path.suffix.lower()
        found = self._readers.get(suffix)
        if found is None:
            spec = find_reader(path, self._host)
            found = self._readers[suffix] = (load_object(spec.open), spec.export_suffix)
        return found


def _window(chunk: Chunk, opened: _Opened) -> _Window:
    info = opened.info
    if chunk.offset_ms is None:
        return _Window(0, info.frames, 0, 0, info.frames)
    rate = info.sample_rate_hz
    first = frames_of(chunk.offset_ms, rate)
    length = chunk.duration_ms
    frames = info.frames - first if length is None else min(frames_of(length, rate), info.frames - first)
    if frames <= 0:
        raise RecordingError(
            f"{chunk.source_path} ends at {info.frames / rate:.3f} s: nothing of chunk {chunk.chunk_id} at "
            f"{chunk.offset_ms / 1000:.3f} s is in it.",
            hint="Was the file changed after the manifest was made? Then make the manifest anew.",
        )
    around = opened.halo + opened.margin
    start = max(first - around, 0)
    start -= start % opened.period
    return _Window(first, frames, opened.halo, start, min(first + frames + around, info.frames))


def _lost(chunk: Chunk, info: SignalInfo) -> RecordingError:
    reason = info.damage or "it is damaged there"
    return RecordingError(
        f"{chunk.source_path}: nothing can be read of chunk {chunk.chunk_id} at "
        f"{(chunk.offset_ms or 0) / 1000:.3f} s; {reason}.",
        hint="The rest of the recording is analysed. If there is a better copy, put it in its place.",
    )


def _missing_ms(frames: int, info: SignalInfo) -> int:
    return -(-frames * 1000 // info.sample_rate_hz) if frames > 0 else 0

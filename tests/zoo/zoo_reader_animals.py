"""Readers, right and wrong: each wrong one has one fault."""

import wave

import numpy as np

from badc_core import RecordingError
from badc_core.protocols import RecordingHints, SignalInfo


class Good:
    """Reads 16-bit WAV by the standard library."""

    def __init__(self, path):
        self.path = path
        try:
            self.file = wave.open(str(path))  # noqa: SIM115 - kept open
        except (OSError, EOFError, wave.Error) as error:
            raise RecordingError(f"Cannot read {path}: {error}.") from error
        channels = self.file.getnchannels()
        promised = self.file.getnframes()
        present = min(promised, (path.stat().st_size - 44) // (2 * channels))
        damage = f"{promised - present} frames are missing" if present < promised else None
        self.info = SignalInfo(self.file.getframerate(), channels, promised, damage)

    def read(self, start_frame, frames):
        self.file.setpos(min(start_frame, self.info.frames))
        data = self.file.readframes(frames)
        width = 2 * self.info.channels
        whole = np.frombuffer(data[: len(data) // width * width], "<i2").reshape(-1, self.info.channels)
        return whole.astype(np.float32) / 32768

    def hints(self):
        return RecordingHints()

    def export(self, start_frame, frames, target):
        samples = np.round(self.read(start_frame, frames) * 32768).astype("<i2")
        with wave.open(str(target), "wb") as file:
            file.setnchannels(self.info.channels)
            file.setsampwidth(2)
            file.setframerate(self.info.sample_rate_hz)
            file.writeframes(samples.tobytes())
        return len(samples)

    def close(self):
        self.file.close()


class GoodAndStrict(Good):
    """Refuses damaged files."""

    def __init__(self, path):
        super().__init__(path)
        if self.info.damage:
            raise RecordingError(f"{path} is damaged: {self.info.damage}.")


class CountsInBytes(Good):
    def __init__(self, path):
        super().__init__(path)
        self.info = SignalInfo(self.info.sample_rate_hz, self.info.channels, self.info.frames * 2)

    def read(self, start_frame, frames):
        self.file.setpos(min(start_frame, self.info.frames // 2))
        return self._read(frames)

    def _read(self, frames):
        data = self.file.readframes(frames)
        width = 2 * self.info.channels
        whole = np.frombuffer(data[: len(data) // width * width], "<i2").reshape(-1, self.info.channels)
        return whole.astype(np.float32) / 32768


class GivesIntegers(Good):
    def read(self, start_frame, frames):
        return np.round(super().read(start_frame, frames) * 32768).astype(np.int16)


class GivesDoubles(Good):
    def read(self, start_frame, frames):
        return super().read(start_frame, frames).astype(np.float64)


class MixesDown(Good):
    def read(self, start_frame, frames):
        return super().read(start_frame, frames).mean(axis=1, keepdims=True, dtype=np.float32)


class ForgetsToSeekBack(Good):
    position = 0

    def read(self, start_frame, frames):
        start_frame = max(start_frame, self.position)
        found = super().read(start_frame, frames)
        self.position = start_frame + len(found)
        return found


class RoundsToBlocks(Good):
    def read(self, start_frame, frames):
        return super().read(start_frame // 256 * 256, frames)


class PadsTheEnd(Good):
    def read(self, start_frame, frames):
        found = super().read(start_frame, frames)
        missing = frames - len(found) if self.info.damage is None else 0
        return np.pad(found, ((0, missing), (0, 0)))


class FailsBehindTheEnd(Good):
    def read(self, start_frame, frames):
        if start_frame > self.info.frames:
            raise wave.Error("position not in range")
        return super().read(start_frame, frames)


class KeepsOneFile(Good):
    last = None

    def __init__(self, path):
        super().__init__(path)
        type(self).last = self

    def read(self, start_frame, frames):
        return Good.read(type(self).last, start_frame, frames)


class HintsByDict(Good):
    def hints(self):
        return {}


class ExportsFromTheStart(Good):
    def export(self, start_frame, frames, target):
        return super().export(0, min(frames, self.info.frames - start_frame), target)


class ExportsAsAsked(Good):
    def export(self, start_frame, frames, target):
        super().export(start_frame, frames, target)
        return frames


class ClosesOnce(Good):
    closed = False

    def close(self):
        if self.closed:
            raise ValueError("close of a closed file")
        self.closed = True
        super().close()


class LeavesAnIndex(Good):
    def __init__(self, path):
        super().__init__(path)
        path.with_suffix(".idx").write_text("0")


class RaisesWhatItGets(Good):
    def __init__(self, path):
        wave.open(str(path)).close()
        super().__init__(path)


class NamesNoFile(Good):
    def __init__(self, path):
        try:
            super().__init__(path)
        except RecordingError as error:
            raise RecordingError("Cannot read the recording.") from error


class HidesDamage(Good):
    def __init__(self, path):
        super().__init__(path)
        present = min(self.info.frames, (path.stat().st_size - 44) // (2 * self.info.channels))
        self.info = SignalInfo(self.info.sample_rate_hz, self.info.channels, present)


class FillsDamage(Good):
    def read(self, start_frame, frames):
        found = super().read(start_frame, frames)
        missing = max(min(start_frame + frames, self.info.frames) - start_frame - len(found), 0)
        return np.pad(found, ((0, missing), (0, 0)))

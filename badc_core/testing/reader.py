"""The contract of readers: :class:`ReaderContract`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from badc_core.errors import RecordingError
from badc_core.protocols import RecordingHints, SignalFile, SignalInfo
from badc_core.specs import ReaderSpec
from badc_core.testing.base import Contract
from badc_core.testing.oracle import write_wav

__all__ = ["ReaderContract"]

Samples = np.ndarray[Any, np.dtype[np.int16]]

_RATE = 8000
_SLICES = [(0, 1), (0, 8000), (7999, 2), (12_345, 4000), (100, 50), (23_000, 1001), (23_000, 1), (4000, 8000), (1, 0)]
_SLICES += _SLICES[::-1]
_OVER_THE_END = [(23_901, 1000), (24_001, 1000), (29_001, 1000)]


def make_sound(channels: int, frames: int = 24_001) -> Samples:
    """Make a sound in which every frame differs from its neighbours, 16 bits, shape ``(frames, channels)``."""
    t = np.arange(frames)
    waves = [12_000 * np.sin(t * (0.05 + 0.01 * c)) + 9000 * np.sin(t * t * 1e-6 * (c + 1)) for c in range(channels)]
    return np.round(np.stack(waves, axis=1)).astype(np.int16)


class ReaderContract(Contract):
    """Standard tests of a reader.

    The author says how to make a file in the reader's format, by :meth:`write_sound`; the default makes
    the plain sound file that Python's standard library can write.

    Attributes
    ----------
    channels
        Numbers of channels to try.
    tolerance
        By how much a sample may differ from what was written, full scale being 1; more for lossy formats.
    """

    spec_class: ClassVar[type[ReaderSpec]] = ReaderSpec
    channels: ClassVar[tuple[int, ...]] = (1, 2)
    tolerance: ClassVar[float] = 1 / 65536
    _replaceable: ClassVar = {"channels", "tolerance", "write_sound"}

    # ------------------------------------------------------------------------- what an author may replace

    def write_sound(self, path: Path, samples: Samples, sample_rate_hz: int) -> None:
        """Write a file in the reader's format; by default with the standard library.

        Parameters
        ----------
        path
            Where to; its suffix is the first of the spec's.
        samples
            16-bit integers, shape ``(frames, channels)``.
        sample_rate_hz
            Of the samples.
        """
        write_wav(path, (samples / 32768).astype(np.float32), sample_rate_hz)

    # --------------------------------------------------------------------------------------- how tests look

    def _path(self, folder: Path, name: str = "site A, ß_20260503_031300") -> Path:
        return folder / f"{name}{self.spec.suffixes[0]}"

    def _open(self, path: Path) -> SignalFile:
        file: SignalFile = self.load_or_skip(self.spec.open)(path)
        return file

    def _written(self, folder: Path, channels: int | None = None, name: str = "a b") -> tuple[Path, Any]:
        sound = make_sound(channels or self.channels[0])
        path = self._path(folder, name)
        self.write_sound(path, sound, _RATE)
        return path, sound.astype(np.float32) / 32768

    def _differs(self, found: Any, expected: Any) -> str | None:
        if np.shape(found) != np.shape(expected):
            return f"the shape is {np.shape(found)}, not {np.shape(expected)}"
        if not len(expected):
            return None
        worst = float(np.max(np.abs(np.asarray(found, np.float64) - expected)))
        return None if worst <= self.tolerance else f"samples differ by up to {worst:.3g}"

    def _info_problem(self, folder: Path) -> str | None:
        for channels in self.channels:
            path, sound = self._written(folder, channels, f"site A, ß_20260503_031300 {channels}")
            file = self._open(path)
            info = file.info
            file.close()
            if not isinstance(info, SignalInfo):
                return f"info is a {type(info).__name__}, not a SignalInfo"
            if (info.sample_rate_hz, info.channels, info.frames) != (_RATE, channels, len(sound)):
                return f"info is {info}, but {len(sound)} frames of {channels} channels at {_RATE} Hz are there"
            if info.damage is not None:
                return f"a sound file is said to be damaged: {info.damage}"
        return None

    def _whole_problem(self, folder: Path) -> str | None:
        for channels in self.channels:
            path, sound = self._written(folder, channels, f"{channels}")
            file = self._open(path)
            found = file.read(0, len(sound))
            file.close()
            if getattr(found, "dtype", None) != np.float32:
                return f"read gives {getattr(found, 'dtype', type(found).__name__)}, not float32"
            problem = self._differs(found, sound)
            if problem is not None:
                return f"{channels} channels: {problem}"
        return None

    def _slice_problem(self, folder: Path, slices: Sequence[tuple[int, int]]) -> str | None:
        path, sound = self._written(folder, max(self.channels))
        file = self._open(path)
        try:
            for start, frames in slices:
                problem = self._differs(file.read(start, frames), sound[start : start + frames])
                if problem is not None:
                    return f"{frames} frames from {start} of {len(sound)}: {problem}"
        except Exception as error:
            return f"{frames} frames from {start} of {len(sound)} raise {type(error).__name__}: {error}"
        finally:
            file.close()
        return None

    def _need(self, tmp_path: Path, *judges: tuple[str, Callable[[Path], str | None]]) -> None:
        folder = tmp_path / "needed"
        folder.mkdir()
        for test, judge in judges:
            try:
                problem = judge(folder)
            except Exception as error:
                problem = str(error)
            if problem is not None:
                pytest.skip(f"see {test}")

    @pytest.fixture
    def works(self, tmp_path: Path) -> None:
        """Skip unless whole files are read right."""
        self._need(
            tmp_path,
            ("test_info_tells_what_is_there", self._info_problem),
            ("test_the_whole_is_what_was_written", self._whole_problem),
        )

    @pytest.fixture
    def slices(self, works: None, tmp_path: Path) -> None:
        """Skip unless slices within a file are read right."""
        self._need(
            tmp_path / "needed", ("test_slices_equal_the_whole", lambda folder: self._slice_problem(folder, _SLICES))
        )

    @pytest.fixture
    def ends(self, slices: None, tmp_path: Path) -> None:
        """Skip unless slices over the end are read right."""
        self._need(
            tmp_path / "needed" / "needed",
            ("test_reading_past_the_end_is_short", lambda folder: self._slice_problem(folder, _OVER_THE_END)),
        )

    # --------------------------------------------------------------------------------------- standard tests

    def test_suffixes_are_lower_case(self) -> None:
        """Suffixes are in lower case, with their dot; so is the one of exported files."""
        for suffix in (*self.spec.suffixes, self.spec.export_suffix):
            if not suffix.startswith(".") or suffix != suffix.lower() or len(suffix) < 2:
                self.broken(f"the suffix {suffix!r} is not one like '.xyz'")

    def test_info_tells_what_is_there(self, tmp_path: Path) -> None:
        """`info` gives the rate, channels and frames of a sound file, without damage."""
        problem = self._info_problem(tmp_path)
        if problem is not None:
            self.broken(problem)

    def test_the_whole_is_what_was_written(self, tmp_path: Path) -> None:
        """Reading all frames gives what was written: float32, one row a frame, one column a channel."""
        problem = self._whole_problem(tmp_path)
        if problem is not None:
            self.broken(problem)

    def test_slices_equal_the_whole(self, works: None, tmp_path: Path) -> None:
        """Any slice, in any order, equals that part of the whole."""
        problem = self._slice_problem(tmp_path, _SLICES)
        if problem is not None:
            self.broken(problem)

    def test_reading_past_the_end_is_short(self, slices: None, tmp_path: Path) -> None:
        """A slice over the end gives what is there, and one behind it no frames; nothing is made up."""
        problem = self._slice_problem(tmp_path, _OVER_THE_END)
        if problem is not None:
            self.broken(problem)

    def test_files_do_not_mix(self, slices: None, tmp_path: Path) -> None:
        """Two open files are read in turn without disturbing each other; closing one leaves the other open."""
        one_path, one = self._written(tmp_path, name="one")
        two_path = self._path(tmp_path, "two")
        self.write_sound(two_path, make_sound(self.channels[0])[::-1].copy(), _RATE)
        files = [(self._open(one_path), one), (self._open(two_path), one[::-1])]
        for start in (0, 5000, 2000):
            for file, sound in files:
                problem = self._differs(file.read(start, 500), sound[start : start + 500])
                if problem is not None:
                    self.broken(f"read in turn with another file: {problem}")
        files[1][0].close()
        problem = self._differs(files[0][0].read(10, 500), one[10:510])
        files[0][0].close()
        if problem is not None:
            self.broken(f"after another file was closed: {problem}")

    def test_hints_are_hints(self, works: None, tmp_path: Path) -> None:
        """`hints` returns RecordingHints, for a file without metadata too."""
        path, _ = self._written(tmp_path)
        file = self._open(path)
        found = file.hints()
        file.close()
        if not isinstance(found, RecordingHints):
            self.broken(f"hints() returns {found!r}, not RecordingHints")

    def test_export_can_be_read_again(self, ends: None, tmp_path: Path) -> None:
        """An exported slice is a file of its own with just these frames; the number returned is what it holds."""
        path, sound = self._written(tmp_path, max(self.channels))
        if self.spec.export_suffix not in self.spec.suffixes:
            pytest.skip(f"it does not read the {self.spec.export_suffix} files that it writes")
        for start, frames in ((5000, 4321), (len(sound) - 10, 100)):
            target = tmp_path / f"slice {start}{self.spec.export_suffix}"
            file = self._open(path)
            written = file.export(start, frames, target)
            file.close()
            expected = sound[start : start + frames]
            if written != len(expected):
                self.broken(f"export returns {written}, not {len(expected)}")
            again = self._open(target)
            if again.info.frames != len(expected) or again.info.sample_rate_hz != _RATE:
                self.broken(f"the exported file is {again.info}, not {len(expected)} frames at {_RATE} Hz")
            problem = self._differs(again.read(0, frames), expected)
            again.close()
            if problem is not None:
                self.broken(f"the exported slice: {problem}")

    def test_close_can_be_called_twice(self, works: None, tmp_path: Path) -> None:
        """`close` can be called again, and without any read before."""
        file = self._open(self._written(tmp_path)[0])
        for time in ("first", "second"):
            try:
                file.close()
            except Exception as error:
                self.broken(f"the {time} close raises {type(error).__name__}: {error}")

    def test_the_file_is_left_alone(self, works: None, tmp_path: Path) -> None:
        """Reading changes neither the file nor its folder."""
        folder = tmp_path / "alone"
        folder.mkdir()
        path, _ = self._written(folder)
        before = (_digest(path), sorted(p.name for p in path.parent.iterdir()))
        file = self._open(path)
        file.read(0, 5000)
        file.hints()
        file.close()
        if (_digest(path), sorted(p.name for p in path.parent.iterdir())) != before:
            self.broken("reading changes the file or its folder")

    def test_what_is_no_recording_is_refused(self, tmp_path: Path) -> None:
        """A missing, an empty and a text file raise a RecordingError that names the file."""
        for name, content in (("missing", None), ("empty", b""), ("text", b"This is no sound at all.\n" * 40)):
            path = self._path(tmp_path, name)
            if content is not None:
                path.write_bytes(content)
            try:
                self._open(path)
            except RecordingError as error:
                if path.name not in str(error):
                    self.broken(f"the error about a {name} file does not name it: {error}")
            except Exception as error:
                self.broken(f"a {name} file raises {type(error).__name__}, not RecordingError: {error}")
            else:
                self.broken(f"a {name} file is opened as a recording")

    def test_a_truncated_file_is_noticed(self, works: None, tmp_path: Path) -> None:
        """A file that lost its second half is refused, or gives its true beginning and says what it lost."""
        path, sound = self._written(tmp_path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        try:
            file = self._open(path)
        except RecordingError:
            return
        except Exception as error:
            self.broken(f"a truncated file raises {type(error).__name__}, not RecordingError: {error}")
        found = file.read(0, len(sound))
        info = file.info
        file.close()
        problem = self._differs(found, sound[: len(found)])
        if problem is not None:
            self.broken(f"what is left of a truncated file: {problem}")
        if len(found) > len(sound) * 3 // 4:
            self.broken("a truncated file gives frames that are not there")
        if info.damage is None and info.frames <= len(found):
            self.broken("a truncated file is given as a shorter one, with nothing in info.damage")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

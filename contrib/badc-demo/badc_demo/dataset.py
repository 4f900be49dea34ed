"""The dataset of the demonstration: what it consists of, and writing it.

Two study areas. In one, a recorder's files as they are. In the other, long files of quiet noise into which a song was
laid at known times; the last of them is cut off half-way, as a flat battery does. So what a model hears can be held
against what is there. The same arguments give the same bytes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_core.atomic import replacing, write_bytes, write_text
from badc_core.errors import UsageError
from badc_demo.sounds import Sounds

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = [
    "SONG_MS",
    "SPECIES",
    "LaidSong",
    "LongFile",
    "audible_ms",
    "city_path",
    "long_files",
    "steps",
    "write_dataset",
]

SPECIES = "Common Yellowthroat"
SONG_MS = 5903
SAMPLE_RATE_HZ = 44_100
RECORDINGS = Path("recordings")
MARKER = "badc-demo.json"

_CITY_SITE = Path("CityPark/AM01")
_CREEK_SITE = Path("BoggyCreek/BC07")
_CITY_MS = 90_000
_FIRST_START = dt.datetime(2025, 6, 11, 4, 30)
_BETWEEN_STARTS = dt.timedelta(minutes=30)
_SUFFIXES = (".wav", ".flac", ".wav")
_FIRST_SONG_MS = 21_400
_LATER_PER_FILE_MS = 18_300
_BETWEEN_SONGS_MS = 73_700
_LOUDNESS_DB = (0, -6, -12, -20)
_NOISE_LEVEL = 0.003
_RUMBLE_FRAMES = 64
_SEED = 20_250_611
_WAV_HEADER_BYTES = 44


@frozen
class LaidSong:
    """One song in a long file.

    Parameters
    ----------
    at_ms
        Where it begins.
    loudness_db
        Against the original.
    """

    at_ms: int
    loudness_db: int

    @property
    def end_ms(self) -> int:
        """Where it ends."""
        return self.at_ms + SONG_MS


@frozen
class LongFile:
    """One long file of noise and songs.

    Parameters
    ----------
    number
        From 0; seeds the noise.
    path
        Below the folder of the demonstration.
    started_at
        As its name says.
    duration_ms
        As its header says.
    songs
        What is laid into it.
    damaged
        Whether its second half is missing.
    """

    number: int
    path: Path
    started_at: dt.datetime
    duration_ms: int
    songs: tuple[LaidSong, ...]
    damaged: bool

    @property
    def present_ms(self) -> int:
        """How much of it is there."""
        return self.duration_ms // 2 if self.damaged else self.duration_ms


def long_files(minutes: int) -> list[LongFile]:
    """Return the long files, `minutes` each: what they are called and what is in them. Writes nothing."""
    found = []
    for number, suffix in enumerate(_SUFFIXES):
        start = _FIRST_START + number * _BETWEEN_STARTS
        name = f"{_CREEK_SITE.name}_{start:%Y%m%d_%H%M%S}{suffix}"
        duration_ms = minutes * 60_000
        times = range(_FIRST_SONG_MS + number * _LATER_PER_FILE_MS, duration_ms - SONG_MS, _BETWEEN_SONGS_MS)
        songs = tuple(LaidSong(at, _LOUDNESS_DB[k % len(_LOUDNESS_DB)]) for k, at in enumerate(times))
        last = number == len(_SUFFIXES) - 1
        found.append(LongFile(number, RECORDINGS / _CREEK_SITE / name, start, duration_ms, songs, damaged=last))
    return found


def city_path(sound: Path) -> Path:
    """Return where a recording that is used as it is goes, below the folder of the demonstration."""
    return RECORDINGS / _CITY_SITE / sound.name


def steps(minutes: int) -> int:
    """Return how many times :func:`write_dataset` reports."""
    return len(long_files(minutes)) + 3


def audible_ms(minutes: int) -> int:
    """Return how much sound the dataset holds, what is missing from the damaged file not counted."""
    return _CITY_MS + sum(file.present_ms for file in long_files(minutes))


def write_dataset(
    folder: Path, minutes: int, sounds: Sounds, report: Callable[[str], None] = lambda name: None
) -> bool:
    """Write the dataset; what is there already stays.

    Parameters
    ----------
    folder
        Where to; made when missing.
    minutes
        Length of each long file.
    sounds
        What it is made of.
    report
        Told the name of each recording when it is there.

    Returns
    -------
    bool
        Whether anything had to be written.

    Raises
    ------
    UsageError
        The folder holds something else, or a demonstration of another length.
    StoreError
        The system refused.
    """
    _claim(folder, minutes)
    written = False
    for sound in sounds.city:
        target = folder / city_path(sound)
        if not target.exists():
            write_bytes(target, sound.read_bytes())
            written = True
        report(target.name)
    files = long_files(minutes)
    song = None
    for file in files:
        target = folder / file.path
        if not target.exists():
            song = _song(sounds.yellowthroat) if song is None else song
            _write_long_file(target, file, song)
            written = True
        report(target.name)
    if written or not (folder / "laid.csv").exists():
        write_text(folder / "laid.csv", "".join(_laid_lines(files)))
    return written


def _claim(folder: Path, minutes: int) -> None:
    """Make the folder ours before anything else is written, or refuse it."""
    marker = folder / MARKER
    if not marker.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"{folder} exists and is no folder of badc demo.", hint="Choose another: badc demo --folder NAME"
            )
        write_text(marker, json.dumps({"minutes": minutes}) + "\n")
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))["minutes"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{marker} is damaged: {error}.", hint=f"Remove the folder {folder} and start again."
        ) from error
    if found != minutes:
        raise UsageError(
            f"{folder} holds a demonstration with files of {found} minutes, not {minutes}.",
            hint=f"Go on with it: badc demo --minutes {found}; or choose another folder: --folder NAME",
        )


def _laid_lines(files: Sequence[LongFile]) -> Iterator[str]:
    yield "recording,start_ms,end_ms,species,loudness_db\n"
    for file in files:
        for song in file.songs:
            yield f"{file.path.stem},{song.at_ms},{song.end_ms},{SPECIES},{song.loudness_db}\n"


# ------------------------------------------------------------------------------------------------ sound


def _song(path: Path) -> FloatArray:
    """Return the song, one channel at :data:`SAMPLE_RATE_HZ`, of exactly :data:`SONG_MS`."""
    import numpy as np
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE_HZ:
        raise UsageError(f"{path} has {rate} Hz, not {SAMPLE_RATE_HZ}.", hint="Install exactly hawkears==2.3.0.")
    song: FloatArray = np.ascontiguousarray(samples.mean(axis=1)[: _frames(SONG_MS)])
    return song


def compose(file: LongFile, song: FloatArray) -> FloatArray:
    """Return the samples of a long file: rumbling noise, and songs where they are laid."""
    import numpy as np

    random = np.random.default_rng((_SEED, file.number))
    frames = _frames(file.duration_ms)
    white = random.standard_normal(frames + _RUMBLE_FRAMES, dtype=np.float32)
    sums = np.cumsum(white, dtype=np.float64)  # the difference of two sums: a moving average, which leaves a rumble
    noise = (sums[_RUMBLE_FRAMES:] - sums[:-_RUMBLE_FRAMES]) / np.sqrt(_RUMBLE_FRAMES)
    samples = (noise * _NOISE_LEVEL).astype(np.float32)
    for laid in file.songs:
        start = _frames(laid.at_ms)
        samples[start : start + len(song)] += song * np.float32(10 ** (laid.loudness_db / 20))
    return samples


def _write_long_file(target: Path, file: LongFile, song: FloatArray) -> None:
    import soundfile

    kind = target.suffix.removeprefix(".").upper()
    with replacing(target, "wb") as stream:
        soundfile.write(stream, compose(file, song), SAMPLE_RATE_HZ, format=kind, subtype="PCM_16")
        if file.damaged:
            stream.truncate(_WAV_HEADER_BYTES + 2 * _frames(file.present_ms))


def _frames(milliseconds: int) -> int:
    return round(milliseconds * SAMPLE_RATE_HZ / 1000)

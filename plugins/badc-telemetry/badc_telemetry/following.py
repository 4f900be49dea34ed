"""Reading logs that grow: what was read once is not read again.

A log is known by the bytes before the place to which it was read, not by its inode. So a log that was replaced by a
copy of itself, as in a dataset of DataLad, is read on; one that was cut off or exchanged is noticed, and read from its
beginning.
Files are not held open between two looks, so that there may be thousands of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from badc_core.annex import content_missing
from badc_core.telemetry_log import parse_line

__all__ = ["LogFollower", "Logs"]

_BLOCK = 1 << 20
_ANCHOR = 256


@define
class LogFollower:
    """One log, and how far it was read.

    Parameters
    ----------
    path
        The log; need not be there yet.
    replaced
        How often it was found cut off, or exchanged for another.
    """

    path: Path
    replaced: int = 0
    _position: int = 0
    _anchor: bytes = b""
    _seen: tuple[int, int, int] | None = None

    def poll(self) -> Iterator[dict[str, Any]]:
        """Yield the records of the whole lines that were added since the last call.

        A last line without its end waits for it; what is no record is passed over.

        Raises
        ------
        OSError
            The log cannot be read.
        FileNotFoundError
            It is not there, or no more.
        """
        state = self.path.stat()
        now = (state.st_ino, state.st_size, state.st_mtime_ns)
        if now == self._seen:
            return
        with self.path.open("rb") as file:
            if not self._is_known(file):
                self.replaced += 1
                self._position, self._anchor = 0, b""
            file.seek(self._position)
            while block := self._next(file):
                for line in block.split(b"\n"):
                    if (record := parse_line(line)) is not None:
                        yield record
        self._seen = now

    def _is_known(self, file: IO[bytes]) -> bool:
        file.seek(self._position - len(self._anchor))
        return file.read(len(self._anchor)) == self._anchor

    def _next(self, file: IO[bytes]) -> bytes:
        """Return whole lines from where the file stands, and note that they were read."""
        block = file.read(_BLOCK)
        end = block.rfind(b"\n") + 1
        if not end and len(block) == _BLOCK:
            end = _BLOCK  # no record is that long
        file.seek(self._position + end)
        self._position += end
        self._anchor = (self._anchor + block[:end])[-_ANCHOR:]
        return block[:end]


@define
class Logs:
    """Several logs, seen as one.

    Parameters
    ----------
    places
        Logs, and folders of logs: all ``*.jsonl`` in them, also those that appear later.
    """

    places: Sequence[Path]
    _followers: dict[Path, LogFollower] = field(factory=dict, init=False)

    @property
    def count(self) -> int:
        """Logs seen so far."""
        return len(self._followers)

    @property
    def replaced(self) -> int:
        """How often one was found cut off or exchanged."""
        return sum(follower.replaced for follower in self._followers.values())

    def poll(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield log and record of what was added since the last call; logs that are not there are passed over.

        Raises
        ------
        OSError
            A log is there, and cannot be read; `filename` names it.
        """
        for path in self._listed():
            follower = self._followers.get(path) or LogFollower(path)
            try:
                for record in follower.poll():
                    yield path, record
            except FileNotFoundError:
                continue
            self._followers[path] = follower

    def missing(self) -> list[Path]:
        """Return the places where there is no log."""
        return [place for place in self.places if not any(path.exists() for path in _in(place))]

    def elsewhere(self) -> list[Path]:
        """Return the logs whose content git-annex keeps on another machine."""
        return [path for path in self._listed() if content_missing(path)]

    def _listed(self) -> Iterable[Path]:
        return dict.fromkeys(path for place in self.places for path in _in(place))


def _in(place: Path) -> list[Path]:
    return sorted(place.glob("*.jsonl")) if place.is_dir() else [place]

"""Events of workers in other processes: written to files of their own there, read on here.

Each life of a worker writes one file in the run folder, the first of a shard ``events/000012.jsonl``, further ones
``events/000012.LIFE.jsonl``: lines of a telemetry log (see :mod:`badc_core.telemetry_log`) with some keys more. A line
that says that a chunk is settled is written after its result was committed, so who reads it need not look. The same
chunk settled twice, by a worker that everybody thought dead, is told once.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import orjson

from badc_core.atomic import explain, replacing
from badc_core.model import Device, Event
from badc_core.telemetry_log import dumps, loads, to_line

__all__ = ["EVENTS_FOLDER", "EventFile", "Relay", "event_key", "settled_chunks", "tell_for", "told_before"]

EVENTS_FOLDER = "events"
_BLOCK = 4 << 20


class EventFile:
    """The file of one worker process: a sink of telemetry.

    Parameters
    ----------
    folder
        The run folder.
    shard
        Which shard the process does.
    life
        Names this attempt at it; no two share one.
    place
        The machine, for the labels of workers: ``n1:cpu-0``.
    lines
        For ``(recording_id, chunk_id)``, the chunk's line in ``chunks.jsonl``.

    Attributes
    ----------
    first
        Whether nobody worked on this shard before. Told without a look at the files of all other shards.

    Raises
    ------
    StoreError
        The file cannot be made.
    """

    def __init__(self, folder: Path, shard: int, life: str, place: str, lines: Mapping[tuple[str, str], int]) -> None:
        self._place = place
        self._lines = lines
        self._waiting = bytearray()
        self.path = folder / EVENTS_FOLDER / f"{shard:06d}.jsonl"
        self.first = True
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._handle = os.open(self.path, how | os.O_EXCL, 0o666)
            except FileExistsError:
                self.first = False
                self.path = self.path.with_name(f"{shard:06d}.{life}.jsonl")
                self._handle = os.open(self.path, how, 0o666)
        except OSError as error:
            raise explain(error, self.path) from error

    def emit(self, event: Event) -> None:
        """Take an event."""
        number = self._lines.get((event.recording_id, event.chunk_id), -1)
        self._waiting += _to_line(event, number, f"{self._place}:{event.worker}")
        if len(self._waiting) >= 1 << 16:
            self.flush()

    def flush(self) -> None:
        """Write what was taken: whole lines, in one go."""
        if self._waiting:
            os.write(self._handle, self._waiting)
            self._waiting.clear()

    def close(self) -> None:
        """Write the rest. Idempotent."""
        if self._handle >= 0:
            self.flush()
            os.close(self._handle)
            self._handle = -1


def _to_line(event: Event, number: int, worker: str) -> bytes:
    facts = {
        "line": number,
        "recording_id": event.recording_id,
        "worker": worker,
        "audio_ms": event.audio_ms,
        "final": event.final,
    }
    return to_line(event)[:-2] + b"," + dumps(facts)[1:] + b"\n"


def tell_for(folder: Path, events: Iterable[tuple[int, Event]]) -> None:
    """Tell what no worker told, in a file ``events/results.N.jsonl``, which is there whole or not at all.

    Parameters
    ----------
    folder
        The run folder.
    events
        Each with its chunk's line in ``chunks.jsonl``; where there are none, no file is made.

    Raises
    ------
    StoreError
        The file cannot be written.
    """
    found = iter(events)
    first = next(found, None)
    if first is None:
        return
    number = sum(1 for _ in (folder / EVENTS_FOLDER).glob("results.*.jsonl"))
    with replacing(folder / EVENTS_FOLDER / f"results.{number:06d}.jsonl", "wb") as file:
        for line, event in itertools.chain([first], found):
            file.write(_to_line(event, line, event.worker))


def event_key(entry: Mapping[str, Any]) -> int:
    """Return a number that stands for an event, in the file of its worker and in a log, within this process."""
    details = entry["details"]
    names = ("chunk_id", "status", "timestamp", "finished_at")
    return hash((*(entry.get(name) for name in names), details.get("attempt"), str(details.get("output"))))


class Relay:
    """Reads the events of all workers of a run, on from where it stopped.

    Parameters
    ----------
    folder
        The run folder.
    chunks
        Of the plan.

    Attributes
    ----------
    busy_s
        Time that workers spent on the chunks told of.
    """

    def __init__(self, folder: Path, chunks: int) -> None:
        self._folder = folder / EVENTS_FOLDER
        self._told = bytearray(chunks)
        self._at: dict[str, int] = {}
        self._finished: set[str] = set()
        self.settled = 0
        self.busy_s = 0.0

    def untold(self) -> Iterator[int]:
        """Yield the lines of chunks that nobody called settled."""
        return (line for line, told in enumerate(self._told) if not told)

    def told(self, line: int) -> bool:
        """Whether somebody called a chunk settled."""
        return bool(self._told[line])

    def tell(self, line: int) -> bool:
        """Take a chunk for settled; return whether that is news."""
        if not 0 <= line < len(self._told) or self._told[line]:
            return False
        self._told[line] = 1
        self.settled += 1
        return True

    def finished(self, shards: Set[int]) -> None:
        """Take note of shards that were done before the last reading: nothing more is read of them."""
        self._finished.update(f"{shard:06d}" for shard in shards)

    def look_everywhere(self) -> None:
        """Read the files of finished shards, too: a shared folder may show late what they hold."""
        self._finished.clear()

    def positions(self) -> dict[str, int]:
        """Return how far each file was read, in bytes, by its name."""
        return dict(self._at)

    def read(self, known: Mapping[str, int] | None = None) -> Iterator[list[Event]]:
        """Yield what was written since the last call, file by file.

        Parameters
        ----------
        known
            Read only so far, as :meth:`positions` said in another process; ``None``: to the end.
        """
        for entry in self._files():
            if entry.name.partition(".")[0] in self._finished:
                continue
            at = self._at.get(entry.name, 0)
            until = entry.stat().st_size if known is None else known.get(entry.name, 0)
            if until > at:
                yield from self._read_on(Path(entry.path), at, until)

    def _files(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._folder) as entries:
                found = [entry for entry in entries if entry.name.endswith(".jsonl")]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda entry: entry.name)

    def positions_in(self, told: Counter[int], known: Mapping[str, int]) -> dict[str, int]:
        """Return up to where each file is told in a log.

        Parameters
        ----------
        told
            :func:`event_key` of what the log holds, and how often.
        known
            Up to where they are told for certain, in bytes by name; `told` need not know of that.

        Notes
        -----
        Events of one file are in the log in the file's order, so the last one found there ends what is told.
        """
        found = dict(known)
        left = Counter(told)
        for entry in self._files() if left else ():
            at = known.get(entry.name, 0)
            with open(entry.path, "rb") as file:  # noqa: PTH123 - a text is at hand
                file.seek(at)
                for line in file:
                    at += len(line)
                    try:
                        key = event_key(loads(line))
                    except (ValueError, KeyError, TypeError, AttributeError):
                        continue
                    if line.endswith(b"\n") and left[key] > 0:
                        left[key] -= 1
                        found[entry.name] = at
        return found

    def _read_on(self, path: Path, at: int, until: int) -> Iterator[list[Event]]:
        with path.open("rb") as file:
            file.seek(at)
            while block := file.read(min(_BLOCK, until - at)):
                end = block.rfind(b"\n") + 1
                if not end:
                    return  # a line that is not whole yet, or never will be
                at += end
                self._at[path.name] = at
                yield [event for line in block[:end].splitlines() if (event := self._event(line)) is not None]
                file.seek(at)

    def _event(self, line: bytes) -> Event | None:
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            try:
                entry = loads(line)  # names that are no UTF-8
            except ValueError:
                return None
        try:
            event = _made(entry)
        except (KeyError, TypeError):
            return None
        if event.final:
            if not self.tell(entry.get("line", -1)):
                return None
            self.busy_s += event.runtime_s or 0.0
        return event


def _made(entry: Mapping[str, Any]) -> Event:
    gpu = entry["gpu_index"]
    device = Device("cpu") if gpu is None else Device("gpu", gpu, entry["gpu_name"])
    return Event(
        entry["chunk_id"],
        entry["recording_id"],
        entry["status"],
        entry["worker"],
        entry["timestamp"],
        device,
        entry["finished_at"],
        entry["runtime_s"],
        entry["audio_ms"],
        entry["final"],
        entry["details"],
    )


def told_before(folder: Path, shard: int, chunks: int) -> set[int]:
    """Return the lines that earlier lives of a shard's worker called settled.

    Parameters
    ----------
    folder
        The run folder.
    shard
        Which shard.
    chunks
        Of the plan.
    """
    relay = Relay(folder, chunks)
    for path in sorted((folder / EVENTS_FOLDER).glob(f"{shard:06d}.*")):
        for _ in relay._read_on(path, 0, path.stat().st_size):
            pass
    return {line for line, told in enumerate(relay._told) if told}


def settled_chunks(folder: Path, shards: Set[int], chunks: int) -> dict[int, int]:
    """Return how many chunks of some shards workers called settled; one look at the folder serves all shards.

    Parameters
    ----------
    folder
        The run folder.
    shards
        Which shards.
    chunks
        Of the plan.
    """
    relay = Relay(folder, chunks)
    found = dict.fromkeys(shards, 0)
    try:
        entries = sorted(os.scandir(folder / EVENTS_FOLDER), key=lambda entry: entry.name)
    except FileNotFoundError:
        return found
    for entry in entries:
        number = entry.name.partition(".")[0]
        if number.isdecimal() and int(number) in found:
            before = relay.settled
            for _ in relay._read_on(Path(entry.path), 0, entry.stat().st_size):
                pass
            found[int(number)] += relay.settled - before
    return found

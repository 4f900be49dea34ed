"""The journal of one run's submissions: what was meant, what SLURM answered, in the order in which it happened.

``slurm/journal.jsonl`` in the run folder. A line is written and synced before a submission is made, so that a process
killed between question and answer leaves word of what to look for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from badc_core.atomic import explain

__all__ = ["Journal", "Part", "compressed", "expanded"]

FOLDER = "slurm"
JOURNAL_FILE = "journal.jsonl"


def compressed(numbers: Iterable[int]) -> str:
    """Return numbers as SLURM writes them: ``0-3,7,9-10``.

    Examples
    --------
    >>> compressed([3, 0, 1, 2, 7, 10, 9])
    '0-3,7,9-10'
    """
    parts: list[str] = []
    first = last = -2
    for number in [*sorted(set(numbers)), -1]:
        if number == last + 1 and number >= 0:
            last = number
            continue
        if first >= 0:
            parts.append(str(first) if first == last else f"{first}-{last}")
        first = last = number
    return ",".join(parts)


def expanded(text: str) -> Iterator[int]:
    """Yield the numbers that :func:`compressed` wrote."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


@frozen
class Part:
    """One array: some shards, handed over together.

    Parameters
    ----------
    name
        Of the job; nobody else uses it.
    offset
        Shard of array index 0.
    shards
        Which.
    memory
        Asked for, where it differs from the options.
    job_id
        SLURM's answer; ``None``: not known.
    refused
        Why SLURM did not take it.
    unsure
        Nobody can be sure of that: SLURM did not know it when it was asked, but gave no answer itself.
    withdrawn
        Its shards were handed over again; should it turn up after all, its tasks end at once.
    settled
        How many chunks of its shards were settled before, where there were any.
    process
        What submits it, or did.
    """

    name: str
    offset: int
    shards: tuple[int, ...]
    memory: str | None = None
    job_id: str | None = None
    refused: str | None = None
    unsure: bool = False
    withdrawn: bool = False
    settled: Mapping[int, int] = field(factory=dict)
    process: Mapping[str, str] = field(factory=dict)

    @property
    def indices(self) -> str:
        """Array indices, as SLURM takes them."""
        return compressed(shard - self.offset for shard in self.shards)


@define
class Journal:
    """What happened so far.

    Parameters
    ----------
    path
        The file.
    settings
        How the run was first submitted; later arrays are made the same way.
    parts
        All arrays, by name, in order.
    cancelled
        Names of arrays that were told to end.
    stopped
        Whether the run was cancelled, and nothing was handed over since.
    left
        Why some shards were not handed over yet; empty: nothing kept them.
    """

    path: Path
    settings: dict[str, Any] = field(factory=dict)
    parts: dict[str, Part] = field(factory=dict)
    cancelled: set[str] = field(factory=set)
    stopped: bool = False
    left: str = ""

    @classmethod
    def read(cls, run_folder: Path) -> Journal:
        """Read the journal of a run; a torn last line is passed over."""
        journal = cls(run_folder / FOLDER / JOURNAL_FILE)
        try:
            lines = journal.path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return journal
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            journal._take(entry)
        return journal

    def _take(self, entry: Mapping[str, Any]) -> None:
        kind, name = entry.get("kind"), entry.get("name", "")
        if kind == "settings":
            self.settings = dict(entry)
        elif kind == "intent":
            self.stopped, self.left = False, ""
            settled = {int(shard): number for shard, number in entry.get("settled", {}).items()}
            shards = tuple(expanded(entry["shards"]))
            self.parts[name] = Part(name, entry["offset"], shards, entry.get("memory"), settled=settled)
        elif kind == "left":
            self.left = entry["why"]
        elif kind == "refused" and entry.get("full"):
            self.parts.pop(name, None)  # its name is free again
        elif name in self.parts:
            self.parts[name] = evolve(self.parts[name], **_changes(kind, entry))
        if kind == "cancelled":
            self.cancelled.update(entry["names"])
            self.stopped = True

    def note(self, kind: str, **facts: Any) -> None:
        """Add a line, on disk when this returns."""
        entry = {"kind": kind, **facts}
        line = json.dumps(entry, ensure_ascii=True).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                size = os.fstat(handle).st_size
                if size and os.pread(handle, 1, size - 1) != b"\n":
                    line = b"\n" + line  # the line before was torn by a killed process
                os.write(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise explain(error, self.path) from error
        self._take(entry)

    def intend(self, part: Part) -> None:
        """Note a part that is about to be submitted."""
        shards = compressed(part.shards)
        settled = {str(shard): number for shard, number in part.settled.items()}
        self.note("intent", name=part.name, offset=part.offset, shards=shards, memory=part.memory, settled=settled)

    def latest(self) -> dict[int, Part]:
        """Return the last part of every shard that SLURM has, or may have."""
        found: dict[int, Part] = {}
        for part in self.parts.values():
            if part.refused is None:
                found.update(dict.fromkeys(part.shards, part))
        return found

    def fruitless(self, settled: Mapping[int, int]) -> dict[int, int]:
        """Return how often in a row each shard was handed over, and nothing of it was settled then.

        Parameters
        ----------
        settled
            How many chunks of each shard are settled now.
        """
        found: dict[int, int] = {}
        before: dict[int, int] = {}
        for part in self.parts.values():
            if part.refused is None:
                for shard in part.shards:
                    now = part.settled.get(shard, 0)
                    found[shard] = 1 if now > before.get(shard, 0) else found.get(shard, 0) + 1
                    before[shard] = now
        return {shard: 0 if settled.get(shard, 0) > before[shard] else number for shard, number in found.items()}


def _changes(kind: object, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line says of its part."""
    if kind == "submitted":
        return {"job_id": entry["job_id"], "refused": None, "unsure": False}
    if kind == "refused":
        return {"refused": entry["error"], "unsure": entry.get("unsure", False)}
    if kind == "sending":
        return {"process": entry["process"]}
    return {"withdrawn": True} if kind == "withdrawn" else {}

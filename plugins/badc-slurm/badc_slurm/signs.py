"""What a run folder tells of its tasks, whoever asks: what they settled, when they were heard of, what they said."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path

from badc_core.atomic import temporary_name
from badc_core.plan import read_plan
from badc_core.relay import EVENTS_FOLDER, settled_chunks
from badc_core.run_folders import SHARDS_FOLDER, error_text
from badc_slurm.client import Row
from badc_slurm.journal import FOLDER, Part
from badc_slurm.script import log_path

__all__ = ["Signs"]

_TAIL_BYTES = 4096
_TAIL_LINES = 3
_MOST_COUNTED = 50
"""For so many shards it is said what their last task settled; nobody reads more."""
_AT_THE_LIMIT = {"75", "138"}
_TOO_SHORT = (
    "The time limit came before a single chunk was done: raise time= (or lower warn_s=), so that a task can load the "
    "model and do a batch. Smaller shards would not help."
)


class Signs:
    """Looks into a run folder, at each thing once at most.

    Parameters
    ----------
    folder
        The run folder.
    errors
        Names of the errors that workers left, per shard.
    """

    def __init__(self, folder: Path, errors: dict[int, list[str]]) -> None:
        self._folder = folder
        self._errors = errors
        self._now_s: float | None = None
        self._heard: dict[int, float] | None = None
        self._sent: dict[str, float] = {}
        self._settled: dict[int, int] = {}
        self._chunks: int | None = None

    # ------------------------------------------------------------------------------------------ progress

    def settled(self, shards: Collection[int]) -> dict[int, int]:
        """Return how many chunks of some shards are settled, for those that have any."""
        new = set(shards) - self._settled.keys()
        if new:
            if self._chunks is None:
                self._chunks = read_plan(self._folder).chunks
            self._settled |= settled_chunks(self._folder, new, self._chunks)
        return {shard: number for shard in shards if (number := self._settled[shard])}

    # ----------------------------------------------------------------------------------- last sign of life

    def quiet_s(self, shard: int, part: Part) -> float:
        """Return for how long nothing was heard of a task: since it was handed over, or its worker last wrote."""
        if self._heard is None:
            self._heard = self._last_written()
            self._now_s = self._clock_s()
        if part.name not in self._sent:
            self._sent[part.name] = _written(self._folder / FOLDER / f"{part.name}.sh")
        last_s = max(self._sent[part.name], self._heard.get(shard, 0.0), _written(log_path(self._folder, shard)))
        return (self._now_s or 0.0) - last_s

    def _last_written(self) -> dict[int, float]:
        """Return when the workers of each shard last wrote of events or errors."""
        found: dict[int, float] = {}
        for name in (EVENTS_FOLDER, SHARDS_FOLDER):
            try:
                entries = list(os.scandir(self._folder / name))
            except OSError:
                continue
            for entry in entries:
                number = entry.name.partition(".")[0]
                if number.isdecimal() and not entry.name.endswith(".done.json"):
                    found[int(number)] = max(found.get(int(number), 0.0), _written(Path(entry.path)))
        return found

    def _clock_s(self) -> float:
        """Return the time by the file system's clock, which is that of the files; by ours, where we may not write."""
        probe = self._folder / FOLDER / temporary_name()
        try:
            probe.touch()
            try:
                return probe.stat().st_mtime
            finally:
                probe.unlink()
        except OSError:
            return time.time()

    # ---------------------------------------------------------------------------------------- words

    def words(self, shard: int, part: Part, task: str, row: Row) -> str:
        """Return what the worker of a shard, in a task, and SLURM said of its end."""
        last, text = self._log_of(shard, task)
        said = error_text(self._folder, self._errors.get(shard, []), f"{task}.") or text
        limit = ""
        if (last in _AT_THE_LIMIT or row.state == "TIMEOUT") and len(self._settled) < _MOST_COUNTED:
            gained = self.settled([shard]).get(shard, 0) - part.settled.get(shard, 0)
            limit = f"Its time was over after {gained} chunks more." if gained > 0 else _TOO_SHORT
        slurms = _words_of_slurm(self._folder / FOLDER / f"{part.name}.out", row.raw_id)
        return "\n".join(filter(None, (limit, said, slurms)))

    def _log_of(self, shard: int, task: str) -> tuple[str, str]:
        """Return the status with which a task ended, as its log tells, and the last lines of it; empty: not known."""
        try:
            with log_path(self._folder, shard).open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return "", ""
        if f"task {task}." not in text and "== shard" in text:
            return "", ""
        ends = re.findall(rf"^== shard \d+, task {task}\.\d+ ended with status (\d+)$", text, re.MULTILINE)
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("== shard")]
        return ends[-1] if ends else "", "\n".join(lines[-_TAIL_LINES:])


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _words_of_slurm(path: Path, raw_id: str) -> str:
    """Return what SLURM itself said last of a task."""
    if not raw_id:
        return ""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16 * _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    about = re.compile(rf"(JOB |StepId=|job |Job ){raw_id}\b")
    found = [line for line in lines if about.search(line)]
    return "\n".join(dict.fromkeys(found[-_TAIL_LINES:]))

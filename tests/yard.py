"""A plugin for tests, in one file: a detached scheduler whose workers are processes of this machine, all at once.

Used through ``BADC_PLUGINS``, beside :mod:`faulty_lab`. It does what a cluster does, in a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from badc_core.config import option
from badc_core.hookspecs import hookimpl
from badc_core.plan import Shard, ShardSize
from badc_core.run_folders import error_text, settled_shards
from badc_core.scheduling import Run, ShardState, Submission
from badc_core.specs import SchedulerSpec

PLUGIN = Path(__file__).resolve()
RUN = ["infer", "run", "m.csv", "--runner", "lab", "--output-dir", "out", "--scheduler", "yard"]
RUN += ["--telemetry-log", "log.jsonl"]
"""Words of a command."""


@hookimpl
def badc_schedulers() -> Iterator[SchedulerSpec]:
    """Yield the yard."""
    yield SchedulerSpec("yard", "Behind the house", open="yard:Yard", options="yard:YardOptions", detached=True)


@frozen
class YardOptions:
    """What the user may choose."""

    chunks: int = option(2, help="chunks of a shard")
    retries: int = option(1, help="how often to try again")


class Yard:
    """Starts a process for every shard."""

    def __init__(self, options: YardOptions) -> None:
        self._options = options

    def shard_size(self, speed: float | None, cpu_workers: int) -> ShardSize:
        return ShardSize(chunks=self._options.chunks)

    def render(self, run: Run) -> Mapping[str, str]:
        return {"yard.txt": f"{run.plan.shards} shards in {run.folder}\n"}

    def submit(self, run: Run, shards: Iterable[Shard]) -> Submission:
        for shard in shards:
            if not _lives(run.folder, shard.index):
                _start(run.folder, shard.index)
        return Submission("yard", run.plan.shards, {"folder": str(run.folder)})

    def states(self, submission: Submission) -> Mapping[int, ShardState]:
        folder = Path(submission.details["folder"])
        done, errors = settled_shards(folder)
        found = {}
        for shard in range(submission.shards):
            lives = _lives(folder, shard)
            if shard in done:
                found[shard] = ShardState("done")
            elif not lives:
                found[shard] = ShardState("waiting")
            elif _alive(lives[-1]):
                found[shard] = ShardState("running", "in the yard")
            else:
                found[shard] = ShardState("failed", error_text(folder, errors.get(shard, [])) or "it vanished")
        return found

    def retry(self, submission: Submission, *, everything: bool = False) -> int:
        folder, number = Path(submission.details["folder"]), 0
        for shard, state in self.states(submission).items():
            if state.state == "failed" and (everything or len(_lives(folder, shard)) <= self._options.retries):
                _start(folder, shard)
                number += 1
        return number

    def cancel(self, submission: Submission) -> None:
        folder = Path(submission.details["folder"])
        for shard in range(submission.shards):
            for pid in _lives(folder, shard):
                if _alive(pid):
                    os.kill(pid, signal.SIGTERM)

    def log(self, submission: Submission, shard: int) -> Path | None:
        path = Path(submission.details["folder"]) / "yard" / f"{shard}.log"
        return path if path.exists() else None


def _lives(folder: Path, shard: int) -> list[int]:
    """Return the processes that were started for a shard, in order."""
    try:
        return [int(text) for text in (folder / "yard" / f"{shard}.pids").read_text().split()]
    except FileNotFoundError:
        return []


def _start(folder: Path, shard: int) -> None:
    (folder / "yard").mkdir(exist_ok=True)
    words = [sys.executable, "-m", "badc_core", "worker", str(folder), "--shard", str(shard), "--place", "yard"]
    with (folder / "yard" / f"{shard}.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    with (folder / "yard" / f"{shard}.pids").open("a") as file:
        file.write(f"{process.pid}\n")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

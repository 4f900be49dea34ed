"""The scheduler: submits arrays, asks about them, tries again, cancels. All it must remember lies in the run folder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import asdict, evolve, frozen

from badc_core.log import get_logger
from badc_core.plan import Shard, ShardSize
from badc_core.run_folders import settled_shards
from badc_core.scheduling import ArrayScript, Run, ShardState, Submission
from badc_slurm.by_hand import hand_script
from badc_slurm.client import Client, Row, SlurmError
from badc_slurm.journal import Journal, Part
from badc_slurm.judging import RETRIED, RUNNING, WAITING, Judge, Verdict
from badc_slurm.options import SlurmOptions, raised
from badc_slurm.processes import over
from badc_slurm.script import Place, array_script, badc_command, log_path
from badc_slurm.signs import Signs
from badc_slurm.submitting import FULL, Submitter, frozen_options, groups, part_name

__all__ = ["SlurmScheduler", "open_scheduler"]

_log = get_logger("slurm")
DEFAULT_SPEED = 20.0
OF_THE_LIMIT = 0.7
FRESH_S = 2.0
"""For so long what was just asked need not be asked again in order to try again."""
DEFAULT_ARRAY = 1001
FULL_S = 600.0
"""After so long a queue that was full is tried again although none of our tasks ended meanwhile."""
_HUNDREDTH = 100


@frozen
class _Look:
    """What a look at a run told.

    Parameters
    ----------
    at_s
        When, by this process's clock.
    folder
        The run folder.
    journal
        What was handed over.
    verdicts
        Where every shard stands.
    signs
        What the run folder tells.
    twins
        Arrays under way whose shards were handed over again.
    """

    at_s: float
    folder: Path
    journal: Journal
    verdicts: dict[int, Verdict]
    signs: Signs
    twins: tuple[str, ...] = ()


class SlurmScheduler:
    """Runs shards as tasks of job arrays.

    Parameters
    ----------
    options
        What the user chose.
    client
        How to reach SLURM.
    """

    def __init__(self, options: SlurmOptions, client: Client | None = None) -> None:
        self._options = options
        self._client = client or Client(options.patience_s)
        self._judge = Judge(options.lost_s)
        self._fresh: _Look | None = None
        self._stopping: Callable[[], bool] = lambda: False
        self._full: tuple[float, int] | None = None
        self._told = False

    # ------------------------------------------------------------------------------------------ planning

    def shard_size(self, speed: float | None, cpu_workers: int) -> ShardSize:
        """Return shards of so many minutes of work, but well within the time limit."""
        options = self._options
        minutes = options.shard_minutes
        if options.limit_minutes is not None:
            minutes = min(minutes, options.limit_minutes * OF_THE_LIMIT)
        slots = max(1, options.gpu_count + cpu_workers)
        per_worker = options.speed or speed or DEFAULT_SPEED
        return ShardSize(chunks=options.shard_chunks, audio_ms=int(minutes * 60_000 * per_worker * slots))

    def render(self, run: Run) -> Mapping[str, str]:
        """Return the scripts, as they would be on a cluster that takes as large arrays as the options say."""
        options, run_id = self._options, run.plan.run_id
        largest = options.max_array or DEFAULT_ARRAY
        place = self._place(run.folder)
        chained = 0 < options.throttle < run.plan.shards
        found = {}
        for number, (offset, some) in enumerate(groups(range(run.plan.shards), largest)):
            part = Part(part_name(run_id, number), offset, some)
            waits = chained and number > 0
            found[f"{part.name}.sh"] = array_script(options, place, part, run.plan.bases, waits=waits)
        return found

    def script(self, array: ArrayScript) -> str:
        """Return a script to submit by hand."""
        return hand_script(self._options, array, badc_command(self._options, sys.executable))

    def _place(self, folder: Path) -> Place:
        return Place(folder, Path.cwd(), badc_command(self._options, sys.executable))

    # ---------------------------------------------------------------------------------------- submitting

    def submit(self, run: Run, shards: Iterable[Shard]) -> Submission:
        """Submit all shards; those that were submitted already, by a process that was killed, are left alone."""
        self._stopping = self._client.stopping = run.stop.is_set
        journal = Journal.read(run.folder)
        if not journal.settings:
            self._first(journal, run.folder)
        submitter = self._submitter(run.folder, journal)
        submitter.look_up()
        known = journal.latest()
        taken = submitter.hand_over([shard.index for shard in shards if shard.index not in known])
        self._handed_over(journal, taken)
        return Submission("slurm", run.plan.shards, {"folder": str(run.folder)})

    def _submitter(self, folder: Path, journal: Journal) -> Submitter:
        return Submitter(self._client, folder, journal, self._options.patience_s, self._stopping)

    def _first(self, journal: Journal, folder: Path) -> None:
        place = self._place(folder)
        facts = {"workdir": str(place.workdir), "badc": list(place.badc), "user": os.getuid()}
        journal.note("settings", options=asdict(self._options), **facts)

    # --------------------------------------------------------------------------------------------- asking

    def states(self, submission: Submission) -> Mapping[int, ShardState]:
        """Say where every shard stands: one look into the run folder, one question to SLURM."""
        self._fresh = look = self._look(_folder(submission), submission.shards)
        return {index: verdict.state for index, verdict in look.verdicts.items()}

    def _look(self, folder: Path, shards: int) -> _Look:
        journal = Journal.read(folder)
        done, errors = settled_shards(folder)
        signs = Signs(folder, errors)
        queue, twins = None, set()
        open_parts = [part.name for part in journal.parts.values() if not done.issuperset(part.shards)]
        try:
            queue = self._client.queue(open_parts, journal.settings.get("user"))
            twins = _met(journal, queue)
        except SlurmError as error:
            _log.warning("SLURM gives no answer", error=error.message)
        now_s = time.monotonic()
        verdicts = self._judge.judge(shards, done, journal, queue, self._client.accounts, signs, now_s)
        return _Look(now_s, folder, journal, verdicts, signs, tuple(sorted(twins)))

    def log(self, submission: Submission, shard: int) -> Path | None:
        """Return a shard's log."""
        path = log_path(_folder(submission), shard)
        return path if path.exists() else None

    # -------------------------------------------------------------------------------------- trying again

    def retry(self, submission: Submission, *, everything: bool = False) -> int:
        """Submit failed shards again, those within their budget; `everything`: all that have ended undone."""
        folder = _folder(submission)
        look, self._fresh = self._fresh, None
        try:
            journal = Journal.read(folder)
            self._submitter(folder, journal).look_up()
            if look is None or look.folder != folder or time.monotonic() - look.at_s >= FRESH_S:
                look = self._look(folder, submission.shards)
            self._client.cancel(look.twins)
            return self._hand_over_again(evolve(look, journal=journal), everything=everything)
        except SlurmError as error:
            if everything:
                raise
            _log.warning("shards cannot be handed over now", error=error.message)
            return 0

    def _hand_over_again(self, look: _Look, *, everything: bool) -> int:
        journal, verdicts = look.journal, look.verdicts
        options = frozen_options(journal) if journal.settings else self._options
        ended = [shard for shard, verdict in verdicts.items() if _undone(verdict)]
        settled = look.signs.settled(ended)
        fruitless = journal.fruitless(settled)
        some_done = any(verdict.state.state == "done" for verdict in verdicts.values())
        going = sum(v.state.state in ("waiting", "running") and not v.unsent for v in verdicts.values())
        wanted: list[int] = []
        memory: dict[int, str | None] = {}
        latest = journal.latest()
        room = self._room(going, len(verdicts)) if not everything else sys.maxsize
        for shard, verdict in verdicts.items():
            attempts = fruitless.get(shard, 0)
            if verdict.unsent and not room:
                continue
            if not _again(verdict, attempts, options.retries, everything=everything, proven=some_done):
                continue
            wanted.append(shard)
            part = latest.get(shard)
            memory[shard] = None if part is None else part.memory
            current = memory[shard] or options.mem
            if current and verdict.end == "OUT_OF_MEMORY":
                memory[shard] = raised(current, options.raise_mem) if options.raise_mem > 1 else memory[shard]
        submitter = self._submitter(look.folder, journal)
        first = room or sys.maxsize
        taken = submitter.hand_over(
            wanted, memory=memory, settled=settled, going=going > 0, first=first, told=self._told
        )
        if room:
            self._handed_over(journal, going + taken)
        return taken

    def _handed_over(self, journal: Journal, going: int) -> None:
        """Remember what is under way where the queue is full, and that the user was told of what waits."""
        self._full = (time.monotonic(), going) if journal.left == FULL else None
        self._told = self._told or bool(journal.left)

    def _room(self, going: int, shards: int) -> int:
        """Return how many tasks to try first where the queue was full: as many as ended since; 0: try none."""
        if self._full is None:
            return sys.maxsize
        at_s, before = self._full
        ended = before - going
        if going and ended < max(1, shards // _HUNDREDTH) and time.monotonic() - at_s < FULL_S:
            return 0
        return max(1, ended)

    def cancel(self, submission: Submission) -> None:
        """End all tasks of the run, by the names of its jobs, and those that SLURM may not know of yet."""
        folder = _folder(submission)
        journal = Journal.read(folder)
        done = settled_shards(folder)[0]
        parts = [part for part in journal.parts.values() if not done.issuperset(part.shards)]
        for part in parts:
            if part.job_id is None and part.refused is None:
                over(part.process, 0.0)
        self._submitter(folder, journal).withdraw([shard for part in parts for shard in part.shards])
        names = [part.name for part in parts]
        journal.note("cancelled", names=names)
        self._client.cancel(names)


def _undone(verdict: Verdict) -> bool:
    return verdict.end is not None or verdict.missing


def _again(verdict: Verdict, fruitless: int, retries: int, *, everything: bool, proven: bool) -> bool:
    """Whether to hand a shard over again.

    Where something was done since it was handed over, it goes on: that comes to an end. A failure of the program
    before that is tried again only where other shards are done: where nothing works, trying everything again three
    times helps nobody. A cancelled one is tried again only on a person's word.
    """
    if verdict.unsent:
        return True
    if everything:
        return _undone(verdict)
    if verdict.end is None or verdict.end == "CANCELLED" or fruitless > retries:
        return False
    return verdict.end in RETRIED or proven or not fruitless


def _folder(submission: Submission) -> Path:
    return Path(str(submission.details["folder"]))


def _met(journal: Journal, queue: Mapping[str, Row]) -> set[str]:
    """Take over the ids of arrays whose submission was never answered; return those that came too late.

    Returns
    -------
    set[str]
        Names of arrays under way whose shards were handed over again.
    """
    late = set()
    doubtful = {part.name: part for part in journal.parts.values() if part.job_id is None}
    for task, row in queue.items() if doubtful else ():
        part = doubtful.get(row.name)
        if part is not None and part.withdrawn:
            if row.state in WAITING | RUNNING:
                late.add(row.name)
        elif part is not None:
            journal.parts[row.name] = evolve(part, job_id=task.partition("_")[0], refused=None)
    return late


def open_scheduler(options: SlurmOptions | None) -> SlurmScheduler:
    """Return a scheduler of SLURM job arrays."""
    return SlurmScheduler(options or SlurmOptions())

"""The scheduler: submits arrays, asks about them, tries again, cancels. All it must remember lies in the run folder."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from badc_core.atomic import write_text
from badc_core.config import fill
from badc_core.log import get_logger
from badc_core.plan import Shard, ShardSize, read_plan
from badc_core.run_folders import error_text, settled_shards
from badc_core.scheduling import ArrayScript, Run, ShardState, Submission
from badc_slurm.by_hand import hand_script
from badc_slurm.client import Client, Row, SlurmError
from badc_slurm.journal import FOLDER, Journal, Part
from badc_slurm.judging import RETRIED, Judge, Verdict
from badc_slurm.options import SlurmOptions, raised
from badc_slurm.script import Place, array_script, badc_command, log_path

__all__ = ["SlurmScheduler", "open_scheduler"]

_log = get_logger("slurm")
DEFAULT_SPEED = 20.0
OF_THE_LIMIT = 0.7
FRESH_S = 2.0
"""For so long what was just asked need not be asked again in order to try again."""
DEFAULT_ARRAY = 1001
_TAIL_BYTES = 4096
_TAIL_LINES = 3


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
        self._fresh: tuple[float, str, dict[int, Verdict]] | None = None

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
        largest = self._options.max_array or DEFAULT_ARRAY
        place = self._place(run.folder)
        parts = _parts(run.plan.run_id, 0, range(run.plan.shards), largest)
        throttle = _throttle(self._options, len(parts))
        return {f"{part.name}.sh": array_script(self._options, place, part, throttle, run.plan.bases) for part in parts}

    def script(self, array: ArrayScript) -> str:
        """Return a script to submit by hand."""
        return hand_script(self._options, array, badc_command(self._options, sys.executable))

    def _place(self, folder: Path) -> Place:
        return Place(folder, Path.cwd(), badc_command(self._options, sys.executable))

    # ---------------------------------------------------------------------------------------- submitting

    def submit(self, run: Run, shards: Iterable[Shard]) -> Submission:
        """Submit all shards; those that were submitted already, by a process that was killed, are left alone."""
        journal = Journal.read(run.folder)
        if not journal.settings:
            self._first(journal, run.folder)
        self._look_up(journal)
        known = journal.latest()
        self._hand_over(run.folder, journal, [shard.index for shard in shards if shard.index not in known])
        return Submission("slurm", run.plan.shards, {"folder": str(run.folder)})

    def _first(self, journal: Journal, folder: Path) -> None:
        place = self._place(folder)
        facts = {"workdir": str(place.workdir), "badc": list(place.badc), "user": os.getuid()}
        journal.note("settings", options=asdict(self._options), **facts)

    def _look_up(self, journal: Journal) -> None:
        """Settle what became of submissions whose answer nobody wrote down."""
        for part in list(journal.parts.values()):
            if part.job_id is None and part.refused is None:
                job_id = self._client.named(part.name)
                if job_id is None:
                    journal.note("refused", name=part.name, error="SLURM does not know it")
                else:
                    journal.note("submitted", name=part.name, job_id=job_id)

    def _hand_over(
        self, folder: Path, journal: Journal, shards: Sequence[int], memory: Mapping[int, str | None] | None = None
    ) -> int:
        """Submit shards, in as many arrays as it takes; return how many were taken.

        Raises
        ------
        SlurmError
            Not even the first array was taken.
        """
        if not shards:
            return 0
        options, place = self._frozen(journal, folder)
        largest = min(self._client.largest_array(), options.max_array or sys.maxsize)
        parts: list[Part] = []
        memory = memory or {}
        for amount in sorted({memory.get(shard) for shard in shards}, key=str):
            some = [shard for shard in shards if memory.get(shard) == amount]
            first = len(journal.parts) + len(parts)
            parts += [evolve(p, memory=amount) for p in _parts(folder.name, first, some, largest)]
        throttle = _throttle(options, len(parts))
        bases = read_plan(folder).bases
        taken = 0
        for part in parts:
            script = folder / FOLDER / f"{part.name}.sh"
            write_text(script, array_script(options, place, part, throttle, bases))
            try:
                self._submit(journal, part, script, place.workdir)
            except SlurmError as error:
                if not taken:
                    raise
                _log.warning("not all shards were taken; the rest waits", shards=len(part.shards), error=error.message)
                break
            taken += len(part.shards)
        return taken

    def _submit(self, journal: Journal, part: Part, script: Path, workdir: Path) -> None:
        """Submit one array: noted before, looked up by its name when nobody knows the answer."""
        journal.intend(part)
        try:
            job_id: str | None = self._client.submit(script, workdir, script.with_suffix(".out"))
        except SlurmError as error:
            if error.answered:
                journal.note("refused", name=part.name, error=error.message)
                raise
            job_id = self._client.named(part.name)  # where this raises, the intent stays, and is looked up later
            if job_id is None:
                journal.note("refused", name=part.name, error=error.message)
                raise
        journal.note("submitted", name=part.name, job_id=job_id)

    def _frozen(self, journal: Journal, folder: Path) -> tuple[SlurmOptions, Place]:
        """Return the options and the place with which the run was submitted first."""
        settings = journal.settings
        options = fill(SlurmOptions, settings["options"], "scheduler 'slurm'")
        assert options is not None
        return options, Place(folder, Path(settings["workdir"]), tuple(settings["badc"]))

    # --------------------------------------------------------------------------------------------- asking

    def states(self, submission: Submission) -> Mapping[int, ShardState]:
        """Say where every shard stands: one look into the run folder, one question to SLURM."""
        verdicts = self._verdicts(submission)[1]
        self._fresh = (time.monotonic(), str(submission.details["folder"]), verdicts)
        return {index: verdict.state for index, verdict in verdicts.items()}

    def _verdicts(self, submission: Submission) -> tuple[Journal, dict[int, Verdict]]:
        folder = _folder(submission)
        journal = Journal.read(folder)
        done, errors = settled_shards(folder)

        def error_of(shard: int, task: str, row: Row) -> str:
            said = error_text(folder, errors.get(shard, []), f"{task}.") or _tail(log_path(folder, shard), task)
            return "\n".join(filter(None, (said, _words_of_slurm(folder / FOLDER / f"{row.name}.out", row.raw_id))))

        queue = None
        open_parts = [part.name for part in journal.parts.values() if not done.issuperset(part.shards)]
        try:
            queue = self._client.queue(open_parts, journal.settings.get("user"))
            for name in [name for name in open_parts if journal.parts[name].job_id is None]:
                _name_found(journal, name, queue)
        except SlurmError as error:
            _log.warning("SLURM gives no answer", error=error.message)
        now_s = time.monotonic()
        verdicts = self._judge.judge(submission.shards, done, journal, queue, self._client.accounts, error_of, now_s)
        return journal, verdicts

    def log(self, submission: Submission, shard: int) -> Path | None:
        """Return a shard's log."""
        path = log_path(_folder(submission), shard)
        return path if path.exists() else None

    # -------------------------------------------------------------------------------------- trying again

    def retry(self, submission: Submission, *, everything: bool = False) -> int:
        """Submit failed shards again, those within their budget; `everything`: all that have ended undone."""
        folder = _folder(submission)
        journal = Journal.read(folder)
        try:
            self._look_up(journal)
        except SlurmError as error:
            if everything:
                raise
            _log.warning("SLURM gives no answer", error=error.message)
            return 0
        fresh, self._fresh = self._fresh, None
        if fresh is not None and fresh[1] == str(folder) and time.monotonic() - fresh[0] < FRESH_S:
            verdicts = fresh[2]
        else:
            journal, verdicts = self._verdicts(submission)
        options, _ = self._frozen(journal, folder) if journal.settings else (self._options, None)
        attempts = journal.attempts()
        some_done = any(verdict.state.state == "done" for verdict in verdicts.values())
        wanted, memory = [], {}
        latest = journal.latest()
        for shard, verdict in verdicts.items():
            if not _again(verdict, attempts.get(shard, 0), options.retries, everything=everything, proven=some_done):
                continue
            wanted.append(shard)
            part = latest.get(shard)
            memory[shard] = None if part is None else part.memory
            current = memory[shard] or options.mem
            if current and verdict.end == "OUT_OF_MEMORY":
                memory[shard] = raised(current, options.raise_mem) if options.raise_mem > 1 else memory[shard]
        if not wanted:
            return 0
        try:
            return self._hand_over(folder, journal, wanted, memory)
        except SlurmError as error:
            if everything:
                raise
            _log.warning("shards cannot be handed over again now", shards=len(wanted), error=error.message)
            return 0

    def cancel(self, submission: Submission) -> None:
        """End all tasks of the run, by the names of its jobs."""
        folder = _folder(submission)
        journal = Journal.read(folder)
        done = settled_shards(folder)[0]
        names = [
            part.name for part in journal.parts.values() if part.refused is None and not done.issuperset(part.shards)
        ]
        journal.note("cancelled", names=names)
        self._client.cancel(names)


def _again(verdict: Verdict, attempts: int, retries: int, *, everything: bool, proven: bool) -> bool:
    """Whether to hand a shard over again.

    A failure of the program is tried again only where other shards are done: where nothing works, trying everything
    again three times helps nobody. A cancelled one is tried again only on a person's word.
    """
    if verdict.state.state == "waiting" and attempts == 0:
        return True
    if everything:
        return verdict.end is not None or verdict.missing
    if verdict.end is None or verdict.end == "CANCELLED" or attempts > retries:
        return False
    return verdict.end in RETRIED or proven


def _folder(submission: Submission) -> Path:
    return Path(str(submission.details["folder"]))


def _parts(run_id: str, first: int, shards: Iterable[int], largest: int) -> list[Part]:
    """Put shards into arrays whose indices all lie below the cluster's limit."""
    groups: dict[int, list[int]] = {}
    for shard in shards:
        groups.setdefault(shard // largest, []).append(shard)
    return [
        Part(f"badc-{run_id}-{number}", group * largest, tuple(groups[group]))
        for number, group in enumerate(sorted(groups), first)
    ]


def _throttle(options: SlurmOptions, parts: int) -> int:
    """Divide the limit of tasks at a time over the arrays."""
    return -(-options.throttle // parts) if options.throttle and parts else 0


def _name_found(journal: Journal, name: str, queue: Mapping[str, Any]) -> None:
    """Take over the job id of a part whose submission was never answered."""
    for task, row in queue.items():
        if row.name == name:
            part = journal.parts[name]
            journal.parts[name] = evolve(part, job_id=task.partition("_")[0], refused=None)
            return


def _tail(path: Path, task: str) -> str:
    """Return the last lines of a shard's log, as far as they are of this task."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    if f"task {task}." not in text and "== shard" in text:
        return ""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("== shard")]
    return "\n".join(lines[-_TAIL_LINES:])


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


def open_scheduler(options: SlurmOptions | None) -> SlurmScheduler:
    """Return a scheduler of SLURM job arrays."""
    return SlurmScheduler(options or SlurmOptions())

"""Where every shard stands: a pure function of what the run folder, the journal and SLURM say.

Committed results come first: a shard that is done is done, whatever SLURM thinks. Then the queue, then accounting. A
task that nobody knows is *unknown*, and *lost* when nothing was heard of it for a while, whoever asks: tried again,
never called done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from attrs import define, field, frozen

from badc_core.scheduling import ShardState
from badc_slurm.client import Row
from badc_slurm.journal import Journal, Part
from badc_slurm.signs import Signs

__all__ = ["RETRIED", "Judge", "Verdict"]

WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
WAITING |= {"SUSPENDED", "STOPPED", "RESIZING"}
RUNNING = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT"}
RETRIED = {"TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "LOST", "LAUNCH_FAILED"}
"""Ends that say nothing against the shard. ``LOST`` is our word: SLURM knows the task no longer."""

_SLURMS_OWN = ("NODE_FAIL", "PREEMPTED")
SETTLE_S = 10.0
"""SLURM itself puts a task back after ``NODE_FAIL`` and ``PREEMPTED``; only after this long it is believed not to."""

LAG_S = 90.0
"""How long after a task's good end its results may stay out of sight, on a shared folder."""

_STUCK = {
    "DependencyNeverSatisfied": "never starts: what it depends on failed",
    "PartitionTimeLimit": "never starts: the time asked for is more than the partition allows",
    "PartitionNodeLimit": "never starts: more was asked for than the partition has",
    "JobHeldUser": "held: scontrol release JOB lets it go",
    "JobHeldAdmin": "held by an administrator",
    "BadConstraints": "never starts: no node is as asked for",
    "launch failed requeued held": "held after a failed launch: scontrol release JOB lets it go",
}


@frozen
class Verdict:
    """Where a shard stands.

    Parameters
    ----------
    state
        For the engine.
    end
        SLURM's word for how its last task ended, or ``LOST``; ``None``: it has not ended.
    missing
        SLURM answers, but knows nothing of its task.
    unsent
        It was not handed over.
    """

    state: ShardState
    end: str | None = None
    missing: bool = False
    unsent: bool = False


_DONE = Verdict(ShardState("done"))
_NEVER_SENT = Verdict(ShardState("cancelled", "never handed over"), "CANCELLED")


@define
class Judge:
    """Judges, and remembers since when it has seen what SLURM itself may still change.

    Parameters
    ----------
    lost_s
        After how long without a sign of life a task that nobody knows is lost.
    """

    lost_s: float = 90.0
    _since: dict[tuple[str, str], float] = field(factory=dict)

    def judge(
        self,
        shards: int,
        done: AbstractSet[int],
        journal: Journal,
        queue: Mapping[str, Row] | None,
        accounts: Callable[[list[str]], Mapping[str, Row]],
        signs: Signs,
        now_s: float,
    ) -> dict[int, Verdict]:
        """Say where every shard stands.

        Parameters
        ----------
        shards
            Their number.
        done
            Those whose results are all committed.
        journal
            What was handed over.
        queue
            SLURM's tasks; ``None``: it gave no answer.
        accounts
            Asks accounting about jobs, for tasks that the queue knows no longer.
        signs
            What the run folder tells of tasks.
        now_s
            Of a clock that never goes back.
        """
        latest = journal.latest()
        known = {} if queue is None else dict(queue)
        if queue is not None:
            missing = {
                part.job_id
                for shard, part in latest.items()
                if shard not in done and part.job_id and _task(part, shard) not in known
            }
            if missing:
                known = {**accounts(sorted(missing)), **known}
        found = {}
        for shard in range(shards):
            part = latest.get(shard)
            if shard in done:
                found[shard] = _DONE
            elif part is None:
                found[shard] = _NEVER_SENT if journal.stopped else _unsent(journal.left)
            elif queue is None:
                found[shard] = Verdict(ShardState("unknown", "SLURM gives no answer"))
            else:
                found[shard] = self._one(shard, part, known, part.name in journal.cancelled, signs, now_s)
        return found

    def _one(
        self,
        shard: int,
        part: Part,
        known: Mapping[str, Row],
        cancelled: bool,
        signs: Signs,
        now_s: float,
    ) -> Verdict:
        task = _task(part, shard)
        row = known.get(task)
        if row is None:
            if cancelled:
                return Verdict(ShardState("cancelled"), "CANCELLED")
            if part.job_id is None:
                return Verdict(ShardState("unknown", "nobody knows yet whether SLURM took it"))
            if signs.quiet_s(shard, part) < self.lost_s:
                return Verdict(ShardState("unknown", "SLURM does not know its task (any longer)"), missing=True)
            return self._failed(shard, part, task, "LOST", Row("LOST"), signs)
        if row.state in WAITING:
            self._forget(task)
            return Verdict(ShardState("waiting", _STUCK.get(row.reason, row.reason)))
        if row.state in RUNNING:
            self._forget(task)
            return Verdict(ShardState("running", f"on {row.node}" if row.node else ""))
        if row.state == "CANCELLED":
            return Verdict(ShardState("cancelled", "by scancel"), "CANCELLED")
        in_queue = bool(row.raw_id)
        if row.state in _SLURMS_OWN and in_queue and not self._for_long(task, row.state, now_s):
            return Verdict(ShardState("unknown", f"{row.state}; SLURM may put it back"))
        if row.state == "COMPLETED":
            if signs.quiet_s(shard, part) < LAG_S:
                return Verdict(ShardState("unknown", "it has ended; its results are not to be seen yet"))
            return self._failed(shard, part, task, "LOST", row, signs)
        return self._failed(shard, part, task, row.state, row, signs)

    def _failed(self, shard: int, part: Part, task: str, end: str, row: Row, signs: Signs) -> Verdict:
        said = signs.words(shard, part, task, row)
        if end == "FAILED" and "exceeded memory limit" in said:
            end = "OUT_OF_MEMORY"  # what SLURM without cgroups calls it
        words = "LOST: SLURM does not know its task any longer" if end == "LOST" else end
        detail = words + (f" on {row.node}" if row.node else "") + (f"\n{said}" if said else "")
        return Verdict(ShardState("failed", detail), end)

    def _for_long(self, task: str, state: str, now_s: float) -> bool:
        return now_s - self._since.setdefault((task, state), now_s) >= SETTLE_S

    def _forget(self, task: str) -> None:
        for state in _SLURMS_OWN:
            self._since.pop((task, state), None)


def _unsent(why: str) -> Verdict:
    return Verdict(ShardState("waiting", "not handed over yet" + (f": {why}" if why else "")), unsent=True)


def _task(part: Part, shard: int) -> str:
    return f"{part.job_id}_{shard - part.offset}"

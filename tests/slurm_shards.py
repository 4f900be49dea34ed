"""For tests of the SLURM scheduler without a cluster: one with options, shards to hand over, and states in one word."""

from __future__ import annotations

from typing import Any

from badc_core.config import fill
from badc_core.plan import Shard
from badc_core.scheduling import Submission
from badc_slurm.options import SlurmOptions
from badc_slurm.scheduler import SlurmScheduler

__all__ = ["scheduler", "shards", "states"]


def scheduler(**options: Any) -> SlurmScheduler:
    """Return a scheduler with options."""
    chosen = fill(SlurmOptions, options, "scheduler 'slurm'")
    assert chosen is not None
    return SlurmScheduler(chosen)


def shards(number: int = 6) -> list[Shard]:
    """Return shards of a chunk each."""
    return [Shard(index, index, 1, 0, 0, 0) for index in range(number)]


def states(one: SlurmScheduler, submission: Submission) -> str:
    """Return the first letters of all states."""
    found = one.states(submission)
    return "".join(found[index].state[0] for index in range(submission.shards))

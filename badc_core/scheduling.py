"""What the core and schedulers say to each other: protocols that schedulers fulfil, and their values.

A scheduler knows shards and workers, nothing of recordings or models; those are in :mod:`badc_core.protocols`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import field, frozen

from badc_core.model import Device, Event, Measurement

if TYPE_CHECKING:
    from badc_core.plan import Plan, Shard, ShardSize

__all__ = [
    "ArrayScript",
    "DetachedScheduler",
    "Run",
    "Scheduler",
    "ScriptWriter",
    "ShardState",
    "Submission",
    "WorkerReport",
]

_EMPTY: Mapping[str, Any] = {}


@frozen
class ShardState:
    """Where a shard stands, as its scheduler sees it.

    Parameters
    ----------
    state
        ``unknown`` is an answer: the scheduler cannot tell just now.
    detail
        A word for people: the node, the reason.
    error
        The exception that ended it, for ``failed``; the engine raises it.
    """

    state: Literal["waiting", "running", "done", "failed", "cancelled", "unknown"]
    detail: str = ""
    error: BaseException | None = field(default=None, eq=False)


@frozen
class Submission:
    """What `submit` leaves behind: plain data, saved in the run folder as ``submission.json``.

    Parameters
    ----------
    scheduler
        Name of the scheduler.
    shards
        How many shards were handed over.
    details
        Whatever the scheduler needs to find its work again; JSON values only.
    """

    scheduler: str
    shards: int
    details: Mapping[str, Any] = _EMPTY


@frozen
class WorkerReport:
    """Where a worker's time went.

    Parameters
    ----------
    worker
        Its label.
    opening_s, predicting_s, waiting_s
        Wall time spent in opening the runner, in `predict`, and waiting for samples.
    chunks
        How many chunks it settled.
    """

    worker: str
    opening_s: float = 0.0
    predicting_s: float = 0.0
    waiting_s: float = 0.0
    chunks: int = 0


@frozen
class Run:
    """One run as a scheduler sees it; it knows nothing of audio or models.

    Parameters
    ----------
    folder
        The run folder: ``plan.json``, ``chunks.jsonl``, ``shards.jsonl``.
    plan
        The frozen plan.
    devices
        The worker slots that may be used on this machine.
    emit
        Takes events from workers of this process; any thread.
    latest
        The last measurement of a device, by index.
    verify
        Called before every commit; raises :class:`~badc_core.errors.HeldError` when another run took the folder over.
    report
        Takes what a worker of this process says at its end.
    stop
        Set when the run was asked to end: take no further shard.
    """

    folder: Path
    plan: Plan
    devices: tuple[Device, ...]
    emit: Callable[[Event], None] = field(default=lambda event: None, eq=False)
    latest: Callable[[int], Measurement | None] = field(default=lambda index: None, eq=False)
    verify: Callable[[], None] = field(default=lambda: None, eq=False)
    report: Callable[[WorkerReport], None] = field(default=lambda report: None, eq=False)
    stop: threading.Event = field(factory=threading.Event, eq=False)


class Scheduler(Protocol):
    """Places shards on workers."""

    def render(self, run: Run, /) -> Mapping[str, str]:
        """Return the files it would write, name to text: for ``--dry-run`` and for review. A pure function."""

    def submit(self, run: Run, shards: Iterable[Shard], /) -> Submission:
        """Hand the shards over and return soon."""

    def states(self, submission: Submission, /) -> Mapping[int, ShardState]:
        """Say where every shard stands, by shard index: one question for all."""

    def cancel(self, submission: Submission, /) -> None:
        """End everything; shards in hand may be lost, committed results may not."""


class DetachedScheduler(Scheduler, Protocol):
    """A scheduler whose work goes on when this process ends (``SchedulerSpec.detached``).

    Every shard is done by a process: ``badc worker RUN_FOLDER --shard N``. What the scheduler must remember lies in the
    run folder, which ``Submission.details["folder"]`` names, so that any process on any machine that sees it can ask,
    cancel and try again, also when `submit` never came to its end. `submit` may be called again for the same folder:
    it finds what was handed over already, and hands over the rest.
    """

    def shard_size(self, speed: float | None, cpu_workers: int, /) -> ShardSize:
        """Say how large shards should be.

        `speed`: seconds of recording per second and worker, where it is known; `cpu_workers`: asked for, besides GPUs.
        """

    def retry(self, submission: Submission, /, *, everything: bool = False) -> int:
        """Hand over again what failed or got lost, within its budget; `everything`: whatever is not done has ended.

        Returns how many shards.
        """

    def log(self, submission: Submission, shard: int, /) -> Path | None:
        """Return the file with what a shard's worker wrote, where there is one."""


@frozen
class ArrayScript:
    """What each task of an array is to do, for a script that somebody submits by hand: lines of bash, in strict mode.

    ``$index`` is the task's number, from 0; ``"${badc[@]}"`` calls ``badc``.

    Parameters
    ----------
    name, tasks
        Of the job; how many.
    prepare, command, finish
        What comes first, and may ``exit``; the work; what comes after it, where ``$status`` is its exit status. Near
        the time limit `command` is told to end, by SIGTERM, and its status 75 says that the task is to go on later.
    again
        A task that was stopped may go on where it was. Else it would begin anew.
    workdir, folders
        Where relative paths count from after `prepare`; what else the command must see where it runs in a container.
    """

    name: str
    tasks: int
    prepare: tuple[str, ...]
    command: str
    finish: tuple[str, ...]
    again: bool
    workdir: Path
    folders: tuple[Path, ...] = ()


@runtime_checkable
class ScriptWriter(Protocol):
    """What a scheduler can besides, whose work may be submitted by hand: ``badc infer orchestrate --slurm-script``."""

    def script(self, array: ArrayScript, /) -> str:
        """Return a script; a pure function."""

"""Looking at the results of a run that went on by itself: they alone say what is done, whatever files tell besides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from badc_core import clocks
from badc_core.errors import MixedResultsError
from badc_core.model import Device, Event
from badc_core.plan import Plan, Shard, Task, read_shards, read_tasks
from badc_core.relay import Relay, tell_for
from badc_core.resuming import DoneIndex, State

__all__ = ["results_missing", "shards_by_results", "tell_unheard"]


class _Indexes:
    """Of each output folder of a plan, what is done there; read when first asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[Path, DoneIndex] = {}

    def of(self, base: Path) -> DoneIndex:
        if base not in self._known:
            self._known[base] = DoneIndex(base, self._plan.fingerprint, by_place=self._plan.by_place)
        return self._known[base]

    def state(self, task: Task) -> State:
        return self.of(task.base).state(task.chunk, task.recording)


def _tasks(folder: Path, plan: Plan) -> Iterator[tuple[Shard, list[Task]]]:
    for shard in read_shards(folder):
        yield shard, read_tasks(folder, plan, shard)


def shards_by_results(
    folder: Path, plan: Plan, stopping: Callable[[], None] = lambda: None
) -> Iterator[tuple[Shard, int, int]]:
    """Look at every result of a plan; yield each shard, how many of its chunks are done, and how many failed.

    Parameters
    ----------
    folder
        The run folder.
    plan
        The plan.
    stopping
        Called for every shard; may raise.

    Raises
    ------
    MixedResultsError
        A chunk has a result of another runner, model or options, and the plan is not to replace those.
    """
    indexes = _Indexes(plan)
    for shard, tasks in _tasks(folder, plan):
        stopping()
        done = failed = 0
        for task in tasks:
            state = indexes.state(task)
            if state in ("foreign", "elsewhere", "unmarked") and not plan.replace:
                raise _mixed(plan, task, state)
            done += state == "done"
            failed += state == "failed"
        yield shard, done, failed


def _mixed(plan: Plan, task: Task, state: State) -> MixedResultsError:
    made = {
        "elsewhere": "that was made for another place or time of its recording",
        "unmarked": "that does not say which model and options made it",
    }.get(state, f"that another runner, model or options made (not {plan.runner} with fingerprint {plan.fingerprint})")
    return MixedResultsError(
        f"{task.base} holds a result for chunk {task.chunk.chunk_id} {made}. It came there after the run {plan.run_id} "
        "was planned.",
        hint="To make such results anew, run the command of that run again, with --replace. "
        "To keep both, run it with another --output-dir.",
    )


def results_missing(folder: Path, plan: Plan, relay: Relay) -> int:
    """Return how many chunks have no result of this run, whatever was told of them; looks at names, opens little.

    Parameters
    ----------
    folder
        The run folder.
    plan
        The plan.
    relay
        Knows which chunks were told of.
    """
    indexes = _Indexes(plan)
    missing = 0
    for shard, tasks in _tasks(folder, plan):
        for line, task in enumerate(tasks, shard.first):
            if relay.told(line):
                missing += not indexes.of(task.base).there(task.chunk)
            else:
                missing += indexes.state(task) != "done"
    return missing


def tell_unheard(folder: Path, plan: Plan, relay: Relay) -> None:
    """Tell of chunks whose result is there although no worker told of it.

    Parameters
    ----------
    folder
        The run folder.
    plan
        The plan.
    relay
        Knows which chunks were told of; it reads of the others when it reads on.
    """
    tell_for(folder, _unheard(folder, plan, relay))


def _unheard(folder: Path, plan: Plan, relay: Relay) -> Iterator[tuple[int, Event]]:
    indexes = _Indexes(plan)
    untold = sorted(relay.untold())
    number = 0
    for shard in read_shards(folder):
        lines = []
        while number < len(untold) and untold[number] < shard.first + shard.count:
            lines.append(untold[number])
            number += 1
        tasks = read_tasks(folder, plan, shard) if lines else []
        for line in lines:
            task = tasks[line - shard.first]
            if indexes.state(task) == "done":
                yield line, _event(task)


def _event(task: Task) -> Event:
    now, chunk = clocks.now(), task.chunk
    device, audio_ms = Device(), chunk.duration_ms or 0
    about = {"attempt": 1}
    return Event(
        chunk.chunk_id, chunk.recording_id, "success", "unknown", now, device, now, None, audio_ms, True, about
    )

"""A run that goes on by itself: handing it over, taking it up again from any process, ending it.

The workers are processes on other machines (:mod:`badc_core.task`); :mod:`badc_core.follower` watches them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from badc_core.claims import claim, kept_alive
from badc_core.errors import BadcError, HeldError, Interrupted, RunnerError
from badc_core.follower import follow, gather
from badc_core.host import Host, default_host
from badc_core.log import get_logger
from badc_core.looking import shards_by_results, tell_unheard
from badc_core.passing_on import followed_alone
from badc_core.plan import Plan, read_plan, read_shards
from badc_core.relay import Relay
from badc_core.run_folders import (
    ENDED_FILE,
    FINAL,
    all_runs,
    ask,
    in_flight,
    may_meet,
    named,
    note_done,
    note_ended,
    note_undone,
    read_asked,
    read_ended,
    read_submission,
    scheduler_of,
    settled_shards,
    write_submission,
)
from badc_core.runs import Gathered, Progress, RunSummary
from badc_core.scheduling import DetachedScheduler, Run, ShardState, Submission
from badc_core.stopping import signals_caught

__all__ = ["hand_over", "resume", "stop_for_good", "wait_for_jobs"]

ASK_EVERY_S = 10.0
"""How often to ask after another run's jobs that are waited for."""

_log = get_logger("following")
CANCEL_S = 60.0


def hand_over(folder: Path, scheduler: DetachedScheduler, stop: threading.Event) -> Submission:
    """Submit a run, or what an earlier process did not come to; return where it is.

    Parameters
    ----------
    folder
        The run folder.
    scheduler
        Where it shall run.
    stop
        Set when somebody asked to stop: what is not handed over then waits.

    Raises
    ------
    BadcError
        It was refused, or nobody can say whether it was taken.
    """
    submission = read_submission(folder)
    if submission is None:
        submission = scheduler.submit(Run(folder, read_plan(folder), (), stop=stop), read_shards(folder))
        write_submission(folder, submission)
    return submission


def resume(
    folder: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    host: Host | None = None,
    *,
    wait_s: float = 0.0,
    detach: bool = False,
) -> RunSummary | None:
    """Take an earlier run up again: hand over again whatever is not done and not on its way, follow, gather.

    Parameters
    ----------
    folder
        The run folder.
    on_progress
        Told of the run's progress.
    host
        Plugins.
    wait_s
        How long to wait for another process that follows it, and for other runs in its output folders.
    detach
        Do not follow; return ``None``.

    Raises
    ------
    Interrupted
        It was asked to stop following.
    HeldError
        Another process follows it, or another run holds an output folder.
    MixedResultsError
        Its chunks have results of another runner, model or options by now.
    BadcError
        Whatever keeps it from going on.
    """
    host = host or default_host()
    stop = threading.Event()
    plan, asked = read_plan(folder), read_asked(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(signals_caught(lambda number: stop.set()))
        held: list[Any] = []
        stack.enter_context(kept_alive(held))
        gathered: list[Gathered] = []
        for base in plan.bases:
            held.append(claim(base, plan.run_id, wait_s=wait_s, stopping=stop.is_set, share=asked.share))
            stack.callback(held[-1].release)
            gathered += wait_for_jobs(base, host, wait_s, stop, besides=folder, share=asked.share)
        alone = stack.enter_context(followed_alone(folder, wait_s, stop.is_set))
        scheduler = scheduler_of(asked, host)
        _look_again(folder, plan, stop)
        (folder / ENDED_FILE).unlink(missing_ok=True)
        submission = hand_over(folder, scheduler, stop)
        scheduler.retry(submission, everything=True)
        if detach:
            return None
        summary = follow(folder, scheduler, submission, on_progress, host, stop, alone)
        return evolve(summary, gathered=tuple(gathered))


def _look_again(folder: Path, plan: Plan, stop: threading.Event) -> None:
    """Hold what is called done against the results: others may have worked here, or taken some away."""

    def check() -> None:
        if stop.is_set():
            raise Interrupted("Stopped while looking at the results; nothing was changed.")

    done, ended = settled_shards(folder)[0], bool(read_ended(folder))
    undone, found = [], []
    for shard, whole, failed in shards_by_results(folder, plan, check):
        if shard.index in done and whole + failed < shard.count:
            undone.append(shard.index)
        elif ended and shard.index not in done and whole == shard.count:
            found.append(shard.index)  # who went on instead of this run did it
    for index in undone:
        note_undone(folder, index)
    for index in found:
        note_done(folder, index, life=None, place=None, failures=0, reports=[])
    if found:
        relay = Relay(folder, plan.chunks)
        for _ in relay.read():
            pass
        tell_unheard(folder, plan, relay)
    if undone:
        _log.warning("results of shards that were done are missing; these shards are done again", shards=len(undone))


def wait_for_jobs(
    base: Path,
    host: Host,
    wait_s: float,
    stop: threading.Event,
    *,
    besides: Path | None = None,
    share: str | None = None,
) -> list[Gathered]:
    """Wait until no earlier run works in an output folder without its process; for who holds the folder's claim.

    Earlier runs that have ended while nobody followed them are gathered.

    Parameters
    ----------
    base
        The output folder.
    host
        Plugins.
    wait_s
        How long to wait.
    stop
        Set to give up waiting.
    besides
        Do not look at this run.
    share
        Look only at runs that can get in the way of one with this share of the folder; ``None``: of one with all of it.

    Raises
    ------
    HeldError
        A run goes on, or nobody can say that it does not.
    Interrupted
        `stop` was set.
    """
    until = time.monotonic() + wait_s
    gathered: list[Gathered] = []
    while True:
        try:
            for folder in dict.fromkeys(all_runs(base)):
                another = besides is None or folder.name != besides.name
                if in_flight(folder) and another and may_meet(folder, share):
                    gathered.append(_gather_ended(base, folder, host, stop))
        except HeldError:
            if time.monotonic() >= until:
                raise
        else:
            return gathered
        if stop.wait(min(ASK_EVERY_S, max(0.0, until - time.monotonic()))):
            raise Interrupted(f"Stopped while waiting for the jobs of another run in {base}.")


def _gather_ended(base: Path, folder: Path, host: Host, stop: threading.Event) -> Gathered:
    """Gather an earlier run, if it has ended."""
    run = named(folder)
    hint = (
        f"To see it to its end: badc jobs resume {run}. To stop it: badc jobs cancel {run}. "
        "Or choose another --output-dir."
    )
    try:
        scheduler, submission = ask(folder, host)
        states = scheduler.states(submission)
    except BadcError as error:
        raise HeldError(
            f"{base} may be in use by run {folder.name}, but nobody can say: {error.message}", hint=hint
        ) from error
    if going := _going(states):
        raise HeldError(
            f"{base} is in use by run {folder.name}, which goes on by itself ({submission.scheduler}, {going} of "
            f"{len(states)} shards to go).",
            hint=hint,
        )
    with followed_alone(folder) as held:
        return gather(folder, scheduler, submission, states, host, stop, held)


def stop_for_good(folder: Path, host: Host | None = None, *, forget: bool = False) -> Mapping[int, ShardState]:
    """Cancel a run, gather what it did, and return where its shards stand then.

    Of a run that has ended nothing is changed: no states are returned, unless jobs of it were still there to be
    stopped.

    Parameters
    ----------
    folder
        The run folder.
    host
        Plugins.
    forget
        Take the run for ended although its scheduler cannot be asked.

    Raises
    ------
    BadcError
        The scheduler cannot be asked, or does not end its work within a minute.
    """
    host = host or default_host()
    ended = read_ended(folder)
    if ended.get("how") == "complete":
        return {}
    states: Mapping[int, ShardState] = {}
    try:
        scheduler, submission = ask(folder, host)
        states = scheduler.states(submission)
        if ended and not _going(states):
            return {}
        states = _cancelled(scheduler, submission, states)
    except BadcError:
        if not ended and not forget:
            raise
        if not ended:
            note_ended(folder, "cancelled")
        return {}
    if not ended:
        try:
            with followed_alone(folder) as held:
                gather(folder, scheduler, submission, states, host, threading.Event(), held, "cancelled")
        except HeldError:  # who follows it gathers
            note_ended(folder, "cancelled")
    return states


def _cancelled(
    scheduler: DetachedScheduler, submission: Submission, states: Mapping[int, ShardState]
) -> Mapping[int, ShardState]:
    """Have a scheduler end its work, and return where the shards stand when it has."""
    if all(state.state == "done" for state in states.values()):
        return states
    scheduler.cancel(submission)
    until = time.monotonic() + CANCEL_S
    states = scheduler.states(submission)
    while (going := _going(states)) and time.monotonic() < until:
        time.sleep(0.5)
        states = scheduler.states(submission)
    if going:
        raise RunnerError(
            f"{going} of {len(states)} shards did not end within {CANCEL_S:g} s.",
            hint="Try again, or give --forget when their jobs are known to be gone.",
        )
    return states


def _going(states: Mapping[int, ShardState]) -> int:
    """Return how many shards have not ended."""
    return sum(state.state not in FINAL for state in states.values())

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

from badc_core.claims import claim, kept_alive
from badc_core.errors import BadcError, RunnerError
from badc_core.follower import follow
from badc_core.host import Host, default_host
from badc_core.plan import read_plan, read_shards
from badc_core.run_folders import (
    ENDED_FILE,
    FINAL,
    ask,
    note_ended,
    read_asked,
    read_submission,
    scheduler_of,
    write_submission,
)
from badc_core.runs import Progress, RunSummary
from badc_core.scheduling import DetachedScheduler, Run, ShardState, Submission
from badc_core.stopping import signals_caught

__all__ = ["hand_over", "resume", "stop_for_good"]

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
        How long to wait for another process that follows it.
    detach
        Do not follow; return ``None``.

    Raises
    ------
    Interrupted
        It was asked to stop following.
    HeldError
        Another process follows it, or another run holds an output folder.
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
        for base in plan.bases:
            held.append(claim(base, plan.run_id, wait_s=wait_s, stopping=stop.is_set))
            stack.callback(held[-1].release)
        scheduler = scheduler_of(asked, host)
        (folder / ENDED_FILE).unlink(missing_ok=True)
        submission = hand_over(folder, scheduler, stop)
        scheduler.retry(submission, everything=True)
        if detach:
            return None
        return follow(folder, scheduler, submission, on_progress, host, stop)


def stop_for_good(folder: Path, host: Host | None = None, *, forget: bool = False) -> Mapping[int, ShardState]:
    """Cancel a run, and return where its shards stand then.

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
    states: Mapping[int, ShardState] = {}
    try:
        scheduler, submission = ask(folder, host)
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
    except BadcError:
        if not forget:
            raise
    note_ended(folder, "cancelled")
    return states


def _going(states: Mapping[int, ShardState]) -> int:
    """Return how many shards have not ended."""
    return sum(state.state not in FINAL for state in states.values())

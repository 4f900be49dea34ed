"""Following a run that goes on by itself: to its end, or until asked to stop.

What the workers tell is read from the run folder and goes the way of a local run's events: to the log, to the run
summary, to the counts at the end. Results alone say what is done; the scheduler is asked, ever more rarely, what became
of the shards that are not.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, evolve, frozen

from badc_core.claims import Claim
from badc_core.errors import BadcError, ExitCode, Interrupted, RunnerError
from badc_core.host import Host
from badc_core.log import get_logger
from badc_core.looking import results_missing, tell_unheard
from badc_core.passing_on import PassingOn
from badc_core.plan import Plan, read_plan
from badc_core.run_folders import (
    FINAL,
    Asked,
    done_facts,
    in_words,
    named,
    note_ended,
    read_asked,
    settled_shards,
)
from badc_core.run_record import record, recorded
from badc_core.runs import Gathered, Progress, RunSummary
from badc_core.scheduling import DetachedScheduler, ShardState, Submission, WorkerReport
from badc_core.summary import summary_path
from badc_core.task_facts import write_task_facts

__all__ = ["follow", "gather"]

FIRST_LOOK_S = 0.5
LONGEST_LOOK_S = 5.0
FIRST_QUESTION_S = 2.0
LONGEST_QUESTION_S = 60.0
SAVE_EVERY_S = 30.0
SHARE = 10.0
"""A look that takes a second comes every ten at most."""
LAG_S = 60.0
"""How long to wait for events and results of shards that are done: a shared folder may show new files late."""

_log = get_logger("following")


def follow(
    folder: Path,
    scheduler: DetachedScheduler,
    submission: Submission,
    on_progress: Callable[[Progress], None],
    host: Host,
    stop: threading.Event,
    held: Claim,
) -> RunSummary:
    """Follow a run to its end, and say how it ended.

    Parameters
    ----------
    folder
        The run folder.
    scheduler, submission
        Where it runs.
    on_progress
        Told of its progress, by the calling thread.
    host
        Plugins.
    stop
        Set when following shall end; the run goes on.
    held
        Says that nobody else follows it; see :func:`~badc_core.passing_on.followed_alone`.

    Raises
    ------
    Interrupted
        `stop` was set and work is left.
    HeldError
        Another process follows it by now, because this one seemed dead.
    RunnerError
        Shards failed for good.

    Notes
    -----
    A run that came to its end leaves the facts of its tasks beside its log, and its record in the dataset, where one is
    wanted. That those cannot be written does not undo the run; the summary says why.
    """
    summary = _Follower(folder, scheduler, submission, on_progress, host, stop, held).go()
    try:
        write_task_facts(folder)
    except BadcError as error:
        return evolve(summary, unrecorded=error.message)
    return recorded(summary, stop.is_set)


def gather(
    folder: Path,
    scheduler: DetachedScheduler,
    submission: Submission,
    states: Mapping[int, ShardState],
    host: Host,
    stop: threading.Event,
    held: Claim,
    how: str = "left",
) -> Gathered:
    """Gather what a run did that has ended while nobody followed it, and note that it has.

    Parameters
    ----------
    folder
        The run folder.
    scheduler, submission
        Where it ran.
    states
        Where its shards stand; none of them goes on.
    host
        Plugins.
    stop
        Set to leave it to another time.
    held
        Says that nobody else follows it.
    how
        How it ended, unless it is complete.

    Raises
    ------
    BadcError
        Its log or summary cannot be written.
    """
    follower = _Follower(folder, scheduler, submission, lambda progress: None, host, stop, held)
    commit = unrecorded = None
    try:
        summary = follower.go(_Outcome(states))
        complete = True
    except _ShortfallError:
        note_ended(folder, how)
        complete = False
    try:
        write_task_facts(folder)
        commit = record(folder, summary.exit_code) if complete else None
    except BadcError as error:
        unrecorded = error.message
    return Gathered(folder, follower.chunks, follower.chunks - follower.missing, complete, commit, unrecorded)


class _ShortfallError(RunnerError):
    """A run ended with work left."""


@define
class _Pace:
    """When to look again: soon at first, then ever more rarely, and never so often that looking is all that is done."""

    first_s: float
    longest_s: float
    _pause_s: float = 0.0
    _due: float = 0.0

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._due

    def looked(self, took_s: float) -> None:
        """Note a look, and how long it took."""
        self._pause_s = min(self.longest_s, self._pause_s * 1.5) or self.first_s
        self._due = time.monotonic() + max(self._pause_s, SHARE * took_s)

    def hurry(self) -> None:
        """Look soon again."""
        self._pause_s = 0.0


@frozen
class _Outcome:
    """What became of the shards."""

    states: Mapping[int, ShardState]

    @property
    def ended(self) -> bool:
        return all(state.state in FINAL for state in self.states.values())

    @property
    def unsettled(self) -> bool:
        """Whether a shard failed, or waits, perhaps to be handed over: the scheduler may do something about it."""
        return any(state.state in ("failed", "waiting") for state in self.states.values())

    @property
    def undone(self) -> dict[int, ShardState]:
        return {index: state for index, state in self.states.items() if state.state != "done"}


class _Follower:
    """One run that is followed by this process."""

    def __init__(
        self,
        folder: Path,
        scheduler: DetachedScheduler,
        submission: Submission,
        on_progress: Callable[[Progress], None],
        host: Host,
        stop: threading.Event,
        held: Claim,
    ) -> None:
        self._folder = folder
        self._scheduler = scheduler
        self._submission = submission
        self._on_progress = on_progress
        self._host = host
        self._stop = stop
        self._held = held
        self._plan: Plan = read_plan(folder)
        self._asked: Asked = read_asked(folder)
        self._passing: PassingOn
        self.chunks = self.missing = self._plan.chunks
        self._began = time.monotonic() - _age_s(self._asked.asked_at)
        self._note = ""

    def go(self, outcome: _Outcome | None = None) -> RunSummary:
        """Follow, or only gather where it is known what became of the shards."""
        with PassingOn(self._folder, self._plan, self._asked, self._host, self._held) as self._passing:
            outcome = outcome or self._watch()
            self._complete(outcome)
            self._passing.save()
            self._tell()
        self._held.verify()
        return self._ended(outcome, self._passing.dropped)

    def _tell(self, *, stopping: bool = False) -> None:
        plan, counted = self._plan, self._asked.counted
        elapsed_s = time.monotonic() - self._began
        counts = self._passing.tally.snapshot()
        self._on_progress(Progress(counted.total, counted.done, counts, plan.audio_ms, elapsed_s, stopping, self._note))

    # ----------------------------------------------------------------------------------------- watching

    def _watch(self) -> _Outcome:
        """Look until every shard has come to an end that nobody will try to better."""
        look, question = _Pace(FIRST_LOOK_S, LONGEST_LOOK_S), _Pace(FIRST_QUESTION_S, LONGEST_QUESTION_S)
        saved = time.monotonic()
        while True:
            if look.due():
                self._held.verify()
                began = time.monotonic()
                done = settled_shards(self._folder)[0]
                if self._passing.take():
                    look.hurry()
                self._passing.relay.finished(done)
                look.looked(time.monotonic() - began)
                complete = len(done) >= self._plan.shards
                if complete or question.due():
                    outcome = self._ask(question)
                    if outcome.ended and (complete or self._fail_fast() or not self._again(question)):
                        return outcome
                    if not outcome.ended and outcome.unsettled:
                        self._again(question)
                if time.monotonic() - saved > SAVE_EVERY_S:
                    saved = time.monotonic()
                    self._passing.save()
            self._tell(stopping=self._stop.is_set())
            if self._stop.wait(0.2):
                self._left_running()

    def _ask(self, question: _Pace) -> _Outcome:
        began = time.monotonic()
        outcome = _Outcome(self._scheduler.states(self._submission))
        question.looked(time.monotonic() - began)
        self._note = "" if outcome.ended else in_words(outcome.states.values())
        return outcome

    def _again(self, question: _Pace) -> int:
        """Have failed shards tried again where that can help; return how many."""
        self._held.verify()
        if self._fail_fast():
            return 0
        number = self._scheduler.retry(self._submission)
        if number:
            question.hurry()
            _log.warning("shards are tried again", shards=number, run=self._plan.run_id)
        return number

    def _fail_fast(self) -> bool:
        """With --fail-fast, end everything at the first failure."""
        if not (self._plan.fail_fast and self._passing.tally.snapshot().failures):
            return False
        self._scheduler.cancel(self._submission)
        return True

    def _left_running(self) -> None:
        run = named(self._folder)
        done = len(settled_shards(self._folder)[0])
        raise Interrupted(
            f"The jobs go on without this command: {done} of {self._plan.shards} shards are done.",
            hint=f"To look: badc jobs status {run}\nTo follow to the end: badc jobs resume {run}\n"
            f"To stop the jobs: badc jobs cancel {run}\nThe run lies in {self._folder}",
        )

    # ---------------------------------------------------------------------------------------- gathering

    def _complete(self, outcome: _Outcome) -> None:
        """Wait for what done shards still have to tell, then see which chunks have results."""
        until = time.monotonic() + LAG_S
        relay = self._passing.relay
        relay.look_everywhere()
        while True:
            self._passing.take()
            if relay.settled >= self._plan.chunks or self._is_final(outcome, until):
                break
            self._pause(0.5)
        if relay.settled < self._plan.chunks:
            tell_unheard(self._folder, self._plan, relay)
            self._passing.take()
        while True:
            self.missing = results_missing(self._folder, self._plan, relay)
            if not self.missing or self._is_final(outcome, until):
                break
            self._pause(2.0)

    def _is_final(self, outcome: _Outcome, until: float) -> bool:
        return bool(outcome.undone) or not outcome.states or time.monotonic() > until

    def _pause(self, seconds: float) -> None:
        self._held.verify()
        if self._stop.wait(seconds):
            self._left_running()

    def _ended(self, outcome: _Outcome, dropped: Mapping[str, int]) -> RunSummary:
        plan, counts, left = self._plan, self._passing.tally.snapshot(), self.missing
        if left > 0 and not (plan.fail_fast and counts.failures):
            raise self._shortfall(left, outcome.undone)
        reports = self._reports(outcome.states)
        worked_s = sum(report.predicting_s + report.waiting_s for report in reports)
        speed = counts.audio_ms / 1000 / worked_s if worked_s and counts.audio_ms else None
        elapsed_s = time.monotonic() - self._began
        note_ended(
            self._folder, "complete", fingerprint=plan.fingerprint, speed=speed, chunks=counts.chunks,
            failures=counts.failures, audio_ms=counts.audio_ms, elapsed_s=round(elapsed_s, 3),
        )  # fmt: skip
        log = self._asked.telemetry_log
        told = summary_path(log)
        return RunSummary(
            plan,
            self._folder,
            counts,
            self._asked.counted,
            reports,
            log if log.exists() else None,
            told if told.exists() else None,
            elapsed_s,
            ExitCode.SOME_FAILED if counts.failures else ExitCode.OK,
            tuple(self._asked.problems),
            dict(dropped),
        )

    def _reports(self, states: Mapping[int, ShardState]) -> tuple[WorkerReport, ...]:
        """Return where the workers' time went, those of one label together."""
        found: dict[str, WorkerReport] = {}
        for index in states:
            for entry in done_facts(self._folder, index).get("reports", ()):
                name = str(entry.get("worker", ""))
                one = found.get(name) or WorkerReport(name)
                parts = ("opening_s", "predicting_s", "waiting_s", "chunks")
                more = {part: getattr(one, part) + entry.get(part, 0) for part in parts}
                found[name] = evolve(one, **more)
        return tuple(found[name] for name in sorted(found))

    def _shortfall(self, left: int, undone: Mapping[int, ShardState]) -> RunnerError:
        run = named(self._folder)
        why = "their results are missing, although their shards were done"
        if undone:
            reasons = Counter((state.detail or state.state).splitlines()[0] for state in undone.values())
            told = "; ".join(f"{number} x {reason}" for reason, number in reasons.most_common(3))
            why = f"{len(undone)} of {self._plan.shards} shards did not come to their end ({told})"
        return _ShortfallError(
            f"The run ended with {left} chunks left undone: {why}.",
            hint=f"To see why: badc jobs logs {run}\nWhen that is mended: badc jobs resume {run}",
        )


def _age_s(text: str) -> float:
    try:
        return max(0.0, (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(text)).total_seconds())
    except (ValueError, TypeError):
        return 0.0

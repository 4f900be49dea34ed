"""The contract of schedulers: :class:`SchedulerContract`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import frozen

from badc_core.model import Chunk, Device, Recording
from badc_core.plan import Plan, ShardSize, Task, read_shards, write_chunks, write_plan
from badc_core.protocols import RunnerIdentity
from badc_core.scheduling import Run, Scheduler, ShardState, Submission
from badc_core.specs import SchedulerSpec
from badc_core.testing import guard
from badc_core.testing.base import Contract

__all__ = ["SchedulerContract"]

_STATES = {"waiting", "running", "done", "failed", "cancelled", "unknown"}
_ENDED = {"done", "failed", "cancelled"}


@frozen
class Place:
    """A run that was planned for a test.

    Parameters
    ----------
    run
        The run.
    results
        Its output folder.
    log
        Where the kit's runner notes every chunk it is given.
    """

    run: Run
    results: Path
    log: Path

    def noted(self) -> Counter[str]:
        """Return how often each chunk was given to a runner."""
        return Counter(self.log.read_text().split() if self.log.exists() else [])

    def committed(self) -> list[str]:
        """Return the chunks that have a result; a file that is no JSON object is an error."""
        paths = (path for path in self.results.rglob("*.json") if ".badc" not in path.parts)
        return sorted(json.loads(path.read_text())["chunk_id"] for path in paths)


class SchedulerContract(Contract):
    """Standard tests of a scheduler, with a runner of the kit's that hears nothing.

    Attributes
    ----------
    wait_s
        How long to wait for anything before it counts as never.
    """

    spec_class: ClassVar[type[SchedulerSpec]] = SchedulerSpec
    wait_s: ClassVar[float] = 60.0
    _replaceable: ClassVar = {"wait_s", "open_scheduler"}

    # --------------------------------------------------------------------------------------- how tests look

    def open_scheduler(self) -> Scheduler:
        """Open the scheduler; by default as the engine does, by the spec's import string."""
        scheduler: Scheduler = self.load_or_skip(self.spec.open)(self.make_options())
        return scheduler

    def plan(self, folder: Path, chunks: int = 12, *, delay_ms: int = 0, broken: bool = False) -> Place:
        """Plan a run of `chunks` chunks, three in a shard, on two CPU slots."""
        results, log = folder / "results ß", folder / "log.txt"
        home = results / ".badc" / "20260131T081502Z-kit"
        home.mkdir(parents=True)
        source = folder / "REC1.raw"
        source.write_bytes(b"never read")
        recording = Recording("REC1", source)
        tasks = [
            (Task(Chunk(f"REC1_{i}", "REC1", source, start_ms=3000 * i, end_ms=3000 * i + 3000), recording, results), 0)
            for i in range(chunks)
        ]
        count, audio_ms, shards = write_chunks(home, tasks, ShardSize(chunks=3))
        plan = Plan(
            run_id=home.name,
            created_at="2026-01-31T08:15:02.123456+00:00",
            manifest=folder / "manifest.csv",
            manifest_sha256="0" * 64,
            runner="kit",
            options={"log": str(log), "delay_ms": delay_ms},
            identity=RunnerIdentity("kit", "1"),
            fingerprint="0123456789abcdef",
            open=f"badc_core.testing.deaf:{'open_broken' if broken else 'open_runner'}",
            isolation="thread",
            options_class="badc_core.testing.deaf:DeafOptions",
            bases=(results,),
            layout="files",
            max_retries=0,
            total=count,
            chunks=count,
            audio_ms=audio_ms,
            shards=shards,
        )
        write_plan(home, plan)
        return Place(Run(home, plan, (Device("cpu", 0), Device("cpu", 1))), results, log)

    def _submit(self, scheduler: Scheduler, place: Place) -> Submission:
        return scheduler.submit(place.run, read_shards(place.run.folder))

    def _states(self, scheduler: Scheduler, submission: Submission, place: Place) -> dict[int, str]:
        found = scheduler.states(submission)
        return {index: found[index].state for index in range(place.run.plan.shards) if index in found}

    def _until(self, ready: Callable[[], bool], wait_s: float | None = None) -> bool:
        end = time.monotonic() + (self.wait_s if wait_s is None else wait_s)
        while time.monotonic() < end:
            if ready():
                return True
            time.sleep(0.02)
        return ready()

    def _ended(self, scheduler: Scheduler, submission: Submission, place: Place) -> bool:
        states = self._states(scheduler, submission, place)
        return len(states) == place.run.plan.shards and set(states.values()) <= _ENDED

    def _finish(self, scheduler: Scheduler, submission: Submission, place: Place) -> dict[int, str]:
        if not self._until(lambda: self._ended(scheduler, submission, place)):
            scheduler.cancel(submission)
            self.broken(f"after {self.wait_s} s the shards are {self._states(scheduler, submission, place)}")
        return self._states(scheduler, submission, place)

    @pytest.fixture
    def works(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        """Skip unless a simple run is done, and told of."""
        kept = guard.notes(request.node)
        if "problem" not in kept:
            kept["problem"] = self._try(tmp_path / "works")
        problem = kept["problem"]
        if problem is not None:
            pytest.skip(f"a run of nine chunks is not done as it should be: see {problem}")

    def _try(self, folder: Path) -> str | None:
        place = self.plan(folder, 9)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        if set(self._states(scheduler, submission, place)) != {0, 1, 2}:
            return "test_states_tell_of_every_shard"
        if not self._until(lambda: len(place.committed()) == 9):
            scheduler.cancel(submission)
            return "test_every_chunk_is_done_once"
        return None

    def _needs_time(self, place: Place) -> None:
        if len(place.noted()) == place.run.plan.chunks:
            pytest.skip("all is done when submit returns: see test_submit_returns_soon")

    # --------------------------------------------------------------------------------------- standard tests

    def test_every_chunk_is_done_once(self, tmp_path: Path) -> None:
        """Over all shards, every chunk is given to a runner exactly once, and has a result at the end."""
        place = self.plan(tmp_path, 25)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        self._until(lambda: self._ended(scheduler, submission, place))
        wanted = {f"REC1_{number}" for number in range(25)}
        noted, committed = place.noted(), place.committed()
        if set(noted) != wanted or set(committed) != wanted:
            scheduler.cancel(submission)
            self.broken(f"when it ended, {len(set(noted) & wanted)} of 25 chunks were done, {len(committed)} committed")
        twice = [chunk for chunk, times in noted.items() if times > 1]
        if twice or len(committed) != 25:
            self.broken(f"{len(twice)} chunks were done more than once: {', '.join(sorted(twice)[:5])}")

    def test_states_tell_of_every_shard(self, tmp_path: Path) -> None:
        """At every moment there is a state for each shard, and in the end all are done."""
        place = self.plan(tmp_path, 12, delay_ms=20)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        shards = set(range(place.run.plan.shards))

        def look() -> bool:
            found = scheduler.states(submission)
            if set(found) != shards:
                self.broken(f"states tells of the shards {sorted(found)}, not {sorted(shards)}")
            wrong = [s for s in found.values() if not isinstance(s, ShardState) or s.state not in _STATES]
            if wrong:
                self.broken(f"a state is {wrong[0]!r}")
            return {state.state for state in found.values()} <= _ENDED

        if not self._until(look):
            scheduler.cancel(submission)
            self.broken(f"after {self.wait_s} s the shards are {self._states(scheduler, submission, place)}")
        states = set(self._states(scheduler, submission, place).values())
        if states != {"done"}:
            self.broken(f"all chunks are done, but the shards are {sorted(states)}")

    def test_done_means_committed(self, works: None, tmp_path: Path) -> None:
        """No shard is called done before all its results are committed."""
        place = self.plan(tmp_path, 12, delay_ms=30)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)

        def look() -> bool:
            states = self._states(scheduler, submission, place)
            done = sum(state == "done" for state in states.values())
            committed = len(place.committed())
            if committed < 3 * done:
                scheduler.cancel(submission)
                self.broken(f"{done} shards of 3 are called done, but {committed} results are committed")
            return set(states.values()) <= _ENDED

        self._until(look)

    def test_submission_is_json(self, works: None, tmp_path: Path) -> None:
        """`submit` returns plain data that survives JSON: its name, the number of shards, and what it needs."""
        place = self.plan(tmp_path, 3)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        problem = None
        if (submission.scheduler, submission.shards) != (self.spec.name, place.run.plan.shards):
            problem = f"submit returns {submission!r}"
        try:
            again: Any = json.loads(json.dumps(dict(submission.details), allow_nan=False))
        except (TypeError, ValueError) as error:
            problem, again = f"the submission is no JSON: {error}", submission.details
        if problem is None and not self._until(
            lambda: self._ended(scheduler, Submission(submission.scheduler, submission.shards, again), place)
        ):
            problem = "the submission is of no use after a way through JSON"
        self._until(lambda: len(place.committed()) == 3)
        if problem is not None:
            self.broken(problem)

    def test_submit_returns_soon(self, works: None, tmp_path: Path) -> None:
        """`submit` does not wait for the work: it returns before half of it is done."""
        place = self.plan(tmp_path, 24, delay_ms=100)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        noted = len(place.noted())
        scheduler.cancel(submission)
        if noted > 12:
            self.broken(f"when submit returns, {noted} of 24 chunks are done already")

    def test_render_is_pure(self, works: None, tmp_path: Path) -> None:
        """`render` returns the same texts each time, writes nothing and starts nothing."""
        place = self.plan(tmp_path, 3)
        before = _listing(tmp_path)
        scheduler = self.open_scheduler()
        rendered = [dict(scheduler.render(place.run)), dict(scheduler.render(place.run))]
        if not isinstance(scheduler.render(place.run), Mapping) or not all(
            isinstance(text, str) for pair in rendered[0].items() for text in pair
        ):
            self.broken(f"render returns {rendered[0]!r}, not names and texts")
        time.sleep(0.1)
        if rendered[0] != rendered[1] or rendered[0] != dict(self.open_scheduler().render(place.run)):
            self.broken("render returns other texts the second time")
        if _listing(tmp_path) != before:
            self.broken(f"render writes {sorted(set(_listing(tmp_path)) - set(before))}")

    def test_cancel_ends_the_work(self, works: None, tmp_path: Path) -> None:
        """After `cancel` no further chunk is begun, every shard has ended, and what was committed is whole."""
        place = self.plan(tmp_path, 60, delay_ms=100)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        self._needs_time(place)
        self._until(lambda: len(place.committed()) >= 2)
        scheduler.cancel(submission)
        if not self._until(lambda: self._ended(scheduler, submission, place), min(self.wait_s, 30.0)):
            self.broken(f"after cancel the shards are {Counter(self._states(scheduler, submission, place).values())}")
        time.sleep(0.3)  # the batch in hand
        noted = len(place.noted())
        time.sleep(0.4)
        if len(place.noted()) != noted or noted == 60:
            self.broken("after cancel it goes on with the work")
        if len(place.committed()) < 2:
            self.broken("cancel loses committed results")
        scheduler.cancel(submission)

    def test_stop_is_heeded(self, works: None, tmp_path: Path) -> None:
        """Once `run.stop` is set no further shard is begun, and every shard has a final state soon; not if detached."""
        if self.spec.detached:
            pytest.skip("a detached scheduler's work goes on without the process that holds run.stop")
        place = self.plan(tmp_path, 60, delay_ms=100)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        self._needs_time(place)
        self._until(lambda: len(place.committed()) >= 2)
        place.run.stop.set()
        ended = self._until(lambda: self._ended(scheduler, submission, place), min(self.wait_s, 30.0))
        noted = len(place.noted())
        scheduler.cancel(submission)
        if not ended or noted == 60:
            self.broken(f"after run.stop it goes on: {noted} of 60 chunks done")

    def test_a_failing_worker_is_told(self, works: None, tmp_path: Path) -> None:
        """When no worker can open the runner, no shard is called done, and a failed one says why."""
        place = self.plan(tmp_path, 6, broken=True)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        self._finish(scheduler, submission, place)
        found = list(scheduler.states(submission).values())
        failed = [state for state in found if state.state == "failed"]
        if not failed or any(state.state == "done" for state in found):
            self.broken(f"no runner could be opened, but the shards are {[state.state for state in found]}")
        if not any(state.error is not None or state.detail for state in failed):
            self.broken("a failed shard says nothing of why")

    def test_no_shards_are_no_work(self, works: None, tmp_path: Path) -> None:
        """A run without shards can be rendered, submitted, asked about and cancelled."""
        place = self.plan(tmp_path, 0)
        scheduler = self.open_scheduler()
        try:
            scheduler.render(place.run)
            submission = self._submit(scheduler, place)
            found = dict(scheduler.states(submission))
            scheduler.cancel(submission)
        except Exception as error:
            self.broken(f"a run without shards raises {type(error).__name__}: {error}")
        if found:
            self.broken(f"a run without shards has states {found}")

    def test_a_lost_submission_raises_nothing(self, works: None, tmp_path: Path) -> None:
        """A scheduler opened anew, as after a crash, answers about an earlier submission; 'unknown' is an answer."""
        place = self.plan(tmp_path, 3)
        scheduler = self.open_scheduler()
        submission = self._submit(scheduler, place)
        self._until(lambda: self._ended(scheduler, submission, place))
        other = self.open_scheduler()
        try:
            found = other.states(submission)
            other.cancel(submission)
        except Exception as error:
            self.broken(f"an earlier submission raises {type(error).__name__}: {error}")
        if set(found) != set(range(place.run.plan.shards)):
            self.broken(f"an earlier submission has states for {sorted(found)}")


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

"""The local scheduler: a thread per slot, one queue of shards, and honest states."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import badc_local.scheduler as local
from badc_core.errors import RunnerError, StoreError
from badc_core.model import Device
from badc_core.plan import Plan, Shard
from badc_core.protocols import RunnerIdentity
from badc_core.scheduling import Run, ShardState

SHARDS = 12


def _run(workers: int) -> Run:
    plan = Plan("r", "", Path("m"), "", "lab", {}, RunnerIdentity("lab"), "f", "", "thread", None, (), "files",
                shards=SHARDS)  # fmt: skip
    return Run(Path("/nowhere"), plan, tuple(Device("cpu", number) for number in range(workers)))


def _shards() -> Iterator[Shard]:
    return (Shard(number, number, 1, 0, 0, 0) for number in range(SHARDS))


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return ``submit(work, workers)``, which runs with `work(run, device, shards, settled)` as the worker."""

    def call(work: Callable[..., None], workers: int = 2) -> tuple[Any, Any, Run]:
        monkeypatch.setattr(local, "work", work)
        scheduler, run = local.open_scheduler(None), _run(workers)
        return scheduler, scheduler.submit(run, _shards()), run

    return call


def _ended(scheduler: Any, submission: Any, seconds: float = 10) -> dict[int, ShardState]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        states = scheduler.states(submission)
        if all(state.state in ("done", "failed", "cancelled") for state in states.values()):
            return dict(states)
        time.sleep(0.005)
    raise AssertionError(f"it does not end: {scheduler.states(submission)}")


def _all(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
    for shard in shards:
        time.sleep(0.002)
        settled(shard.index)


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_every_shard_is_done_once(workers: int, submit: Callable[..., Any]):
    taken: list[tuple[str, int]] = []

    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        for shard in shards:
            taken.append((device.label, shard.index))
            time.sleep(0.002)
            settled(shard.index)

    scheduler, submission, _ = submit(work, workers)
    assert submission.shards == SHARDS
    assert {state.state for state in _ended(scheduler, submission).values()} == {"done"}
    assert sorted(index for _, index in taken) == list(range(SHARDS))
    assert len({label for label, _ in taken}) == min(workers, len({label for label, _ in taken}))


def test_states_say_where_a_shard_is(submit: Callable[..., Any]):
    go = threading.Event()

    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        for shard in shards:
            go.wait(10)
            settled(shard.index)

    scheduler, submission, _ = submit(work, 1)
    until = time.monotonic() + 5
    while scheduler.states(submission)[0].state != "running" and time.monotonic() < until:
        time.sleep(0.005)
    states = scheduler.states(submission)
    assert (states[0].state, states[0].detail, states[1].state) == ("running", "cpu-0", "waiting")
    go.set()
    _ended(scheduler, submission)


def test_a_slot_that_fails_leaves_the_rest_to_the_others(submit: Callable[..., Any]):
    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        if device.index == 0:
            next(shards)
            raise RunnerError("no memory")
        _all(run, device, shards, settled)

    scheduler, submission, run = submit(work)
    states = _ended(scheduler, submission)
    failed = [state for state in states.values() if state.state == "failed"]
    assert [str(state.error) for state in failed] == ["no memory"]
    assert [state.state for state in states.values()].count("done") == SHARDS - 1
    assert not run.stop.is_set()


_GO_ON = "a worker ended, the others go on"


def test_a_worker_that_ended_is_told_while_another_goes_on(submit: Callable[..., Any], capsys: Any):
    go = threading.Event()

    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        if device.index == 0:
            next(shards)
            raise RunnerError("no memory\nat all")
        go.wait(10)
        _all(run, device, shards, settled)

    scheduler, submission, _ = submit(work)
    said, until = "", time.monotonic() + 5
    while _GO_ON not in said and time.monotonic() < until:
        time.sleep(0.005)
        said += capsys.readouterr().err
    go.set()
    _ended(scheduler, submission)
    said += capsys.readouterr().err
    assert said.count(_GO_ON) == 1
    assert "cpu-0" in said
    assert "no memory" in said
    assert "at all" not in said, "one line"


@pytest.mark.parametrize("workers", [1, 2])
def test_of_the_last_worker_that_ended_nobody_goes_on(workers: int, submit: Callable[..., Any], capsys: Any):
    """The run says itself why it ended."""
    ended = threading.Event()

    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        if device.index:
            ended.set()
            return
        ended.wait(10 if workers > 1 else 0)
        time.sleep(0.05)  # the other one's thread settles
        next(shards)
        raise RunnerError("no memory")

    scheduler, submission, _ = submit(work, workers)
    assert "failed" in {state.state for state in _ended(scheduler, submission).values()}
    assert _GO_ON not in capsys.readouterr().err


def test_when_all_slots_fail_all_shards_have(submit: Callable[..., Any]):
    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        raise RunnerError(f"no {device.label}")

    scheduler, submission, _ = submit(work)
    states = _ended(scheduler, submission)
    assert {state.state for state in states.values()} == {"failed"}
    assert all("no cpu-" in str(state.error) for state in states.values())


def test_a_fault_of_the_store_ends_all(submit: Callable[..., Any]):
    """The disk is full for everybody."""

    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        for shard in shards:
            if device.index == 0:
                raise StoreError("full")
            time.sleep(0.01)
            settled(shard.index)

    scheduler, submission, run = submit(work)
    states = _ended(scheduler, submission)
    assert run.stop.is_set()
    assert "failed" in {state.state for state in states.values()}


def test_asked_to_stop_the_rest_is_cancelled(submit: Callable[..., Any]):
    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        for shard in shards:
            settled(shard.index)
            run.stop.set()

    scheduler, submission, _ = submit(work, 1)
    states = [state.state for state in _ended(scheduler, submission).values()]
    assert states == ["done"] + ["cancelled"] * (SHARDS - 1)


def test_cancel_does_not_wait_for_a_hanging_worker(submit: Callable[..., Any]):
    go = threading.Event()

    def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> None:
        next(shards)
        go.wait(60)

    scheduler, submission, run = submit(work, 1)
    time.sleep(0.05)
    began = time.monotonic()
    scheduler.cancel(submission)
    assert time.monotonic() - began < 10
    assert run.stop.is_set()
    assert {state.state for state in scheduler.states(submission).values()} == {"cancelled"}
    go.set()


def test_it_writes_no_files_and_its_submission_is_plain_data(submit: Callable[..., Any]):
    import json

    from badc_core.scheduling import Submission
    from badc_core.serde import structure, unstructure

    scheduler, submission, run = submit(_all)
    assert scheduler.render(run) == {}
    again = structure(json.loads(json.dumps(unstructure(submission))), Submission)
    assert again == submission
    _ended(scheduler, again)
    other = local.open_scheduler(None)
    assert {state.state for state in other.states(submission).values()} == {"unknown"}
    other.cancel(submission)

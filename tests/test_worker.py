"""The hot loop: retries, back-off, batches, what is reported when, and that it stops when asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs

from badc_core import plan, settling, worker
from badc_core.errors import HeldError, RunnerError, StoreError
from badc_core.model import Device, Event, Measurement
from badc_core.plan import Plan, Shard, ShardSize, Task
from badc_core.protocols import RunnerIdentity
from badc_core.recordings import RecordingRules, recording_of_chunk
from badc_core.scheduling import Run, WorkerReport


class Desk:
    """A planned run, and what a worker does with it."""

    def __init__(self, folder: Path, chunks: int = 6, recordings: int = 1, size: int = 4, **more: Any) -> None:
        self.folder = folder
        self.output = folder / "out"
        self.output.mkdir()
        self.log = folder / "log.txt"
        rules = RecordingRules()
        tasks = [
            (Task(chunk, recording_of_chunk(chunk, rules), self.output), 0)
            for chunk in runs.chunks_of(recordings, chunks)
        ]
        count, audio_ms, shards = plan.write_chunks(folder, iter(tasks), ShardSize(chunks=size))
        options = {"log": str(self.log), **more.pop("options", {})}
        values: dict[str, Any] = {
            "run_id": "20250101T000000Z-00", "created_at": "", "manifest": folder / "m.csv", "manifest_sha256": "",
            "runner": "lab", "options": options, "identity": RunnerIdentity("lab", "1.0"), "fingerprint": "f",
            "open": "faulty_lab:open_lab", "isolation": "thread", "options_class": "faulty_lab:LabOptions",
            "bases": (self.output,), "layout": "files", "chunks": count, "audio_ms": audio_ms, "shards": shards,
        }  # fmt: skip
        self.plan = Plan(**{**values, **more})
        self.events: list[Event] = []
        self.settled: list[int] = []
        self.reports: list[WorkerReport] = []
        self.stop = threading.Event()

    def work(self, device: Device | None = None, **more: Any) -> WorkerReport:
        """Let one worker do all shards."""
        device = device or Device()
        run = Run(
            self.folder, self.plan, (device,),
            **{"emit": self.events.append, "report": self.reports.append, "stop": self.stop, **more},
        )  # fmt: skip
        return worker.work(run, device, self._shards(), self.settled.append)

    def _shards(self) -> Iterator[Shard]:
        for shard in plan.read_shards(self.folder):
            if self.stop.is_set():
                return
            yield shard

    def found(self) -> dict[str, dict[str, Any]]:
        return {entry["chunk_id"]: entry for entry in runs.documents(self.output)}

    def story(self, chunk: str) -> list[str]:
        """What was told of one chunk."""
        return [
            f"{event.status}{event.details['attempt']}{'!' if event.final else ''}"
            for event in self.events
            if event.chunk_id == chunk
        ]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Desk]:
    """Return ``desk(**changes of the plan)``; waits between attempts are a hundredth of what they are."""
    real = worker.backoff_s
    monkeypatch.setattr(worker, "backoff_s", lambda attempt: real(attempt) / 100)
    monkeypatch.setattr(settling, "COMMIT_AFTER_S", 0.02)
    return lambda **more: Desk(tmp_path, **more)


@pytest.mark.parametrize("layout", ["files", "segments"])
def test_all_chunks_are_done_in_order(layout: str, desk: Callable[..., Desk]):
    made = desk(layout=layout, chunks=10)
    report = made.work()
    assert faulty_lab.read_log(made.log) == [chunk.chunk_id for chunk in runs.chunks_of(1, 10)]
    assert len(made.found()) == report.chunks == 10
    assert made.settled == [0, 1, 2]
    assert made.reports == [report]
    for name, entry in made.found().items():
        heard = sorted(faulty_lab.heard(name), key=lambda found: found.start_ms or 0)
        assert [one["label"] for one in entry["detections"]] == [one.label for one in heard]
        assert entry["status"] == ("ok" if heard else "no_detections")
        assert made.story(name) == ["start1", "success1!"]


def test_success_is_told_after_the_commit(desk: Callable[..., Desk]):
    made = desk()

    def told(event: Event) -> None:
        if event.final:
            assert Path(str(event.details["output"])).is_file()
            made.events.append(event)

    made.work(emit=told)
    assert len(made.events) == 6


def test_the_back_off():
    """2, 4, 5, 5 seconds: min(2^k, 5)."""
    assert [worker.backoff_s(attempt) for attempt in (1, 2, 3, 4, 100)] == [2, 4, 5, 5, 5]


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_retries_are_counted_and_then_it_fails(max_retries: int, desk: Callable[..., Desk]):
    guilty = "REC0_3000_6000"
    made = desk(options={"wrong": "raise", "at": guilty, "batch": 1}, max_retries=max_retries)
    made.work()
    assert faulty_lab.read_log(made.log).count(guilty) == max_retries + 1
    attempts = range(1, max_retries + 2)
    wanted = [text for n in attempts for text in (f"start{n}", f"failure{n}{'!' if n == attempts[-1] else ''}")]
    assert made.story(guilty) == wanted
    found = made.found()
    assert len(found) == 6
    assert found[guilty]["status"] == "failed"
    assert found[guilty]["meta"]["attempt"] == max_retries + 1
    assert "out of phase" in found[guilty]["error"]
    failures = [event for event in made.events if event.status == "failure"]
    assert [event.details["backoff_s"] for event in failures] == [min(2**n, 5) / 100 for n in attempts]
    assert all("out of phase" in event.details["stderr"] for event in failures)


def test_others_are_done_while_one_waits(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker, "backoff_s", lambda attempt: 0.3)
    guilty = "REC0_0_3000"
    made = desk(options={"wrong": "raise", "at": guilty, "batch": 1, "times": 1, "sleep_ms": 1})
    made.work()
    assert faulty_lab.read_log(made.log)[-1] == guilty
    assert made.found()[guilty]["meta"]["attempt"] == 2
    assert sorted(made.settled) == [0, 1]


def test_a_failed_batch_is_halved(desk: Callable[..., Desk]):
    guilty = "REC0_9000_12000"
    made = desk(chunks=8, size=8, options={"wrong": "raise", "at": guilty, "batch": 8}, max_retries=0)
    made.work()
    found = made.found()
    assert [name for name, entry in found.items() if entry["status"] == "failed"] == [guilty]
    names = [chunk.chunk_id for chunk in runs.chunks_of(1, 8)]
    assert faulty_lab.read_log(made.log) == [
        *names,
        *names[:4],
        *names[:2],
        *names[2:4],
        *names[2:3],
        guilty,
        *names[4:],
    ]


def test_asked_to_stop_it_takes_no_more(desk: Callable[..., Desk]):
    made = desk(chunks=40, options={"sleep_ms": 20, "batch": 1})
    threading.Timer(0.25, made.stop.set).start()
    began = time.monotonic()
    made.work()
    assert time.monotonic() - began < 5
    assert 0 < len(made.found()) < 40
    assert set(made.found()) == set(faulty_lab.read_log(made.log))
    assert not any(made.settled.count(number) > 1 for number in made.settled)


def test_what_fails_while_stopping_is_left_to_do(desk: Callable[..., Desk]):
    """Its process may have been ended by the very request."""
    made = desk(options={"wrong": "raise", "batch": 4}, max_retries=0)

    class Stopping:
        def __init__(self, runner: Any) -> None:
            self.info = runner.info
            self.close = runner.close

        def predict(self, batch: Sequence[Any]) -> Any:
            made.stop.set()
            raise RunnerError("ended", retry=False)

    real = worker.open_runner
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "open_runner", lambda *args: Stopping(real(*args)))
        made.work()
    assert made.found() == {}


def test_the_folder_was_taken_over(desk: Callable[..., Desk]):
    """Fencing: nothing is committed once the claim is lost."""
    made = desk()

    def verify() -> None:
        raise HeldError("taken over")

    with pytest.raises(HeldError):
        made.work(verify=verify)
    assert made.found() == {}
    assert not [event for event in made.events if event.final]


def test_a_store_that_refuses_ends_the_worker(desk: Callable[..., Desk]):
    made = desk(chunks=2000, options={"batch": 1})
    (made.output / "REC0").write_text("in the way")
    with pytest.raises(StoreError, match="REC0"):
        made.work()
    assert len(faulty_lab.read_log(made.log)) < 2000, "it went on predicting for nothing"


def test_the_runner_is_closed_and_its_scratch_removed(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch):
    closed: list[Path] = []
    real = faulty_lab.Lab.close
    monkeypatch.setattr(faulty_lab.Lab, "close", lambda self: (closed.append(self._context.scratch), real(self)))
    desk(options={"wrong": "raise", "batch": 1}, max_retries=0).work()
    assert len(closed) == 1
    assert not closed[0].exists()


def test_a_close_that_fails_costs_nothing(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch):
    def close(self: Any) -> None:
        raise RuntimeError("jammed")

    monkeypatch.setattr(faulty_lab.Lab, "close", close)
    made = desk()
    made.work()
    assert len(made.found()) == 6


def test_another_model_than_planned(desk: Callable[..., Desk]):
    made = desk(identity=RunnerIdentity("lab", "0.9"))
    with pytest.raises(RunnerError, match=r"'lab' loaded .*1\.0.*0\.9"):
        made.work()
    assert faulty_lab.read_log(made.log) == []


def test_measurements_of_a_gpu_go_with_the_events(desk: Callable[..., Desk]):
    made = desk()
    made.work(Device("gpu", 1, "A card"), latest=lambda index: Measurement(index, 50, 1000, 2000))
    seen = {"index": 1, "utilization": 50, "memory_used_mb": 1000, "memory_total_mb": 2000}
    done = [event for event in made.events if event.status == "success"]
    assert {event.worker for event in done} == {"gpu-1"}
    assert all(event.details["gpu_metrics"] == {"before": seen, "after": seen} for event in done)


def test_waiting_is_measured(desk: Callable[..., Desk]):
    report = desk(options={"sleep_ms": 10}).work()
    assert report.predicting_s >= 0.06
    assert report.waiting_s == 0.0
    assert report.opening_s > 0


def test_a_run_that_is_stopped_while_the_runner_opens(desk: Callable[..., Desk]):
    """That is no failure: everything is left to do."""
    made = desk(open="faulty_lab:open_until_stopped")
    threading.Timer(0.1, made.stop.set).start()
    assert made.work().chunks == 0
    assert made.events == []
    assert made.found() == {}

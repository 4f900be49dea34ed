"""The hub: nothing is lost for listeners, nothing a sink or sampler does stops a run."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from badc_core.model import Device, Event, Measurement
from badc_core.tally import Tally, WorkerCounts
from badc_core.telemetry import Hub


def event(number: int = 0, status: str = "success", **more: object) -> Event:
    details = {"attempt": more.pop("attempt", 1)}
    values = {"worker": "cpu-0", "final": status == "success", "audio_ms": 3000, "details": details, **more}
    return Event(f"R_{number}", "R", status, timestamp="2026-01-31T08:15:02.123456+00:00", device=Device(), **values)


class Collector:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.threads: set[int] = set()
        self.flushes = self.closes = 0

    def emit(self, event: Event, /) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())

    def flush(self) -> None:
        self.flushes += 1

    def close(self) -> None:
        self.closes += 1


class Broken(Collector):
    """A sink that fails from its third event on, as on a full disk."""

    def emit(self, event: Event, /) -> None:
        if len(self.events) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().emit(event)


class Stuck(Collector):
    """A sink that waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def emit(self, event: Event, /) -> None:
        self.go_on.wait()
        super().emit(event)


class Sampler:
    """A sampler that says what it is told to."""

    def __init__(self, sample: Callable[[], Sequence[Measurement]]) -> None:
        self.sample = sample
        self.closes = 0

    def devices(self) -> Sequence[Device]:
        return [Device("gpu", 0)]

    def close(self) -> None:
        self.closes += 1


def eventually(true: Callable[[], bool], within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


# ------------------------------------------------------------------------------------------------ events


def test_sinks_and_listeners_get_every_event_of_every_thread_in_order() -> None:
    sink, heard = Collector(), []
    with Hub([("one", sink)], listeners=[heard.extend]) as hub:
        threads = [
            threading.Thread(target=lambda worker=worker: [hub.emit(event(n, worker=worker)) for n in range(2000)])
            for worker in ("cpu-0", "cpu-1", "cpu-2")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for got in (sink.events, heard):
        assert len(got) == 6000
        for worker in ("cpu-0", "cpu-1", "cpu-2"):
            assert [e.chunk_id for e in got if e.worker == worker] == [f"R_{n}" for n in range(2000)]
    assert len(sink.threads) == 1
    assert threading.get_ident() not in sink.threads
    assert hub.dropped == {"one": 0}


def test_events_arrive_while_the_run_goes_on() -> None:
    sink, heard = Collector(), []
    with Hub([("one", sink)], listeners=[heard.extend]) as hub:
        hub.emit(event())
        assert eventually(lambda: bool(sink.events and heard and sink.flushes))
        assert sink.closes == 0


def test_flush_returns_when_everything_was_handed_over_and_flushed() -> None:
    sink, heard = Collector(), []
    with Hub([("one", sink)], listeners=[heard.extend]) as hub:
        for number in range(500):
            hub.emit(event(number))
        before = sink.flushes
        hub.flush()
        assert len(sink.events) == len(heard) == 500
        assert sink.flushes > before


def test_close_is_idempotent_and_works_without_a_start() -> None:
    sink, heard = Collector(), []
    hub = Hub([("one", sink)], listeners=[heard.extend])
    hub.emit(event())
    hub.close()
    hub.close()
    hub.flush()
    assert (len(sink.events), len(heard), sink.closes) == (1, 1, 1)


def test_sinks_and_samplers_are_closed_when_the_run_ends_with_an_error() -> None:
    sink, sampler = Collector(), Sampler(list)

    def run() -> None:
        with Hub([("one", sink)], [("s", sampler)]) as hub:
            hub.emit(event())
            raise RuntimeError("the run broke")

    with pytest.raises(RuntimeError, match="the run broke"):
        run()
    assert (len(sink.events), sink.closes, sampler.closes) == (1, 1, 1)


# -------------------------------------------------------------------------------------------- bad sinks


def test_a_full_disk_mutes_the_sink_is_said_once_and_costs_nobody_else_anything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken, sound, heard = Broken(), Collector(), []
    with Hub([("log", broken), ("other", sound)], listeners=[heard.extend]) as hub:
        for number in range(100):
            hub.emit(event(number))
            if number in (10, 50):
                hub.flush()
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1
    assert "log" in said
    assert len(sound.events) == len(heard) == 100
    assert hub.dropped == {"log": 98, "other": 0}
    assert broken.closes == 1


@pytest.mark.parametrize("where", ["flush", "close"])
def test_a_sink_may_fail_anywhere(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    sink = Collector()

    def fail() -> None:
        raise SystemExit("sink says no")

    setattr(sink, where, fail)
    with Hub([("odd", sink)]) as hub:
        hub.emit(event())
        hub.flush()
    assert capsys.readouterr().err.count("sink says no") == 1
    assert len(sink.events) == 1


def test_a_slow_sink_loses_what_it_has_no_room_for_and_delays_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    stuck, quick, heard = Stuck(), Collector(), []
    with Hub([("slow", stuck), ("quick", quick)], listeners=[heard.extend], sink_queue=10) as hub:
        for number in range(3):
            hub.emit(event(number))
        assert eventually(lambda: len(quick.events) == 3)
        for number in range(3, 53):
            hub.emit(event(number))
        assert eventually(lambda: len(heard) == 53)
        assert hub.dropped["slow"] == 43
        stuck.go_on.set()
    assert [e.chunk_id for e in stuck.events] == [f"R_{n}" for n in range(10)]
    assert len(heard) == 53
    assert "43" in capsys.readouterr().err


def test_a_sink_that_never_returns_does_not_keep_the_run_from_ending(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("badc_core.telemetry.PATIENCE_S", 0.2)
    stuck, quick = Stuck(), Collector()
    with Hub([("hung", stuck), ("quick", quick)]) as hub:
        for number in range(5):
            hub.emit(event(number))
        hub.flush()
    assert len(quick.events) == 5
    assert hub.dropped == {"hung": 5, "quick": 0}
    assert "hung" in capsys.readouterr().err
    stuck.go_on.set()


# --------------------------------------------------------------------------------------------- listeners


def test_a_listener_is_called_when_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("badc_core.telemetry.HEARTBEAT_S", 0.05)
    batches: list[Sequence[Event]] = []
    with Hub(listeners=[batches.append]):
        assert eventually(lambda: len(batches) >= 2)
    assert not any(batches)


def test_a_listener_that_fails_is_said_once_and_called_again(capsys: pytest.CaptureFixture[str]) -> None:
    seen, heard = [], []

    def moody(events: Sequence[Event]) -> None:
        seen.extend(events)
        raise ValueError("not today")

    with Hub(listeners=[moody, heard.extend]) as hub:
        for number in range(3):
            hub.emit(event(number))
            hub.flush()
    assert len(seen) == len(heard) == 3
    said = capsys.readouterr().err
    assert said.count("not today") == 1
    assert "moody" in said


def test_a_listener_that_takes_its_time_delays_no_sink_and_still_gets_everything() -> None:
    go_on, heard, sink = threading.Event(), [], Collector()

    def slow(events: Sequence[Event]) -> None:
        go_on.wait()
        heard.extend(events)

    with Hub([("one", sink)], listeners=[slow], sink_queue=10) as hub:
        for number in range(40):
            hub.emit(event(number))
            if number % 10 == 9:
                assert eventually(lambda number=number: len(sink.events) == number + 1)
        assert heard == []
        go_on.set()
    assert len(heard) == 40
    assert hub.dropped == {"one": 0}


# ---------------------------------------------------------------------------------------------- samplers


def test_latest_is_the_last_look_at_each_device() -> None:
    looks = iter(range(1, 1000))
    sampler = Sampler(lambda: [Measurement(0, next(looks)), Measurement(1, 7, 100, 200)])
    with Hub(samplers=[("s", sampler)], interval_s=0.02) as hub:
        assert eventually(lambda: (seen := hub.latest(0)) is not None and seen.utilization_percent >= 3)
        assert hub.latest(1) == Measurement(1, 7, 100, 200)
        assert hub.latest(2) is None
    assert sampler.closes == 1


def test_a_sampler_that_fails_is_muted_said_once_and_its_old_figures_are_forgotten(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = []

    def sample() -> Sequence[Measurement]:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("GPU is lost")
        return [Measurement(0, 50)]

    good = Sampler(lambda: [Measurement(1, 60)])
    with Hub(samplers=[("bad", Sampler(sample)), ("good", good)], interval_s=0.02) as hub:
        assert eventually(lambda: len(calls) == 2 and hub.latest(0) is None)
        assert eventually(lambda: hub.latest(1) is not None)
    assert len(calls) == 2
    assert capsys.readouterr().err.count("GPU is lost") == 1


# ------------------------------------------------------------------------------------------------- tally


def test_the_tally_counts_as_the_summary_of_badc_0_1_does() -> None:
    tally = Tally()
    tally.take(
        [
            event(0, "start"),
            event(0, "success"),
            # second attempt succeeds: one retry, none of them failed
            event(1, "failure"),
            event(1, "success", attempt=2),
            # given up after three: two retries, both failed
            event(2, "failure"),
            event(2, "failure", attempt=2),
            event(2, "failure", attempt=3, final=True),
            event(3, "success", worker="gpu-0"),
        ]
    )
    counts = tally.snapshot()
    assert counts.workers == {"cpu-0": WorkerCounts(2, 1, 3, 2), "gpu-0": WorkerCounts(1, 0, 0, 0)}
    assert counts.workers["cpu-0"].jobs == 3
    assert (counts.chunks, counts.failures, counts.retries, counts.audio_ms) == (4, 1, 3, 12_000)


def test_a_snapshot_does_not_change() -> None:
    tally = Tally()
    tally.take([event(0)])
    before = tally.snapshot()
    tally.take([event(1)])
    assert (before.chunks, tally.snapshot().chunks) == (1, 2)


def test_the_hub_counts() -> None:
    with Hub() as hub:
        hub.emit(event(0))
        hub.flush()
        assert hub.counts.chunks == 1

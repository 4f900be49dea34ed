"""The contract of telemetry sinks: :class:`SinkContract`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from badc_core.model import Device, Event
from badc_core.protocols import Sink, SinkContext
from badc_core.specs import SinkSpec
from badc_core.testing.base import Contract

__all__ = ["SinkContract"]

_AWKWARD = [
    "Zaunkönig 03:15, «Troglodytes»",
    'a "quoted", name; with\ttab',
    "two\nlines\r\nof id",
    "ไก่ป่า 鶯 🐦",
    "line\u2028separator\u0085next",
    "\\n is no line end",
]

_GPU = Device("gpu", 0, "NVIDIA H100 80GB", "GPU-1", "0", 81559)


def make_events(count: int, worker: str = "gpu-0", prefix: str = "chunk") -> list[Event]:
    """Make events of all statuses, with the details that workers give."""
    events = []
    for number in range(count):
        status: Any = ("start", "success", "failure")[number % 3]
        details: dict[str, Any] = {"attempt": 1 + number % 2}
        if status != "start":
            metrics = {"index": 0, "utilization": 97, "memory_used_mb": 1024, "memory_total_mb": None}
            details["gpu_metrics"] = {"before": metrics, "after": None}
        if status == "failure":
            details |= {"returncode": 1, "stderr": "CUDA out of memory\n", "backoff_s": 2}
        if status == "success":
            details |= {"output": f"/data/a b/{prefix}_{number}.json", "runner": "kit"}
        event = Event(
            f"{prefix}_{number}",
            "kit",
            status,
            worker,
            "2026-01-31T08:15:02.123456+00:00",
            _GPU if number % 2 else Device(),
            finished_at=None if status == "start" else "2026-01-31T08:15:03.000000+00:00",
            runtime_s=None if status == "start" else 0.876544,
            audio_ms=3000,
            final=status == "success",
            details=details,
        )
        events.append(event)
    return events


class SinkContract(Contract):
    """Standard tests of a sink.

    The author says how to read back what the sink made visible, by :meth:`records`; the default reads JSON lines.
    """

    spec_class: ClassVar[type[SinkSpec]] = SinkSpec
    _replaceable: ClassVar = {"target", "records"}

    # ------------------------------------------------------------------------- what an author may replace

    def target(self, folder: Path) -> str | None:
        """Return the target to give to ``open``: by default a file in `folder`, which belongs to the test."""
        return str(folder / "telemetry.log")

    def records(self, target: str | None) -> Sequence[Mapping[str, Any]]:
        """Return what a reader sees now, oldest first: mappings with at least ``chunk_id`` and ``status``.

        By default the lines of the file `target` as JSON; no file is no records.
        """
        path = Path(str(target))
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]

    # --------------------------------------------------------------------------------------- how tests look

    def _open(self, folder: Path) -> tuple[Sink, str | None]:
        target = self.target(folder)
        context = SinkContext("20260131T081502Z_kit", folder / "default.jsonl")
        sink: Sink = self.load_or_skip(self.spec.open)(target, context)
        return sink, target

    def _seen(self, target: str | None) -> list[tuple[Any, Any]]:
        try:
            return [(record["chunk_id"], record["status"]) for record in self.records(target)]
        except Exception as error:
            return self.broken(f"what it wrote cannot be read: {type(error).__name__}: {error}")

    def _works(self, folder: Path) -> None:
        """Skip unless events go in and come out at closing; another test says what is wrong then."""
        sink, target = self._open(folder)
        events = make_events(30)
        try:
            for event in events:
                sink.emit(event)
            sink.close()
            found = [(record["chunk_id"], record["status"]) for record in self.records(target)]
        except Exception:
            found = []
        if found != [(event.chunk_id, event.status) for event in events]:
            pytest.skip("not every event gets through: see test_closing_makes_events_visible")

    @pytest.fixture
    def works(self, tmp_path: Path) -> None:
        """Skip unless the simplest case works."""
        folder = tmp_path / "first"
        folder.mkdir()
        self._works(folder)

    # --------------------------------------------------------------------------------------- standard tests

    def test_closing_makes_events_visible(self, tmp_path: Path) -> None:
        """Every event that was emitted can be read after `close`, in order, without a `flush` before."""
        sink, target = self._open(tmp_path)
        events = make_events(30)
        for event in events:
            sink.emit(event)
        sink.close()
        if self._seen(target) != [(event.chunk_id, event.status) for event in events]:
            self.broken(f"{len(self._seen(target))} of 30 events are readable, in order, after close")

    def test_flushing_makes_events_visible(self, works: None, tmp_path: Path) -> None:
        """Every event that was emitted can be read after `flush`, while the sink is open."""
        sink, target = self._open(tmp_path)
        events = make_events(7)
        for event in events:
            sink.emit(event)
        sink.flush()
        seen = self._seen(target)
        sink.flush()
        sink.close()
        if seen != [(event.chunk_id, event.status) for event in events]:
            self.broken(f"{len(seen)} of 7 events are readable after flush")

    def test_any_thread_may_call(self, works: None, tmp_path: Path) -> None:
        """It may be opened, fed and closed by different threads, one at a time; every event is kept once."""
        sink, target = self._open(tmp_path)
        gate, errors = threading.Lock(), list[BaseException]()

        def feed(worker: int) -> None:
            for event in make_events(60, f"gpu-{worker}", f"w{worker}"):
                with gate:
                    try:
                        sink.emit(event)
                    except Exception as error:
                        errors.append(error)

        _in_threads(*[lambda w=w: feed(w) for w in range(4)])
        _in_threads(lambda: errors.extend(_raised(sink.close)))
        if errors:
            self.broken(f"called by another thread it raises {type(errors[0]).__name__}: {errors[0]}")
        wanted = {(e.chunk_id, e.status) for w in range(4) for e in make_events(60, prefix=f"w{w}")}
        seen = self._seen(target)
        if len(seen) != 240 or set(seen) != wanted:
            self.broken(f"{len(set(seen) & wanted)} of 240 events of four threads are kept, in {len(seen)} records")

    def test_awkward_ids_survive(self, works: None, tmp_path: Path) -> None:
        """Ids with any Unicode, quotes, commas and line ends come back as they were."""
        sink, target = self._open(tmp_path)
        for text in _AWKWARD:
            event = attrs.evolve(make_events(1)[0], chunk_id=text, recording_id=text, details={"stderr": text})
            try:
                sink.emit(event)
            except Exception as error:
                self.broken(f"the id {text!r} raises {type(error).__name__}: {error}")
        sink.close()
        seen = [chunk_id for chunk_id, _ in self._seen(target)]
        if seen != _AWKWARD:
            wrong = next((text for text in _AWKWARD if text not in seen), "in another order")
            self.broken(f"the id {wrong!r} does not come back as it was")

    def test_events_are_left_alone(self, works: None, tmp_path: Path) -> None:
        """An event is not changed: other sinks get the same object."""
        sink, _ = self._open(tmp_path)
        for event, same in zip(make_events(6), make_events(6), strict=True):
            sink.emit(event)
            if event != same:
                self.broken(f"emit changes the event to {event!r}")
        sink.close()

    def test_close_can_be_called_twice(self, works: None, tmp_path: Path) -> None:
        """`close` can be called again, and without any event before; nothing is written twice."""
        sink, target = self._open(tmp_path)
        sink.emit(make_events(1)[0])
        sink.close()
        problems = _raised(sink.close)
        if problems:
            self.broken(f"the second close raises {type(problems[0]).__name__}: {problems[0]}")
        if len(self._seen(target)) != 1:
            self.broken("closing twice writes events twice")

    def test_closing_without_events(self, works: None, tmp_path: Path) -> None:
        """A sink that saw no event can be flushed and closed."""
        sink, target = self._open(tmp_path)
        problems = _raised(sink.flush) + _raised(sink.close)
        if problems:
            self.broken(f"without events it raises {type(problems[0]).__name__}: {problems[0]}")
        if self._seen(target):
            self.broken("without events it writes records")

    def test_late_events_corrupt_nothing(self, works: None, tmp_path: Path) -> None:
        """An event after `close` raises or is ignored; what was there stays readable."""
        sink, target = self._open(tmp_path)
        events = make_events(3)
        for event in events:
            sink.emit(event)
        sink.close()
        _raised(lambda: sink.emit(make_events(1, prefix="late")[0]))
        _raised(sink.flush)
        _raised(sink.close)
        seen = self._seen(target)
        if seen[:3] != [(event.chunk_id, event.status) for event in events]:
            self.broken(f"after a late event the 3 of before are not there: {seen}")

    def test_an_earlier_run_is_kept(self, works: None, tmp_path: Path) -> None:
        """Opening the same target again loses nothing that an earlier run wrote."""
        wanted = []
        for run in ("one", "two"):
            sink, target = self._open(tmp_path)
            events = make_events(3, prefix=run)
            for event in events:
                sink.emit(event)
            sink.close()
            wanted += [(event.chunk_id, event.status) for event in events]
        if self._seen(target) != wanted:
            self.broken(f"after a second run {len(self._seen(target))} of 6 events are readable")

    def test_emit_is_quick(self, works: None, tmp_path: Path) -> None:
        """Two hundred events take less than two seconds: the run does not wait for telemetry."""
        sink, _ = self._open(tmp_path)
        before = time.perf_counter()
        for number, event in enumerate(make_events(200), 1):
            sink.emit(event)
            took = time.perf_counter() - before
            if took > 2:
                self.broken(f"{number} events take {took:.1f} s")
        sink.close()

    def test_stdout_is_left_alone(self, works: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """Nothing is printed to stdout, which belongs to the command line."""
        capfd.readouterr()
        sink, _ = self._open(tmp_path)
        for event in make_events(3):
            sink.emit(event)
        sink.flush()
        sink.close()
        printed = capfd.readouterr().out
        if printed:
            self.broken(f"it prints to stdout: {printed[:200]!r}")


def _in_threads(*works: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)


def _raised(call: Callable[[], Any]) -> list[BaseException]:
    try:
        call()
    except Exception as error:
        return [error]
    return []

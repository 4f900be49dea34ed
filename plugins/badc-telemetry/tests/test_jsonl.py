"""The log of JSON lines: the form of BADC 0.1, appended, and readable while it grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from badc_core.host import Host, load_object
from badc_core.model import Device, Event
from badc_core.protocols import SinkContext
from badc_core.specs import SinkSpec
from badc_core.telemetry import Hub
from badc_telemetry.jsonl import JsonlSink, open_sink
from badc_telemetry.reader import count_lines, read_log, tail

STAMP = "2026-01-31T08:15:02.123456+00:00"


def event(number: int = 0) -> Event:
    return Event(f"R_{number}", "R", "success", "cpu-0", STAMP, Device(), STAMP, 0.5, 3000, True, {"attempt": 1})


def test_it_is_announced_and_opens_at_its_default_or_where_the_user_says(tmp_path: Path) -> None:
    spec = Host().find(SinkSpec, "jsonl")
    context = SinkContext("run", tmp_path / "a b" / "default.jsonl")
    for target, path in (
        (None, context.default_path),
        (str(tmp_path / "c" / "own.jsonl"), tmp_path / "c" / "own.jsonl"),
    ):
        sink = load_object(spec.open)(target, context)
        sink.emit(event())
        sink.close()
        assert [record["chunk_id"] for record in read_log(path)] == ["R_0"]


def test_lines_are_as_formats_say(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "log.jsonl")
    sink.emit(event())
    sink.close()
    keys = ["chunk_id", "gpu_index", "gpu_name", "status", "timestamp", "finished_at", "runtime_s", "details"]
    assert list(json.loads((tmp_path / "log.jsonl").read_text("utf-8"))) == keys


def test_it_appends_and_keeps_a_torn_line_to_itself(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for number in range(2):
        sink = JsonlSink(log)
        sink.emit(event(number))
        sink.close()
    with log.open("ab") as file:
        file.write(b'{"chunk_id": "torn')
    sink = JsonlSink(log)
    sink.emit(event(2))
    sink.close()
    sink.close()
    assert [record["chunk_id"] for record in read_log(log)] == ["R_0", "R_1", "R_2"]
    assert tail(log, 2)[0]["chunk_id"] == "R_1"
    assert count_lines(log) == 4


def test_opening_a_log_adds_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"{}\n")
    JsonlSink(log).close()
    assert log.read_bytes() == b"{}\n"


def test_lines_are_written_within_a_second_while_events_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("badc_telemetry.jsonl.time.monotonic", lambda: now)
    sink = JsonlSink(tmp_path / "log.jsonl")
    sink.emit(event(0))
    assert count_lines(sink.path) == 0
    now = 1.0
    sink.emit(event(1))
    assert count_lines(sink.path) == 2
    sink.close()


def test_many_lines_are_written_in_whole_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    write = os.write
    monkeypatch.setattr(
        "badc_telemetry.jsonl.os.write", lambda handle, data: sizes.append(bytes(data)) or write(handle, data)
    )
    sink = JsonlSink(tmp_path / "log.jsonl")
    for number in range(5000):
        sink.emit(event(number))
    sink.close()
    assert all(data.endswith(b"\n") for data in sizes)
    assert len(sizes) < 30
    assert [record["chunk_id"] for record in read_log(sink.path)] == [f"R_{n}" for n in range(5000)]


def test_through_the_hub_a_killed_run_leaves_readable_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    code = f"""
import itertools, time
from pathlib import Path
from badc_core.model import Device, Event
from badc_core.telemetry import Hub
from badc_telemetry.jsonl import JsonlSink
with Hub([("jsonl", JsonlSink(Path({str(log)!r})))]) as hub:
    for number in itertools.count():
        hub.emit(Event(f"R_{{number}}", "R", "start", "cpu-0", "", Device()))
        time.sleep(0.0005)
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        until = time.monotonic() + 30
        while not log.exists() or count_lines(log) < 1000:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    ids = [record["chunk_id"] for record in read_log(log)]
    assert len(ids) >= 1000
    assert ids == [f"R_{n}" for n in range(len(ids))]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, a file that is always full")
def test_a_full_disk_mutes_the_log_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    with Hub([("jsonl", open_sink("/dev/full", SinkContext("r", Path("x"))))], listeners=[heard.extend]) as hub:
        for number in range(100):
            hub.emit(event(number))
    assert len(heard) == 100
    assert capsys.readouterr().err.count("No space left on device") == 1

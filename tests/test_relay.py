"""Events of workers in other processes: read on, whatever was torn, and each chunk told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from badc_core.devices import listed_gpus
from badc_core.model import Device, Event
from badc_core.relay import EventFile, Relay, told_before

CHUNKS = 4


def event(number: int, status: str = "success", *, name: str = "c", device: Device | None = None) -> Event:
    return Event(
        f"{name}{number}", "r", status, "cpu-0", "now", device or Device(), "then", 0.5, 3000, status != "start",
        {"attempt": 1},
    )  # fmt: skip


def file(folder: Path, life: str, shard: int = 0, name: str = "c") -> EventFile:
    return EventFile(folder, shard, life, "n1", {("r", f"{name}{number}"): number for number in range(CHUNKS)})


def read(relay: Relay) -> list[Event]:
    return [event for events in relay.read() for event in events]


def test_what_goes_in_comes_out(tmp_path: Path):
    sink = file(tmp_path, "a")
    gpu = Device("gpu", 1, "A100")
    for one in (event(0, "start"), event(0), event(1, "failure", device=gpu)):
        sink.emit(one)
    relay = Relay(tmp_path, CHUNKS)
    assert read(relay) == []
    sink.flush()
    found = read(relay)
    assert [(one.chunk_id, one.status, one.final, one.worker) for one in found] == [
        ("c0", "start", False, "n1:cpu-0"), ("c0", "success", True, "n1:cpu-0"), ("c1", "failure", True, "n1:cpu-0"),
    ]  # fmt: skip
    assert found[2].device == gpu
    assert found[1].audio_ms == 3000
    assert (relay.settled, list(relay.untold()), relay.busy_s) == (2, [2, 3], 1.0)
    assert read(relay) == []
    sink.emit(event(2))
    sink.close()
    sink.close()
    assert [one.chunk_id for one in read(relay)] == ["c2"]


def test_twins_are_told_once(tmp_path: Path):
    for life in ("a", "b"):
        sink = file(tmp_path, life)
        assert sink.first == (life == "a")
        sink.emit(event(0, "start"))
        sink.emit(event(0))
        sink.close()
    relay = Relay(tmp_path, CHUNKS)
    assert [one.status for one in read(relay)] == ["start", "success", "start"]
    assert relay.settled == 1


def test_torn_lines_are_waited_for_or_passed_over(tmp_path: Path):
    sink = file(tmp_path, "a")
    sink.emit(event(0))
    sink.close()
    whole = sink.path.read_bytes()
    relay = Relay(tmp_path, CHUNKS)
    sink.path.write_bytes(whole[:-5])
    assert read(relay) == []
    sink.path.write_bytes(whole + b'{"chunk_id": "torn"\n[]\n\xff\n')
    assert [one.chunk_id for one in read(relay)] == ["c0"]
    assert told_before(tmp_path, 0, CHUNKS) == {0}
    assert told_before(tmp_path, 1, CHUNKS) == set()


def test_names_that_are_no_utf8_and_chunks_that_are_not_of_the_plan(tmp_path: Path):
    sink = file(tmp_path, "a", name="\udcff")
    sink.emit(event(3, name="\udcff"))
    sink.emit(event(7))
    sink.close()
    relay = Relay(tmp_path, CHUNKS)
    assert [one.chunk_id for one in read(relay)] == ["\udcff3"]
    assert relay.settled == 1


def test_another_process_reads_on_where_one_stopped(tmp_path: Path):
    sink = file(tmp_path, "a")
    sink.emit(event(0))
    sink.flush()
    first = Relay(tmp_path, CHUNKS)
    read(first)
    sink.emit(event(1))
    sink.close()
    second = Relay(tmp_path, CHUNKS)
    assert [one.chunk_id for events in second.read(first.positions()) for one in events] == ["c0"]
    assert [one.chunk_id for one in read(second)] == ["c1"]


def test_finished_shards_are_not_looked_at_again(tmp_path: Path):
    sink = file(tmp_path, "a", shard=7)
    relay = Relay(tmp_path, CHUNKS)
    relay.finished({7})
    sink.emit(event(0))
    sink.close()
    assert read(relay) == []


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [(None, []), ("", []), ("2,0", ["2", "0"]), ("GPU-5, MIG-7", ["GPU-5", "MIG-7"]), ("1,-1,2", ["1"]),
     ("NoDevFiles", [])],
)  # fmt: skip
def test_gpus_as_they_were_allotted(listed: str | None, wanted: list[str]):
    found = listed_gpus({} if listed is None else {"CUDA_VISIBLE_DEVICES": listed})
    assert [device.visible_as for device in found] == wanted
    assert [device.index for device in found] == list(range(len(wanted)))

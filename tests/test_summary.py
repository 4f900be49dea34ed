"""The run summary: in the form of BADC 0.1, whole at any moment, and without losing what earlier runs did."""

from __future__ import annotations

import errno
import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badc_core.errors import ManifestError, StoreError
from badc_core.model import Device, Event
from badc_core.spool import KeySet, Spool
from badc_core.summary import SummaryWriter, job_key, read_done
from badc_core.telemetry import Hub


def event(chunk: str, status: str = "success", *, recording: str = "REC1", final: bool = True, **details: Any) -> Event:
    stamp = "2026-01-31T08:15:02.123456+00:00"
    details = {"attempt": 1, **({"output": f"/out/{chunk}.json"} if status == "success" else {}), **details}
    return Event(chunk, recording, status, "gpu-0", stamp, Device("gpu"), stamp, 1.5, 3000, final, details)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "telemetry" / "REC1.jsonl"


def writer(log: Path, name: str = "run") -> SummaryWriter:
    return SummaryWriter(log, log.parent.parent / name / "jobs.jsonl")


def load(log: Path) -> dict[str, Any]:
    return json.loads((log.parent / f"{log.name}.summary.json").read_text("utf-8"))


# -------------------------------------------------------------------------------------------------- form


def test_keys_and_values_are_those_of_badc_0_1(log: Path) -> None:
    summary = writer(log)
    summary.take(
        [
            event("REC1_0_3", "failure", final=False, stderr="CUDA out of memory\n", backoff_s=2),
            event("REC1_0_3", attempt=2),
            event("REC1_3_6", "failure", final=False, stderr="x" * 600, backoff_s=2),
            event("REC1_3_6", "failure", attempt=2, error="it broke", stderr="y" * 600, backoff_s=4),
            event("REC1_6_9"),
        ]
    )
    summary.close()
    found = load(log)
    assert list(found) == ["telemetry_log", "workers", "jobs"]
    assert found["telemetry_log"] == str(log)
    assert found["workers"] == {"gpu-0": {"success": 2, "failure": 1, "retries": 2, "failed_retries": 1}}
    assert list(found["jobs"]) == ["REC1_0_3", "REC1_3_6", "REC1_6_9"]
    retried, failed, plain = found["jobs"].values()
    assert list(retried.items())[:8] == [
        ("status", "success"),
        ("attempts", 2),
        ("retries", 1),
        ("output", "/out/REC1_0_3.json"),
        ("worker", "gpu-0"),
        ("recording_id", "REC1"),
        ("last_backoff_s", 2),
        ("last_error", "CUDA out of memory\n"),
    ]
    assert list(failed.items())[:7] == [
        ("status", "failure"),
        ("error", "it broke"),
        ("attempts", 2),
        ("worker", "gpu-0"),
        ("recording_id", "REC1"),
        ("last_backoff_s", 4),
        ("last_error", "y" * 500),
    ]
    assert not {"output", "retries"} & set(failed)
    assert (plain["attempts"], plain["retries"], plain["last_error"]) == (1, 0, None)
    csv = (log.parent / f"{log.name}.summary.json.workers.csv").read_text("utf-8")
    assert csv == "worker,jobs,success,failure,retries,failed_retries\ngpu-0,3,2,1,2,1\n"


def test_a_run_without_chunks_has_a_summary_too(log: Path) -> None:
    writer(log).close()
    assert load(log) == {"telemetry_log": str(log), "workers": {}, "jobs": {}}


def test_equal_ids_in_two_recordings_stay_apart(log: Path) -> None:
    summary = writer(log)
    summary.take([event("c1", recording="A"), event("c1", "failure", recording="B"), event("A_1", recording="A")])
    summary.close()
    assert {key: job["status"] for key, job in load(log)["jobs"].items()} == {
        "A/c1": "success",
        "B/c1": "failure",
        "A_1": "success",
    }
    assert set(read_done(summary.path)) == {("A", "c1"), ("A", "A_1")}


@pytest.mark.parametrize(
    ("recording", "chunk", "key"),
    [("R", "R_chunk_0_5", "R_chunk_0_5"), ("R", "R", "R"), ("R", "R1_5", "R/R1_5"), ("R", "c", "R/c")],
)
def test_job_key(recording: str, chunk: str, key: str) -> None:
    assert job_key(recording, chunk) == key


names = st.text(st.characters(blacklist_characters="/\\\0"), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(names, names), max_size=20))
def test_any_names_come_back(tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[str, str]]) -> None:
    log = tmp_path_factory.mktemp("any") / "log.jsonl"
    for run in ("first", "second"):  # the second copies what the first wrote
        summary = writer(log, run)
        if run == "first":
            summary.take([event(chunk, recording=recording) for recording, chunk in chunks])
        summary.close()
    json.loads(summary.path.read_bytes())
    keys = {job_key(recording, chunk): (recording, chunk) for recording, chunk in chunks}
    assert sorted(read_done(summary.path)) == sorted(keys.values())


def test_names_that_are_no_utf_8_come_back(log: Path) -> None:
    name = os.fsdecode(b"REC1_\xff")
    for run in ("first", "second"):
        summary = writer(log, run)
        summary.take([event(name)] if run == "first" else [])
        summary.close()
    assert list(read_done(summary.path)) == [("REC1", name)]


# ---------------------------------------------------------------------------------------- as the run goes on


def test_it_is_written_at_the_first_call_and_then_at_intervals(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("badc_core.summary.time.monotonic", lambda: now)
    summary = writer(log)
    summary.take([])
    assert load(log)["jobs"] == {}
    now += 9
    summary.take([event("REC1_0")])
    assert load(log)["jobs"] == {}
    now += 2
    summary.take([])
    assert list(load(log)["jobs"]) == ["REC1_0"]


def test_writing_takes_a_twentieth_of_the_time_at_most(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("badc_core.summary.time.monotonic", lambda: now)
    summary = writer(log)
    writes = []

    def slow_write() -> None:
        nonlocal now
        writes.append(now)
        now += 4.0

    monkeypatch.setattr(summary, "write", slow_write)
    while now < 1000:
        summary.take([])
        now += 1
    assert 10 <= len(writes) <= 0.05 * 1000 / 4 + 1


def test_a_killed_run_leaves_a_whole_summary_and_its_spool_is_taken_over(log: Path) -> None:
    killed = writer(log)
    killed.take([event("REC1_0")])
    killed.take([event("REC1_1"), event("REC1_2")])
    spool = log.parent.parent / "run" / "jobs.jsonl"
    with spool.open("ab") as file:
        file.write(b'"REC1_3":{"status":"succ')  # and there it was killed
    assert list(load(log)["jobs"]) == ["REC1_0"]
    again = writer(log)
    again.take([event("REC1_4")])
    again.close()
    assert sorted(load(log)["jobs"]) == ["REC1_0", "REC1_1", "REC1_2", "REC1_4"]
    assert not spool.exists()


class _FullDisk:
    """Stands for a file on a full disk, which cannot be had without rights: takes some bytes, then no more."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.full = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        if self.full and len(data) > 30:
            return int(self._file.write(data[:30]))
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(data))


def test_a_full_disk_loses_no_entry(log: Path) -> None:
    summary = writer(log)
    spool = summary._spool
    spool._file = disk = _FullDisk(spool._file)  # type: ignore[assignment]
    disk.full = False
    summary.take([event("REC1_0")])
    disk.full = True
    summary.take([event("REC1_1")])
    summary.take([event("REC1_2")])
    summary.write()
    assert list(load(log)["jobs"]) == ["REC1_0", "REC1_1", "REC1_2"]
    disk.full = False
    summary.take([event("REC1_3")])
    summary.close()
    assert list(load(log)["jobs"]) == ["REC1_0", "REC1_1", "REC1_2", "REC1_3"]


def test_a_summary_that_cannot_be_written_stops_no_run_and_is_said_once(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("badc_core.summary.time.monotonic", lambda: now)
    summary = writer(log)
    log.parent.write_text("a file where the folder should be")
    for number in range(5):
        summary.take([event(f"REC1_{number}")])
        now += 100
    assert capsys.readouterr().err.count("cannot be written now") == 1
    with pytest.raises(StoreError, match="REC1"):
        summary.close()
    log.parent.unlink()
    later = writer(log)
    later.close()
    assert len(load(log)["jobs"]) == 5


def test_through_the_hub_it_is_there_at_the_start_and_complete_at_the_end(log: Path) -> None:
    summary = writer(log)
    with Hub(listeners=[summary.take]) as hub:
        until = time.monotonic() + 5
        while not summary.path.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        for number in range(1000):
            hub.emit(event(f"REC1_{number}"))
    summary.close()
    summary.close()
    assert len(load(log)["jobs"]) == load(log)["workers"]["gpu-0"]["success"] == 1000


# ------------------------------------------------------------------------------------------- earlier runs


def test_earlier_entries_are_kept_and_newer_ones_win(log: Path) -> None:
    first = writer(log, "first")
    first.take([event("REC1_0"), event("REC1_1", "failure"), event("REC1_2")])
    first.close()
    second = writer(log, "second")
    second.take([event("REC1_1", attempt=2), event("REC1_3")])
    second.write()
    second.take([event("REC1_4")])
    second.close()
    jobs = load(log)["jobs"]
    assert sorted(jobs) == [f"REC1_{n}" for n in range(5)]
    assert (jobs["REC1_1"]["status"], jobs["REC1_1"]["attempts"]) == ("success", 2)
    assert load(log)["workers"]["gpu-0"]["success"] == 3  # of this run


def test_a_chunk_settled_twice_has_one_entry_the_last(log: Path) -> None:
    summary = writer(log)
    summary.take([event("REC1_0", "failure"), event("REC1_1"), event("REC1_0", attempt=3)])
    summary.close()
    text = summary.path.read_text("utf-8")
    assert text.count('"REC1_0"') == 1
    assert load(log)["jobs"]["REC1_0"]["attempts"] == 3


def test_a_chunk_done_by_an_earlier_run_keeps_its_entry_or_gets_one(log: Path) -> None:
    first = writer(log, "first")
    first.take([event("REC1_0"), event("REC1_1", "failure")])
    first.close()
    before = load(log)["jobs"]["REC1_0"]
    second = writer(log, "second")
    for chunk in ("REC1_0", "REC1_1", "REC1_2"):
        second.skipped(chunk, "REC1", Path(f"/out/{chunk}.json"))
    second.close()
    jobs = load(log)["jobs"]
    assert jobs["REC1_0"] == before
    for chunk in ("REC1_1", "REC1_2"):
        assert jobs[chunk] == {"status": "success", "output": f"/out/{chunk}.json", "recording_id": "REC1"}


OLD = {
    "telemetry_log": "old.jsonl",
    "workers": {"gpu-0": {"success": 2, "failure": 0, "retries": 0, "failed_retries": 0}},
    "jobs": {
        "REC1_0": {"attempts": 1, "status": "success", "recording_id": "REC1", "mine": [1, {"status": "x"}]},
        "bare": {"status": "success", "recording_id": "REC9"},
        "nobody": {"status": "success"},
        "REC1_2": {"error": "status is missing"},
    },
    "foreign": 1,
}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_summary_of_badc_0_1_is_kept_whatever_its_formatting(log: Path, indent: int | None) -> None:
    log.parent.mkdir()
    log.with_name("REC1.jsonl.summary.json").write_text("\ufeff" + json.dumps(OLD, indent=indent), "utf-8")
    for run in ("first", "second"):
        summary = writer(log, run)
        summary.take([event(f"REC1_{run}")])
        summary.close()
    jobs = load(log)["jobs"]
    assert sorted(jobs) == sorted(["REC1_0", "REC9/bare", "nobody", "REC1_2", "REC1_first", "REC1_second"])
    assert jobs["REC1_0"]["mine"] == [1, {"status": "x"}]
    assert jobs["REC1_2"]["error"] == "status is missing"


@pytest.mark.parametrize("text", ["", '{"jobs": {"a": {"sta', "[1, 2]", '{"telemetry_log": 1, "jobs": 3}'])
def test_a_summary_that_cannot_be_read_is_put_aside(log: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.parent.mkdir()
    log.with_name("REC1.jsonl.summary.json").write_text(text)
    summary = writer(log)
    summary.take([event("REC1_0")])
    summary.close()
    assert list(load(log)["jobs"]) == ["REC1_0"]
    (aside,) = log.parent.glob("*.damaged-*")
    assert aside.read_text() == text
    assert aside.name in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- read_done


def test_read_done_takes_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    jobs = {**OLD["jobs"], "odd": 3, "R/c": {"status": "success"}, "failed": {"status": "failure"}}
    path.write_text(json.dumps({"jobs": jobs}))
    assert set(read_done(path)) == {("REC1", "REC1_0"), ("REC9", "bare"), (None, "nobody"), ("R", "c")}


def test_read_done_of_an_object_without_jobs_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("{}")
    assert list(read_done(path)) == []


def test_read_done_bears_with_an_edited_summary(log: Path) -> None:
    summary = writer(log)
    summary.take([event("REC1_0"), event("REC1_1")])
    summary.close()
    text = summary.path.read_text("utf-8")
    summary.path.write_text(text.replace('"attempts":1,', '"attempts":\n1,'), "utf-8")
    assert set(read_done(summary.path)) == {("REC1", "REC1_0"), ("REC1", "REC1_1")}


@pytest.mark.parametrize("text", [None, "", '{"jobs": {"a": {"sta', "[]", '{"jobs": []}', "no json"])
def test_a_torn_summary_is_a_clear_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "torn.summary.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ManifestError, match=r"torn\.summary\.json"):
        list(read_done(path))


def test_our_own_summary_torn_anywhere_is_a_clear_error(log: Path) -> None:
    summary = writer(log)
    summary.take([event(f"REC1_{n}") for n in range(5)])
    summary.close()
    whole = summary.path.read_bytes()
    for cut in [*range(0, len(whole) - 1, 13), len(whole) - 2, len(whole) - 3]:
        summary.path.write_bytes(whole[:cut])
        with pytest.raises(ManifestError):
            list(read_done(summary.path))


# --------------------------------------------------------------------------------------------------- size


def test_memory_grows_by_some_bytes_for_each_entry(log: Path) -> None:
    summary = writer(log)
    tracemalloc.start()
    for batch in range(100):
        summary.take([event(f"REC1_{batch}_{n}") for n in range(300)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    summary.close()
    assert len(load(log)["jobs"]) == 30_000
    assert peak < 30_000 * 80


@given(st.lists(st.binary(max_size=4)))
def test_the_key_set_is_a_set(keys: list[bytes]) -> None:
    ours, real = KeySet(), set()
    for key in keys:
        assert ours.add(key) == (key not in real)
        real.add(key)
    assert all(key in ours for key in real)


def test_the_key_set_grows() -> None:
    keys = KeySet()
    assert all(keys.add(b"%d" % n) for n in range(5000))
    assert not any(keys.add(b"%d" % n) for n in range(5000))
    assert b"5000" not in keys


def test_a_spool_in_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"jobs\.jsonl"):
        Spool(tmp_path / "file" / "jobs.jsonl")

"""Result documents, and reading them back from both layouts."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from badc_core import results
from badc_core.errors import StoreError
from badc_core.model import Chunk, ChunkResult, Detection, Instant, LocalTime, Recording

CHUNK = Chunk("REC_0_3000", "REC", Path("/data/REC.wav"), 0, 3000, 0, 0, "ab" * 32, "a note")
STARTED_AT = LocalTime(dt.datetime(2025, 5, 3, 4))
RECORDING = Recording("REC", Path("/data/REC.wav"), 8000, 1, 9000, STARTED_AT, "area", "here")


def _result(**changes: Any) -> ChunkResult:
    found = [Detection(100, 900, "CODE", "CODE", "A name", 0.9, extra={"rank": 1})]
    values = {"chunk": CHUNK, "recording": RECORDING, "status": "ok", "detections": found, "runner": "lab"}
    return ChunkResult(**{**values, "model_version": "1", "fingerprint": "f" * 16, "runtime_s": 0.5, **changes})


def test_a_document_has_the_form_of_badc_0_1():
    entry = results.document(_result(), "run")
    assert entry["chunk_id"] == "REC_0_3000"
    assert entry["recording_id"] == "REC"
    assert entry["source_path"] == "/data/REC.wav"
    assert entry["status"] == "ok"
    assert entry["chunk"] == {
        "start_ms": 0, "end_ms": 3000, "overlap_ms": 0, "sha256": "ab" * 32, "notes": "a note", "offset_ms": 0,
    }  # fmt: skip
    assert entry["runner"] == "lab"
    assert entry["model_version"] == "1"
    assert entry["meta"] == {"attempt": 1, "runtime_s": 0.5, "run": "run"}
    (found,) = entry["detections"]
    assert found == {
        "timestamp_ms": 100, "end_ms": 900, "label": "CODE", "label_code": "CODE", "label_name": "A name",
        "confidence": 0.9, "rank": 1,
    }  # fmt: skip
    assert entry["recording"] == {"started_at": "2025-05-03T04:00:00.000000", "study_area": "area", "site": "here"}


def test_what_is_unknown_is_left_out():
    entry = results.document(_result(model_version=None), "run")
    assert {"model_version", "error", "missing_ms", "dataset_root"}.isdisjoint(entry)
    failed = results.document(_result(status="failed", detections=(), error="why", missing_ms=20), "run")
    assert (failed["error"], failed["missing_ms"]) == ("why", 20)


def test_extra_keys_do_not_hide_ours():
    entry = results.document(_result(extra={"status": "mine", "chunk": 1, "hawkears_output": "folder"}), "run")
    assert (entry["status"], entry["hawkears_output"]) == ("ok", "folder")
    assert isinstance(entry["chunk"], dict)


def test_a_dataset_is_named(isolated: Path):
    (isolated / ".datalad").mkdir()
    chunk = Chunk("c", "r", isolated / "audio" / "x.wav")
    assert results.document(_result(chunk=chunk), "run")["dataset_root"] == str(isolated)


def test_times_with_a_zone_keep_it():
    started_at = Instant(dt.datetime(2025, 5, 3, 4, tzinfo=dt.UTC))
    facts = results.recording_facts(Recording("r", Path("x"), started_at=started_at))
    assert facts == {"started_at": "2025-05-03T04:00:00.000000+00:00"}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"sha256": None}, True),
        ({"sha256": "00" * 32}, False),
        ({"start_ms": 1}, False),
        ({"end_ms": 2999}, False),
        ({"offset_ms": None}, False),
        ({"notes": "another"}, True),
    ],
)
def test_the_same_window(change: dict[str, Any], same: bool):
    entry = results.document(_result(), "run")
    entry["chunk"].update(change)
    assert results.same_window(entry, CHUNK) is same


# ------------------------------------------------------------------------------------------- reading


def _entry(chunk: str, status: str = "ok", run: str = "1", **more: Any) -> dict[str, Any]:
    meta = {"run": run}
    return {"recording_id": "R", "chunk_id": chunk, "status": status, "fingerprint": "f", "meta": meta, **more}


def _file(base: Path, entry: dict[str, Any]) -> None:
    path = base / "R" / f"{entry['chunk_id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry, indent=2))


def _segment(base: Path, run: str, *entries: dict[str, Any], worker: str = "cpu-0", tail: str = "") -> None:
    path = base / "_segments" / f"{run}.{worker}.host-1-0.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + tail)


def _scanned(base: Path) -> tuple[dict[str, str], list[str]]:
    problems: list[results.Problem] = []
    found = [stored.document for stored in results.scan(base, problems.append)]
    chunks = [entry["chunk_id"] for entry in found]
    assert len(chunks) == len(set(chunks)), "a chunk came twice"
    return {e["chunk_id"]: f"{e['status']} {e['meta']['run']}" for e in found}, [str(p) for p in problems]


def test_files_are_found_at_any_depth(tmp_path: Path):
    _file(tmp_path / "a", _entry("1"))
    _file(tmp_path / "b" / "c", _entry("2"))
    (tmp_path / "a" / ".badc" / "run").mkdir(parents=True)
    (tmp_path / "a" / ".badc" / "run" / "plan.json").write_text("{}")
    (tmp_path / "a" / "R" / ".badc-tmp-host-1-2").write_text('{"chunk_id": "half')
    (tmp_path / "a" / "R" / ".chunk_status.json").write_text('{"status": "completed"}')
    assert _scanned(tmp_path) == ({"1": "ok 1", "2": "ok 1"}, [])


def test_names_that_begin_with_a_dot_are_results_too(tmp_path: Path):
    _file(tmp_path, _entry(".hidden"))
    assert _scanned(tmp_path)[0] == {".hidden": "ok 1"}


def test_the_latest_run_counts(tmp_path: Path):
    _segment(tmp_path, "1", _entry("a"), _entry("b"))
    _segment(tmp_path, "2", _entry("b", run="2"), worker="cpu-0")
    _segment(tmp_path, "2", _entry("c", run="2"), worker="cpu-1")
    assert _scanned(tmp_path) == ({"a": "ok 1", "b": "ok 2", "c": "ok 2"}, [])


def test_files_and_segments_together(tmp_path: Path):
    _file(tmp_path, _entry("a", run="3"))
    _file(tmp_path, _entry("b", run="1"))
    _segment(tmp_path, "2", _entry("a", run="2"), _entry("b", run="2"))
    assert _scanned(tmp_path)[0] == {"a": "ok 3", "b": "ok 2"}


@pytest.mark.parametrize("order", [("1", "2"), ("2", "1")])
def test_a_failure_does_not_hide_the_same_work_done_well(order: tuple[str, str], tmp_path: Path):
    failed, done = order
    _segment(tmp_path, failed, _entry("a", "failed", run=failed))
    _segment(tmp_path, done, _entry("a", run=done))
    assert _scanned(tmp_path)[0] == {"a": f"ok {done}"}


def test_a_failure_of_other_work_hides_what_was_there(tmp_path: Path):
    """After --replace a table must not mix two models."""
    _segment(tmp_path, "1", _entry("a"), _entry("b", "failed"))
    _segment(tmp_path, "2", _entry("a", "failed", run="2", fingerprint="g"), _entry("b", "failed", run="2"))
    assert _scanned(tmp_path)[0] == {"a": "failed 2", "b": "failed 2"}


def test_a_torn_last_line(tmp_path: Path):
    _segment(tmp_path, "1", _entry("a"), tail='{"chunk_id": "b", "sta')
    found, problems = _scanned(tmp_path)
    assert found == {"a": "ok 1"}
    assert len(problems) == 1
    assert "line 2: is a torn last line" in problems[0]


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"other": 1}'])
def test_a_damaged_line_costs_itself_only(line: str, tmp_path: Path):
    _segment(tmp_path, "1", _entry("a"), tail=f"{line}\n{json.dumps(_entry('b'))}\n")
    found, problems = _scanned(tmp_path)
    assert found == {"a": "ok 1", "b": "ok 1"}
    assert len(problems) == 1
    assert "line 2" in problems[0]


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 20])
def test_a_large_result_is_read_whole(size: int, tmp_path: Path):
    entry = _entry("a", padding="")
    entry["padding"] = "x" * (size - len(json.dumps(entry, indent=2)))
    _file(tmp_path, entry)
    assert (tmp_path / "R" / "a.json").stat().st_size == size
    assert _scanned(tmp_path) == ({"a": "ok 1"}, [])


def test_no_such_folder(tmp_path: Path):
    with pytest.raises(StoreError, match="no folder"):
        list(results.scan(tmp_path / "nowhere"))


def test_digests_tell_names_apart():
    names = [f"REC\0{number}" for number in range(10_000)]
    assert len({results.digest(name) for name in names}) == len(names)

"""What is done already: as the results themselves say, in both layouts."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from badc_core.committing import open_writer
from badc_core.errors import StoreError
from badc_core.model import Chunk, ChunkResult, LocalTime, Recording
from badc_core.results import Problem
from badc_core.resuming import DoneIndex

CHUNK = Chunk("c", "REC", Path("/data/x.wav"), 0, 3000, 0, 0)
LAYOUTS = ("files", "segments")


def _commit(base: Path, layout: Any, run: str = "1", chunk: Chunk = CHUNK, **more: Any) -> None:
    values = {"status": "ok", "detections": (), "runner": "lab", "fingerprint": "f", **more}
    writer = open_writer(layout, run, "cpu-0")
    writer.commit([(base, ChunkResult(chunk, Recording(chunk.recording_id, chunk.source_path), **values))])
    writer.close()


def _state(base: Path, chunk: Chunk = CHUNK, fingerprint: str = "f") -> str:
    return DoneIndex(base, fingerprint).state(chunk)


def test_nothing_is_there(tmp_path: Path):
    assert _state(tmp_path / "nowhere") == "missing"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({}, "done"),
        ({"status": "no_detections"}, "done"),
        ({"status": "failed"}, "failed"),
        ({"status": "failed", "fingerprint": "g"}, "failed"),
        ({"fingerprint": "g"}, "foreign"),
        ({"fingerprint": None}, "unmarked"),
    ],
)
def test_where_a_chunk_stands(result: dict[str, Any], state: str, layout: str, tmp_path: Path):
    _commit(tmp_path, layout, **result)
    assert _state(tmp_path) == state
    assert _state(tmp_path, attrs.evolve(CHUNK, chunk_id="d")) == "missing"
    assert _state(tmp_path, attrs.evolve(CHUNK, recording_id="OTHER")) == "missing"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("known", "asked", "done"),
    [
        (None, None, True),
        ("aa", "aa", True),
        ("aa", None, True),
        (None, "aa", True),
        ("aa", "bb", False),
    ],
)
def test_the_content_counts_where_it_is_known(
    known: str | None, asked: str | None, done: bool, layout: str, tmp_path: Path
):
    _commit(tmp_path, layout, chunk=attrs.evolve(CHUNK, sha256=known))
    assert (_state(tmp_path, attrs.evolve(CHUNK, sha256=asked)) == "done") is done


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("change", [{"start_ms": 1}, {"end_ms": 1}, {"offset_ms": 1}, {"offset_ms": None}])
def test_another_window_is_not_done(change: dict[str, Any], layout: str, tmp_path: Path):
    _commit(tmp_path, layout)
    assert _state(tmp_path, attrs.evolve(CHUNK, **change)) in ("foreign", "missing")


def test_a_run_that_went_better_counts(tmp_path: Path):
    _commit(tmp_path, "segments", "1", status="failed")
    _commit(tmp_path, "segments", "2")
    assert _state(tmp_path) == "done"
    _commit(tmp_path, "segments", "3", status="failed")
    assert _state(tmp_path) == "done"


def test_what_another_model_replaced_is_not_done(tmp_path: Path):
    """As for a reader, the latest run counts."""
    _commit(tmp_path, "segments", "1", fingerprint="f")
    _commit(tmp_path, "segments", "2", fingerprint="g")
    assert _state(tmp_path, fingerprint="f") == "foreign"
    assert _state(tmp_path, fingerprint="g") == "done"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_places_count_another_place_is_not_done(layout: str, tmp_path: Path):
    """Nor one that was not known; and the newest result tells. Names of sites change nothing."""
    nowhere = Recording("REC", CHUNK.source_path)
    here, there = (attrs.evolve(nowhere, latitude=60.5, longitude=at) for at in (-114.25, -75.0))

    def commit(recording: Recording, run: str) -> None:
        writer = open_writer(layout, run, "cpu-0")
        writer.commit([(tmp_path, ChunkResult(CHUNK, recording, "ok", (), "lab", fingerprint="f"))])
        writer.close()

    def state(recording: Recording) -> str:
        return DoneIndex(tmp_path, "f", by_place=True).state(CHUNK, recording)

    commit(nowhere, "1")
    assert [state(one) for one in (nowhere, attrs.evolve(nowhere, site="pond"))] == ["done", "done"]
    assert [state(one) for one in (here, there)] == ["elsewhere", "elsewhere"]
    assert DoneIndex(tmp_path, "f").state(CHUNK, here) == "done", "for runners that do not care"
    commit(here, "2")
    assert [state(one) for one in (here, nowhere, there)] == ["done", "elsewhere", "elsewhere"]
    late = attrs.evolve(here, started_at=LocalTime(dt.datetime(2026, 6, 1, 4)))
    assert state(late) == "elsewhere"


def test_both_layouts_are_looked_at(tmp_path: Path):
    _commit(tmp_path, "segments", chunk=attrs.evolve(CHUNK, chunk_id="a"))
    _commit(tmp_path, "files", chunk=attrs.evolve(CHUNK, chunk_id="b"))
    index = DoneIndex(tmp_path, "f")
    assert [index.state(attrs.evolve(CHUNK, chunk_id=name)) for name in "abc"] == ["done", "done", "missing"]


@pytest.mark.parametrize("data", ["", "{", "[]", "{}"])
def test_a_damaged_file_is_told(data: str, tmp_path: Path):
    (tmp_path / "REC").mkdir()
    (tmp_path / "REC" / "c.json").write_text(data)
    problems: list[Problem] = []
    assert DoneIndex(tmp_path, "f", problems.append).state(CHUNK) == "damaged"
    assert len(problems) == 1


@pytest.mark.parametrize("nonsense", [{"chunk": None}, {"chunk": 3}, {"chunk": {"sha256": 5}}, {"recording_id": []}])
def test_well_formed_nonsense(nonsense: dict[str, Any], tmp_path: Path):
    (tmp_path / "_segments").mkdir()
    entry = {"recording_id": "REC", "chunk_id": "c", "status": "ok", "fingerprint": "f", **nonsense}
    (tmp_path / "_segments" / "1.jsonl").write_text(json.dumps(entry) + "\n")
    assert _state(tmp_path) == "missing"


def test_what_cannot_be_read_stops_it(tmp_path: Path):
    """A folder of results that cannot be read is no empty folder."""
    (tmp_path / "REC").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=r"Cannot look into .*REC"):
        _state(tmp_path)
    (tmp_path / "b" / "_segments" / "1.jsonl").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"1\.jsonl: cannot be read"):
        _state(tmp_path / "b")


def test_leftovers_of_killed_writers_are_removed_on_request(tmp_path: Path):
    _commit(tmp_path, "files")
    left = tmp_path / "REC" / ".badc-tmp-host-1-2"
    left.write_text('{"half')
    assert _state(tmp_path) == "done"
    assert left.exists()
    assert DoneIndex(tmp_path, "f", tidy=True).state(CHUNK) == "done"
    assert not left.exists()
    assert (tmp_path / "REC" / "c.json").exists()

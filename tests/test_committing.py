"""Committing results: durable when it returns, whole or not at all before, and the first of two counts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from badc_core import committing
from badc_core.committing import FilesWriter, SegmentsWriter, open_writer
from badc_core.errors import StoreError
from badc_core.model import Chunk, ChunkResult, Recording
from badc_core.results import Problem, scan

LAYOUTS = ("files", "segments")


def _result(number: int = 0, recording: str = "REC", **more: Any) -> ChunkResult:
    chunk = Chunk(f"{recording}_{number}", recording, Path("/data/x.wav"), 3000 * number, 3000 * (number + 1), 0, 0)
    values = {"status": "ok", "detections": (), "runner": "lab", "fingerprint": "f", **more}
    return ChunkResult(chunk, Recording(recording, Path("/data/x.wav")), **values)


def _there(base: Path) -> dict[str, dict[str, Any]]:
    problems: list[Problem] = []
    found = {stored.document["chunk_id"]: stored.document for stored in scan(base, problems.append)}
    assert problems == []
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_committed_is_there(layout: Any, tmp_path: Path):
    writer = open_writer(layout, "run", "cpu-0")
    done = writer.commit([(tmp_path, _result(0)), (tmp_path, _result(1, "OTHER"))])
    assert [place.duplicate for place in done] == [False, False]
    assert all(place.path.is_file() for place in done)
    writer.commit([(tmp_path, _result(2))])
    writer.close()
    writer.close()
    assert set(_there(tmp_path)) == {"REC_0", "OTHER_1", "REC_2"}


def test_files_lie_where_badc_0_1_had_them(tmp_path: Path):
    (place,) = FilesWriter("run").commit([(tmp_path, _result(3))])
    assert place.path == tmp_path / "REC" / "REC_3.json"
    text = place.path.read_text()
    assert text.endswith("}\n")
    assert text.startswith('{\n  "chunk_id"')


def test_a_segment_has_one_writer(tmp_path: Path):
    """Two workers of one run in one process write to two files; a line is a result."""
    for worker in ("cpu-0", "cpu-1", "cpu-1"):
        writer = SegmentsWriter("20250101T000000Z-00", worker)
        writer.commit([(tmp_path, _result(0)), (tmp_path, _result(1))])
        writer.close()
    files = sorted((tmp_path / "_segments").iterdir())
    assert len(files) == 3
    assert all(file.name.startswith("20250101T000000Z-00.cpu-") for file in files)
    assert all(len(file.read_text().splitlines()) == 2 for file in files)
    assert len(_there(tmp_path)) == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_several_output_folders_in_one_batch(layout: Any, tmp_path: Path):
    writer = open_writer(layout, "run", "cpu-0")
    places = writer.commit([(tmp_path / f"{n % 2}", _result(n)) for n in range(40)])
    writer.close()
    assert all(place.path.is_relative_to(tmp_path / f"{n % 2}") for n, place in enumerate(places))
    assert [len(_there(tmp_path / name)) for name in ("0", "1")] == [20, 20]


@pytest.mark.parametrize(
    ("ours", "theirs", "ours_counts"),
    [
        ({}, {"run": "2"}, False),  # a twin in this run was quicker
        ({}, {"run": "3"}, False),  # a later run took over
        ({}, {"run": "1"}, True),  # an earlier run, to be made anew
        ({}, {"run": "3", "fingerprint": "g"}, True),
        ({}, {"run": "2", "status": "failed"}, True),
        ({"status": "failed"}, {"run": "1"}, False),  # a failure takes nobody's place
        ({"status": "failed"}, {"run": "1", "fingerprint": "g"}, True),
        ({"status": "failed"}, {"run": "1", "status": "failed"}, True),
    ],
)
def test_of_two_results_for_one_chunk(ours: dict[str, Any], theirs: dict[str, Any], ours_counts: bool, tmp_path: Path):
    run = theirs.pop("run")
    FilesWriter(run).commit([(tmp_path, _result(0, **theirs))])
    (place,) = FilesWriter("2").commit([(tmp_path, _result(0, attempts=7, **ours))])
    assert place.duplicate is not ours_counts
    assert (_there(tmp_path)["REC_0"]["meta"]["attempt"] == 7) is ours_counts
    assert os.listdir(tmp_path / "REC") == ["REC_0.json"]


@pytest.mark.parametrize("there", [b"", b"{", b"[]", b'{"meta": 3}', b'{"fingerprint": "f", "meta": null}'])
def test_a_damaged_result_is_replaced(there: bytes, tmp_path: Path):
    (tmp_path / "REC").mkdir()
    (tmp_path / "REC" / "REC_0.json").write_bytes(there)
    (place,) = FilesWriter("run").commit([(tmp_path, _result(0))])
    assert not place.duplicate
    assert set(_there(tmp_path)) == {"REC_0"}


def _failing(name: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the `at`-th call of an os function fail; a write then writes half of what it was given."""
    real, calls = getattr(os, name), [0]

    def call(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            if name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("name", ["write", "open", "fsync", "rename"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_full_disk_leaves_nothing_half_made(layout: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And the same writer can go on when there is room again."""
    writer = open_writer(layout, "run", "cpu-0")
    writer.commit([(tmp_path, _result(0))])
    refused = 0
    for at in (1, 2):
        with monkeypatch.context() as patch:
            _failing(name, at, patch)
            try:
                writer.commit([(tmp_path, _result(1)), (tmp_path, _result(2))])
            except StoreError as error:
                refused += str(tmp_path) in error.message
        assert set(_there(tmp_path)) <= {"REC_0", "REC_1", "REC_2"}
        assert not list(tmp_path.rglob(".badc-tmp-*"))
    assert refused or (layout == "segments" and name in ("rename", "open"))
    writer.commit([(tmp_path, _result(n)) for n in (1, 2, 3)])
    writer.close()
    assert set(_there(tmp_path)) == {"REC_0", "REC_1", "REC_2", "REC_3"}


def test_results_are_durable_before_they_are_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The order that makes a commit: write, sync, rename, sync of the folder."""
    order: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _r=real: (order.append(_n), _r(*a))[1])
    writer = FilesWriter("run")
    (tmp_path / "REC").mkdir()
    writer._folders.add(f"{tmp_path}/REC")
    writer.commit([(tmp_path, _result(0))])
    assert order == ["write", "fsync", "rename", "fsync"]


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.write
    monkeypatch.setattr(committing.os, "write", lambda handle, data: real(handle, bytes(data)[:10]))
    writer = SegmentsWriter("run", "cpu-0")
    (place,) = writer.commit([(tmp_path, _result(0))])
    writer.close()
    assert json.loads(place.path.read_text())["chunk_id"] == "REC_0"

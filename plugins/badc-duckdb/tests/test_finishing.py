"""What a table holds when a runner finishes its recordings, and when that is not possible."""

from __future__ import annotations

import json
import random
import types
from pathlib import Path

import pytest

from badc_core import RunnerSpec, finishing, hookimpl
from badc_core import manifest as manifests
from badc_core.cli import main
from badc_core.host import Host
from badc_core.model import Chunk
from badc_duckdb import api

CUT = {"fingerprint": "f", "finisher": "badc-lab:lab"}


@pytest.fixture
def lab(monkeypatch):
    """A plugin whose runner joins what chunks cut."""
    module = types.ModuleType("badc_lab")

    @hookimpl
    def badc_runners():
        return [RunnerSpec("lab", "Joins", open="badc_lab:open", finish="badc_core.seams:join")]

    module.badc_runners = badc_runners
    monkeypatch.setattr(finishing, "default_host", lambda: Host([module], installed=False))


@pytest.fixture
def cut(put, heard):
    """Three chunks through which one call goes."""
    put("R", 0, [heard("x", 27_000, 0.5, continues=True)], **CUT)
    put("R", 30_000, [heard("x", 0, 0.9, continues=True, end_ms=30_000)], **CUT)
    put("R", 60_000, [heard("x", 0, 0.7)], **CUT)
    put("R", 90_000, **CUT)
    put("S", 0, [heard("x", 27_000, 0.5, continues=True)], finisher=None)


def test_a_joined_detection_is_one_row_where_it_begins(cut, lab, results, tmp_path):
    """Its end lies past the end of its chunk, and the chunks it reaches into have a row without a detection."""
    found = api.aggregate(results, tmp_path / "t.csv")
    assert (found.detections, found.chunks, found.silent, found.unfinished) == (2, 5, 1, 0)
    table = [row for row in api.load_records(results) if row["recording_id"] == "R"]
    assert [(row["label"], row["status"]) for row in table] == [
        ("x", "ok"),
        ("none", "continued"),
        ("none", "continued"),
        ("none", "no_detections"),
    ]
    first = table[0]
    assert (first["timestamp_ms"], first["end_ms"], first["chunk_end_ms"]) == (27_000, 63_000, 30_000)
    assert (first["absolute_time_ms"], first["absolute_end_ms"], first["confidence"]) == (27_000, 63_000, 0.9)


def test_a_missing_plugin_is_said_and_rows_are_as_in_the_chunks(cut, results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["infer", "aggregate", "results", "--output", "t.csv"]) == 3
    said = capsys.readouterr()
    assert "Not finished: results: the plugin badc-lab, which brings the runner 'lab', is not installed" in said.err
    assert "1 recording not finished: detections are those of the chunks." in said.err
    assert "4 detections in 5 chunks" in said.out
    assert main(["infer", "aggregate", "results", "--output", "t.csv", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["unfinished"], told["unreadable"], len(told["problems"])) == (1, 0, 1)


def test_another_chunking_is_not_joined_in(cut, put, heard, lab, results, tmp_path):
    """With the manifest, results that it does not name are left out before anything is finished."""
    put("R", 15_000, [heard("x", 12_000, 0.99, continues=True, end_ms=30_000)], **CUT)
    listed = [
        Chunk(f"R_{start}_{start + 30_000}", "R", Path("a"), start, start + 30_000) for start in (0, 30_000, 60_000)
    ]
    manifests.write(tmp_path / "m.csv", listed)
    (row, *_) = api.load_records(results, tmp_path / "m.csv")
    assert (row["absolute_end_ms"], row["confidence"]) == (63_000, 0.9)


@pytest.mark.parametrize("seed", range(3))
def test_the_layout_and_the_order_of_lines_change_nothing(cut, lab, results, tmp_path, seed):
    """The same bytes from files, and from segments of two workers in any order."""
    api.aggregate(results, tmp_path / "files.csv")
    lines = [path.read_text() + "\n" for path in results.rglob("*.json")]
    random.Random(seed).shuffle(lines)
    folder = tmp_path / "other/results/_segments"
    folder.mkdir(parents=True)
    (folder / "20260101T000000Z-0.cpu-0.h-1.jsonl").write_text("".join(lines[:2]))
    (folder / "20260101T000000Z-0.cpu-1.h-2.jsonl").write_text("".join(lines[2:]))
    api.aggregate(tmp_path / "other", tmp_path / "segments.csv")
    assert (tmp_path / "files.csv").read_bytes() == (tmp_path / "segments.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files.csv", "other", "results", "segments.csv"]

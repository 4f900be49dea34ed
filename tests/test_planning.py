"""From a manifest to the tasks that are left to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import runs

from badc_core.errors import ManifestError, MixedResultsError
from badc_core.model import Chunk, Recording
from badc_core.planning import TaskSource, first_source
from badc_core.recordings import RecordingRules
from badc_core.recordings_table import write_recordings


def _source(path: Path, **more: Any) -> TaskSource:
    values = {"output_dir": path.parent / "out", "fingerprint": "f", "runner": "lab", "rules": RecordingRules()}
    return TaskSource(path, **{**values, **more})


def _names(source: TaskSource) -> list[str]:
    return [task.chunk.chunk_id for task, _ in source.tasks()]


def _result(base: Path, chunk: Chunk, **more: Any) -> None:
    from badc_core.committing import FilesWriter
    from badc_core.model import ChunkResult

    values = {"status": "ok", "detections": (), "runner": "lab", "fingerprint": "f", **more}
    recording = Recording(chunk.recording_id, chunk.source_path)
    FilesWriter("run").commit([(base, ChunkResult(chunk, recording, **values))])


def test_the_order_of_rows_is_the_order_of_work(isolated: Path):
    chunks = list(reversed(runs.chunks_of(2, 3)))
    source = _source(runs.make_manifest(isolated / "m.csv", chunks))
    assert _names(source) == [chunk.chunk_id for chunk in chunks]
    assert (source.counted.total, source.counted.done) == (6, 0)


def test_what_is_done_is_left_out_and_counted(isolated: Path):
    chunks = runs.chunks_of(1, 5)
    source = _source(runs.make_manifest(isolated / "m.csv", chunks))
    _result(isolated / "out", chunks[0])
    _result(isolated / "out", chunks[1], status="failed")
    (isolated / "out" / "REC0" / f"{chunks[2].chunk_id}.json").write_text("{")
    assert _names(source) == [chunk.chunk_id for chunk in chunks[1:]]
    counted = source.counted
    assert (counted.total, counted.done, counted.failed_before, counted.damaged) == (5, 1, 1, 1)
    assert len(source.problems) == 1


@pytest.mark.parametrize("grouped", [True, False])
def test_a_chunk_named_twice_is_done_once(grouped: bool, isolated: Path):
    chunks = runs.chunks_of(2, 3)
    rows = [*chunks, chunks[-1]] if grouped else [chunks[0], *chunks[3:], *chunks[:3], chunks[5]]
    source = _source(runs.make_manifest(isolated / "m.csv", rows))
    assert sorted(_names(source)) == sorted(chunk.chunk_id for chunk in chunks)
    assert source.counted.total == 6
    assert source.counted.repeated == len(rows) - 6


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("change", [{"end_ms": 5000}, {"offset_ms": 1}, {"source_path": Path("/nowhere/b.wav")}])
def test_two_windows_by_one_name_are_refused(change: dict[str, Any], grouped: bool, isolated: Path):
    """Their results would go by one name, and one would be lost."""
    first, second, other = runs.chunks_of(2, 3)[1:4]
    twin = attrs.evolve(first, **change)
    rows = [first, second, twin] if grouped else [first, other, second, twin]
    with pytest.raises(ManifestError, match=rf"rows 1 and {len(rows)} call different windows"):
        _names(_source(runs.make_manifest(isolated / "m.csv", rows)))


def test_rows_that_are_not_grouped_keep_their_order(isolated: Path):
    chunks = [chunk for pair in zip(*[iter(runs.chunks_of(3, 4))] * 4, strict=True) for chunk in pair]
    rows = sorted(chunks, key=lambda chunk: chunk.start_ms or 0)
    assert _names(_source(runs.make_manifest(isolated / "m.csv", rows))) == [chunk.chunk_id for chunk in rows]


def test_one_chunk_id_in_two_recordings_is_two_chunks(isolated: Path):
    chunks = [Chunk("same", name, Path("/x.wav")) for name in ("a", "b")]
    assert len(_names(_source(runs.make_manifest(isolated / "m.csv", chunks)))) == 2


def test_results_for_another_place_are_not_mixed_in(isolated: Path):
    """They are refused, with the reason, where places count; to be replaced, only they are made anew."""
    chunks = runs.chunks_of(2, 1)
    manifest = runs.make_manifest(isolated / "m.csv", chunks)
    for chunk in chunks:
        _result(isolated / "out", chunk)
    first, second = (Recording(chunk.recording_id, chunk.source_path) for chunk in chunks)
    write_recordings(manifest, [attrs.evolve(first, latitude=60.5, longitude=-114.25), second])
    with pytest.raises(MixedResultsError, match="another place or time"):
        _names(_source(manifest, by_place=True))
    assert _names(_source(manifest, by_place=True, replace=True)) == [chunks[0].chunk_id]
    assert _names(_source(manifest)) == []


@pytest.mark.parametrize(("change", "state"), [({"fingerprint": "g"}, "foreign"), ({"fingerprint": None}, "unmarked")])
def test_results_of_others_are_not_mixed_in(change: dict[str, Any], state: str, isolated: Path):
    chunks = runs.chunks_of(1, 2)
    manifest = runs.make_manifest(isolated / "m.csv", chunks)
    _result(isolated / "out", chunks[1], **change)
    with pytest.raises(MixedResultsError, match=chunks[1].chunk_id):
        _names(_source(manifest))
    replacing = _source(manifest, replace=True)
    assert len(_names(replacing)) == 2
    assert replacing.counted.replaced == 1
    assert len(_names(_source(manifest, resume=False))) == 2
    called = _source(manifest, called_done=frozenset({("REC0", chunks[1].chunk_id)}))
    if state == "unmarked":
        assert _names(called) == [chunks[0].chunk_id]
    else:
        with pytest.raises(MixedResultsError):
            _names(called)


@pytest.mark.parametrize("recording", ["REC0", None])
def test_a_summary_is_checked_against_the_results(recording: str | None, isolated: Path):
    chunks = runs.chunks_of(1, 2)
    source = _source(runs.make_manifest(isolated / "m.csv", chunks),
                     called_done=frozenset({(recording, chunks[0].chunk_id)}))  # fmt: skip
    assert len(_names(source)) == 2
    assert source.counted.unconfirmed == 1


def test_sizes_and_times_of_sources_are_noted(isolated: Path):
    there = isolated / "x.wav"
    there.write_bytes(bytes(17))
    chunks = [Chunk("a", "a", there), Chunk("b", "b", isolated / "gone.wav")]
    source = _source(runs.make_manifest(isolated / "m.csv", chunks))
    noted = [(task.source_size, task.source_mtime_ns) for task, _ in source.tasks()]
    assert noted == [(17, there.stat().st_mtime_ns), (None, None)]


def test_relative_sources_are_found(isolated: Path):
    (isolated / "here").mkdir()
    (isolated / "here" / "x.wav").touch()
    manifest = runs.make_manifest(isolated / "here" / "m.csv", [Chunk("a", "a", Path("x.wav"))])
    ((task, _),) = _source(manifest).tasks()
    assert task.chunk.source_path == isolated / "here" / "x.wav"
    assert first_source(manifest) == isolated / "here" / "x.wav"


def test_a_bad_row_is_told_with_its_line(isolated: Path):
    manifest = isolated / "m.csv"
    manifest.write_text("recording_id,chunk_id,source_path\na,b,x.wav\na,../b,x.wav\n")
    with pytest.raises(ManifestError, match=r"m\.csv.*line 3"):
        _names(_source(manifest))


def test_a_folder_is_claimed_before_it_is_looked_at(isolated: Path):
    order: list[str] = []
    chunks = runs.chunks_of(1, 1)
    _result(isolated / "out", chunks[0])
    source = _source(
        runs.make_manifest(isolated / "m.csv", chunks),
        on_base=lambda base: order.append(f"claim {base.name}"),
    )
    assert _names(source) == []
    assert order == ["claim out"]
    assert attrs.asdict(source.counted)["done"] == 1


def test_what_was_done_can_be_asked_for_afterwards(isolated: Path):
    chunks = runs.chunks_of(2, 3)
    for number in (0, 4):
        _result(isolated / "out", chunks[number])
    source = _source(runs.make_manifest(isolated / "m.csv", chunks))
    assert len(_names(source)) == 4
    finished = [(chunk.chunk_id, base) for chunk, base in source.finished()]
    assert finished == [(chunks[number].chunk_id, isolated / "out") for number in (0, 4)]

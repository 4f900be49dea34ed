"""What the detections table holds: columns, placeholder rows, order, times, names, and what is filled in."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import pytest

from badc_core import manifest as manifests
from badc_core.model import Chunk, Recording
from badc_core.serde import parse_start_time
from badc_duckdb import api

OLD_HEADER = (
    "recording_id,chunk_id,chunk_start_ms,chunk_end_ms,timestamp_ms,absolute_time_ms,end_ms,absolute_end_ms,label,"
    "label_code,label_name,confidence,status,runner,model_version,chunk_sha256,source_path,dataset_root"
)


def rows(folder: Path, **more) -> list[dict]:
    return list(api.load_records(folder, **more))


def csv_of(folder: Path, tmp_path: Path, **more) -> str:
    target = tmp_path / "table.csv"
    api.aggregate(folder, target, **more)
    return target.read_bytes().decode()


# ------------------------------------------------------------------------------------------ golden tables


def test_golden_table(put, heard, results, tmp_path):
    recording = {"started_at": "2023-03-31T23:59:38.000000+00:00", "study_area": "North", "site": "S1"}
    found = [
        heard("RUGR", 2300, 0.91, label_code="RUGR", label_name="Ruffed Grouse", low_hz=100.5, high_hz=800),
        heard("AMRO", 500, 1.0),
    ]
    put("R2", 30_000, found, recording=recording)
    put("R2", 0, recording=recording, missing_ms=1500)
    put("R1", 0, status="failed", error="boom")
    assert csv_of(results, tmp_path) == (
        f"{OLD_HEADER},study_area,site,recorded_at,detected_at,low_hz,high_hz,missing_ms\n"
        "R1,R1_0_30000,0,30000,,,,,none,,,,failed,birdnet,2.4,,/nowhere/audio/R1.wav,,,,,,,,\n"
        "R2,R2_0_30000,0,30000,,,,,none,,,,no_detections,birdnet,2.4,,/nowhere/audio/R2.wav,"
        ",North,S1,2023-03-31T23:59:38.000000+00:00,,,,1500\n"
        "R2,R2_30000_60000,30000,60000,500,30500,3500,33500,AMRO,,,1.0,ok,birdnet,2.4,,/nowhere/audio/R2.wav,"
        ",North,S1,2023-03-31T23:59:38.000000+00:00,2023-04-01T00:00:08.500000+00:00,,,\n"
        "R2,R2_30000_60000,30000,60000,2300,32300,5300,35300,RUGR,RUGR,Ruffed Grouse,0.91,ok,birdnet,2.4,,"
        "/nowhere/audio/R2.wav,"
        ",North,S1,2023-03-31T23:59:38.000000+00:00,2023-04-01T00:00:10.300000+00:00,100.5,800.0,\n"
    )


def test_results_of_0_1(results, tmp_path):
    """A result as BADC 0.1 wrote it: no offset, no recording; the values of its own 18 columns, nothing invented."""
    entry = {
        "chunk_id": "REC1_chunk_58000_118000",
        "recording_id": "REC1",
        "source_path": "/data/set/artifacts/chunks/REC1/REC1_chunk_58000_118000.wav",
        "status": "ok",
        "detections": [
            {
                "timestamp_ms": 2300,
                "end_ms": 5300,
                "label_code": "RUGR",
                "label_name": "Ruffed Grouse",
                "label": "RUGR",
                "confidence": 0.91,
            }
        ],
        "chunk": {"start_ms": 58000, "end_ms": 118000, "overlap_ms": 2000, "sha256": "ced7", "notes": None},
        "runner": "hawkears",
        "dataset_root": "/data/set",
        "model_version": "1.0.8",
        "hawkears_output": "/data/set/artifacts/infer/REC1/REC1_chunk_58000_118000_hawkears",
    }
    (results / "REC1").mkdir()
    (results / "REC1" / "REC1_chunk_58000_118000.json").write_text(json.dumps(entry, indent=2))
    line = csv_of(results, tmp_path).splitlines()[1]
    assert line == (
        "REC1,REC1_chunk_58000_118000,58000,118000,2300,60300,5300,63300,RUGR,RUGR,Ruffed Grouse,0.91,ok,hawkears,"
        "1.0.8,ced7,/data/set/artifacts/chunks/REC1/REC1_chunk_58000_118000.wav,/data/set,,,,,,,"
    )


def test_what_a_result_lacks_comes_from_its_place(results):
    (results / "R7").mkdir()
    path = results / "R7" / "c1.json"
    path.write_text('{"detections": [{"timestamp_ms": 5}], "status": ""}')
    (results / "R7" / "c2.json").write_text('{"status": null}')
    first, second = rows(results)
    assert (first["recording_id"], first["chunk_id"], first["source_path"]) == ("R7", "c1", str(path))
    assert (first["label"], first["status"], first["absolute_time_ms"]) == ("unknown", "ok", None)
    assert (second["label"], second["status"]) == ("none", "unknown")


@pytest.mark.parametrize(
    ("keys", "label"),
    [
        ({"label": "A", "label_code": "B", "label_name": "C"}, "A"),
        ({"label": "", "label_code": "B", "label_name": "C"}, "B"),
        ({"label_name": "C"}, "C"),
        ({}, "unknown"),
    ],
)
def test_label_is_the_code_else_the_name(put, results, keys, label):
    put("R", 0, [{"timestamp_ms": 0, **keys}])
    assert [row["label"] for row in rows(results)] == [label]


def test_dataset_is_looked_for_where_the_source_lies(put, results, tmp_path):
    dataset = tmp_path / "set, one"
    (dataset / ".datalad").mkdir(parents=True)
    put("R", 0, source_path=str(dataset / "audio" / "R.wav"))
    put("S", 0, source_path=str(tmp_path / "S.wav"))
    put("T", 0, source_path=str(dataset / "T.wav"), dataset_root="/as/told")
    assert [row["dataset_root"] for row in rows(results)] == [str(dataset), None, "/as/told"]


# ------------------------------------------------------------------------------------------- order and bytes


def _spread(entry, heard) -> list[dict]:
    made = []
    for recording in ("B", "a", "Ä", "A"):
        for start in (0, 120_000, 30_000):
            twins = [heard("x", 0, 0.5), heard("x", 0, 0.25), heard("x", 0, 0.25, label_name="X"), heard("w", 9, None)]
            found = [*twins, heard("x", None, 0.1)] if start else []
            made.append(entry(recording, start, found))
    return made


def test_order_is_total(entry, heard, tmp_path):
    """However results and detections are shuffled, and however they are stored, the bytes are the same."""
    made = _spread(entry, heard)
    seen = set()
    for seed in range(4):
        rng = random.Random(seed)
        rng.shuffle(made)
        for item in made:
            rng.shuffle(item["detections"])
        folder = tmp_path / f"results{seed}"
        if seed % 2:
            (folder / "_segments").mkdir(parents=True)
            for part in range(2):
                lines = [json.dumps(item) + "\n" for item in made[part::2]]
                (folder / "_segments" / f"20260101T000000Z-abcd.cpu-{part}.host-1.jsonl").write_text("".join(lines))
        else:
            for item in made:
                path = folder / item["recording_id"] / f"{item['chunk_id']}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(item))
        api.aggregate(folder, tmp_path / "t.csv", tmp_path / "t.parquet")
        seen.add(((tmp_path / "t.csv").read_bytes(), (tmp_path / "t.parquet").read_bytes()))
    assert len(seen) == 1
    table = list(csv.DictReader(io.StringIO(next(iter(seen))[0].decode())))
    keys = [(r["recording_id"], int(r["chunk_start_ms"]), int(r["timestamp_ms"] or -1), r["label"]) for r in table]
    assert keys == sorted(keys)
    assert list(dict.fromkeys(r["recording_id"] for r in table)) == ["A", "B", "a", "Ä"]


def test_killed_and_resumed_gives_the_same_bytes(entry, heard, tmp_path):
    """Later attempts, times, runs and torn lines leave no trace in the table."""
    made = _spread(entry, heard)
    straight = tmp_path / "straight" / "_segments"
    straight.mkdir(parents=True)
    (straight / "20260101T000000Z-aaaa.cpu-0.host-1.jsonl").write_text("".join(json.dumps(m) + "\n" for m in made))
    killed = tmp_path / "killed" / "_segments"
    killed.mkdir(parents=True)
    first = "".join(json.dumps({**m, "meta": {"attempt": 1, "run": "1"}}) + "\n" for m in made[:5])
    torn = json.dumps(made[5])[:40]
    (killed / "20260101T000000Z-bbbb.cpu-0.host-1.jsonl").write_text(first + torn)
    later = "".join(json.dumps({**m, "meta": {"attempt": 2, "run": "2", "runtime_s": 9.5}}) + "\n" for m in made[5:])
    (killed / "20260101T000100Z-cccc.cpu-0.host-2.jsonl").write_text(later)
    api.aggregate(tmp_path / "straight", tmp_path / "a.csv", tmp_path / "a.parquet")
    found = api.aggregate(tmp_path / "killed", tmp_path / "b.csv", tmp_path / "b.parquet")
    assert (found.torn, found.unreadable) == (1, 0)
    for kind in ("csv", "parquet"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


# -------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("started_at", "recorded_at", "detected_at"),
    [
        ("2023-03-26T01:59:59+00:00", "2023-03-26T01:59:59.000000+00:00", "2023-03-26T02:00:31.500000+00:00"),
        ("2023-03-26T01:59:59", "2023-03-26T01:59:59.000000", "2023-03-26T02:00:31.500000"),
        ("2023-03-25T18:59:59.25-07:00", "2023-03-26T01:59:59.250000+00:00", "2023-03-26T02:00:31.750000+00:00"),
        ("2024-02-29T23:59:58.999999", "2024-02-29T23:59:58.999999", "2024-03-01T00:00:31.499999"),
        (None, None, None),
    ],
)
def test_times(put, heard, results, started_at, recorded_at, detected_at):
    """An instant has its offset; a local time has none, and is never made UTC."""
    put("R", 30_000, [heard("x", 2500)], recording={"started_at": started_at})
    (row,) = rows(results)
    assert (row["recorded_at"], row["detected_at"]) == (recorded_at, detected_at)


def test_no_detection_time_without_a_time_in_the_recording(put, heard, results):
    put("R", 0, [heard("x", None)], recording={"started_at": "2023-03-26T01:59:59"})
    (row,) = rows(results)
    assert row["recorded_at"]
    assert row["detected_at"] is None


# -------------------------------------------------------------------------------------------------- names

NASTY = [
    "comma, and more",
    'quote " and ""',
    "line\nbreak",
    "carriage\rreturn",
    "100 % of %s",
    "'; DROP TABLE detections; --",
    "{braces} [x] $1 \\ back",
    "Zaunkönig 鷦鷯 🐦",
    " leading and trailing ",
    "tab\there",
    "null",
    "NULL",
    "#hash",
    "nul\0byte",
]


def test_nasty_names_come_through(put, heard, results, tmp_path):
    found = [heard(name, i, label_name=name) for i, name in enumerate(NASTY)]
    put("R, 1%", 0, found, recording={"site": 'a "site"\n'})
    text = csv_of(results, tmp_path, parquet=tmp_path / "t.parquet")
    table = list(csv.DictReader(io.StringIO(text.replace("nul\0byte", "nul?byte"), newline="")))
    assert [row["label"].replace("?", "\0") for row in table] == NASTY
    assert {row["site"] for row in table} == {'a "site"\n'}
    for read in (api.load_table(tmp_path / "t.parquet"), api.load_table(tmp_path / "table.csv")):
        assert read["label"].to_pylist() == NASTY
        assert read["label_name"].to_pylist() == NASTY


def test_only_what_needs_quotes_has_them(put, heard, results, tmp_path):
    put("R", 0, [heard("a b;c'd%e", 0), heard("x,y", 1)])
    lines = csv_of(results, tmp_path).splitlines()
    assert ",a b;c'd%e," in lines[1]
    assert ',"x,y",' in lines[2]
    assert lines[2].count('"') == 2


def test_names_that_are_no_utf8_become_readable(put, heard, results):
    put("R", 0, [heard("x")], source_path="/audio/caf\udce9.wav")
    assert [row["source_path"] for row in rows(results)] == ["/audio/caf\\xe9.wav"]


# ------------------------------------------------------------------------------------------------ bad files


def test_bad_files_are_named_and_counted_and_the_rest_is_there(put, heard, results, tmp_path):
    put("R", 0, [heard("x")])
    for name, text in {"empty": "", "torn": '{"chunk_id": "R_3', "list": "[1]", "other": '{"a": 1}'}.items():
        (results / "R" / f"{name}.json").write_text(text)
    problems = []
    found = api.aggregate(results, tmp_path / "t.csv", on_problem=problems.append)
    assert (found.detections, found.chunks, found.unreadable) == (1, 1, 4)
    assert {problem.path.stem for problem in problems} == {"empty", "torn", "list", "other"}


def test_bad_values_are_left_empty_and_named(put, heard, results):
    bad = heard("x", 0, 0.5) | {"timestamp_ms": "soon", "confidence": [], "label_code": {"a": 1}, "end_ms": 10**30}
    put("R", 0, [heard("a", 1), bad])
    put("R", 30_000, chunk="nothing", recording={"started_at": "yesterday", "site": 5})
    put("R", 90_000, chunk={}).write_text('{"chunk_id": "R_90000", "recording_id": "R", "detections": "oops"}')
    put("R", 60_000, [heard("b", 1), 7])
    problems = []
    table = rows(results, on_problem=problems.append)
    (row,) = [row for row in table if row["label"] == "x"]
    assert [row[key] for key in ("timestamp_ms", "confidence", "label_code", "end_ms")] == [None] * 4
    (second,) = [row for row in table if row["chunk_id"] == "R_30000_60000"]
    assert [second[key] for key in ("label", "chunk_start_ms", "recorded_at", "site")] == ["none", None, None, "5"]
    reasons = "\n".join(map(str, problems))
    for word in ("timestamp_ms", "confidence", "label_code", "end_ms", "started_at", "chunk is no object", "no list"):
        assert word in reasons
    assert "1 of its detections are no objects" in reasons
    assert len(problems) == 8
    assert {problem.path.parent for problem in problems} == {results / "R"}


def test_numbers_as_old_files_write_them(put, results):
    put("R", 0, [{"timestamp_ms": 1000.0, "end_ms": "2000.0", "label": 12, "confidence": "0.25"}])
    (row,) = rows(results)
    assert [row[key] for key in ("timestamp_ms", "end_ms", "label", "confidence")] == [1000, 2000, "12", 0.25]


def test_a_failed_chunk_has_one_row_whatever_it_holds(put, heard, results):
    put("R", 0, [heard("x"), heard("y")], status="failed", error="late")
    assert [(row["label"], row["status"]) for row in rows(results)] == [("none", "failed")]


# ------------------------------------------------------------------------------------------------ manifest


def _manifest(tmp_path: Path, chunks, recordings=()) -> Path:
    path = tmp_path / "manifest.csv"
    manifests.write(path, chunks)
    if recordings:
        manifests.write_recordings(path, recordings)
    return path


def test_a_manifest_adds_what_results_lack(results, heard, tmp_path):
    (results / "R").mkdir()
    for name in ("c1", "c2"):
        (results / "R" / f"{name}.json").write_text(json.dumps({"detections": [heard("x", 100)], "recording_id": "R"}))
    chunks = [
        Chunk("c1", "Q", Path("/other.wav"), 7, 8),  # same name, other recording
        Chunk("c1", "R", Path("/a.wav"), 1000, 2000, 0, sha256="ab" * 32),
        Chunk("c2", "R", Path("/b.wav"), 2000, 3000),
    ]
    when = parse_start_time("2026-05-03T04:00:00")
    known = [Recording("R", Path("/a.wav"), started_at=when, study_area="Yukon", site="S")]
    first, second = rows(results, manifest=_manifest(tmp_path, chunks, known))
    assert [first[k] for k in ("chunk_start_ms", "chunk_end_ms", "chunk_sha256")] == [1000, 2000, "ab" * 32]
    assert (first["absolute_time_ms"], second["absolute_time_ms"], second["source_path"]) == (1100, 2100, "/b.wav")
    assert (first["study_area"], first["site"], first["detected_at"]) == ("Yukon", "S", "2026-05-03T04:00:01.100000")


def test_a_result_knows_better_than_the_manifest(put, heard, results, tmp_path):
    put("R", 0, [heard("x")], recording={"site": "mine"})
    chunks = [Chunk("R_0_30000", "R", Path("/other.wav"), 5, 6)]
    (row,) = rows(results, manifest=_manifest(tmp_path, chunks, [Recording("R", Path("/a"), site="yours")]))
    assert (row["chunk_start_ms"], row["source_path"], row["site"]) == (0, "/nowhere/audio/R.wav", "mine")


def test_a_manifest_names_the_recording_where_only_one_can_be_meant(results, tmp_path):
    (results / "c1.json").write_text('{"status": "ok"}')
    (results / "c2.json").write_text('{"status": "ok"}')
    chunks = [Chunk("c1", "R", Path("a")), Chunk("c2", "R", Path("a")), Chunk("c2", "Q", Path("b"))]
    table = rows(results, manifest=_manifest(tmp_path, chunks))
    assert {row["chunk_id"]: row["recording_id"] for row in table} == {"c1": "R", "c2": "results"}


def test_a_manifest_tells_chunkings_apart(put, heard, results, tmp_path):
    """Results of an older chunking of the same recording would count everything twice; other recordings stay."""
    put("R", 0, [heard("x")])
    put("R", 15_000, [heard("x"), heard("y")])
    put("S", 0, [heard("x")])
    chunks = [Chunk("R_0_30000", "R", Path("a"), 0, 30_000)]
    found = api.aggregate(results, tmp_path / "t.csv", manifest=_manifest(tmp_path, chunks))
    assert (found.chunks, found.detections, found.unlisted) == (2, 2, 1)
    assert "R_15000" not in (tmp_path / "t.csv").read_text()


# ------------------------------------------------------------------------------------------------ HawkEars

LABELS = (
    "\ufefffilename,start_time,end_time,class_name,class_code,score\n"
    'R_0.wav,2.01,5.0005,"Grouse, Ruffed",RUGR,0.9\n'
    "MD5E-s1--1eca.wav,1,2,American Robin,AMRO,\n"
    "other.wav,1,2,Wrong,WRNG,0.5\n"
    "in_manifest.wav,3,4,Veery,VEER,0.25\n"
    ",5,6,Ovenbird,OVEN,1\n"
)


def test_labels_of_old_hawkears_results(results, tmp_path):
    """Times are rounded to the nearest millisecond, and rows of other chunks stay out."""
    output = results / "R" / "R_0_hawkears"
    output.mkdir(parents=True)
    (output / "HawkEars_labels.csv").write_text(LABELS)
    source = tmp_path / "R_0.wav"
    source.symlink_to(tmp_path / "objects" / "MD5E-s1--1eca.wav")
    entry = {"chunk_id": "R_0", "recording_id": "R", "source_path": str(source), "status": "ok"}
    entry |= {"hawkears_output": str(output), "runner": "hawkears", "detections": []}
    (results / "R" / "R_0.json").write_text(json.dumps(entry))
    table = rows(results, manifest=_manifest(tmp_path, [Chunk("R_0", "R", Path("x/in_manifest.wav"), 0, 9000)]))
    keys = ("timestamp_ms", "end_ms", "label", "label_name", "confidence")
    assert [tuple(row[key] for key in keys) for row in table] == [
        (1000, 2000, "AMRO", "American Robin", None),
        (2010, 5001, "RUGR", "Grouse, Ruffed", 0.9),
        (3000, 4000, "VEER", "Veery", 0.25),
        (5000, 6000, "OVEN", "Ovenbird", 1.0),
    ]


def test_labels_are_found_beside_a_result_that_moved(results):
    output = results / "R" / "R_0_hawkears"
    output.mkdir(parents=True)
    (output / "HawkEars_labels.csv").write_text(LABELS)
    entry = {"chunk_id": "R_0", "recording_id": "R", "hawkears_output": "/gone/R_0_hawkears", "source_path": "R_0.wav"}
    (results / "R" / "R_0.json").write_text(json.dumps(entry))
    assert [row["label"] for row in rows(results)] == ["RUGR", "OVEN"]


def test_detections_in_the_result_come_before_labels(results, heard):
    output = results / "R" / "R_0_hawkears"
    output.mkdir(parents=True)
    (output / "HawkEars_labels.csv").write_text(LABELS)
    entry = {"chunk_id": "R_0", "recording_id": "R", "hawkears_output": str(output), "detections": [heard("x")]}
    (results / "R" / "R_0.json").write_text(json.dumps(entry))
    assert [row["label"] for row in rows(results)] == ["x"]


def test_labels_that_cannot_be_read_are_named(results):
    output = results / "R" / "R_0_hawkears"
    output.mkdir(parents=True)
    (output / "HawkEars_labels.csv").write_text("a,b\n1,2\n")
    entry = {"chunk_id": "R_0", "recording_id": "R", "hawkears_output": str(output)}
    (results / "R" / "R_0.json").write_text(json.dumps(entry))
    problems = []
    assert [row["label"] for row in rows(results, on_problem=problems.append)] == ["none"]
    assert "lacks the columns end_time, score, start_time" in str(problems[0])

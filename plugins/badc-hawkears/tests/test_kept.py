"""Tables of what results keep, and detections at another threshold; on results as the runner writes them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from badc_core.json_text import dump_json
from badc_core.model import Chunk, ChunkResult, Recording
from badc_core.results import document
from badc_hawkears.engine.embeddings import EMBEDDINGS, encode_embeddings
from badc_hawkears.engine.frames import KEY, Keeping, encode
from badc_hawkears.rules import Alike, ClassRules, Settings

CLASSES = (
    ClassRules("COYE", "COYE", "COYE", "Common Yellowthroat", boosted=True),
    ClassRules("WTSP", "WTSP", "WTSP", "White-throated Sparrow", lowered=1.2),
    ClassRules("BWHA", "BWHA", "BWHA", "Broad-winged Hawk", alike=(Alike("WTSP", 5, 0.5, 24),)),
    ClassRules("PEEP", "PEEP", "PEEP", "Spring Peeper", included=False),
)
CHUNK_FRAMES, CHUNKS = 40, 4


@pytest.fixture
def scores() -> np.ndarray:
    """Scores of a recording: songs that rise and fall, some of them weak."""
    rng = np.random.default_rng(5)
    frames = CHUNK_FRAMES * CHUNKS
    songs = np.zeros((frames, len(CLASSES)))
    for number in range(len(CLASSES)):
        for _ in range(8):
            middle, width, peak = rng.integers(frames), rng.uniform(1, 8), rng.uniform(0.2, 1)
            songs[:, number] = np.maximum(
                songs[:, number], peak * np.exp(-(((np.arange(frames) - middle) / width) ** 2))
            )
    return songs.astype(np.float32)


def write_results(folder: Path, scores: np.ndarray, min_score: float = 0.7, floor: float | None = 0.1) -> Path:
    """Write what the runner would, for chunks of 10 s."""
    keeping = Keeping(Settings(min_score), CLASSES, floor)
    for number in range(CHUNKS):
        first = number * CHUNK_FRAMES
        kept = encode(scores[first : first + CHUNK_FRAMES], first, (first, first + CHUNK_FRAMES), keeping)
        start_ms, end_ms = first * 250, (first + CHUNK_FRAMES) * 250
        chunk = Chunk(f"rec_{start_ms}", "rec", Path("rec.wav"), start_ms, end_ms, 0, start_ms)
        write_result(folder, chunk, {KEY: kept})
    return folder


def write_result(folder: Path, chunk: Chunk, extra: dict[str, object], status: str = "no_detections") -> Path:
    """Write one result."""
    recording = Recording(chunk.recording_id, chunk.source_path)
    result = ChunkResult(
        chunk, recording, status, (), "hawkears", extra=extra, fingerprint="f", finisher="badc-hawkears:hawkears"
    )
    path = folder / chunk.recording_id / f"{chunk.chunk_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump_json(document(result, "run")))
    return path


# --------------------------------------------------------------------------------------------------- scores


def test_every_score_from_the_floor_on_is_a_row_with_its_time_in_the_recording(cli, isolated, scores):
    write_results(Path("results"), scores)
    said = cli("hawkears", "scores", "results", "--output", "scores.parquet").ok().stdout
    rows = pq.read_table("scores.parquet").to_pylist()
    found = {(row["label_code"], row["start_ms"]): row["score"] for row in rows}
    wanted = {
        (rule.code, frame * 250): score
        for number, rule in enumerate(CLASSES)
        for frame, score in enumerate(scores[:, number].tolist())
        if score >= np.float32(0.1)
    }
    assert found == pytest.approx(wanted, abs=1e-6)
    assert len(rows) == len(wanted)
    assert said == f"{len(wanted):,} scores: scores.parquet\n"
    assert {row["label_code"] for row in rows if not row["reported"]} == {"PEEP"}
    assert {row["label_name"] for row in rows if row["label"] == "BWHA"} == {"Broad-winged Hawk"}
    assert all(row["chunk_id"] == f"rec_{row['start_ms'] // 10_000 * 10_000}" for row in rows)


def test_csv_holds_the_same(cli, isolated, scores):
    write_results(Path("results"), scores)
    cli("hawkears", "scores", "results", "--output", "scores.parquet").ok()
    cli("hawkears", "scores", "results", "--output", "scores.csv").ok()
    with Path("scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table("scores.parquet").to_pylist()
    assert [(row["recording_id"], int(row["start_ms"]), row["label"], float(row["score"])) for row in rows] == [
        (row["recording_id"], row["start_ms"], row["label"], row["score"]) for row in table
    ]


def test_chunk_files_lie_where_their_results_say(cli, isolated, scores):
    """Frames of a chunk that is a file of its own are counted from its first sample on."""
    kept = encode(scores[:CHUNK_FRAMES], 0, (0, CHUNK_FRAMES), Keeping(Settings(0.7), CLASSES, 0.1))
    write_result(Path("results"), Chunk("rec_60000", "rec", Path("cut.wav"), 60_000, 70_000), {KEY: kept})
    cli("hawkears", "scores", "results", "--output", "scores.parquet").ok()
    starts = pq.read_table("scores.parquet")["start_ms"].to_pylist()
    assert starts
    assert all(60_000 <= start < 70_000 for start in starts)


def test_the_query_of_the_docs_gives_labels_at_another_threshold(cli, isolated, scores):
    page = Path(__file__).parents[3] / "docs/how-to/hawkears.md"
    query = page.read_text("utf-8").partition("```sql\n")[2].partition("```")[0]
    assert "0.5" in query
    write_results(Path("results"), scores)
    cli("hawkears", "scores", "results", "--output", "scores.parquet").ok()
    found = {tuple(row[:4]) for row in duckdb.sql(query).fetchall()}
    wanted = set()
    for number, rule in enumerate(CLASSES):
        high = [*(scores[:, number] >= np.float32(0.5)), False]
        begin = None
        for frame, on in enumerate(high):
            if on and begin is None:
                begin = frame
            if not on and begin is not None:
                if rule.included:
                    wanted.add(("rec", rule.code, begin * 250, frame * 250))
                begin = None
    assert wanted
    assert found == wanted


# ------------------------------------------------------------------------------------------ another threshold


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_another_threshold_gives_the_table_of_a_run_with_it(cli, isolated, scores, threshold):
    write_results(Path("one"), scores)
    write_results(Path("other"), scores, threshold, None)
    cli(
        "hawkears", "aggregate", "one", "--min-score", threshold, "--output", "one.csv", "--parquet", "one.parquet"
    ).ok()
    cli("infer", "aggregate", "other", "--output", "other.csv").ok()
    assert Path("one.csv").read_bytes() == Path("other.csv").read_bytes()
    labels = [row for row in pq.read_table("one.parquet").to_pylist() if row["confidence"] is not None]
    assert labels
    assert {row["label"] for row in labels} <= {"COYE", "WTSP", "BWHA"}


def test_without_all_scores_only_higher_thresholds_can_be_had(cli, isolated, scores):
    write_results(Path("results"), scores, floor=None)
    write_results(Path("other"), scores, 0.8, None)
    cli("hawkears", "aggregate", "results", "--min-score", "0.8", "--output", "higher.csv").ok()
    cli("infer", "aggregate", "other", "--output", "other.csv").ok()
    assert Path("higher.csv").read_bytes() == Path("other.csv").read_bytes()
    said = cli("hawkears", "aggregate", "results", "--min-score", "0.6", "--output", "lower.csv")
    assert said.code == 1
    assert "keeps too few scores for a threshold of 0.6" in said.stderr
    assert "-o keep=scores" in said.stderr
    assert not Path("lower.csv").exists()


def test_a_floor_that_is_too_high_is_told(cli, isolated, scores):
    write_results(Path("results"), scores, floor=0.4)
    said = cli("hawkears", "aggregate", "results", "--min-score", "0.3", "--output", "x.csv")
    assert said.code == 1
    assert "0.4" in said.stderr


# ----------------------------------------------------------------------------------------------- embeddings


def test_embeddings_become_rows_with_their_times(cli, isolated):
    vectors = np.arange(12, dtype=np.float16).reshape(3, 4)
    chunk = Chunk("rec_60000", "rec", Path("rec.wav"), 60_000, 69_000, 0, 60_000)
    write_result(Path("results"), chunk, {EMBEDDINGS: encode_embeddings([240, 252, 264], vectors, 12)})
    short = Chunk("rec_69000", "rec", Path("rec.wav"), 69_000, 69_400, 0, 69_000)
    write_result(Path("results"), short, {})  # no window begins in it
    cli("hawkears", "embeddings", "results", "--output", "e.parquet").ok()
    rows = pq.read_table("e.parquet").to_pylist()
    assert [(row["recording_id"], row["start_ms"], row["end_ms"]) for row in rows] == [
        ("rec", 60_000, 63_000),
        ("rec", 63_000, 66_000),
        ("rec", 66_000, 69_000),
    ]
    assert [row["embedding"] for row in rows] == vectors.tolist()
    assert duckdb.sql("SELECT list_sum(embedding) FROM 'e.parquet' ORDER BY start_ms").fetchall() == [
        (6,),
        (22,),
        (38,),
    ]


def test_embeddings_of_two_lengths_are_refused(cli, isolated):
    for number, size in enumerate((4, 5)):
        chunk = Chunk(f"rec_{number}", "rec", Path("rec.wav"), 3000 * number, 3000 * number + 3000, 0, 3000 * number)
        kept = encode_embeddings([12 * number], np.ones((1, size), np.float16), 12)
        write_result(Path("results"), chunk, {EMBEDDINGS: kept})
    said = cli("hawkears", "embeddings", "results", "--output", "e.parquet")
    assert said.code == 1
    assert "embeddings of 5 numbers, others have 4" in said.stderr
    assert not Path("e.parquet").exists()


# --------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("command", ["scores", "embeddings"])
def test_results_that_keep_nothing_are_told(cli, isolated, scores, command):
    write_results(Path("results"), scores, floor=None)
    said = cli("hawkears", command, "results", "--output", "x.parquet")
    assert said.code == 1
    assert f"keeps no {command}" in said.stderr
    assert f"-o keep={command}" in said.stderr
    assert not Path("x.parquet").exists()


def test_an_empty_folder_is_told(cli, isolated):
    Path("results").mkdir()
    said = cli("hawkears", "scores", "results", "--output", "x.parquet")
    assert said.code == 1
    assert "no results" in said.stderr


def test_failed_chunks_have_no_scores_and_damaged_results_are_named(cli, isolated, scores):
    folder = write_results(Path("results"), scores)
    failed = Chunk("rec_90000", "rec", Path("rec.wav"), 90_000, 100_000, 0, 90_000)
    write_result(folder, failed, {}, "failed")
    cli("hawkears", "scores", "results", "--output", "whole.parquet").ok()
    torn = folder / "rec" / "rec_10000.json"
    entry = json.loads(torn.read_text())
    entry[KEY]["classes"]["COYE"]["frames"] = "10:x"
    torn.write_text(json.dumps(entry))
    said = cli("hawkears", "scores", "results", "--output", "rest.parquet")
    assert said.code == 3
    assert "rec_10000.json: what it keeps is damaged" in said.stderr
    whole, rest = (pq.read_table(f"{name}.parquet").to_pylist() for name in ("whole", "rest"))
    assert rest == [row for row in whole if row["chunk_id"] != "rec_10000"]


@pytest.mark.parametrize(("command", "name"), [("scores", "x.xlsx"), ("embeddings", "x.csv")])
def test_other_formats_are_refused(cli, isolated, scores, command, name):
    write_results(Path("results"), scores)
    said = cli("hawkears", command, "results", "--output", name)
    assert said.code == 2
    assert name in said.stderr
    assert not Path(name).exists()

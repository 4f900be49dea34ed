"""CSV, Parquet and DuckDB files: their form, their bytes, and nothing half-made."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badc_core.errors import BadcError
from badc_core.exporting import COLUMNS, RowBatch
from badc_duckdb import api, parquet_file
from badc_duckdb.columns import ArrowBatch, as_table
from badc_duckdb.csv_file import csv_text, open_csv
from badc_duckdb.database import DatabaseOptions, open_database
from badc_duckdb.parquet_file import open_parquet

OPENERS = {"csv": open_csv, "parquet": open_parquet, "duckdb": open_database}
ROWS = [
    {"recording_id": "R", "chunk_id": "c", "chunk_start_ms": 0, "timestamp_ms": 5, "label": "x", "confidence": 0.25},
    {"recording_id": "R", "chunk_id": "d", "chunk_start_ms": 60_000, "label": "none", "status": "no_detections"},
]


@pytest.fixture(params=OPENERS)
def kind(request) -> str:
    return request.param


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --------------------------------------------------------------------------------------------- all formats


def test_nothing_is_there_before_the_end(kind, tmp_path):
    target = tmp_path / "new folder" / "table"
    exporter = OPENERS[kind](target)
    exporter.write(RowBatch(ROWS))
    exporter.checkpoint()
    assert not target.exists()
    exporter.close({})
    exporter.close({})
    assert leftovers(target.parent) == ["table"]


def test_an_aborted_export_leaves_the_old_file_and_nothing_else(kind, tmp_path):
    target = tmp_path / "table"
    target.write_text("old")
    exporter = OPENERS[kind](target)
    exporter.write(RowBatch(ROWS * 100))
    exporter.close(None)
    exporter.close(None)
    assert (target.read_text(), leftovers(tmp_path)) == ("old", ["table"])


def test_abort_after_the_end_changes_nothing(kind, tmp_path):
    exporter = OPENERS[kind](tmp_path / "table")
    exporter.write(RowBatch(ROWS))
    exporter.close({})
    before = (tmp_path / "table").read_bytes()
    exporter.close(None)
    assert (tmp_path / "table").read_bytes() == before


def test_a_table_without_rows_is_a_table(kind, tmp_path):
    target = tmp_path / f"table.{kind}"
    OPENERS[kind](target).close({})
    read = {"csv": "read_csv($1, header = true)", "parquet": "read_parquet($1)"}.get(kind)
    with duckdb.connect() if read else duckdb.connect(str(target)) as connection:
        found = connection.sql(f"FROM {read}", params=[str(target)]) if read else connection.sql("FROM detections")
        assert found.columns == [column.name for column in COLUMNS]
        assert found.fetchall() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_named(kind, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BadcError, match="Cannot write"):
            OPENERS[kind](tmp_path / "table")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_named(kind, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadcError, match=r"Cannot write .*table"):
        OPENERS[kind](tmp_path / "file" / "table")


def test_a_full_disk_is_a_clear_error(kind, tmp_path):
    """/dev/full stands for the disk: the temporary file is a link to it."""
    if not Path("/dev/full").exists() or kind == "duckdb":
        pytest.skip("no such disk for this format")
    exporter = OPENERS[kind](tmp_path / "table")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, exporter._pending.file.fileno())
    os.close(full)

    def export() -> None:
        for _ in range(50):
            exporter.write(RowBatch(ROWS * 2000))
            exporter.checkpoint()
        exporter.close({})

    with pytest.raises(BadcError, match=r"Cannot write .*table: No space left on device"):
        export()
    exporter.close(None)
    assert leftovers(tmp_path) == []


# ----------------------------------------------------------------------------------------------------- CSV


def test_csv_form():
    table = as_table(pa.table({"label": ["a", "", None, "c,d"], "confidence": [1.0, 0.1, None, 1e-7]}))
    lines = bytes(csv_text(table.select(["label", "confidence", "chunk_start_ms"]))).decode().splitlines()
    assert lines == ["a,1.0,", '"",0.1,', ",,", '"c,d",1e-7,']


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    st.lists(
        st.tuples(
            st.none() | texts,
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=150, deadline=None)
def test_csv_round_trip(rows):
    """Any reader of RFC 4180 gets every text, number and null back."""
    names, numbers, wholes = zip(*rows, strict=True)
    table = pa.table(
        [pa.array(names, pa.string()), pa.array(numbers, pa.float64()), pa.array(wholes, pa.int64())], ["a", "b", "c"]
    )
    text = bytes(csv_text(table)).decode()
    back = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert [row[0] for row in back] == [name or "" for name in names]
    assert [float(row[1]) if row[1] else None for row in back] == list(numbers)
    assert [int(row[2]) if row[2] else None for row in back] == list(wholes)
    assert text.count('""') >= sum(name == "" for name in names)


def test_csv_of_a_slice_holds_only_the_slice():
    table = as_table(pa.table({"label": [f"l{i}" for i in range(10)]})).slice(3, 2).select(["label"])
    assert bytes(csv_text(table)) == b"l3\nl4\n"
    assert bytes(csv_text(table.slice(0, 0))) == b""


# ------------------------------------------------------------------------------------------------- Parquet


def test_parquet_types(tmp_path):
    exporter = open_parquet(tmp_path / "t.parquet")
    exporter.write(RowBatch(ROWS))
    exporter.close({})
    with duckdb.connect() as connection:
        described = connection.sql("DESCRIBE FROM read_parquet($1)", params=[str(tmp_path / "t.parquet")]).fetchall()
    wanted = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}
    assert [row[:2] for row in described] == [(column.name, wanted[column.kind]) for column in COLUMNS]
    metadata = pq.read_metadata(tmp_path / "t.parquet")
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_parquet_bytes_do_not_depend_on_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_file, "ROW_GROUP_ROWS", 7000)
    rows = [{**ROWS[0], "label": f"l{i % 97}", "chunk_id": f"{i}" * 40, "timestamp_ms": i} for i in range(30_000)]
    table = as_table(RowBatch(rows))
    made = set()
    for size in (131, 1111, 7000, 30_000):
        exporter = open_parquet(tmp_path / "t.parquet")
        for start in range(0, 30_000, size):
            exporter.write(ArrowBatch(table.slice(start, size)))
        exporter.close({})
        made.add((tmp_path / "t.parquet").read_bytes())
    assert len(made) == 1
    metadata = pq.read_metadata(tmp_path / "t.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [7000, 7000, 7000, 7000, 2000]


# -------------------------------------------------------------------------------------------------- DuckDB


@pytest.fixture
def database(tmp_path) -> Path:
    rows = [
        {"recording_id": "R", "chunk_id": "a", "chunk_start_ms": 0, "label": "none"},
        {"recording_id": "R", "chunk_id": "b", "chunk_start_ms": 60_000, "label": "x", "confidence": 0.5},
        {"recording_id": "R", "chunk_id": "b", "chunk_start_ms": 60_000, "label": "x", "confidence": 1.0},
        {"recording_id": "R", "chunk_id": "c", "chunk_start_ms": 90_000, "label": "x", "confidence": 0.0},
        {"recording_id": "S", "chunk_id": "d", "label": "y", "label_name": "Why", "timestamp_ms": 0},
        {"recording_id": "S", "chunk_id": "e", "chunk_start_ms": 125_000, "label": "none", "confidence": 0.25},
    ]
    exporter = open_database(tmp_path / "d.duckdb", DatabaseOptions(bucket_minutes=1))
    exporter.write(RowBatch(rows[:3]))
    exporter.write(RowBatch(rows[3:]))
    exporter.checkpoint()
    exporter.close({})
    return tmp_path / "d.duckdb"


def test_views_count_detections_and_average_over_them(database):
    views = {name: [tuple(row.values()) for row in t.to_pylist()] for name, t in api.load_views(database).items()}
    assert views == {
        "label_summary": [("x", "", 3, 0.5), ("none", "", 1, 0.25), ("y", "Why", 1, None)],
        "recording_summary": [("R", 3, 0.5), ("S", 2, 0.25)],
        "timeline_summary": [(0, 0, 1, None), (1, 60_000, 3, 0.5), (2, 125_000, 1, 0.25)],
    }
    assert [t.num_rows for t in api.load_views(database, limit=1).values()] == [1, 1, 1]


def test_columns_of_table_and_views(database):
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.sql("FROM detections").columns == [column.name for column in COLUMNS]
        described = connection.sql("DESCRIBE timeline_summary").fetchall()
    assert [row[:2] for row in described[:2]] == [("bucket_index", "BIGINT"), ("bucket_start_ms", "BIGINT")]


def test_an_incomplete_database_is_told_what_it_lacks(tmp_path):
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("CREATE TABLE detections (a INT)").fetchall()
        connection.execute("CREATE TABLE label_summary (a INT)").fetchall()
    with pytest.raises(BadcError, match="lacks label_summary, recording_summary, timeline_summary"):
        api.check_database(tmp_path / "x.duckdb")
    with pytest.raises(BadcError, match="There is no file"):
        api.check_database(tmp_path / "y.duckdb")
    (tmp_path / "z.duckdb").write_text("no database")
    with pytest.raises(BadcError, match="cannot be opened"):
        api.check_database(tmp_path / "z.duckdb")


def test_a_database_that_is_whole_passes(database):
    api.check_database(database)

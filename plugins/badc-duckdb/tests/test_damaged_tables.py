"""Tables that are damaged inside, of wrong types, or on another machine: they are named, and nothing is half made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from badc_duckdb import api


@pytest.fixture
def tables(isolated: Path, put: Any, heard: Any, results: Path) -> Path:
    """A folder with a table for each of three recordings, of one, two and three detections."""
    folder = isolated / "artifacts/aggregate"
    for number in (1, 2, 3):
        put(f"R{number}", 0, [heard("x", place * 1000, 0.5) for place in range(number)])
        api.aggregate(results / f"R{number}", parquet=folder / f"R{number}.parquet")
    return folder


def damaged(path: Path) -> None:
    """Leave a file whose end, which is read first, is as it was."""
    data = bytearray(path.read_bytes())
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[4:end] = b"\x55" * (end - 4)
    path.write_bytes(data)


def copied(path: Path, change: str) -> None:
    """Write a table anew with a column that is replaced."""
    select = f"SELECT * REPLACE ({change}) FROM '{path}'"
    duckdb.sql(f"COPY ({select}) TO '{path}.new' (FORMAT parquet)")
    Path(f"{path}.new").replace(path)


def mistyped(path: Path) -> None:
    copied(path, "'x' AS confidence")


def deep(path: Path) -> None:
    """Have words in a column that only the database of a bundle, its last report, needs."""
    copied(path, "'deep' AS low_hz")


@pytest.mark.parametrize("spoil", [damaged, mistyped])
def test_roll_up_counts_the_rest_of_what_is_damaged_inside(cli: Any, tables: Path, spoil: Any):
    spoil(tables / "R1.parquet")
    done = cli("report", "aggregate-dir", tables, "--json")
    assert (done.code, json.loads(done.stdout)["detections"]) == (3, 5)
    assert "R1.parquet cannot be read" in done.stderr
    for path in tables.iterdir():
        if path.name != "R1.parquet":
            path.unlink()
    done = cli("report", "aggregate-dir", tables)
    assert (done.code, "R1.parquet cannot be read" in done.stderr) == (1, True)


@pytest.mark.parametrize("spoil", [damaged, mistyped, deep])
def test_a_damaged_table_leaves_no_half_of_a_bundle(cli: Any, tables: Path, isolated: Path, spoil: Any):
    spoil(tables / "R1.parquet")
    done = cli("report", "bundle", "--parquet", tables / "R1.parquet", "--output-dir", "out")
    assert (done.code, (isolated / "out").exists()) == (1, False)
    assert "R1.parquet cannot be read" in done.stderr
    assert "badc infer aggregate" in done.stderr


def test_a_table_that_is_elsewhere(cli: Any, tables: Path):
    """A clone of a dataset has links to nowhere."""
    table = tables / "R1.parquet"
    table.unlink()
    table.symlink_to(".git/annex/objects/xx/yy/SHA256E-s9--0.parquet/SHA256E-s9--0.parquet")
    for command in ("quicklook", "bundle", "summary"):
        done = cli("report", command, "--parquet", table)
        assert (done.code, "datalad get" in done.stderr) == (1, True)
    done = cli("report", "aggregate-dir", tables, "--json")
    assert (done.code, json.loads(done.stdout)["detections"]) == (3, 5)
    assert "datalad get" in done.stderr


def test_what_is_no_number_is_not_averaged(cli: Any, tables: Path, isolated: Path):
    """Of tables that others made: NaN is no JSON, and spoils every mean."""
    path = tables / "R1.parquet"
    copied(path, "'NaN'::DOUBLE AS confidence")
    for command in ("quicklook", "summary"):
        said = cli("report", command, "--parquet", path, "--json").ok().stdout
        assert "NaN" not in said
        assert '"avg_confidence": null' in said
    cli("report", "quicklook", "--parquet", path, "--output-dir", "out").ok()
    assert (isolated / "out/labels.csv").read_text().splitlines()[1].endswith(",1,")

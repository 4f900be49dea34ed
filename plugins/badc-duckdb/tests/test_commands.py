"""``badc infer aggregate`` and ``badc report summary``, as users type them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from badc_core import exporting
from badc_core.cli import main
from badc_core.errors import PluginError
from badc_duckdb import aggregation, api, sorting


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BADC_CONFIG", raising=False)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------------ aggregate


def test_all_formats_at_once(put, heard, results, tmp_path, capsys):
    put("R", 0, [heard("x"), heard("y")])
    put("R", 30_000)
    put("S", 0, status="failed")
    status = main(
        ["infer", "aggregate", "results", "--output", "out/t.csv", "--parquet", "out/p.parquet", "--export", "duckdb"]
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert "2 detections in 3 chunks (1 without detections, 1 failed) of 2 recordings." in printed
    assert files(tmp_path / "out") == ["p.parquet", "t.csv", "t.duckdb"]
    tables = [api.load_table(tmp_path / "out" / name) for name in ("t.csv", "p.parquet")]
    with duckdb.connect("out/t.duckdb", read_only=True) as connection:
        tables.append(connection.sql("FROM detections").to_arrow_table())
    assert tables[0].to_pylist() == tables[1].to_pylist() == tables[2].to_pylist()
    assert tables[0].num_rows == 4


def test_default_output(put, results, tmp_path):
    put("R", 0)
    assert main(["infer", "aggregate", "results"]) == 0
    assert files(tmp_path / "artifacts") == ["aggregate/summary.csv"]


def test_json(put, heard, results, capsys):
    put("R", 0, [heard("x")])
    (results / "R" / "torn.json").write_text("{")
    assert main(["infer", "aggregate", "results", "--json"]) == 3
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["detections"] == found["chunks"] == found["unreadable"] == 1
    assert found["outputs"] == [{"format": "csv", "path": "artifacts/aggregate/summary.csv"}]
    assert found["problems"][0]["path"] == "results/R/torn.json"
    assert "results/R/torn.json: is not valid JSON" in said.err


def test_an_empty_folder_warns_and_is_no_error(results, tmp_path, capsys):
    assert main(["infer", "aggregate", "results", "--output", "out.csv", "--parquet", "out.parquet"]) == 0
    assert "No results found in results" in capsys.readouterr().out
    assert files(tmp_path) == []


def test_an_empty_folder_leaves_old_tables_alone(results, tmp_path):
    (tmp_path / "out.csv").write_text("old")
    assert main(["infer", "aggregate", "results", "--output", "out.csv"]) == 0
    assert (tmp_path / "out.csv").read_text() == "old"


def test_chunks_without_a_result_are_counted(put, heard, results, tmp_path, capsys):
    """Whatever is in the folder besides, and whether a chunk was heard, silent or failed, or is listed twice."""
    rows = ["recording_id,chunk_id,source_path,start_ms,end_ms"]
    rows += [
        f"R,R_{start}_{start + 30_000},/nowhere/audio/R.wav,{start},{start + 30_000}"
        for start in range(0, 240_000, 30_000)
    ]
    (tmp_path / "m.csv").write_text("\n".join([*rows, rows[-1]]) + "\n")
    command = ["infer", "aggregate", "results", "--manifest", "m.csv"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err == "8 of 8 chunks of m.csv have no result yet.\n"
    assert "No results found" in said.out
    put("R", 0, [heard("x"), heard("y")])
    put("S", 60_000)
    put("R", 30_000, status="failed")
    assert main(command) == 0
    assert capsys.readouterr().err == "6 of 8 chunks of m.csv have no result yet.\n"
    for start in range(60_000, 210_000, 30_000):
        put("R", start)
    assert main(command) == 0
    assert capsys.readouterr().err == "1 of 8 chunks of m.csv has no result yet.\n"
    put("R", 210_000)
    assert main([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert (json.loads(said.out)["listed"], json.loads(said.out)["pending"]) == (8, 0)


def test_a_torn_last_line_is_no_failure(entry, results, capsys):
    folder = results / "_segments"
    folder.mkdir()
    (folder / "20260101T000000Z-abcd.cpu-0.host-1.jsonl").write_text(json.dumps(entry("R", 0)) + '\n{"chunk_id": ')
    assert main(["infer", "aggregate", "results"]) == 0
    assert "0 detections in 1 chunk (1 without detections) of 1 recording." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere"),
        (["results", "--export", "parquett"], "Did you mean 'parquet'"),
        (["results", "--export", "csv=artifacts/aggregate/summary.csv"], "would both write"),
        (["results", "--output", "results"], "it is a folder"),
        (["results", "--manifest", "no.csv"], "no.csv"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(put, tmp_path, capsys, arguments, words):
    put("R", 0)
    assert main(["infer", "aggregate", *arguments]) in (1, 2)
    assert words in capsys.readouterr().err
    assert files(tmp_path) == ["results/R/R_0_30000.json"]


def test_bucket_width_comes_from_the_settings(put, heard, results, tmp_path):
    (tmp_path / "badc.toml").write_text("[exporter.duckdb]\nbucket_minutes = 1\n")
    put("R", 120_000, [heard("x")])
    assert main(["infer", "aggregate", "results", "--export", "duckdb=d.duckdb"]) == 0
    assert api.load_views("d.duckdb")["timeline_summary"].to_pylist()[0]["bucket_index"] == 2


def test_a_failing_exporter_costs_nothing_of_the_others(put, heard, results, tmp_path):
    class Broken:
        def write(self, batch):
            raise ValueError("no ink")

        def checkpoint(self):
            pass

        def close(self, summary):
            pass

    put("R", 0, [heard("x")])
    (tmp_path / "t.csv").write_text("old")
    from badc_duckdb.csv_file import open_csv

    exporters = {"csv": open_csv(tmp_path / "t.csv"), "broken": Broken()}
    with pytest.raises(PluginError, match="The exporter broken failed: ValueError: no ink"):
        aggregation.aggregate(results, exporters, beside=tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "old"
    assert files(tmp_path) == ["results/R/R_0_30000.json", "t.csv"]


def test_what_does_not_fit_in_memory_is_spilled_and_removed(entry, heard, results, tmp_path, monkeypatch):
    """With room for a part of the rows the bytes are the same, and no folder stays behind."""
    folder = results / "_segments"
    folder.mkdir()
    found = [heard(f"label number {i}", i, 0.5, label_name="n" * 60) for i in range(100)]
    with (folder / "20260101T000000Z-abcd.cpu-0.host-1.jsonl").open("w") as file:
        for start in range(1200, 0, -1):
            file.write(json.dumps(entry(f"R{start % 12}" * 10, start * 1000, found)) + "\n")
    api.aggregate(results, tmp_path / "a.csv")
    monkeypatch.setattr(sorting, "MEMORY_LIMIT", "44MB")
    monkeypatch.setattr(sorting, "ROWS_AT_ONCE", 20_000)
    seen = []
    original = exporting.export

    def watched(batches, exporters, summary):
        seen.extend(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
        return original(batches, exporters, summary)

    monkeypatch.setattr(aggregation, "export", watched)
    (tmp_path / "out").mkdir()
    api.aggregate(results, tmp_path / "out" / "b.csv")
    assert len(seen) == 1, "nothing was spilled, so this test shows nothing"
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "out" / "b.csv").read_bytes()
    assert files(tmp_path / "out") == ["b.csv"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.csv"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from badc_core.cli import main; main(['infer', 'aggregate', '--help']); "
        "sys.exit(str({'duckdb', 'pyarrow', 'numpy', 'rich'} & set(sys.modules)) if "
        "{'duckdb', 'pyarrow', 'numpy', 'rich'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--export" in done.stdout


# ----------------------------------------------------------------------------------------------- report


@pytest.fixture
def table(put, heard, results, tmp_path) -> Path:
    put("R1", 0, [heard("x", 0, 0.5), heard("x", 1, 1.0), heard("y, z", 2, None)], recording={"site": "S [1]"})
    put("R2", 0, [heard("x", 0, 0.75)])
    put("R2", 30_000)
    put("R3", 0, status="failed")
    target = tmp_path / "100% [x]*'a\"=1" / "p?.parquet"
    api.aggregate(results, parquet=target)
    return target


def test_summary_on_the_screen(table, capsys):
    assert main(["report", "summary", "--parquet", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "none" not in printed
    assert printed.index("x") < printed.index("y, z")
    assert "0.750" in printed


def test_summary_to_csv_has_all_groups_whatever_the_limit(table, tmp_path):
    arguments = ["--group-by", "recording_id", "--group-by", "label", "--limit", "1", "--output", "out/s.csv"]
    assert main(["report", "summary", "--parquet", str(table), *arguments]) == 0
    assert (tmp_path / "out" / "s.csv").read_text() == (
        'recording_id,label,detections,avg_confidence\nR1,x,2,0.75\nR1,"y, z",1,\nR2,x,1,0.75\n'
    )


def test_summary_by_several_columns_with_commas(table, capsys):
    assert main(["report", "summary", "--parquet", str(table), "--group-by", "site,label", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"site": "S [1]", "label": "x", "detections": 2, "avg_confidence": 0.75},
        {"site": "S [1]", "label": "y, z", "detections": 1, "avg_confidence": None},
        {"site": None, "label": "x", "detections": 1, "avg_confidence": 0.75},
    ]


def test_names_in_brackets_are_no_markup(table, capsys):
    assert main(["report", "summary", "--parquet", str(table), "--group-by", "site"]) == 0
    assert "S [1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("group_by", "words"),
    [
        ("labels", "Did you mean 'label'"),
        ("confidence", "Choose from: label, label_code"),
        ("label; DROP TABLE detections", "Cannot group by"),
        ("label,label", "twice"),
        (",", "names no column"),
    ],
)
def test_other_columns_are_refused(table, capsys, group_by, words):
    assert main(["report", "summary", "--parquet", str(table), "--group-by", group_by]) == 2
    assert words in capsys.readouterr().err


def test_tables_of_0_1_lack_sites(tmp_path, capsys):
    old = exporting.COLUMNS[:18]
    types = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}
    columns = ", ".join(f"NULL::{types[column.kind]} AS {column.name}" for column in old if column.name != "label")
    duckdb.sql(f"COPY (SELECT 'x' AS label, {columns}) TO 'old.parquet'")
    duckdb.sql("COPY (SELECT 'x' AS label, 0.5 AS confidence, 1 AS timestamp_ms, 2 AS end_ms) TO 'some.parquet'")
    assert main(["report", "summary", "--parquet", "old.parquet", "--group-by", "site"]) == 1
    assert "has no column site" in capsys.readouterr().err
    assert main(["report", "summary", "--parquet", "some.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"label": "x", "detections": 1, "avg_confidence": 0.5}]


def test_a_file_that_is_no_parquet(tmp_path, capsys):
    (tmp_path / "x.parquet").write_text("PAR1")
    assert main(["report", "summary", "--parquet", "x.parquet"]) == 1
    assert "x.parquet cannot be read as Parquet" in capsys.readouterr().err


@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_parquet_file_that_was_cut_off(left: float, put, heard, results, tmp_path, capsys):
    """It is refused by name, and made anew by the command that made it."""
    put("R", 0, [heard("x"), heard("y")])
    command = ["infer", "aggregate", "results", "--output", "t.csv", "--parquet", "t.parquet"]
    assert main(command) == 0
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: int(left * len(whole))])
    assert main(["report", "summary", "--parquet", "t.parquet"]) == 1
    assert "t.parquet cannot be read as Parquet" in capsys.readouterr().err
    assert main(command) == 0
    assert (tmp_path / "t.parquet").read_bytes() == whole


# ------------------------------------------------------------------------------------------------- Python


def test_records_to_table_and_back(put, heard, results):
    put("R", 0, [heard("x")])
    records = list(api.load_records(results))
    assert api.records_to_table(records).to_pylist() == records == api.load_table(results).to_pylist()
    assert api.records_to_table([]).num_rows == 0


def test_csv_of_0_1_can_be_loaded(tmp_path):
    header = [column.name for column in exporting.COLUMNS[:18]]
    with (tmp_path / "old.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, ["R", "c", 0, 9, 1, 1, 2, 2, "x", "", "", 0.5, "ok", *[""] * 5]])
    (row,) = api.load_table(tmp_path / "old.csv").to_pylist()
    assert (row["confidence"], row["label_name"], row["site"]) == (0.5, None, None)


def test_a_table_of_nothing_we_know_is_refused(tmp_path):
    from badc_core.errors import BadcError

    (tmp_path / "x.csv").write_text("a,b\n1\n")
    with pytest.raises(BadcError, match="cannot be read as a table"):
        api.load_table(tmp_path / "x.csv")
    with pytest.raises(BadcError, match="nothing to make"):
        api.aggregate(tmp_path)

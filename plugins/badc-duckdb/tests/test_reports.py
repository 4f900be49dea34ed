"""The reports of ``badc report``, as users type them: their files by the byte, and names that want to be SQL."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest

from badc_core.errors import BadcError
from badc_duckdb import api, cli_reports
from badc_duckdb.bundle import bundle_paths
from badc_duckdb.reports import roll_up
from badc_duckdb.shown import hours

COMMANDS = {
    "quicklook": cli_reports.quicklook,
    "parquet": cli_reports.parquet_report,
    "duckdb": cli_reports.duckdb_report,
    "bundle": cli_reports.bundle,
    "aggregate-dir": cli_reports.aggregate_dir,
}
EVIL = "x'; DROP TABLE detections; --"
FOLDER = "100% [x]*'a\"=1"
MINUTE = 60_000


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def table(isolated: Path, put: Any, heard: Any, results: Path) -> Path:
    """Three labels in two recordings, a silent chunk, a failed one, a class called none, and nasty names."""
    put("R1", 0, [heard("RUGR", 0, 0.5, label_name="Ruffed Grouse"), heard("RUGR", 1, 1.0, label_name="Ruffed Grouse")])
    put("R1", 61 * MINUTE, [heard(EVIL, 2, None), heard("none", 3, 0.25)])
    put("R2", 0, [heard("RUGR", 0, 0.75, label_name="Ruffed Grouse")])
    put("R2", 30_000)
    put("R2", 90 * MINUTE, status="failed")
    put("R3", 0)
    target = isolated / FOLDER / "p?.parquet"
    api.aggregate(results, parquet=target)
    return target


# ---------------------------------------------------------------------------------------------- quicklook


def test_quicklook_files(cli: Any, table: Path, isolated: Path):
    cli("report", "quicklook", "--parquet", table, "--output-dir", "out 'q'/%d").ok()
    folder = isolated / "out 'q'/%d"
    assert tree(folder) == ["chunks.csv", "labels.csv", "recordings.csv"]
    assert (folder / "labels.csv").read_text() == (
        f"label,label_name,detections,avg_confidence\nRUGR,Ruffed Grouse,3,0.75\nnone,,1,0.25\n{EVIL},,1,\n"
    )
    assert (folder / "recordings.csv").read_text() == (
        "recording_id,detections,avg_confidence\nR1,4,0.5833333333333334\nR2,1,0.75\n"
    )
    assert (folder / "chunks.csv").read_text() == (
        "chunk_id,chunk_start_ms,detections,avg_confidence\n"
        "R1_0_30000,0,2,0.75\nR2_0_30000,0,1,0.75\nR3_0_30000,0,0,\nR2_30000_60000,30000,0,\n"
        "R1_3660000_3690000,3660000,2,0.25\n"
    )


def test_quicklook_limits(cli: Any, table: Path, isolated: Path):
    """Labels and recordings are cut, chunks never."""
    limits = ("--top-labels", 1, "--top-recordings", 1)
    cli("report", "quicklook", "--parquet", table, "--output-dir", "out", *limits).ok()
    assert [row["label"] for row in rows(isolated / "out/labels.csv")] == ["RUGR"]
    assert [row["recording_id"] for row in rows(isolated / "out/recordings.csv")] == ["R1"]
    assert len(rows(isolated / "out/chunks.csv")) == 5


def test_quicklook_on_the_screen(cli: Any, table: Path, isolated: Path):
    before = tree(isolated)
    told = cli("report", "quicklook", "--parquet", table).ok().stdout
    assert told.startswith("5 detections of 3 labels in 2 recordings.\n")
    assert "Ruffed Grouse" in told
    assert "█" in told
    assert "DROP TABLE" in told
    assert tree(isolated) == before


def test_quicklook_as_json(cli: Any, table: Path):
    told = json.loads(cli("report", "quicklook", "--parquet", table, "--json").ok().stdout)
    assert (told["detections"], told["label_count"], told["files"]) == (5, 3, [])
    assert told["labels"][0] == {
        "label": "RUGR",
        "label_name": "Ruffed Grouse",
        "detections": 3,
        "avg_confidence": 0.75,
    }


@pytest.mark.parametrize(("option", "most"), [("labels", 10), ("recordings", 5)])
def test_quicklook_defaults(cli: Any, isolated: Path, put: Any, heard: Any, results: Path, option: str, most: int):
    for number in range(12):
        put(f"R{number:02}", 0, [heard(f"L{number:02}")])
    api.aggregate(results, parquet="t.parquet")
    cli("report", "quicklook", "--parquet", "t.parquet", "--output-dir", "out").ok()
    assert len(rows(isolated / f"out/{option}.csv")) == most


def test_chunks_without_a_start_come_first(cli: Any, isolated: Path, put: Any, heard: Any, results: Path):
    put("R1", 0, [heard("x")])
    put("R2", 0, [heard("x")], chunk={})
    api.aggregate(results, parquet="t.parquet")
    cli("report", "quicklook", "--parquet", "t.parquet", "--output-dir", "out").ok()
    assert [row["chunk_start_ms"] for row in rows(isolated / "out/chunks.csv")] == ["", "0"]
    cli("report", "parquet", "--parquet", "t.parquet", "--output-dir", "out").ok()
    (bucket,) = rows(isolated / "out/timeline.csv")
    assert (bucket["bucket"], bucket["bucket_start_ms"], bucket["detections"]) == ("bucket_0", "0", "2")


def test_chunks_of_one_name_in_two_recordings_stay_apart(cli: Any, isolated: Path, put: Any, heard: Any, results: Path):
    put("R1", 0, [heard("x")], chunk_id="c")
    put("R2", 0, [heard("x"), heard("y")], chunk_id="c")
    api.aggregate(results, parquet="t.parquet")
    cli("report", "quicklook", "--parquet", "t.parquet", "--output-dir", "out").ok()
    assert [(row["chunk_id"], row["detections"]) for row in rows(isolated / "out/chunks.csv")] == [
        ("c", "1"),
        ("c", "2"),
    ]


# ------------------------------------------------------------------------------------------ parquet report


def test_parquet_report_files(cli: Any, table: Path, isolated: Path):
    cli("report", "parquet", "--parquet", table, "--output-dir", "out").ok()
    assert tree(isolated / "out") == ["labels.csv", "recordings.csv", "summary.json", "timeline.csv"]
    assert (isolated / "out/timeline.csv").read_text() == (
        "bucket,bucket_start_ms,detections,avg_confidence\nbucket_0,0,3,0.75\nbucket_1,3660000,2,0.25\n"
    )
    assert (isolated / "out/summary.json").read_text() == (
        '{\n  "detections": 5,\n  "label_count": 3,\n  "recording_count": 2,\n  "first_chunk_ms": 0,\n'
        '  "last_chunk_ms": 3660000,\n  "bucket_minutes": 60\n}\n'
    )
    assert len(rows(isolated / "out/labels.csv")) == 3


def test_parquet_report_options(cli: Any, table: Path, isolated: Path):
    options = ("--top-labels", 2, "--top-recordings", 1, "--bucket-minutes", 1, "--json", "--output-dir", "out")
    told = json.loads(cli("report", "parquet", "--parquet", table, *options).ok().stdout)
    assert [row["bucket_index"] for row in told["timeline"]] == [0, 61]
    assert (len(told["labels"]), len(told["recordings"]), told["bucket_minutes"]) == (2, 1, 1)
    assert [row["bucket"] for row in rows(isolated / "out/timeline.csv")] == ["bucket_0", "bucket_61"]
    assert [len(rows(isolated / f"out/{name}.csv")) for name in ("labels", "recordings")] == [2, 1]


def test_averages_are_over_detections_not_over_chunks(cli: Any, isolated: Path, put: Any, heard: Any, results: Path):
    put("R1", 0, [heard("x", 0, 1.0)])
    put("R1", 30_000, [heard("x", n, 0.5) for n in range(3)])
    api.aggregate(results, parquet="t.parquet")
    cli("report", "bundle", "--parquet", "t.parquet", "--output-dir", "out").ok()
    for name in ("t_parquet_report/timeline.csv", "t_duckdb_exports/timeline.csv", "t_quicklook/labels.csv"):
        assert [row["avg_confidence"] for row in rows(isolated / "out" / name)] == ["0.625"]


def test_a_table_of_silence(cli: Any, isolated: Path, put: Any, results: Path):
    put("R1", 0)
    api.aggregate(results, parquet="t.parquet")
    told = cli("report", "bundle", "--parquet", "t.parquet").ok().stdout
    assert "t_quicklook/chunks.csv" in told
    assert rows(isolated / "t_parquet_report/labels.csv") == rows(isolated / "t_duckdb_exports/timeline.csv") == []
    assert json.loads((isolated / "t_parquet_report/summary.json").read_text()) == {
        "detections": 0,
        "label_count": 0,
        "recording_count": 0,
        "first_chunk_ms": None,
        "last_chunk_ms": None,
        "bucket_minutes": 60,
    }
    assert rows(isolated / "t_quicklook/chunks.csv")[0]["detections"] == "0"
    assert cli("report", "quicklook", "--parquet", "t.parquet").ok().stdout == (
        "0 detections of 0 labels in 0 recordings.\n"
    )


# ------------------------------------------------------------------------------------------------- duckdb


def test_duckdb_report(cli: Any, table: Path, isolated: Path):
    target = isolated / FOLDER / "it's %s.duckdb"
    options = ("--database", target, "--export-dir", "out", "--bucket-minutes", 30)
    cli("report", "duckdb", "--parquet", table, *options).ok()
    assert tree(isolated / "out") == ["label_summary.csv", "recording_summary.csv", "timeline.csv"]
    assert (isolated / "out/timeline.csv").read_text() == (
        "bucket_index,bucket_start_ms,detections,avg_confidence\n0,0,3,0.75\n2,3660000,2,0.25\n"
    )
    assert (isolated / "out/label_summary.csv").read_text() == (
        f"label,label_name,detections,avg_confidence\nRUGR,Ruffed Grouse,3,0.75\nnone,,1,0.25\n{EVIL},,1,\n"
    )
    views = api.load_views(target)
    assert views["label_summary"].column("label_name").to_pylist() == ["Ruffed Grouse", "", ""]
    assert [str(kind) for kind in views["timeline_summary"].schema.types[:2]] == ["int64", "int64"]
    with duckdb.connect(str(target), read_only=True) as connection:
        assert connection.sql("FROM detections").to_arrow_table().equals(api.load_table(table))
    assert not [name for name in os.listdir(target.parent) if name.startswith(".badc-tmp")]


def test_duckdb_report_limits_and_default_place(cli: Any, table: Path, isolated: Path):
    options = ("--top-labels", 2, "--top-recordings", 1, "--json", "--export-dir", "out")
    told = json.loads(cli("report", "duckdb", "--parquet", table, *options).ok().stdout)
    assert told["files"][0] == "artifacts/aggregate/detections.duckdb"
    assert [len(rows(isolated / f"out/{name}_summary.csv")) for name in ("label", "recording")] == [2, 1]
    assert api.load_views("artifacts/aggregate/detections.duckdb")["label_summary"].num_rows == 3


def test_a_database_is_replaced_as_a_whole(cli: Any, table: Path, isolated: Path):
    with duckdb.connect("d.duckdb") as connection:
        connection.execute("CREATE TABLE detections (mine INTEGER); CREATE TABLE other (x INTEGER)")
    cli("report", "duckdb", "--parquet", table, "--database", "d.duckdb").ok()
    with duckdb.connect("d.duckdb", read_only=True) as connection:
        tables = {name for (name,) in connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert tables == {"detections"}


def test_a_table_is_never_replaced_by_its_database(cli: Any, table: Path):
    before = table.read_bytes()
    done = cli("report", "duckdb", "--parquet", table, "--database", table)
    assert done.code == 2
    assert "is the table itself" in done.stderr
    assert table.read_bytes() == before


def test_what_fails_leaves_the_old_database(cli: Any, table: Path, isolated: Path):
    """Half of a Parquet file can be opened where its end is whole: it breaks while it is read."""
    cli("report", "duckdb", "--parquet", table, "--database", "d.duckdb").ok()
    before = (isolated / "d.duckdb").read_bytes()
    data = table.read_bytes()
    table.write_bytes(data[:4] + b"\0" * 60 + data[64:])
    done = cli("report", "duckdb", "--parquet", table, "--database", "d.duckdb")
    assert done.code == 1
    assert "cannot be read" in done.stderr
    assert (isolated / "d.duckdb").read_bytes() == before
    assert [name for name in os.listdir(isolated) if name.startswith(".badc-tmp")] == []


# ------------------------------------------------------------------------------------------------- bundle

ALL = [
    "P.duckdb",
    "P_duckdb_exports/label_summary.csv",
    "P_duckdb_exports/recording_summary.csv",
    "P_duckdb_exports/timeline.csv",
    "P_parquet_report/labels.csv",
    "P_parquet_report/recordings.csv",
    "P_parquet_report/summary.json",
    "P_parquet_report/timeline.csv",
    "P_quicklook/chunks.csv",
    "P_quicklook/labels.csv",
    "P_quicklook/recordings.csv",
]


def test_bundle_layout(cli: Any, table: Path, isolated: Path):
    cli("report", "bundle", "--parquet", table).ok()
    assert tree(table.parent) == sorted(["p?.parquet", *(name.replace("P", "p?", 1) for name in ALL)])
    told = cli("report", "bundle", "--parquet", table, "--output-dir", "out", "--run-prefix", "P").ok().stdout
    assert tree(isolated / "out") == ALL
    assert "out/P_parquet_report/summary.json" in told


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--no-quicklook"], ["P.duckdb", "P_duckdb", "P_parquet"]),
        (["--no-parquet-report"], ["P.duckdb", "P_duckdb", "P_quicklook"]),
        (["--no-duckdb-report"], ["P_parquet", "P_quicklook"]),
        (["--quicklook", "--parquet-report", "--duckdb-report"], ["P"]),
    ],
    ids=" ".join,
)
def test_bundle_parts(cli: Any, table: Path, isolated: Path, options: list[str], left: list[str]):
    cli("report", "bundle", "--parquet", table, "--output-dir", "out", "--run-prefix", "P", *options).ok()
    assert tree(isolated / "out") == [name for name in ALL if name.startswith(tuple(left))]


def test_bundle_counts_and_places(cli: Any, table: Path, isolated: Path):
    options: list[Any] = ["--bucket-minutes", 1]
    options += ["--parquet-top-labels", 1, "--parquet-top-recordings", 1]
    options += ["--quicklook-top-labels", 2, "--quicklook-top-recordings", 1]
    options += ["--duckdb-top-labels", 1, "--duckdb-top-recordings", 1]
    options += ["--quicklook-dir", "q", "--parquet-report-dir", "p", "--duckdb-database", "d/d.duckdb"]
    options += ["--duckdb-export-dir", "e"]
    cli("report", "bundle", "--parquet", table, *options).ok()
    assert tree(table.parent) == ["p?.parquet"]
    counted = {name: len(rows(isolated / name)) for name in ("q/labels.csv", "q/recordings.csv", "p/labels.csv")}
    assert counted == {"q/labels.csv": 2, "q/recordings.csv": 1, "p/labels.csv": 1}
    counted = {name: len(rows(isolated / f"{name}.csv")) for name in ("p/recordings", "e/label_summary")}
    assert counted == {"p/recordings": 1, "e/label_summary": 1}
    assert len(rows(isolated / "e/recording_summary.csv")) == 1
    assert [row["bucket_index"] for row in rows(isolated / "e/timeline.csv")] == ["0", "61"]
    assert json.loads((isolated / "p/summary.json").read_text())["bucket_minutes"] == 1
    assert api.load_views("d/d.duckdb")["timeline_summary"].num_rows == 2


def test_bundle_defaults_are_those_of_0_1():
    found = {option.name: option.default for option in cli_reports.bundle.params}
    assert {name: found[name] for name in found if name.endswith(("labels", "recordings", "minutes"))} == {
        "bucket_minutes": 60,
        "parquet_top_labels": 20,
        "parquet_top_recordings": 10,
        "quicklook_top_labels": 10,
        "quicklook_top_recordings": 5,
        "duckdb_top_labels": 15,
        "duckdb_top_recordings": 10,
    }


def test_bundle_as_json(cli: Any, table: Path):
    told = json.loads(cli("report", "bundle", "--parquet", table, "--json", "--no-duckdb-report").ok().stdout)
    assert list(told) == ["quicklook", "parquet"]


@pytest.mark.parametrize("prefix", ["a/b", "..", ""])
def test_a_prefix_is_no_path(cli: Any, table: Path, prefix: str):
    done = cli("report", "bundle", "--parquet", table, "--run-prefix", prefix)
    assert done.code == 2
    assert "--run-prefix" in done.stderr
    assert tree(table.parent) == ["p?.parquet"]


def test_a_bundle_of_nothing_is_refused(cli: Any, table: Path):
    done = cli("report", "bundle", "--parquet", table, "--no-quicklook", "--no-parquet-report", "--no-duckdb-report")
    assert done.code == 2
    assert "nothing to make" in done.stderr


def test_bundle_paths():
    paths = bundle_paths(Path("a b/c.d.parquet"), Path("out"))
    assert (str(paths.quicklook), str(paths.database)) == ("out/c.d_quicklook", "out/c.d.duckdb")


# ------------------------------------------------------------------------------------------------ roll-up


@pytest.fixture
def tables(isolated: Path, put: Any, heard: Any, results: Path) -> Path:
    """A folder with a table per recording, as orchestrated bundles leave them."""
    for number, name in enumerate(("R1", "R2", "R3")):
        put(name, 0, [heard("x", n, 0.5, label_name="An x") for n in range(number + 1)])
        api.aggregate(results / name, parquet=isolated / "artifacts/aggregate" / f"{name}.parquet")
    return isolated / "artifacts/aggregate"


def test_roll_up(cli: Any, tables: Path, isolated: Path):
    told = cli("report", "aggregate-dir", "--export-dir", "out").ok().stdout
    assert told.startswith("6 detections of 1 label in 3 recordings of 3 tables.\n")
    assert (isolated / "out/label_summary.csv").read_text() == (
        "label_name,label,detections,avg_confidence\nAn x,x,6,0.5\n"
    )
    assert (isolated / "out/recording_summary.csv").read_text() == (
        "recording_id,detections,avg_confidence\nR3,3,0.5\nR2,2,0.5\nR1,1,0.5\n"
    )


def test_roll_up_options(cli: Any, tables: Path):
    told = json.loads(cli("report", "aggregate-dir", tables, "--limit", 1, "--json").ok().stdout)
    assert [row["recording_id"] for row in told["recordings"]] == ["R3"]
    assert sorted(path.suffix for path in tables.iterdir()) == [".parquet"] * 3


def test_roll_up_takes_what_is_called_detections(cli: Any, tables: Path):
    (tables / "R1.parquet").rename(tables / "R1_detections.parquet")
    told = json.loads(cli("report", "aggregate-dir", tables, "--json").ok().stdout)
    assert (told["detections"], told["tables"]) == (1, 1)


def test_roll_up_names_what_it_cannot_use(cli: Any, tables: Path):
    (tables / "R1.parquet").write_bytes((tables / "R1.parquet").read_bytes()[:-9])
    duckdb.sql(f"COPY (SELECT 1 AS a) TO '{tables}/other.parquet'")
    done = cli("report", "aggregate-dir", tables, "--json")
    assert done.code == 3
    assert "R1.parquet cannot be read" in done.stderr
    assert "other.parquet is no table of detections" in done.stderr
    assert json.loads(done.stdout)["detections"] == 5


def test_roll_up_says_what_is_counted_twice(cli: Any, tables: Path, results: Path):
    api.aggregate(results, parquet=tables / "all.parquet")
    done = cli("report", "aggregate-dir", tables).ok()
    assert "counted several times: 3, such as R1 in R1.parquet, all.parquet" in done.stderr


def test_roll_up_of_nothing(cli: Any, isolated: Path):
    done = cli("report", "aggregate-dir")
    assert (done.code, "artifacts/aggregate" in done.stderr) == (2, True)
    (isolated / "artifacts/aggregate").mkdir(parents=True)
    assert "There is no Parquet file in artifacts/aggregate." in cli("report", "aggregate-dir").ok().stdout
    (isolated / "artifacts/aggregate/x.parquet").write_text("x")
    assert cli("report", "aggregate-dir").code == 1
    with pytest.raises(BadcError, match="no table of detections"):
        roll_up(isolated, 1)
    assert cli("report", "aggregate-dir", "--limit", 0).code == 2


def test_roll_up_of_hundreds_of_tables(cli: Any, tables: Path):
    data = (tables / "R1.parquet").read_bytes()
    for number in range(300):
        (tables / f"{number}_detections.parquet").write_bytes(data)
    told = json.loads(cli("report", "aggregate-dir", tables, "--json").ok().stdout)
    assert told["detections"] == 300


# ------------------------------------------------------------------------------------------------- common


def test_no_option_is_left_out_here():
    """A new option needs a test."""
    tested = Path(__file__).read_text()
    for command in COMMANDS.values():
        options = [option for option in command.params if isinstance(option, click.Option)]
        names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
        assert {name for name in names if f'"{name}"' not in tested} == set()


@pytest.mark.parametrize("command", ["quicklook", "parquet", "duckdb", "bundle"])
def test_a_table_must_be_one(cli: Any, isolated: Path, command: str):
    assert cli("report", command).code == 2
    assert cli("report", command, "--parquet", "no.parquet").code == 2
    duckdb.sql("COPY (SELECT 1 AS label) TO 'x.parquet'")
    done = cli("report", command, "--parquet", "x.parquet")
    assert done.code == 1
    assert "x.parquet is no table of detections: it lacks recording_id" in done.stderr
    (isolated / "y.parquet").write_text("PAR1")
    assert "y.parquet cannot be read as Parquet" in cli("report", command, "--parquet", "y.parquet").stderr
    assert tree(isolated) == ["x.parquet", "y.parquet"]


@pytest.mark.parametrize("command", ["quicklook", "parquet", "duckdb", "bundle"])
def test_counts_below_one_are_refused(cli: Any, table: Path, command: str):
    flag = "--parquet-top-labels" if command == "bundle" else "--top-labels"
    assert cli("report", command, "--parquet", table, flag, 0).code == 2
    if command != "quicklook":
        assert cli("report", command, "--parquet", table, "--bucket-minutes", 0).code == 2


def test_names_cannot_move_the_cursor(cli: Any, isolated: Path, put: Any, heard: Any, results: Path):
    put("R1", 0, [heard("a\x1b[2Jb\nc", label_name="[bold]n[/bold]")])
    api.aggregate(results, parquet="t.parquet")
    told = cli("report", "quicklook", "--parquet", "t.parquet").ok().stdout
    assert "\x1b[2J" not in told
    assert "a?[2Jb?c" in told
    assert "[bold]n[/bold]" in told


def test_hours():
    assert [hours(value) for value in (None, 0, 59_999, 3_661_000, 360_000_000)] == [
        "0:00:00",
        "0:00:00",
        "0:00:59",
        "1:01:01",
        "100:00:00",
    ]


def test_help_imports_nothing_heavy():
    for command in COMMANDS:
        code = (
            f"import sys; from badc_core.cli import main; main(['report', {command!r}, '--help']); "
            "sys.exit(1 if {'duckdb', 'pyarrow', 'numpy', 'rich'} & set(sys.modules) else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "--json" in done.stdout) == (0, True), command


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path):
    """8 million detections in 1.6 million chunks are bundled within a gigabyte."""
    table = tmp_path / "big.parquet"
    duckdb.sql(f"""COPY (
        SELECT 'R' || (i // 20000) AS recording_id, 'R' || (i // 20000) || '_' || (i // 5 * 3000) AS chunk_id,
               (i // 5 * 3000) % 86400000 AS chunk_start_ms, 0 AS timestamp_ms, 3000 AS end_ms,
               'L' || (i % 300) AS label, NULL::VARCHAR AS label_name, (i % 100) / 100 AS confidence, 'ok' AS status
        FROM range(8000000) AS t(i)) TO '{table}'""")
    code = (
        "import sys, resource; from badc_core.cli import main\n"
        "status = main(['report', 'bundle', '--parquet', sys.argv[1]])\n"
        "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(table)], capture_output=True, text=True, check=True)
    status, mebibytes = map(int, done.stdout.splitlines()[-1].split())
    assert status == 0
    assert mebibytes < 900

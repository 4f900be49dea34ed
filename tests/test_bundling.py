"""``badc infer orchestrate --bundle``: tables and reports of each recording, up to date, and the roll-up."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from datasets import NAMES, cut_recordings, results


@pytest.fixture
def dataset(isolated: Path, cli: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three recordings in chunk files of three seconds."""
    return cut_recordings(isolated / "my set", cli, monkeypatch)


@pytest.fixture
def orchestrate(cli: Any, dataset: Path) -> Callable[..., Any]:
    """Return ``orchestrate(*options)`` over that dataset."""
    return lambda *options: cli("infer", "orchestrate", dataset, *options)


def test_bundles(orchestrate: Callable[..., Any], dataset: Path):
    options = ("--runner", "lab", "--apply", "--bundle")
    done = orchestrate(*options, "--bundle-rollup", "--bundle-bucket-minutes", 7, "--bundle-rollup-limit", 2).ok()
    folder = dataset / "artifacts/aggregate"
    for name in NAMES:
        for made in ("_summary.csv", ".parquet", ".duckdb", "_quicklook/labels.csv", "_duckdb_exports/timeline.csv"):
            assert (folder / f"{name}{made}").exists(), made
        assert json.loads((folder / f"{name}_parquet_report/summary.json").read_text())["bucket_minutes"] == 7
    rolled = list(csv.DictReader((folder / "aggregate_summary/recording_summary.csv").open(newline="")))
    assert len(rolled) == 2
    assert "of 3 tables." in done.stdout


def test_reports_that_are_missing_are_made(orchestrate: Callable[..., Any], dataset: Path):
    """Of results that were there without them, and of a run that was killed before the last file was written."""
    orchestrate("--stub-runner", "--apply").ok()
    bundle = ("--stub-runner", "--apply", "--bundle")
    assert "[3/3]" in orchestrate(*bundle).ok().stdout
    assert "Nothing to analyse" in orchestrate(*bundle).ok().stdout
    last = dataset / "artifacts/aggregate/b c_duckdb_exports/timeline.csv"
    last.unlink()
    assert "[1/1] b c: 0 chunks in" in orchestrate(*bundle).ok().stdout
    assert last.exists()


@pytest.fixture
def bundled(orchestrate: Callable[..., Any]) -> Callable[..., str]:
    """Return ``bundled(*options)``, which makes the reports that are not up to date, and what it says."""
    orchestrate("--runner", "lab", "--apply", "--bundle").ok()

    def again(*options: object) -> str:
        return str(orchestrate("--runner", "lab", "--apply", "--bundle", *options).ok().stdout)

    assert "Nothing to analyse" in again()
    return again


def test_reports_follow_the_results(bundled: Callable[..., str], orchestrate: Any, dataset: Path):
    """Results that were made anew without reports; also by name only, as in a clone, where times say nothing."""
    table = dataset / "artifacts/aggregate/a.parquet"
    before = table.read_bytes()
    result = next((dataset / "artifacts/infer/a").glob("*.json"))
    document = json.loads(result.read_text())
    document["detections"] = [{"timestamp_ms": 0, "end_ms": 500, "label": "NEW", "confidence": 0.5}]
    result.write_text(json.dumps(document))
    os.utime(result, (1, 1))
    assert "[1/1] a: 0 chunks in" in bundled()
    assert table.read_bytes() != before
    assert "NEW" in (dataset / "artifacts/aggregate/a_quicklook/labels.csv").read_text()
    assert "Nothing to analyse" in bundled()
    for path in dataset.glob("artifacts/*/*/*"):
        os.utime(path)
    assert "Nothing to analyse" in bundled(), "as after a clone"


@pytest.mark.parametrize("name", ["a.parquet", "a_summary.csv", "a.duckdb", "a_parquet_report/summary.json"])
def test_a_table_that_was_deleted_is_missing(bundled: Callable[..., str], dataset: Path, name: str):
    made = dataset / "artifacts/aggregate" / name
    made.unlink()
    assert "[1/1] a: 0 chunks in" in bundled()
    assert made.exists()


def test_reports_of_other_buckets_are_made(bundled: Callable[..., str], dataset: Path):
    assert "[3/3]" in bundled("--bundle-bucket-minutes", 7)
    summary = dataset / "artifacts/aggregate/a_parquet_report/summary.json"
    assert json.loads(summary.read_text())["bucket_minutes"] == 7
    assert "Nothing to analyse" in bundled("--bundle-bucket-minutes", 7)


def test_reports_that_others_made_are_judged_by_their_times(bundled: Callable[..., str], dataset: Path):
    """The tasks of a script make them with the commands, and note nothing."""
    shutil.rmtree(dataset / "artifacts/aggregate/.badc")
    assert "Nothing to analyse" in bundled()
    assert "[3/3]" in bundled("--bundle-bucket-minutes", 7)
    shutil.rmtree(dataset / "artifacts/aggregate/.badc")
    later = (dataset / "artifacts/aggregate/a.parquet").stat().st_mtime + 10
    os.utime(next((dataset / "artifacts/infer/a").glob("*.json")), (later, later))
    assert "[1/1] a: 0 chunks in" in bundled("--bundle-bucket-minutes", 7)


def test_a_roll_up_comes_when_it_is_asked_for(bundled: Callable[..., str], orchestrate: Any, dataset: Path):
    """Also when nothing else is left to do; without tables it is refused."""
    said = bundled("--bundle-rollup")
    assert "Nothing to analyse" in said
    assert "of 3 tables." in said
    assert (dataset / "artifacts/aggregate/aggregate_summary/label_summary.csv").exists()
    refused = orchestrate("--runner", "lab", "--apply", "--bundle-rollup")
    assert (refused.code, "--bundle-rollup goes with --bundle" in refused.stderr) == (2, True)


def test_one_recording_may_have_a_manifest_of_another_name(orchestrate: Callable[..., Any], dataset: Path):
    (dataset / "manifests/a.csv").rename(dataset / "manifests/night.csv")
    options = ("--runner", "lab", "--apply", "--bundle", "--allow-partial-chunks", "--pattern", "night.csv")
    orchestrate(*options).ok()
    assert (dataset / "artifacts/aggregate/night.parquet").exists()
    assert "Nothing to analyse" in orchestrate(*options).ok().stdout


def test_bundles_where_the_user_says(orchestrate: Callable[..., Any], dataset: Path):
    options = ("--runner", "lab", "--apply", "--limit", 1, "--bundle", "--bundle-aggregate-dir", "tab les")
    orchestrate(*options, "--bundle-no-rollup").ok()
    assert (dataset / "tab les/a.parquet").exists()
    assert not (dataset / "tab les/aggregate_summary").exists()
    options = ("--runner", "lab", "--apply", "--limit", 1, "--bundle", "--bundle-rollup")
    orchestrate(*options, "--bundle-rollup-export-dir", "rolled").ok()
    assert (dataset / "rolled/label_summary.csv").exists()
    assert not (dataset / "artifacts/aggregate/aggregate_summary").exists()


def test_no_bundles_unless_told(orchestrate: Callable[..., Any], dataset: Path):
    orchestrate("--stub-runner", "--apply", "--no-bundle").ok()
    assert not (dataset / "artifacts/aggregate").exists()


def test_bundles_are_those_of_the_commands(orchestrate: Any, cli: Any, dataset: Path, isolated: Path):
    """The same bytes as by hand."""
    orchestrate("--runner", "lab", "--apply", "--bundle").ok()
    folder = dataset / "artifacts/aggregate"
    tables = ("--output", "t.csv", "--parquet", "t.parquet")
    cli("infer", "aggregate", dataset / "artifacts/infer/a", "--manifest", dataset / "manifests/a.csv", *tables).ok()
    assert (isolated / "t.csv").read_bytes() == (folder / "a_summary.csv").read_bytes()
    assert (isolated / "t.parquet").read_bytes() == (folder / "a.parquet").read_bytes()


def test_bundles_without_the_plugin_are_refused_before_any_work(
    orchestrate: Callable[..., Any], dataset: Path, monkeypatch: pytest.MonkeyPatch
):
    import badc_core.cli.calling as calling

    def nothing(ctx: click.Context, group: str, name: str) -> Any:
        return original(ctx, group, "no-such")

    original = calling.find
    monkeypatch.setattr("badc_core.cli.bundling.find", nothing)
    done = orchestrate("--stub-runner", "--apply", "--bundle")
    assert (done.code, "badc-duckdb" in done.stderr, results(dataset)) == (1, True, [])


def test_a_manifest_of_several_recordings_has_results_but_no_bundle(orchestrate: Callable[..., Any], dataset: Path):
    lines = [(dataset / f"manifests/{name}.csv").read_text().splitlines() for name in NAMES[:2]]
    for name in NAMES:
        (dataset / f"manifests/{name}.csv").unlink()
    (dataset / "manifests/all.csv").write_text("\n".join([*lines[0], *lines[1][1:]]) + "\n")
    options = ("--stub-runner", "--apply", "--bundle", "--allow-partial-chunks")
    done = orchestrate(*options)
    assert done.code == 3
    assert "all has no reports" in done.stderr
    assert len(results(dataset)) == 6
    assert "Nothing to analyse" in orchestrate(*options).ok().stdout

"""The commands of ``badc report`` but ``summary``: parse, call, print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from badc_core.cli.options import FilePath, bucket_option
from badc_core.cli.screen import printable
from badc_core.cli.wording import counted
from badc_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from badc_duckdb.reports import Report

PATH = click.Path(path_type=Path)
_TABLE = click.option(
    "--parquet",
    type=FilePath(),
    required=True,
    help="The table, made by `badc infer aggregate --parquet`.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
_BUCKET = bucket_option("--bucket-minutes", 60)


def _top(what: str, default: int, name: str = "") -> Callable[[Any], Any]:
    """Return the option for how many labels or recordings a report, perhaps one of several, tells."""
    help = f"Most frequent {what} to tell{' in the ' + name + ' report' if name else ''}."
    flag = f"--{name}-top-{what}" if name else f"--top-{what}"
    return click.option(flag, type=click.IntRange(min=1), default=default, show_default=True, help=help)


@click.command("quicklook", short_help="See at a glance what was heard.")
@_TABLE
@_top("labels", 10)
@_top("recordings", 5)
@click.option("--output-dir", type=PATH, help="Write labels.csv, recordings.csv and chunks.csv there.")
@_JSON
def quicklook(parquet: Path, top_labels: int, top_recordings: int, output_dir: Path | None, as_json: bool) -> None:
    """See at a glance what was heard: the most frequent labels and recordings, and when.

    The line behind each label shows how often it was heard from the beginning to the end of the recordings.
    """
    from badc_duckdb.detections import of_parquet
    from badc_duckdb.reports import quicklook as look

    with of_parquet([parquet]) as found:
        report = look(found, top_labels, top_recordings, _expanded(output_dir))
    _tell(report, as_json=as_json)


@click.command("parquet", short_help="Count by label, recording and time.")
@_TABLE
@_top("labels", 20)
@_top("recordings", 10)
@_BUCKET
@click.option("--output-dir", type=PATH, help="Write labels.csv, recordings.csv, timeline.csv and summary.json there.")
@_JSON
def parquet_report(
    parquet: Path, top_labels: int, top_recordings: int, bucket_minutes: int, output_dir: Path | None, as_json: bool
) -> None:
    """Count detections by label, recording and time. The timeline begins at 0 in each recording."""
    from badc_duckdb import reports
    from badc_duckdb.detections import of_parquet

    with of_parquet([parquet], bucket_minutes) as found:
        report = reports.parquet_report(found, top_labels, top_recordings, bucket_minutes, _expanded(output_dir))
    _tell(report, as_json=as_json)


@click.command("duckdb", short_help="Make a DuckDB database with three summaries.")
@_TABLE
@click.option(
    "--database",
    type=PATH,
    default=Path("artifacts/aggregate/detections.duckdb"),
    show_default=True,
    help="The file to make; one that is there is replaced.",
)
@_BUCKET
@_top("labels", 15)
@_top("recordings", 10)
@click.option("--export-dir", type=PATH, help="Write label_summary.csv, recording_summary.csv and timeline.csv there.")
@_JSON
def duckdb_report(
    parquet: Path,
    database: Path,
    bucket_minutes: int,
    top_labels: int,
    top_recordings: int,
    export_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a DuckDB database: the table "detections", and the views "label_summary", "recording_summary" and
    "timeline_summary".
    """
    from badc_duckdb.reports import database_report

    report = database_report(
        parquet, database.expanduser(), top_labels, top_recordings, bucket_minutes, _expanded(export_dir)
    )
    _tell(report, as_json=as_json)


@click.command("bundle", short_help="Make all reports of a table.")
@_TABLE
@click.option("--output-dir", type=PATH, help="Where they go.  [default: the table's folder]")
@click.option("--run-prefix", metavar="NAME", help="What names begin with.  [default: the table's name]")
@_BUCKET
@_top("labels", 20, "parquet")
@_top("recordings", 10, "parquet")
@_top("labels", 10, "quicklook")
@_top("recordings", 5, "quicklook")
@_top("labels", 15, "duckdb")
@_top("recordings", 10, "duckdb")
@click.option("--quicklook/--no-quicklook", default=True, show_default=True, help="Make the quicklook.")
@click.option("--parquet-report/--no-parquet-report", default=True, show_default=True, help="Make the Parquet report.")
@click.option("--duckdb-report/--no-duckdb-report", default=True, show_default=True, help="Make the database.")
@click.option("--quicklook-dir", type=PATH, help="Folder of the quicklook.  [default: <prefix>_quicklook]")
@click.option("--parquet-report-dir", type=PATH, help="Of the Parquet report.  [default: <prefix>_parquet_report]")
@click.option("--duckdb-database", type=PATH, help="The database.  [default: <prefix>.duckdb]")
@click.option("--duckdb-export-dir", type=PATH, help="Its summaries as CSV.  [default: <prefix>_duckdb_exports]")
@_JSON
def bundle(parquet: Path, bucket_minutes: int, as_json: bool, **given: Any) -> None:
    """Make the quicklook, the Parquet report and the DuckDB database of one table, side by side."""
    from badc_duckdb.bundle import BundlePaths, Tops, bundle_paths, make_bundle

    wanted = [given["quicklook"], given["parquet_report"], given["duckdb_report"]]
    if not any(wanted):
        raise UsageError("There is nothing to make: all three reports are turned off.", hint="Leave one --no-… out.")
    usual = bundle_paths(parquet, _expanded(given["output_dir"]), given["run_prefix"])
    paths = BundlePaths(
        (_expanded(given["quicklook_dir"]) or usual.quicklook) if wanted[0] else None,
        (_expanded(given["parquet_report_dir"]) or usual.parquet_report) if wanted[1] else None,
        (_expanded(given["duckdb_database"]) or usual.database) if wanted[2] else None,
        _expanded(given["duckdb_export_dir"]) or usual.exports,
    )
    tops = [Tops(given[f"{name}_top_labels"], given[f"{name}_top_recordings"]) for name in ("quicklook", "parquet")]
    last = Tops(given["duckdb_top_labels"], given["duckdb_top_recordings"])
    made = make_bundle(parquet, paths, bucket_minutes, *tops, last)
    if as_json:
        _print_json({name: report.as_json() for name, report in made.items()})
        return
    for name, report in made.items():
        click.echo(f"{name}:")
        for path in report.files:
            click.echo(f"  {printable(path)}")


@click.command("aggregate-dir", short_help="Count over all tables in a folder.")
@click.argument(
    "folder",
    metavar="[DIR]",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("artifacts/aggregate"),
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Labels, and recordings, to tell."
)
@click.option("--export-dir", type=PATH, help="Write label_summary.csv and recording_summary.csv there.")
@_JSON
def aggregate_dir(folder: Path, limit: int, export_dir: Path | None, as_json: bool) -> int:
    """Count over all tables in DIR: those named *_detections.parquet, or all Parquet files when there is none of those.

    Exit status 3: some files could not be used; they are named, and the rest is counted.
    """
    from badc_duckdb.reports import roll_up

    if not any(folder.glob("*.parquet")):
        click.secho(f"There is no Parquet file in {printable(folder)}.", fg="yellow")
        return ExitCode.OK
    report = roll_up(folder, limit, _expanded(export_dir))
    for problem in report.problems:
        click.secho(f"Warning: {printable(problem)}", fg="yellow", err=True)
    _tell(report, as_json=as_json)
    return ExitCode.SOME_FAILED if report.unusable else ExitCode.OK


# ------------------------------------------------------------------------------------------------ showing


def _expanded(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser()


def _print_json(entry: object) -> None:
    click.echo(json.dumps(entry, indent=2))


def _tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        _print_json(report.as_json())
        return
    from badc_core.cli.screen import console, spark_letters
    from badc_duckdb.shown import shown

    screen = console()
    for part in shown(report, spark_letters(screen)):
        screen.print(part)
    if report.files:
        click.echo(f"\n{counted(len(report.files), 'file')} written:")
    for path in report.files:
        click.echo(f"  {printable(path)}")

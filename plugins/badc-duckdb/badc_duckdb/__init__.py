"""From results to tables: CSV, Parquet and DuckDB files, and reports over them.

Only descriptions live here; pyarrow and duckdb are imported by the modules that the import strings name.
"""

from __future__ import annotations

from collections.abc import Iterable

from badc_core.hookspecs import hookimpl
from badc_core.specs import CommandSpec, ExporterSpec

__version__ = "0.2.0"


@hookimpl
def badc_exporters() -> Iterable[ExporterSpec]:
    """Yield the three formats that everything else can read."""
    yield ExporterSpec(
        "csv", "Comma-separated text, one row per detection", open="badc_duckdb.csv_file:open_csv", suffix=".csv"
    )
    yield ExporterSpec(
        "parquet",
        "Parquet: typed columns, compressed, for R, Python and SQL",
        open="badc_duckdb.parquet_file:open_parquet",
        suffix=".parquet",
    )
    yield ExporterSpec(
        "duckdb",
        "A DuckDB database with the detections and three summaries",
        open="badc_duckdb.database:open_database",
        suffix=".duckdb",
        options="badc_duckdb.database:DatabaseOptions",
    )


@hookimpl
def badc_commands() -> Iterable[CommandSpec]:
    """Yield the commands that make tables and look at them."""
    yield CommandSpec("infer aggregate", "Compile results into tables", load="badc_duckdb.cli:aggregate")
    yield CommandSpec(
        "report summary",
        "Count detections by label, recording, site, …",
        load="badc_duckdb.cli:summary",
        group="Ask a table of detections what was heard",
    )
    yield CommandSpec("report quicklook", "See at a glance what was heard", load="badc_duckdb.cli_reports:quicklook")
    yield CommandSpec(
        "report parquet", "Count by label, recording and time", load="badc_duckdb.cli_reports:parquet_report"
    )
    yield CommandSpec(
        "report duckdb", "Make a DuckDB database with three summaries", load="badc_duckdb.cli_reports:duckdb_report"
    )
    yield CommandSpec("report bundle", "Make all reports of a table", load="badc_duckdb.cli_reports:bundle")
    yield CommandSpec(
        "report aggregate-dir", "Count over all tables in a folder", load="badc_duckdb.cli_reports:aggregate_dir"
    )

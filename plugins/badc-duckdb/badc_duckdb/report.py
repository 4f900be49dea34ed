"""Counting detections in a Parquet file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from badc_core.errors import BadcError, UsageError
from badc_duckdb.columns import IS_DETECTION, first_line
from badc_duckdb.csv_file import write_csv

__all__ = ["GROUPS", "read_parquet", "summarize", "write_summary"]

GROUPS = (
    "label",
    "label_code",
    "label_name",
    "recording_id",
    "chunk_id",
    "study_area",
    "site",
    "runner",
    "model_version",
    "status",
    "source_path",
    "dataset_root",
)
"""Columns that can be counted by. Only these names ever reach SQL."""

_ANEW = "Make it anew with `badc infer aggregate --parquet`."


def summarize(parquet: Path, group_by: Sequence[str]) -> pa.Table:
    """Count detections by groups.

    Parameters
    ----------
    parquet
        The detections table, ours or BADC 0.1's.
    group_by
        Some of :data:`GROUPS`, in the order wanted.

    Returns
    -------
    pyarrow.Table
        The groups' columns, ``detections`` and ``avg_confidence``; most detections first, then by name.

    Raises
    ------
    UsageError
        A column that cannot be counted by, or is given twice.
    BadcError
        The file is no such table, or lacks a column.
    """
    _check(group_by)
    with duckdb.connect(config={"threads": 1}) as connection:  # threads would add up averages in any order
        source = read_parquet(connection, parquet)
        _check_columns(parquet, source.columns, group_by)
        names = ", ".join(group_by)
        query = f"""
            SELECT {names}, count(*) AS detections,
                avg(nullif(CAST(confidence AS DOUBLE), 'NaN'::DOUBLE)) AS avg_confidence
            FROM source WHERE {IS_DETECTION} GROUP BY {names}
            ORDER BY detections DESC, {", ".join(f"{name} NULLS LAST" for name in group_by)}"""
        try:
            counted: pa.Table = source.query("source", query).to_arrow_table()  # type: ignore[union-attr]
            return counted
        except duckdb.Error as error:
            raise BadcError(
                f"{parquet} cannot be read: {first_line(error)}",
                hint="Make it anew with `badc infer aggregate --parquet`.",
            ) from error


def read_parquet(connection: duckdb.DuckDBPyConnection, *paths: Path, origin: str = "") -> duckdb.DuckDBPyRelation:
    """Return the rows of Parquet files, whatever their names and folders are called.

    Parameters
    ----------
    connection
        Who reads.
    *paths
        The files; columns are matched by name, and one that a file lacks is null there.
    origin
        Name of a column to add that holds the path of each row's file.

    Raises
    ------
    BadcError
        One is no Parquet file.
    """
    patterns = [re.sub(r"([\[*?])", r"[\1]", str(path)) for path in paths]
    more = f", filename = '{origin}'" if origin else ""
    query = f"SELECT * FROM read_parquet($1, hive_partitioning = false, union_by_name = {len(paths) > 1}{more})"
    try:
        return connection.sql(query, params=[patterns])
    except duckdb.Error as error:
        raise BadcError(
            f"{paths[0] if len(paths) == 1 else 'A file'} cannot be read as Parquet: {first_line(error)}",
            hint=_ANEW,
        ) from error


def _check(group_by: Sequence[str]) -> None:
    if not group_by:
        raise UsageError("--group-by names no column.", hint=f"Choose from: {', '.join(GROUPS)}.")
    for name in group_by:
        if name not in GROUPS:
            close = difflib.get_close_matches(name, GROUPS, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise UsageError(f"Cannot group by {name!r}.", hint=f"{hint}Choose from: {', '.join(GROUPS)}.")
        if group_by.count(name) > 1:
            raise UsageError(f"--group-by names {name!r} twice.")


def _check_columns(parquet: Path, present: Sequence[str], group_by: Sequence[str]) -> None:
    needed = [*group_by, "label", "timestamp_ms", "end_ms", "confidence"]
    missing = sorted({name for name in needed if name not in present})
    if missing:
        raise BadcError(
            f"{parquet} has no column {', '.join(missing)}.",
            hint="It is another table, or of BADC 0.1; make it anew with `badc infer aggregate --parquet`.",
        )


def write_summary(table: pa.Table, output: Path) -> None:
    """Write groups as CSV, whole."""
    write_csv(output, table.column_names, table.to_batches())

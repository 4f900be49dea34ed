"""The detections table as Arrow and SQL see it."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa

from badc_core.exporting import COLUMNS, PLACEHOLDER_LABEL
from badc_core.protocols import ExportBatch

__all__ = ["IS_DETECTION", "SQL_TYPES", "ArrowBatch", "as_table", "first_line", "schema", "select_list"]
__all__ += ["sql_columns"]

ARROW_TYPES = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
SQL_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}

IS_DETECTION = f"NOT (label = '{PLACEHOLDER_LABEL}' AND timestamp_ms IS NULL AND end_ms IS NULL AND confidence IS NULL)"
"""SQL condition that leaves out placeholder rows; a model's own class "none" has times or a confidence."""


@functools.cache
def schema() -> pa.Schema:
    """Return the Arrow schema of the detections table."""
    return pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in COLUMNS])


def sql_columns() -> str:
    """Return the columns for ``CREATE TABLE``."""
    return ", ".join(f"{column.name} {SQL_TYPES[column.kind]}" for column in COLUMNS)


def select_list(present: Collection[str]) -> str:
    """Return what to select so that a table has exactly the columns of :func:`schema`.

    Parameters
    ----------
    present
        The columns that it has; others become null.
    """
    return ", ".join(
        f"{_cast(column.name if column.name in present else 'NULL', column.kind)} AS {column.name}"
        for column in COLUMNS
    )


def _cast(value: str, kind: str) -> str:
    cast = f"CAST({value} AS {SQL_TYPES[kind]})"
    return f"nullif({cast}, 'NaN'::DOUBLE)" if kind == "number" else cast  # tables of others; NaN is no JSON


class ArrowBatch:
    """Some rows of the detections table, as Arrow holds them.

    Parameters
    ----------
    table
        Columns as in :func:`schema`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand over the columns without a copy."""
        return self.table.__arrow_c_stream__(requested_schema)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return the rows as dicts."""
        for batch in self.table.to_batches(max_chunksize=4096):
            yield from batch.to_pylist()


def as_table(batch: ExportBatch | pa.Table) -> pa.Table:
    """Return what an exporter was given, with exactly the columns of :func:`schema`.

    A column that is missing becomes null; one that the table does not have is left out.
    """
    table = batch.table if isinstance(batch, ArrowBatch) else pa.table(batch)
    if table.schema.equals(schema()):
        return table
    return pa.table([_column(table, field) for field in schema()], schema=schema())


def _column(table: pa.Table, field: pa.Field) -> Any:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    return table[field.name].cast(field.type)


def first_line(error: Exception) -> str:
    """Return what DuckDB says of an error, without its advice to programmers, and bytes that were no words."""
    line = str(error).partition("\n")[0]
    return "".join(letter for letter in line if letter.isprintable()).rstrip(" .:") + "."

"""The DuckDB exporter: the detections as a table, and three summaries as views."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import duckdb

from badc_core import atomic
from badc_core.config import option
from badc_core.errors import StoreError
from badc_core.protocols import ExportBatch
from badc_duckdb.columns import as_table, first_line, sql_columns
from badc_duckdb.summaries import create_views

__all__ = ["MEMORY_LIMIT", "DatabaseExporter", "DatabaseOptions", "open_database"]

MEMORY_LIMIT = "256MB"
"""What DuckDB may hold of the database while it is made."""


@attrs.frozen
class DatabaseOptions:
    """Options of the exporter ``duckdb``, from the table ``[exporter.duckdb]``."""

    bucket_minutes: int = option(60, help="Width of the buckets of timeline_summary", validator=attrs.validators.ge(1))


class DatabaseExporter:
    """Writes the detections table as a DuckDB database.

    Parameters
    ----------
    target
        The file to make; replaced as a whole.
    bucket_minutes
        Width of the buckets of ``timeline_summary``.
    """

    def __init__(self, target: Path, bucket_minutes: int = 60) -> None:
        self._target = target
        self._temporary = target.parent / atomic.temporary_name()
        self._bucket_minutes = bucket_minutes
        self._connection: duckdb.DuckDBPyConnection | None = None
        with self._explaining():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(str(self._temporary), config={"threads": 1, "memory_limit": MEMORY_LIMIT})
            self._connection.execute(f"CREATE TABLE detections ({sql_columns()})")

    def write(self, batch: ExportBatch) -> None:
        """Append rows."""
        assert self._connection is not None
        with self._explaining():
            self._connection.register("incoming", as_table(batch))
            self._connection.execute("INSERT INTO detections SELECT * FROM incoming")
            self._connection.unregister("incoming")

    def checkpoint(self) -> None:
        """Put the rows on disk."""
        assert self._connection is not None
        with self._explaining():
            self._connection.execute("CHECKPOINT").fetchall()

    def close(self, summary: Mapping[str, Any] | None) -> None:
        """Make the views and put the database in its place, or forget it."""
        if self._connection is None:
            return
        if summary is None:
            self._forget()
            return
        with self._explaining():
            for statement in create_views(self._bucket_minutes):
                self._connection.execute(statement)
            self._connection.execute("CHECKPOINT").fetchall()
            self._connection.close()
            self._connection = None
            with self._temporary.open("rb") as file:
                atomic.sync_files([file.fileno()])
            self._temporary.replace(self._target)
            atomic.sync_folder(self._target.parent)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._forget()
            raise atomic.explain(error, self._target) from error
        except duckdb.Error as error:
            self._forget()
            raise StoreError(f"Cannot write {self._target}: {first_line(error)}") from error

    def _forget(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(duckdb.Error):
                self._connection.close()
            self._connection = None
        for leftover in (self._temporary, self._temporary.with_name(self._temporary.name + ".wal")):
            with contextlib.suppress(OSError):
                leftover.unlink()


def open_database(target: Path, options: DatabaseOptions | None = None) -> DatabaseExporter:
    """Open the exporter ``duckdb``."""
    return DatabaseExporter(target, (options or DatabaseOptions()).bucket_minutes)

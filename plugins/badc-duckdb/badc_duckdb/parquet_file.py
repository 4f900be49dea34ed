"""The Parquet exporter: same rows, same bytes, however they were cut into batches."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from badc_core import atomic
from badc_core.protocols import ExportBatch
from badc_duckdb.columns import as_table, schema
from badc_duckdb.pending import PendingFile

__all__ = ["ROW_GROUP_ROWS", "ParquetExporter", "open_parquet"]

ROW_GROUP_ROWS = 131_072
"""Rows of a row group; only the last one has fewer."""


class ParquetExporter:
    """Writes the detections table as Parquet, compressed with zstd.

    Parameters
    ----------
    target
        The file to make.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._pending = PendingFile(target)
        self._writer = pq.ParquetWriter(
            self._pending.file, schema(), compression="zstd", version="2.6", data_page_version="1.0", store_schema=False
        )
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def write(self, batch: ExportBatch) -> None:
        """Collect rows, and write every row group that is full."""
        table = as_table(batch)
        self._waiting.append(table)
        self._rows += table.num_rows
        while self._rows >= ROW_GROUP_ROWS:
            self._write_group(ROW_GROUP_ROWS)

    def _write_group(self, rows: int) -> None:
        waiting = pa.concat_tables(self._waiting)
        # One piece per column: where a page ends depends on the pieces, and bytes shall depend on rows alone.
        group = waiting.slice(0, rows).combine_chunks()
        try:
            self._writer.write_table(group, row_group_size=rows)
        except OSError as error:
            raise atomic.explain(error, self._target) from error
        self._waiting = [waiting.slice(rows)]
        self._rows -= rows

    def checkpoint(self) -> None:
        """Put the row groups that are full on disk."""
        self._pending.sync()

    def close(self, summary: Mapping[str, Any] | None) -> None:
        """Write the rest and put the file in its place, or forget it."""
        if summary is None:
            with contextlib.suppress(OSError, ValueError):
                self._writer.close()  # else it is closed by the garbage collector, which finds no file
            self._pending.discard()
            return
        if not self._writer.is_open:
            return
        if self._rows:
            self._write_group(self._rows)
        try:
            self._writer.close()
        except OSError as error:
            raise atomic.explain(error, self._target) from error
        self._pending.commit()


def open_parquet(target: Path, options: None = None) -> ParquetExporter:
    """Open the exporter ``parquet``."""
    return ParquetExporter(target)

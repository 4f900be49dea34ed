"""The CSV exporter: RFC 4180, quotes only where they are needed, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from badc_core.protocols import ExportBatch
from badc_duckdb.columns import as_table, schema
from badc_duckdb.pending import PendingFile

__all__ = ["CsvExporter", "csv_text", "open_csv", "write_csv"]

_ROWS = 16_384
"""Rows turned into text at once: a few megabytes."""

_SPECIAL = '[",\r\n]'
_WHOLE = "^-?[0-9]+$"


def csv_text(table: pa.Table | pa.RecordBatch) -> memoryview:
    r"""Return rows as CSV without a header, each line ended by ``\n``.

    Null is an empty field and an empty text is ``""``. A number has the fewest digits that give it back, and always
    a point or an exponent, as Python writes it: ``1.0``.
    """
    if not table.num_rows:
        return memoryview(b"")
    fields = [_texts(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column) for column in table]
    lines = pc.binary_join_element_wise(*fields, ",", null_handling="replace", null_replacement="")
    ended = pc.binary_join_element_wise(lines, "", "\n")
    # The texts of an Arrow array lie one behind the other: this is the file already.
    offsets = memoryview(ended.buffers()[1]).cast("i")
    return memoryview(ended.buffers()[2])[offsets[ended.offset] : offsets[ended.offset + len(ended)]]


def _texts(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        texts = column.cast(pa.string())
        return pc.if_else(pc.match_substring_regex(texts, _WHOLE), pc.binary_join_element_wise(texts, ".0", ""), texts)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column.cast(pa.string())
    texts = column.cast(pa.string())
    needed = pc.or_(pc.match_substring_regex(texts, _SPECIAL), pc.equal(texts, ""))
    if not pc.any(needed).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(needed, pc.binary_join_element_wise('"', doubled, '"', ""), texts)


def write_csv(target: Path, names: Sequence[str], parts: Iterable[pa.Table | pa.RecordBatch]) -> int:
    """Write a CSV file whole, and return its rows.

    Parameters
    ----------
    target
        The file to make.
    names
        Of the columns.
    parts
        The rows; written as they come.

    Raises
    ------
    StoreError
        The system refused; what was there is untouched.
    """
    pending = PendingFile(target)
    rows = 0
    try:
        pending.write((",".join(names) + "\n").encode())
        for part in parts:
            pending.write(csv_text(part))
            rows += part.num_rows
        pending.commit()
    finally:
        pending.discard()
    return rows


class CsvExporter:
    """Writes the detections table as CSV.

    Parameters
    ----------
    target
        The file to make.
    """

    def __init__(self, target: Path) -> None:
        self._pending = PendingFile(target)
        self._pending.write((",".join(schema().names) + "\n").encode())

    def write(self, batch: ExportBatch) -> None:
        """Append rows."""
        for part in as_table(batch).to_batches(max_chunksize=_ROWS):
            self._pending.write(csv_text(part))

    def checkpoint(self) -> None:
        """Put what was written on disk."""
        self._pending.sync()

    def close(self, summary: Mapping[str, Any] | None) -> None:
        """Put the file in its place, or forget it."""
        if summary is None:
            self._pending.discard()
        else:
            self._pending.commit()


def open_csv(target: Path, options: None = None) -> CsvExporter:
    """Open the exporter ``csv``."""
    return CsvExporter(target)

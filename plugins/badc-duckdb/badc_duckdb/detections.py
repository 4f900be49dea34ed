"""A table of detections that can be asked: Parquet files or a database, with the same three views over them.

DuckDB does the reading, and what it holds is limited, so that tables of any size can be reported on.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from badc_core.errors import BadcError
from badc_duckdb.columns import first_line, schema, select_list
from badc_duckdb.report import read_parquet
from badc_duckdb.summaries import ACTIVITY, CHUNKS, QUERIES, REPEATED, TOTALS, VIEWS, create_views

__all__ = ["MEMORY_LIMIT", "NEEDED", "Detections", "connect_database", "of_database", "of_parquet"]

MEMORY_LIMIT = "512MB"
"""What DuckDB may hold before it spills to a temporary folder."""

NEEDED = ("recording_id", "chunk_id", "chunk_start_ms", "label", "timestamp_ms", "end_ms", "confidence")
"""Columns without which a table is none of detections."""

ORIGIN = "badc_origin"
"""Column that names the file a row comes from."""

_ROWS = 16_384


class Detections:
    """Answers what reports ask; see :func:`of_parquet` and :func:`of_database`.

    Parameters
    ----------
    connection
        Has the table or view ``detections`` and the three views.
    name
        Of the file, for messages.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        self._connection = connection
        self._name = name

    def labels(self, limit: int | None = None) -> pa.Table:
        """Return ``label, label_name, detections, avg_confidence``, most detections first."""
        return self._ask(QUERIES["label_summary"], limit)

    def recordings(self, limit: int | None = None) -> pa.Table:
        """Return ``recording_id, detections, avg_confidence``, most detections first."""
        return self._ask(QUERIES["recording_summary"], limit)

    def timeline(self) -> pa.Table:
        """Return ``bucket_index, bucket_start_ms, detections, avg_confidence``, by start."""
        return self._ask(QUERIES["timeline_summary"])

    def totals(self) -> dict[str, int | None]:
        """Return detections, labels and recordings with any, first and last start of a chunk with any."""
        (found,) = self._ask(TOTALS).to_pylist()
        return dict(found)

    def chunks(self) -> Iterator[pa.RecordBatch]:
        """Yield ``chunk_id, chunk_start_ms, detections, avg_confidence`` of every chunk analysed, by start.

        Nothing else may be asked before the last batch.
        """
        yield from self._stream(CHUNKS)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Yield the table itself, in its order. Nothing else may be asked before the last batch."""
        yield from self._stream(f"SELECT {', '.join(schema().names)} FROM detections")

    def activity(self, bins: int) -> dict[tuple[str, str], list[int]]:
        """Return how often each label and name was heard, over the time axis of the recordings cut into `bins`."""
        counts: dict[tuple[str, str], list[int]] = {}
        for row in self._ask(ACTIVITY.format(bins=int(bins))).to_pylist():
            counts.setdefault((row["label"], row["label_name"]), [0] * bins)[row["bin"]] = row["detections"]
        return counts

    def repeated(self) -> pa.Table:
        """Return ``recording_id`` and ``files`` of recordings that lie in more than one of the files."""
        return self._ask(REPEATED)

    def check(self) -> None:
        """Read all of it once, before anything is made of it.

        Raises
        ------
        BadcError
            Something in it cannot be read, or is of a wrong type.
        """
        for _ in self.rows():
            pass

    def _stream(self, query: str) -> Iterator[pa.RecordBatch]:
        with self._explaining():
            relation = self._connection.sql(query)
            read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader  # DuckDB 1.4
            yield from read(_ROWS)

    def _ask(self, query: str, limit: int | None = None) -> pa.Table:
        with self._explaining():
            found: pa.Table = self._connection.sql(
                query if limit is None else f"{query} LIMIT {limit:d}"
            ).to_arrow_table()
        return found

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise BadcError(
                f"{self._name} cannot be read: {first_line(error)}",
                hint="It is damaged, or no table of detections; make it anew with `badc infer aggregate`.",
            ) from error


@contextlib.contextmanager
def of_parquet(paths: Sequence[Path], bucket_minutes: int = 60) -> Iterator[Detections]:
    """Open a Parquet file, or several as one table.

    Parameters
    ----------
    paths
        Tables, ours or BADC 0.1's.
    bucket_minutes
        Width of the buckets of :meth:`Detections.timeline`.

    Raises
    ------
    BadcError
        They are no tables of detections.
    """
    name = str(paths[0]) if len(paths) == 1 else f"One of {len(paths)} files in {paths[0].parent}"
    with tempfile.TemporaryDirectory(prefix="badc-") as spill, _connected(spill) as connection:
        rows = read_parquet(connection, *paths, origin=ORIGIN)
        _check_columns(name, rows.columns)
        rows.project(f"{select_list(rows.columns)}, {ORIGIN}").create_view("detections")
        for statement in create_views(bucket_minutes):
            connection.execute(statement)
        yield Detections(connection, name)


def _connected(spill: str) -> duckdb.DuckDBPyConnection:
    settings: dict[str, Any] = {
        "threads": 1,  # several would add up averages in any order
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": spill,
    }
    return duckdb.connect(config=settings)


def _check_columns(name: str, present: Sequence[str]) -> None:
    missing = [column for column in NEEDED if column not in present]
    if missing:
        raise BadcError(
            f"{name} is no table of detections: it lacks {', '.join(missing)}.",
            hint="Make one with `badc infer aggregate --parquet`.",
        )


@contextlib.contextmanager
def of_database(path: Path) -> Iterator[Detections]:
    """Open a database that ``badc report duckdb`` or the exporter ``duckdb`` made.

    Raises
    ------
    BadcError
        As :func:`connect_database`.
    """
    with connect_database(path) as connection:
        yield Detections(connection, str(path))


def connect_database(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file for reading, when it has the table ``detections`` and the three views.

    Raises
    ------
    BadcError
        It cannot be opened, or something is missing; the message lists what.
    """
    if not path.is_file():
        raise BadcError(f"There is no file {path}.", hint="`badc infer aggregate --export duckdb=FILE` makes one.")
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise BadcError(f"{path} cannot be opened as a DuckDB database: {first_line(error)}") from error
    present = {
        (name, kind)
        for name, kind in connection.execute(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'main'"
        ).fetchall()
    }
    needed = [("detections", "BASE TABLE"), *((name, "VIEW") for name in VIEWS)]
    missing = [name for name, kind in needed if (name, kind) not in present]
    if missing:
        connection.close()
        raise BadcError(
            f"{path} is incomplete: it lacks {', '.join(missing)}.",
            hint="Make it anew with `badc infer aggregate --export duckdb=FILE`.",
        )
    return connection

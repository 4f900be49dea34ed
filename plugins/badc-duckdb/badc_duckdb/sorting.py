"""Filling in, computing and sorting: a DuckDB that lives for one aggregation and spills to a folder of its own.

Memory does not grow with the number of results: what does not fit goes to disk, and that folder is removed at the end.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from badc_core import atomic, layout
from badc_core.errors import StoreError
from badc_core.exporting import COLUMNS
from badc_core.finishing import CONTINUED
from badc_core.model import Chunk, Recording
from badc_duckdb.columns import IS_DETECTION, ArrowBatch, first_line, schema
from badc_duckdb.rows import RAW_SCHEMA
from badc_duckdb.values import column

__all__ = ["BATCH_ROWS", "MEMORY_LIMIT", "Scratch"]

BATCH_ROWS = 32_768
"""Rows handed to exporters at once."""

MEMORY_LIMIT = "256MB"
"""What DuckDB may hold before it spills."""

ROWS_AT_ONCE = 1_000_000
"""Rows sorted at once, or those of one recording: merging many sorted runs takes memory, too."""

_SQL_TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN"}

_MANIFEST = pa.schema(
    [
        ("recording_id", pa.string()),
        ("chunk_id", pa.string()),
        ("start_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("sha256", pa.string()),
        ("source_path", pa.string()),
        ("row", pa.int64()),
    ]
)
_RECORDINGS = pa.schema([(name, pa.string()) for name in ("recording_id", "study_area", "site", "recorded_at")])

# A result without a recording_id gets the manifest's, when only one recording has a chunk of that name.
_FILLED = """
CREATE TEMP VIEW filled AS
WITH listed AS (
    SELECT DISTINCT ON (recording_id, chunk_id) * FROM manifest ORDER BY recording_id, chunk_id, row
), owner AS (
    SELECT chunk_id, any_value(recording_id) AS recording_id FROM manifest
    GROUP BY chunk_id HAVING count(DISTINCT recording_id) = 1
), named AS (
    SELECT raw.* REPLACE (coalesce(raw.recording_id, owner.recording_id, raw.folder, '') AS recording_id)
    FROM raw LEFT JOIN owner ON owner.chunk_id = CASE WHEN raw.recording_id IS NULL THEN raw.chunk_id END
)
SELECT
    named.* REPLACE (
        coalesce(named.chunk_start_ms, listed.start_ms) AS chunk_start_ms,
        coalesce(named.chunk_end_ms, listed.end_ms) AS chunk_end_ms,
        coalesce(named.chunk_sha256, listed.sha256) AS chunk_sha256,
        coalesce(named.source_path, listed.source_path, named.result_path) AS source_path,
        coalesce(named.study_area, recordings.study_area) AS study_area,
        coalesce(named.site, recordings.site) AS site,
        coalesce(named.recorded_at, recordings.recorded_at) AS recorded_at,
        coalesce(named.status, CASE WHEN timestamp_ms IS NULL AND label = 'none' THEN 'unknown' ELSE 'ok' END) AS status
    ),
    listed.chunk_id IS NULL AND named.recording_id IN (SELECT recording_id FROM manifest) AS unlisted
FROM named
LEFT JOIN listed ON listed.recording_id = named.recording_id AND listed.chunk_id = named.chunk_id
LEFT JOIN recordings ON recordings.recording_id = named.recording_id
"""

_COUNTS = f"""
SELECT count(*) FILTER (NOT unlisted),
       count(*) FILTER (NOT unlisted AND {IS_DETECTION}),
       count(DISTINCT recording_id) FILTER (NOT unlisted),
       count(*) FILTER (NOT unlisted AND leads),
       count(*) FILTER (NOT unlisted AND leads AND status NOT IN ('failed', '{CONTINUED}') AND NOT {IS_DETECTION}),
       count(*) FILTER (NOT unlisted AND leads AND status = 'failed'),
       count(*) FILTER (unlisted AND leads)
FROM filled
"""

# Of a manifest, and of those the ones that no result is there for.
_LISTED = """
SELECT count(*), count(*) FILTER (NOT EXISTS (
    FROM joined WHERE leads AND joined.recording_id = listed.recording_id AND joined.chunk_id = listed.chunk_id
))
FROM (SELECT DISTINCT recording_id, chunk_id FROM manifest) AS listed
"""

# recorded_at is 26 characters of time and, for an instant, its offset.
_COMPUTED = {
    "absolute_time_ms": "chunk_start_ms + timestamp_ms",
    "absolute_end_ms": "chunk_start_ms + end_ms",
    "detected_at": (
        "strftime(CAST(left(recorded_at, 26) AS TIMESTAMP) + to_milliseconds(chunk_start_ms + timestamp_ms),"
        " '%Y-%m-%dT%H:%M:%S.%f') || substr(recorded_at, 27)"
    ),
}

_KEYS = ["recording_id", "chunk_start_ms", "chunk_id", "timestamp_ms", "label", "end_ms", "confidence"]
_OTHERS = [column.name for column in COLUMNS if column.name not in (*_KEYS, *_COMPUTED)]
# Rows that are alike in all keys are told apart by a hash of the rest: a total order, with keys of moderate size.
_ORDER = [f"{name} NULLS FIRST" for name in _KEYS] + [f"hash({', '.join(_OTHERS)})"]


class Scratch:
    """Rows on their way from results to the table.

    Parameters
    ----------
    beside
        A file; what does not fit in memory goes to a folder beside it.
    """

    def __init__(self, beside: Path) -> None:
        self._joined = False
        self._listed = self._pending = 0
        self._spill = beside.absolute().parent / atomic.temporary_name()
        self._connection = duckdb.connect(
            config={
                "threads": 1,
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(self._spill),
            }
        )
        for name, kind in (("raw", RAW_SCHEMA), ("manifest", _MANIFEST), ("recordings", _RECORDINGS)):
            columns = ", ".join(f'"{field.name}" {_SQL_TYPES[field.type]}' for field in kind)
            self._connection.execute(f"CREATE TEMP TABLE {name} ({columns})")
        self._connection.execute(_FILLED)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)
        if isinstance(error, duckdb.Error):
            raise StoreError(
                f"Cannot sort the results: {first_line(error)}",
                hint=f"Is there space left in {self._spill.parent}? It takes up to the size of the results.",
            ) from error

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows of :data:`~badc_duckdb.rows.RAW_SCHEMA`."""
        self._insert("raw", batch)

    def _insert(self, table: str, batch: pa.RecordBatch) -> None:
        self._connection.register("incoming", batch)
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM incoming")
        self._connection.unregister("incoming")

    def add_manifest(self, chunks: Iterable[Chunk], recordings: Iterable[Recording]) -> None:
        """Take what a manifest and its file of recordings know."""
        numbered = enumerate(chunks)
        while part := list(itertools.islice(numbered, BATCH_ROWS)):
            rows = [
                (c.recording_id, c.chunk_id, c.start_ms, c.end_ms, c.sha256, str(c.source_path), n) for n, c in part
            ]
            self._insert("manifest", _batch(rows, _MANIFEST))
        known = iter(recordings)
        while some := list(itertools.islice(known, BATCH_ROWS)):
            facts = [(r.recording_id, r.study_area, r.site, r.started_at and r.started_at.isoformat()) for r in some]
            self._insert("recordings", _batch(facts, _RECORDINGS))
        self._joined = True

    def complete(self) -> None:
        """Fill in what the manifest knows, once; to be called when all rows are there."""
        if self._joined:
            self._connection.execute("CREATE TEMP TABLE joined AS FROM filled").fetchall()
            ((self._listed, self._pending),) = self._connection.execute(_LISTED).fetchall()
            for statement in ("DROP VIEW filled", "DROP TABLE raw", "DROP TABLE manifest"):
                self._connection.execute(statement).fetchall()
            self._connection.execute("CREATE TEMP VIEW filled AS FROM joined").fetchall()

    @property
    def folder(self) -> Path:
        """Where to put what does not fit in memory."""
        return self._spill.parent

    def listed_chunks(self, recording_id: str) -> frozenset[str] | None:
        """Return the chunks that the manifest names of a recording; ``None`` where it does not name the recording."""
        if not self._joined:
            return None
        query = "SELECT chunk_id FROM manifest WHERE recording_id = $1"
        return frozenset(row[0] for row in self._connection.execute(query, [recording_id]).fetchall()) or None

    def source_name(self, recording_id: str | None, chunk_id: str) -> str | None:
        """Return the name of the source file that the manifest gives for a chunk."""
        found = self._connection.execute(
            "SELECT source_path FROM manifest WHERE chunk_id = $2 AND ($1 IS NULL OR recording_id = $1) LIMIT 1",
            [recording_id, chunk_id],
        ).fetchall()
        return Path(found[0][0]).name if found else None

    def counts(self) -> dict[str, int]:
        """Count what :meth:`table` will give, and what it leaves out."""
        names = ["rows", "detections", "recordings", "chunks", "silent", "failed", "unlisted"]
        (found,) = self._connection.execute(_COUNTS).fetchall()
        return {**dict(zip(names, found, strict=True)), "listed": self._listed, "pending": self._pending}

    def table(self) -> Iterator[ArrowBatch]:
        """Yield the detections table in its order, without the chunks that the manifest does not name."""
        values = ", ".join(f"{_COMPUTED.get(column.name, column.name)} AS {column.name}" for column in COLUMNS)
        query = f"""
            SELECT {values} FROM filled WHERE NOT unlisted AND recording_id BETWEEN $first AND $last
            ORDER BY {", ".join(_ORDER)}"""
        for first, last in self._ranges():
            relation = self._connection.sql(query, params={"first": first, "last": last})
            read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader  # DuckDB 1.4
            for batch in read(BATCH_ROWS):
                yield ArrowBatch(_with_roots(pa.Table.from_batches([batch]).cast(schema())))

    def _ranges(self) -> Iterator[tuple[str, str]]:
        """Yield first and last of recordings that are sorted together, in order."""
        sizes = self._connection.execute(
            "SELECT recording_id, count(*) FROM filled WHERE NOT unlisted GROUP BY recording_id ORDER BY recording_id"
        ).fetchall()
        some: list[str] = []
        rows = 0
        for recording_id, size in sizes:
            if some and rows + size > ROWS_AT_ONCE:
                yield some[0], some[-1]
                some, rows = [], 0
            some.append(recording_id)
            rows += size
        if some:
            yield some[0], some[-1]


def _batch(rows: list[tuple[Any, ...]], kind: pa.Schema) -> pa.RecordBatch:
    def never(place: int, value: Any) -> None:
        """Values of a manifest were checked by its reader."""

    columns = zip(*rows, strict=True)
    arrays = [column(values, field.type, never) for values, field in zip(columns, kind, strict=True)]
    return pa.record_batch(arrays, schema=kind)


def _with_roots(table: pa.Table) -> pa.Table:
    """Look for the dataset of every source file that has none in its result."""
    place = table.schema.get_field_index("dataset_root")
    roots = table["dataset_root"].combine_chunks()
    if not roots.null_count:
        return table
    sources = pc.dictionary_encode(table["source_path"].combine_chunks())
    found = [layout.dataset_of_source(source) for source in sources.dictionary.to_pylist()]
    if not any(found):
        return table
    looked_up = pa.array(found, pa.string()).take(sources.indices)
    return table.set_column(place, schema().field(place), pc.coalesce(roots, looked_up))

"""Results and tables from Python, for notebooks and scripts.

>>> from badc_duckdb import api
>>> api.load_table("artifacts/infer").num_rows  # doctest: +SKIP
104

Tables are :class:`pyarrow.Table`; ``table.to_pandas()`` gives a data frame where pandas is installed, and
:func:`load_frame` does so at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from badc_core import results
from badc_core.errors import BadcError
from badc_core.exporting import RowBatch, open_exporters, parse_export
from badc_core.host import default_host
from badc_core.manifest import read_recordings, read_resolved
from badc_core.results import Problem
from badc_duckdb import aggregation
from badc_duckdb.aggregation import Summary
from badc_duckdb.columns import as_table, schema
from badc_duckdb.detections import connect_database
from badc_duckdb.report import read_parquet
from badc_duckdb.sorting import Scratch
from badc_duckdb.summaries import VIEWS

__all__ = [
    "aggregate",
    "check_database",
    "load_frame",
    "load_records",
    "load_table",
    "load_views",
    "records_to_table",
]

AnyPath = str | PathLike[str]


def load_records(
    folder: AnyPath, manifest: AnyPath | None = None, *, on_problem: Callable[[Problem], None] = results.ignore
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the detections table as dicts, in its order.

    Parameters
    ----------
    folder
        An output folder of ``badc infer run``.
    manifest
        Adds what results lack.
    on_problem
        Told of every file that cannot be used.
    """
    with _collected(Path(folder), manifest, on_problem) as scratch:
        for batch in scratch.table():
            yield from batch.rows()


def load_table(
    source: AnyPath, manifest: AnyPath | None = None, *, on_problem: Callable[[Problem], None] = results.ignore
) -> pa.Table:
    """Return the detections table of a folder of results, or of a CSV or Parquet file made from one.

    Raises
    ------
    BadcError
        The file is no such table. Columns that BADC 0.1 did not have are null.
    """
    path = Path(source)
    if path.is_dir():
        with _collected(path, manifest, on_problem) as scratch:
            return pa.concat_tables([schema().empty_table(), *(batch.table for batch in scratch.table())])
    if path.suffix.lower() == ".csv":
        return as_table(_read_csv(path))
    with duckdb.connect() as connection:
        return as_table(read_parquet(connection, path).to_arrow_table())


def load_frame(source: AnyPath, manifest: AnyPath | None = None) -> Any:
    """Return what :func:`load_table` does as a :class:`pandas.DataFrame`; needs pandas."""
    return load_table(source, manifest).to_pandas()


def records_to_table(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table with the columns of the detections table; those that are missing are null."""
    return as_table(RowBatch(list(records)))


def aggregate(
    folder: AnyPath,
    csv: AnyPath | None = None,
    parquet: AnyPath | None = None,
    *,
    exports: Mapping[str, AnyPath] | None = None,
    manifest: AnyPath | None = None,
    on_problem: Callable[[Problem], None] = results.ignore,
) -> Summary:
    """Compile results into files; what ``badc infer aggregate`` does.

    Parameters
    ----------
    folder
        An output folder of ``badc infer run``.
    csv, parquet
        Files to make.
    exports
        Further ones, by name of the exporter: ``{"duckdb": "detections.duckdb"}``.
    manifest
        Adds what results lack.
    on_problem
        Told of every file that cannot be used.
    """
    targets: dict[str, AnyPath | None] = {"csv": csv, "parquet": parquet, **(exports or {})}
    texts = [f"{name}={target}" for name, target in targets.items() if target is not None]
    wanted = [parse_export(text, default_host(), Path("detections")) for text in texts]
    if not wanted:
        raise BadcError("There is nothing to make: neither csv nor parquet nor exports were given.")
    return aggregation.aggregate(
        Path(folder),
        open_exporters(wanted),
        beside=wanted[0].target,
        manifest=None if manifest is None else Path(manifest),
        on_problem=on_problem,
    )


def check_database(database: AnyPath) -> None:
    """Check that a DuckDB file has the table ``detections`` and the three views.

    Raises
    ------
    BadcError
        It cannot be opened, or something is missing; the message lists what.
    """
    with connect_database(Path(database)):
        pass


def load_views(database: AnyPath, limit: int | None = None) -> dict[str, pa.Table]:
    """Return the three summaries of a DuckDB file by name, each cut to its first `limit` rows.

    Raises
    ------
    BadcError
        As :func:`check_database`.
    """
    with connect_database(Path(database)) as connection:
        tables = {name: connection.sql(f"FROM {name}").to_arrow_table() for name in VIEWS}
    return {name: table if limit is None else table.slice(0, limit) for name, table in tables.items()}


def _read_csv(path: Path) -> pa.Table:
    from pyarrow import csv

    convert = csv.ConvertOptions(
        column_types=schema(), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    try:
        return csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=convert)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadcError(f"{path} cannot be read as a table of detections: {error}") from error


def _collected(folder: Path, manifest: AnyPath | None, on_problem: Callable[[Problem], None]) -> Scratch:
    scratch = Scratch(Path(tempfile.gettempdir()) / "badc")
    if manifest is not None:
        scratch.add_manifest(read_resolved(Path(manifest)), read_recordings(Path(manifest)).values())
    aggregation.collect(results.scan(folder, on_problem), scratch, on_problem)
    return scratch

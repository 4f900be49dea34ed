"""The reports over a table of detections: what is in them, and the files they leave.

Files have the columns of BADC 0.1 (``docs/reference/formats/tables.md``). Each is written whole; nothing is written
where no folder is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from attrs import field, frozen

from badc_core.annex import content_missing, fetch_hint
from badc_core.atomic import write_text
from badc_core.errors import BadcError, UsageError
from badc_duckdb.columns import first_line
from badc_duckdb.csv_file import write_csv
from badc_duckdb.database import DatabaseExporter
from badc_duckdb.detections import NEEDED, Detections, of_database, of_parquet

__all__ = ["ACTIVITY_BINS", "Report", "database_report", "parquet_report", "quicklook", "roll_up", "tables_in"]

ACTIVITY_BINS = 24
"""Letters of a label's sparkline."""

_CHUNK_NAMES = ("chunk_id", "chunk_start_ms", "detections", "avg_confidence")


@frozen
class Report:
    """What a report says.

    Parameters
    ----------
    labels, recordings
        The most frequent ones, as :meth:`Detections.labels` and :meth:`Detections.recordings` give them.
    timeline
        As :meth:`Detections.timeline` gives it; empty for a roll-up.
    totals
        Figures over all detections.
    activity
        Per label and name, how often it was heard over the time axis that all recordings share.
    files
        What was written.
    problems
        What should be looked at, in words.
    unusable
        Files that could not be counted in.
    """

    labels: pa.Table
    recordings: pa.Table
    timeline: pa.Table | None = None
    totals: Mapping[str, int | None] = field(factory=dict)
    activity: Mapping[tuple[str, str], Sequence[int]] = field(factory=dict)
    files: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    unusable: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **self.totals,
            "labels": self.labels.to_pylist(),
            "recordings": self.recordings.to_pylist(),
            **({} if self.timeline is None else {"timeline": self.timeline.to_pylist()}),
            "files": [str(path) for path in self.files],
            **({"problems": list(self.problems)} if self.problems else {}),
        }


def quicklook(found: Detections, top_labels: int, top_recordings: int, output_dir: Path | None = None) -> Report:
    """Look at a table: the most frequent labels and recordings, and every chunk.

    Parameters
    ----------
    found
        The table.
    top_labels, top_recordings
        How many of them.
    output_dir
        Folder for ``labels.csv``, ``recordings.csv`` and ``chunks.csv``.
    """
    labels, recordings = found.labels(top_labels), found.recordings(top_recordings)
    files: list[Path] = []
    if output_dir is not None:
        files = _write(output_dir, {"labels.csv": labels, "recordings.csv": recordings})
        files.append(output_dir / "chunks.csv")
        write_csv(files[-1], _CHUNK_NAMES, found.chunks())
    activity = found.activity(ACTIVITY_BINS)
    return Report(labels, recordings, found.timeline(), found.totals(), activity, tuple(files))


def parquet_report(
    found: Detections, top_labels: int, top_recordings: int, bucket_minutes: int, output_dir: Path | None = None
) -> Report:
    """Count by label, recording and time.

    Parameters
    ----------
    found
        The table, opened with the same `bucket_minutes`.
    top_labels, top_recordings
        How many of them.
    bucket_minutes
        Width of the timeline's buckets.
    output_dir
        Folder for ``labels.csv``, ``recordings.csv``, ``timeline.csv`` and ``summary.json``.
    """
    labels, recordings, timeline = found.labels(top_labels), found.recordings(top_recordings), found.timeline()
    totals = {**found.totals(), "bucket_minutes": bucket_minutes}
    files: list[Path] = []
    if output_dir is not None:
        tables = {"labels.csv": labels, "recordings.csv": recordings, "timeline.csv": _named_buckets(timeline)}
        files = [*_write(output_dir, tables), output_dir / "summary.json"]
        write_text(files[-1], json.dumps(totals, indent=2) + "\n")
    return Report(labels, recordings, timeline, totals, {}, tuple(files))


def _named_buckets(timeline: pa.Table) -> pa.Table:
    names = pc.binary_join_element_wise("bucket", timeline["bucket_index"].cast(pa.string()), "_")
    return timeline.drop_columns("bucket_index").add_column(0, "bucket", names)


def database_report(
    parquet: Path,
    database: Path,
    top_labels: int,
    top_recordings: int,
    bucket_minutes: int,
    export_dir: Path | None = None,
) -> Report:
    """Make a DuckDB database of a Parquet file, and count in it.

    Parameters
    ----------
    parquet
        The table.
    database
        The file to make; replaced as a whole.
    top_labels, top_recordings
        How many of them.
    bucket_minutes
        Width of the buckets of ``timeline_summary``, for as long as the database lives.
    export_dir
        Folder for ``label_summary.csv``, ``recording_summary.csv`` and ``timeline.csv``.

    Raises
    ------
    UsageError
        The database would take the place of the table.
    """
    if database.exists() and database.samefile(parquet):
        raise UsageError(f"{database} is the table itself; the database would replace it.", hint="Name another file.")
    _make_database(parquet, database, bucket_minutes)
    with of_database(database) as made:
        labels, recordings, timeline = made.labels(top_labels), made.recordings(top_recordings), made.timeline()
        totals = made.totals()
    files = [database]
    if export_dir is not None:
        tables = {"label_summary.csv": labels, "recording_summary.csv": recordings, "timeline.csv": timeline}
        files += _write(export_dir, tables)
    return Report(labels, recordings, timeline, totals, {}, tuple(files))


def _make_database(parquet: Path, database: Path, bucket_minutes: int) -> None:
    with of_parquet([parquet], bucket_minutes) as found:
        exporter = DatabaseExporter(database, bucket_minutes)
        try:
            for batch in found.rows():
                exporter.write(pa.table(batch))
            exporter.close({})
        finally:
            exporter.close(None)  # forgets what is half made; after the call above it does nothing


# ------------------------------------------------------------------------------------------------ roll-up


def tables_in(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the tables of detections in a folder, and what is wrong with the other Parquet files there.

    Those named ``*_detections.parquet`` are meant where there are any, else all.
    """
    files = sorted(folder.glob("*_detections.parquet")) or sorted(folder.glob("*.parquet"))
    usable, problems = [], []
    for path in files:
        if content_missing(path):
            problems.append(f"The content of {path} is not on this machine. {fetch_hint(path)}")
            continue
        try:
            names = pq.read_schema(path).names
        except (pa.ArrowException, OSError) as error:
            problems.append(f"{path} cannot be read as Parquet: {first_line(error)}")
            continue
        missing = [name for name in NEEDED if name not in names]
        if missing:
            problems.append(f"{path} is no table of detections: it lacks {', '.join(missing)}.")
        else:
            usable.append(path)
    return usable, problems


def roll_up(folder: Path, limit: int, export_dir: Path | None = None) -> Report:
    """Count over all tables in a folder.

    Parameters
    ----------
    folder
        Holds Parquet files; see :func:`tables_in`.
    limit
        How many labels, and how many recordings.
    export_dir
        Folder for ``label_summary.csv`` and ``recording_summary.csv``.

    Raises
    ------
    BadcError
        There is no table of detections in it.
    """
    tables, problems = tables_in(folder)
    unusable = len(problems)
    if not tables:
        raise BadcError(f"There is no table of detections in {folder}.", hint=" ".join(problems) or None)
    try:
        labels, recordings, totals, repeated = _counted(tables, limit)
    except BadcError:
        tables, damaged = _sound(tables)
        if not damaged:
            raise
        problems += damaged
        unusable += len(damaged)
        if not tables:
            raise BadcError(f"No table in {folder} can be read.", hint=" ".join(problems)) from None
        labels, recordings, totals, repeated = _counted(tables, limit)
    if repeated.num_rows:
        first = repeated.slice(0, 1).to_pylist()[0]
        where = ", ".join(Path(name).name for name in first["files"])
        what = f"{first['recording_id']} in {where}"
        problems.append(f"Recordings in several tables are counted several times: {repeated.num_rows}, such as {what}.")
    files: list[Path] = []
    if export_dir is not None:
        name_first = labels.select(["label_name", "label", "detections", "avg_confidence"])
        files = _write(export_dir, {"label_summary.csv": name_first, "recording_summary.csv": recordings})
    return Report(
        labels, recordings, None, {**totals, "tables": len(tables)}, {}, tuple(files), tuple(problems), unusable
    )


def _counted(tables: Sequence[Path], limit: int) -> tuple[pa.Table, pa.Table, dict[str, int | None], pa.Table]:
    with of_parquet(tables) as found:
        return found.labels(limit), found.recordings(limit), found.totals(), found.repeated()


def _sound(tables: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the tables that can be read to their ends, and what is wrong with the others."""
    sound, problems = [], []
    for path in tables:
        try:
            with of_parquet([path]) as found:
                found.check()
        except BadcError as error:
            problems.append(error.message)
        else:
            sound.append(path)
    return sound, problems


def _write(folder: Path, tables: Mapping[str, pa.Table]) -> list[Path]:
    written = []
    for name, table in tables.items():
        write_csv(folder / name, table.column_names, table.to_batches())
        written.append(folder / name)
    return written

"""All reports of one table in one go, in folders and files named after it."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from badc_core.errors import ManifestError, UsageError
from badc_core.layout import check_id
from badc_duckdb.detections import of_parquet
from badc_duckdb.reports import Report, database_report, parquet_report, quicklook

__all__ = ["BundlePaths", "Tops", "bundle_paths", "make_bundle"]


@frozen
class BundlePaths:
    """Where the reports of a bundle go; ``None``: that one is not made.

    Parameters
    ----------
    quicklook, parquet_report
        Folders.
    database, exports
        The database, and the folder for its summaries.
    """

    quicklook: Path | None
    parquet_report: Path | None
    database: Path | None
    exports: Path


@frozen
class Tops:
    """How many labels and recordings a report tells.

    Parameters
    ----------
    labels, recordings
        The most frequent ones.
    """

    labels: int
    recordings: int


def bundle_paths(parquet: Path, output_dir: Path | None = None, run_prefix: str | None = None) -> BundlePaths:
    """Return where a bundle goes unless told otherwise.

    Parameters
    ----------
    parquet
        The table.
    output_dir
        The folder; ``None``: the table's.
    run_prefix
        What names begin with; ``None``: the table's name without its suffix.

    Raises
    ------
    UsageError
        The prefix cannot begin a file's name.

    Examples
    --------
    >>> bundle_paths(Path("tables/night.parquet")).exports.as_posix()
    'tables/night_duckdb_exports'
    """
    folder = parquet.parent if output_dir is None else output_dir
    prefix = parquet.stem if run_prefix is None else run_prefix
    try:
        check_id(prefix, "--run-prefix")
    except ManifestError as error:
        raise UsageError(error.message, hint="It is the beginning of file names, not a path.") from error
    return BundlePaths(
        folder / f"{prefix}_quicklook",
        folder / f"{prefix}_parquet_report",
        folder / f"{prefix}.duckdb",
        folder / f"{prefix}_duckdb_exports",
    )


def make_bundle(
    parquet: Path, paths: BundlePaths, bucket_minutes: int, quick: Tops, full: Tops, database: Tops
) -> dict[str, Report]:
    """Make the reports, and return them by the names of their commands.

    Parameters
    ----------
    parquet
        The table.
    paths
        Where they go.
    bucket_minutes
        Width of the timelines' buckets.
    quick, full, database
        How much each report tells.

    Raises
    ------
    BadcError
        The table cannot be read; nothing was written.
    """
    made: dict[str, Report] = {}
    with of_parquet([parquet], bucket_minutes) as found:
        found.check()  # else it would end in the middle, and leave half of the reports, or half new ones
        if paths.quicklook is not None:
            made["quicklook"] = quicklook(found, quick.labels, quick.recordings, paths.quicklook)
        if paths.parquet_report is not None:
            made["parquet"] = parquet_report(found, full.labels, full.recordings, bucket_minutes, paths.parquet_report)
    if paths.database is not None:
        made["duckdb"] = database_report(
            parquet, paths.database, database.labels, database.recordings, bucket_minutes, paths.exports
        )
    return made

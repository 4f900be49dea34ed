"""Reports as they look on the screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from badc_core.cli.screen import Kind, number, table
from badc_core.cli.sparkline import sparkline, squeezed
from badc_core.cli.wording import counted
from badc_duckdb.reports import Report

__all__ = ["headline", "hours", "shown"]

_COUNTS: list[tuple[str, Kind]] = [("detections", "number"), ("avg confidence", "number")]
_TIMELINE_ROWS = 24


def hours(milliseconds: int | None) -> str:
    """Return a time since the beginning of a recording.

    >>> hours(5_400_000)
    '1:30:00'
    """
    seconds = (milliseconds or 0) // 1000
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def headline(report: Report) -> str:
    """Return the figures over all detections in one line."""
    totals = report.totals
    texts = [
        counted(totals["detections"] or 0, "detection"),
        f"of {counted(totals['label_count'] or 0, 'label')}",
        f"in {counted(totals['recording_count'] or 0, 'recording')}",
    ]
    if totals.get("tables"):
        texts.append(f"of {counted(totals['tables'] or 0, 'table')}")
    return " ".join(texts) + "."


def shown(report: Report, letters: str) -> Iterator[Any]:
    """Yield what to print, for rich.

    Parameters
    ----------
    report
        The report.
    letters
        For sparklines.
    """
    yield headline(report)
    if not report.totals["detections"]:
        return
    yield ""
    yield _labels(report, letters)
    rows = [(row["recording_id"], *_counts(row)) for row in report.recordings.to_pylist()]
    yield ""
    yield table("Recordings", [("recording", "text"), *_COUNTS], rows)
    if report.timeline is not None:
        yield from _timeline(report.timeline.to_pylist(), letters)


def _counts(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['detections']:,}", number(row["avg_confidence"])


def _labels(report: Report, letters: str) -> Any:
    columns: list[tuple[str, Kind]] = [("label", "text"), ("name", "text"), *_COUNTS]
    rows: list[tuple[object, ...]] = []
    for row in report.labels.to_pylist():
        cells = (row["label"], row["label_name"], *_counts(row))
        if report.activity:
            heard = report.activity.get((row["label"], row["label_name"]), ())
            cells = (*cells, sparkline(heard, letters=letters))
        rows.append(cells)
    if report.activity:
        columns.append(("over the recording", "word"))
    return table("Labels", columns, rows)


def _timeline(buckets: list[dict[str, Any]], letters: str) -> Iterator[Any]:
    """Yield the timeline as a line, and as a table where that is short."""
    counts = _filled(buckets)
    begin, end = hours(buckets[0]["bucket_start_ms"]), hours(buckets[-1]["bucket_start_ms"])
    yield ""
    yield f"Over the recordings, {begin} to {end}:"
    yield sparkline(counts, letters=letters)
    if len(buckets) <= _TIMELINE_ROWS:
        rows = [(hours(row["bucket_start_ms"]), *_counts(row)) for row in buckets]
        yield ""
        yield table("Timeline", [("from", "number"), *_COUNTS], rows)


def _filled(buckets: list[dict[str, Any]]) -> list[float | None]:
    """Return the counts of all buckets from the first to the last, 0 for those in which nothing was heard."""
    first, last = buckets[0]["bucket_index"], buckets[-1]["bucket_index"]
    if last - first > 100_000:  # a start that makes no sense
        return squeezed([row["detections"] for row in buckets], 60)
    counts: list[float | None] = [0] * (last - first + 1)
    for row in buckets:
        counts[row["bucket_index"] - first] = row["detections"]
    return counts

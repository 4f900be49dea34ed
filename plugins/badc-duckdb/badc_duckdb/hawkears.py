"""Reading ``HawkEars_labels.csv``, for results of BADC 0.1 that name the model's output but hold no detections."""

from __future__ import annotations

import csv
import decimal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["LABELS_FILE", "labels_folder", "milliseconds", "read_labels"]

LABELS_FILE = "HawkEars_labels.csv"


def milliseconds(seconds: str) -> int | None:
    """Return whole milliseconds, the nearest ones; ``None`` when it is no number.

    >>> milliseconds("2.01")
    2010
    """
    try:
        value = decimal.Decimal(seconds.strip()) * 1000
        return int(value.to_integral_value(decimal.ROUND_HALF_UP))
    except (decimal.InvalidOperation, ValueError, OverflowError):
        return None


def labels_folder(named: Path, result: Path) -> Path:
    """Return where the model's output lies: where the result says, else beside the result, for folders that moved."""
    return named if named.is_dir() else result.parent / named.name


def read_labels(file: Path, belongs: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Yield the detections of one chunk, shaped as in a result.

    Parameters
    ----------
    file
        The labels file: seconds with a fraction, one row per detection.
    belongs
        Whether a row is about the chunk, by the base name in its column ``filename``.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or is no such file.
    """
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.DictReader(text)
        missing = {"start_time", "end_time", "score"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"lacks the columns {', '.join(sorted(missing))}")
        try:
            for row in reader:
                if belongs(Path(row.get("filename") or "").name):
                    yield {
                        "timestamp_ms": milliseconds(row["start_time"] or ""),
                        "end_ms": milliseconds(row["end_time"] or ""),
                        "label_code": row.get("class_code") or None,
                        "label_name": row.get("class_name") or None,
                        "confidence": row["score"] or None,
                    }
        except csv.Error as error:
            raise ValueError(str(error)) from error

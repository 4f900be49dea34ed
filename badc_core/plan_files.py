"""Plans of orchestrate commands as files: an array of JSON objects, or CSV with the same keys as columns.

A field of CSV that is no text or number is written as JSON: lists, ``true`` and ``false``; null is an empty field.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from badc_core.atomic import write_text
from badc_core.errors import ManifestError

__all__ = ["plan_row", "read_rows", "write_csv", "write_json"]

Row = Mapping[str, Any]


def plan_row(job: attrs.AttrsInstance) -> dict[str, Any]:
    """Return the fields of a job as JSON values."""
    return {key: _plain(value) for key, value in attrs.asdict(job, recurse=False).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def write_json(path: Path, rows: Iterable[Row]) -> None:
    """Write a plan as a JSON array of objects."""
    write_text(path, json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Row]) -> None:
    """Write a plan as CSV; fields are quoted only where they must be."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    write_text(path, text.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list) else str(value)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a plan; of JSON where its name ends in ``.json``, else of CSV.

    Raises
    ------
    ManifestError
        It cannot be read as a plan.
    """
    try:
        text = path.read_text("utf-8-sig", "surrogateescape")
        if path.suffix.lower() != ".json":
            return list(csv.DictReader(io.StringIO(text, newline="")))
        rows = json.loads(text)
    except OSError as error:
        raise ManifestError(f"Cannot read the plan {path}: {error.strerror or error}.") from error
    except (ValueError, csv.Error) as error:
        raise ManifestError(f"{path} is no plan: {error}.") from error
    if not isinstance(rows, list):
        raise ManifestError(f"{path} is no plan: it holds no array.")
    return [row for row in rows if isinstance(row, dict)]

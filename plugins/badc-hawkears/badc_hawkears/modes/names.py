"""What HawkEars calls its classes: from a label, in whichever form it was asked for, to code and readable name."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from badc_core.errors import RunnerError

__all__ = ["class_names"]


def class_names(root: Path, taxonomy: str | None = "data/taxonomy.csv") -> Mapping[str, tuple[str, str]]:
    """Return code and name of today by every label that HawkEars may write.

    Parameters
    ----------
    root
        HawkEars' data folder; ``data/classes.csv`` there lists the classes as they were trained.
    taxonomy
        The table of names that changed since, in the data folder or elsewhere; ``None``: none is used.

    Returns
    -------
    mapping
        Label → code and name; empty where there is no such table.

    Raises
    ------
    RunnerError
        A table is there, but cannot be read.
    """
    today = {row["model_code"]: row for row in _rows(root / taxonomy)} if taxonomy else {}
    names: dict[str, tuple[str, str]] = {}
    for row in _rows(root / "data/classes.csv"):
        now = today.get(row["Code"], {})
        told = (now.get("code") or row["Code"], now.get("name") or row["Name"])
        others = (now.get("alt_name") or row.get("AltName"), now.get("alt_code") or row.get("AltCode"))
        for label in (*told, *others):
            if label:
                names.setdefault(label, told)
    return names


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunnerError(f"HawkEars' table {path} cannot be read: {error}.", retry=False) from error

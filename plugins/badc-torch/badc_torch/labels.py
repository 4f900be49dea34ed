"""Labels of a network: given in its card, or in a file beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from badc_core.config import meant
from badc_core.errors import UsageError

__all__ = ["Label", "read_labels"]

_COLUMNS = ("code", "name")


@frozen
class Label:
    """What one score of the network is about.

    Parameters
    ----------
    text
        What detections are labelled with: the code, else the name.
    code, name
        Short code and readable name, where there are such.
    """

    text: str
    code: str | None = None
    name: str | None = None


def read_labels(given: Any, card: Path) -> tuple[Label, ...]:
    """Return the labels that a card gives or names.

    Parameters
    ----------
    given
        A list of texts, or of tables with ``code``, ``name`` or both; or the name of a file beside the card: ``.csv``
        with such columns, else a text file with one label a line.
    card
        Where it was given.

    Raises
    ------
    UsageError
        They are of another form, a label is empty, or one comes twice.
    """
    if isinstance(given, str):
        where = card.parent / given
        found = list(_from_file(where))
    elif isinstance(given, list):
        where = card
        found = [(f"{card}: labels[{number}]", one) for number, one in enumerate(given)]
    else:
        raise UsageError(f"{card}: labels is {given!r}, but must be a list, or the name of a file.")
    labels: dict[str, Label] = {}
    for place, one in found:
        label = _label(one, place)
        if label.text in labels:
            raise UsageError(f"{place} is {label.text!r}, which comes twice: labels must differ.")
        labels[label.text] = label
    if not labels:
        raise UsageError(f"{where}: there are no labels; give one for each score, in the network's order.")
    return tuple(labels.values())


def _label(one: Any, place: str) -> Label:
    if isinstance(one, str):
        one = {"text": one.strip()}
        if one["text"]:
            return Label(one["text"])
    elif isinstance(one, Mapping):
        for key, value in one.items():
            if key not in _COLUMNS:
                raise UsageError(f"{place} has no key {key!r}.", hint=meant(key, _COLUMNS))
            if not isinstance(value, str):
                raise UsageError(f"{place} {key} is {value!r}, but must be a text.")
        code, name = ((one.get(key) or "").strip() or None for key in _COLUMNS)
        if code or name:
            return Label(code or name or "", code, name)
    raise UsageError(f"{place} is {one!r}, but must be a text that is not empty, or a table with code, name or both.")


def _from_file(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"The labels in {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The labels in {path} cannot be read: {error}.") from error
    if path.suffix.lower() != ".csv":
        yield from ((f"{path}, line {number}:", line) for number, line in enumerate(lines, 1) if line.strip())
        return
    rows = csv.DictReader(lines)
    names = {name.strip().lower(): name for name in rows.fieldnames or () if name}
    if not names.keys() & set(_COLUMNS):
        raise UsageError(
            f"{path}: there is neither a column 'code' nor a column 'name'.", hint="Its first line must name them."
        )
    for row in rows:
        yield f"{path}, line {rows.line_num}:", {key: row[names[key]] or "" for key in _COLUMNS if key in names}

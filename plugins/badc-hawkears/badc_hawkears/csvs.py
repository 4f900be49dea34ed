"""Reading the tables that HawkEars writes: ``HawkEars_labels.csv`` of 1.x and ``scores.csv`` of 2.x.

Their headers tell them apart::

    filename,start_time,end_time,class_name,class_code,score     HawkEars 1
    recording,name,start_time,end_time,score                     HawkEars 2

Times are seconds with a fraction. A table that was not written to its end is an error, never a shorter table.
"""

from __future__ import annotations

import csv
import decimal
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from badc_core.errors import RunnerError

__all__ = ["Row", "milliseconds", "read_table"]

_FORMS: Sequence[Mapping[str, str]] = (
    {"source": "filename", "code": "class_code", "name": "class_name"},
    {"source": "recording", "label": "name"},
)
"""What each form calls the columns by which it is known; ``start_time``, ``end_time`` and ``score`` are in both."""

_NUMBERS = ("start_time", "end_time", "score")


@frozen
class Row:
    """One label.

    Parameters
    ----------
    source
        Whose: HawkEars 1 gives the file's name, HawkEars 2 its stem, or its path where two have one stem.
    start_ms, end_ms
        Within the file, to the nearest millisecond.
    score
        0 to 1; ``None``: not told.
    code, name
        HawkEars 1: code and readable name.
    label
        HawkEars 2: what its option ``--label`` asks for.
    """

    source: str
    start_ms: int
    end_ms: int
    score: float | None
    code: str | None = None
    name: str | None = None
    label: str | None = None


def milliseconds(seconds: str) -> int:
    """Return whole milliseconds, the nearest; halves upwards.

    Raises
    ------
    ValueError
        It is no number.

    Examples
    --------
    >>> milliseconds("2.01")
    2010
    """
    try:
        value = decimal.Decimal(seconds.strip()) * 1000
        return int(value.to_integral_value(decimal.ROUND_HALF_UP))
    except (decimal.InvalidOperation, ValueError, OverflowError):
        raise ValueError(f"{seconds!r} is no time in seconds") from None


def read_table(path: Path) -> list[Row]:
    """Read a table of either form, whole.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    list of Row
        In the file's order; empty when it has nothing but its header.

    Raises
    ------
    RunnerError
        It cannot be read, is no such table, or is damaged; the message names file and line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise RunnerError(f"HawkEars' table {path} cannot be read: {error.strerror or error}.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        form = _form_of(header)
        if text[-1] not in "\r\n":
            raise ValueError("the last line is torn: it has no end")
        return [_row(header, form, values) for values in reader if values]
    except (ValueError, csv.Error) as error:
        line = max(reader.line_num, 1)
        raise RunnerError(
            f"HawkEars' table {path}, line {line}: {error}.",
            hint="It was not written as HawkEars writes it, or not to its end; the chunks are tried again.",
        ) from error


def _form_of(header: Sequence[str]) -> Mapping[str, str]:
    for form in _FORMS:
        if {*form.values(), *_NUMBERS} <= set(header):
            return form
    wanted = " or ".join(",".join([*form.values(), *_NUMBERS]) for form in _FORMS)
    raise ValueError(f"the header is {','.join(header)!r}, not with {wanted}")


def _row(header: Sequence[str], form: Mapping[str, str], values: Sequence[str]) -> Row:
    if len(values) != len(header):
        raise ValueError(f"it has {len(values)} fields, the header {len(header)}")
    cells = dict(zip(header, values, strict=True))
    start_ms, end_ms = milliseconds(cells["start_time"]), milliseconds(cells["end_time"])
    if not 0 <= start_ms <= end_ms:
        raise ValueError(f"a label from {start_ms} to {end_ms} ms")
    texts = {field: cells[column].strip() or None for field, column in form.items() if field != "source"}
    if not any(texts.values()):
        raise ValueError("a label without a name")
    return Row(cells[form["source"]], start_ms, end_ms, _score(cells["score"]), **texts)


def _score(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        score = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no score") from None
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise ValueError(f"the score {text} is not within 0 and 1")
    return score

"""From JSON values of unknown make to Arrow columns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["LARGEST_MS", "column"]

LARGEST_MS = 10**14
"""Three thousand years. A larger whole number is no time, and sums of two of them still fit everywhere."""

_ERRORS = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError)


def column(values: Sequence[Any], kind: pa.DataType, on_bad: Callable[[int, Any], None]) -> pa.Array:
    """Return values as an Arrow array.

    Whole numbers may be written as ``1000.0`` (a fraction is dropped) or as text, texts may be numbers. What cannot be
    read so becomes null.

    Parameters
    ----------
    values
        Any JSON values.
    kind
        ``string``, ``int64`` or ``float64``.
    on_bad
        Told the place and the value of what became null.
    """
    try:
        made = pa.array(values, kind)
        if kind != pa.int64() or not _beyond(made):
            return made
    except _ERRORS:
        pass
    reader = {pa.string(): _text, pa.int64(): _whole, pa.float64(): _number}[kind]
    cleaned = [None if value is None else reader(value) for value in values]
    for place, (before, after) in enumerate(zip(values, cleaned, strict=True)):
        if after is None and before is not None:
            on_bad(place, before)
    return pa.array(cleaned, kind)


def _beyond(numbers: pa.Array) -> bool:
    ends = pc.min_max(numbers)
    lowest, highest = ends["min"].as_py(), ends["max"].as_py()
    return lowest is not None and not -LARGEST_MS <= lowest <= highest <= LARGEST_MS


def _text(value: Any) -> str | None:
    if isinstance(value, (dict, list)):
        return None
    if not isinstance(value, str):
        return json.dumps(value)
    for escaped in ("surrogateescape", "surrogatepass"):
        try:  # a name that is no UTF-8 becomes readable: \xff
            return value.encode("utf-8", escaped).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            continue
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, dict, list)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = value if type(value) is int else _number(value)
    return None if number is None or abs(number) > LARGEST_MS else int(number)

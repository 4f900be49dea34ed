"""The one cattrs converter: attrs values to plain data and back.

Plain data means JSON values. cattrs is imported when it is first needed, because many commands never do.
"""

from __future__ import annotations

import datetime as dt
import functools
import types
import typing
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from badc_core.model import Instant, LocalTime, StartTime

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["SCHEMA_VERSION", "converter", "parse_start_time", "structure", "structure_option", "unstructure"]

SCHEMA_VERSION = 1
"""Of the files in a run folder; raised when an old program could misread a new file."""

T = TypeVar("T")


def parse_start_time(text: str) -> StartTime:
    """Read ISO 8601: with an offset an :class:`Instant`, without one a :class:`LocalTime`."""
    moment = dt.datetime.fromisoformat(text)
    return LocalTime(moment) if moment.tzinfo is None else Instant(moment)


@functools.cache
def converter() -> Converter:
    """Return the converter; :class:`~pathlib.Path` and times are texts outside."""
    from cattrs import Converter

    made = Converter(forbid_extra_keys=False, unstruct_collection_overrides={Set: sorted})
    made.register_unstructure_hook(Path, str)
    made.register_structure_hook(Path, lambda value, _: Path(value))
    for moment in (Instant, LocalTime):
        made.register_unstructure_hook(moment, lambda value: value.isoformat())
        made.register_structure_hook(moment, lambda value, _: parse_start_time(value))
    made.register_structure_hook(StartTime, lambda value, _: parse_start_time(value))
    made.register_structure_hook(StartTime | None, lambda value, _: None if value is None else parse_start_time(value))
    made.register_unstructure_hook(StartTime, lambda value: value.isoformat())
    return made


def unstructure(value: Any) -> Any:
    """Turn attrs values into JSON values."""
    return converter().unstructure(value)


def structure(value: Any, cls: type[T]) -> T:
    """Turn JSON values into an attrs value of class `cls`."""
    return converter().structure(value, cls)


_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def structure_option(value: Any, wanted: Any) -> Any:
    """Turn a text from the command line, or a value from TOML, into an option's type.

    Parameters
    ----------
    value
        The text or value.
    wanted
        ``str``, ``int``, ``float``, ``bool``, :class:`~pathlib.Path`, a ``Literal``, ``tuple[X, ...]``, or one of them
        ``| None``.

    Raises
    ------
    ValueError
        It is not one.
    """
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        members = [m for m in typing.get_args(wanted) if m is not type(None)]
        if value is None or (value == "" and type(None) in typing.get_args(wanted)):
            return None
        return structure_option(value, members[0])
    if origin is typing.Literal:
        allowed = typing.get_args(wanted)
        if value not in allowed:
            raise ValueError(f"it must be one of {', '.join(map(str, allowed))}")
        return value
    if origin in (tuple, list):
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(structure_option(item, typing.get_args(wanted)[0]) for item in items)
    if isinstance(value, (list, Mapping)) and wanted is not Any:
        raise ValueError("it was given more than once")
    if wanted is bool and isinstance(value, str):
        if value.lower() not in _TRUE | _FALSE:
            raise ValueError("it must be true or false")
        return value.lower() in _TRUE
    if wanted is Path:
        return Path(value).expanduser()
    if wanted in (int, float, str, bool):
        if wanted is int and isinstance(value, float) and not value.is_integer():
            raise ValueError("it must be a whole number")
        return wanted(value)
    return value

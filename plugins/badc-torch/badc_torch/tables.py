"""Tables of TOML as attrs classes, checked key by key: unknown, missing, of another type, out of bounds."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from badc_core.config import meant
from badc_core.errors import UsageError

__all__ = ["entry", "read_table"]

T = TypeVar("T")

_WORDS: dict[Any, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def entry(default: Any = attrs.NOTHING, *, help: str, check: Callable[[Any], str | None] | None = None) -> Any:
    """Declare one key of a table, for use in an attrs class.

    Parameters
    ----------
    default
        Its default; leave out for a key that must be there.
    help
        What it says, in a few words.
    check
        Returns what a value must be when it is not that, else ``None``.
    """
    return attrs.field(default=default, metadata={"help": help, "check": check})


def read_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Make an attrs value of a table.

    Parameters
    ----------
    cls
        Its fields are the keys, declared with :func:`entry`. Values that are attrs values already are taken as they
        are.
    table
        As the TOML parser gives it.
    where
        File and table, for messages.

    Raises
    ------
    UsageError
        A key is unknown, missing, of another type, or out of bounds.
    """
    attrs.resolve_types(typing.cast(Any, cls))
    fields = {field.name: field for field in attrs.fields(typing.cast(Any, cls))}
    for key in table:
        if key not in fields:
            raise UsageError(f"{where} there is no key {key!r}.", hint=meant(key, fields))
    for key, field in fields.items():
        if field.default is attrs.NOTHING and key not in table:
            raise UsageError(f"{where} the key {key} is missing.", hint=f"Write {key} = …: {field.metadata['help']}.")
    made: dict[str, Any] = {}
    for key, value in table.items():
        made[key] = value if _is_made(value) else _typed(value, fields[key].type, f"{where} {key}")
        check = fields[key].metadata["check"]
        if check is not None and (problem := check(made[key])) is not None:
            raise UsageError(f"{where} {key} is {value!r}, but {problem}.")
    return cls(**made)


def _is_made(value: Any) -> bool:
    return attrs.has(type(value)) or (isinstance(value, tuple) and all(attrs.has(type(one)) for one in value))


def _typed(value: Any, wanted: Any, where: str) -> Any:
    if typing.get_origin(wanted) is typing.Literal:
        allowed = typing.get_args(wanted)
        if value not in allowed:
            texts = ", ".join(f'"{one}"' for one in allowed)
            raise UsageError(
                f"{where} is {value!r}, but must be one of {texts}.",
                hint=meant(value, allowed) if isinstance(value, str) else None,
            )
        return value
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        members = [one for one in typing.get_args(wanted) if one is not type(None)]
        return _typed(value, members[0], where) if len(members) == 1 else _one_of(value, members, where)
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{where} is {value!r}, but must be a list.")
        return tuple(_typed(one, typing.get_args(wanted)[0], where) for one in value)
    return _one_of(value, [wanted], where)


def _one_of(value: Any, kinds: list[Any], where: str) -> Any:
    for kind in kinds:
        if type(value) is kind and value != "":
            return value
        if kind is float and type(value) is int:
            return float(value)
    raise UsageError(f"{where} is {value!r}, but must be {' or '.join(_WORDS[kind] for kind in kinds)}.")

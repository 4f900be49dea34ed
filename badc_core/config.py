"""Settings and options: flags, then environment, then TOML, then defaults.

Commands take their defaults from a TOML file through click's ``default_map``; plugins describe their options as attrs
classes, which :func:`fill` makes from ``key=value`` texts or from a TOML table.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs

from badc_core.errors import UsageError

__all__ = [
    "Settings",
    "absolute",
    "describe",
    "fill",
    "load_settings",
    "meant",
    "option",
    "pairs",
    "result_options",
    "within",
]

T = TypeVar("T")


def option(
    default: Any = attrs.NOTHING, *, help: str, affects_results: bool = True, added_later: bool = False, **kwargs: Any
) -> Any:
    """Declare one option of a plugin, for use in an attrs class.

    Parameters
    ----------
    default
        Its default; leave out for an option that must be given.
    help
        One line for lists.
    affects_results
        Whether another value can change a result. Those that cannot (thread counts, an interpreter) stay out of the
        fingerprint, so that resume goes on after they change.
    added_later
        For an option that an earlier version of the plugin did not have, and whose default changes nothing: with its
        default it stays out of the fingerprint, so that results of the earlier version still stand.
    **kwargs
        For :func:`attrs.field`: ``validator``, ``converter``, ….
    """
    metadata = {"help": help, "affects_results": affects_results, "added_later": added_later}
    return attrs.field(default=default, metadata=metadata, **kwargs)


def absolute(path: Path | None) -> Path | None:
    """Return a path from the root on, a converter for options: workers may run in another folder than the command."""
    return None if path is None else path.expanduser().absolute()


def within(low: float, high: float = math.inf, *, below: bool = False) -> Callable[[Any, Any, float | None], None]:
    """Return a validator for options: ``low <= value <= high``, or ``< high`` with `below`; ``None`` passes."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is None or (low <= value <= high and not (below and value == high)):
            return
        upper = "" if high == math.inf else f" and below {high:g}" if below else f" and at most {high:g}"
        raise ValueError(f"{attribute.name} is {value:g}, but must be at least {low:g}{upper}")

    return validate


def pairs(texts: Iterable[str], flag: str = "-o") -> dict[str, Any]:
    """Split ``key=value`` texts; a key given several times collects its values in a list.

    Raises
    ------
    UsageError
        A text without ``=``.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{flag} {text!r} is not of the form key=value.", hint=f"Write {flag} key=value.")
        key = key.strip().replace("-", "_")
        if key in found:
            earlier = found[key]
            found[key] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
        else:
            found[key] = value
    return found


def fill(cls: type[T] | None, values: Mapping[str, Any], what: str) -> T | None:
    """Make an options object.

    Parameters
    ----------
    cls
        attrs class of the options; ``None``: none are taken.
    values
        Texts from the command line, or values from TOML.
    what
        Who takes them, for messages: ``"runner 'birdnet'"``.

    Raises
    ------
    UsageError
        An unknown key (with what it might have meant), a missing one, or a value of the wrong type.
    """
    names = {f.name: f for f in attrs.fields(cls)} if cls is not None else {}  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            hint += f"It takes: {', '.join(names)}." if names else "It takes none."
            raise UsageError(f"The {what} has no option {key!r}.", hint=hint)
    if cls is None:
        return None
    for name, spec in names.items():
        if spec.default is attrs.NOTHING and name not in values:
            raise UsageError(
                f"The {what} needs the option {name!r}: {spec.metadata.get('help', '')}.", hint=f"Add -o {name}=…"
            )
    from badc_core.serde import structure_option

    attrs.resolve_types(cast(Any, cls))
    made = {}
    for key, value in values.items():
        try:
            made[key] = structure_option(value, names[key].type)
        except (ValueError, TypeError) as error:
            raise UsageError(f"The option {key!r} of the {what} cannot be {value!r}: {error}.") from error
    try:
        return cls(**made)
    except (ValueError, TypeError) as error:
        raise UsageError(f"The options of the {what} do not fit: {error}.") from error


def meant(key: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown key: which one was probably meant, else all there are."""
    names = list(known)
    close = difflib.get_close_matches(key.replace("-", "_"), names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"It takes: {', '.join(names)}."


def describe(cls: type[Any] | None) -> list[tuple[str, str, str]]:
    """Return name, default and help of every option, for lists and docs."""
    if cls is None:
        return []
    rows = []
    for spec in attrs.fields(cls):
        if spec.default is attrs.NOTHING:
            default = "required"
        elif isinstance(spec.default, attrs.Factory):  # type: ignore[arg-type]
            default = ""
        else:
            default = "" if spec.default is None else str(spec.default)
        rows.append((spec.name, default, str(spec.metadata.get("help", ""))))
    return rows


def result_options(options: Any) -> dict[str, Any]:
    """Return the options that can change a result, as JSON values: a part of the fingerprint."""
    if options is None:
        return {}
    from badc_core.serde import unstructure

    plain: dict[str, Any] = unstructure(options)
    keep = {
        f.name
        for f in attrs.fields(type(options))
        if f.metadata.get("affects_results", True)
        and not (f.metadata.get("added_later", False) and getattr(options, f.name) == f.default)
    }
    return {key: value for key, value in plain.items() if key in keep}


@attrs.frozen
class Settings:
    """What a TOML file says.

    Parameters
    ----------
    values
        Its tables.
    path
        Where it lies; ``None``: there is none.
    """

    values: Mapping[str, Any] = attrs.field(factory=dict)
    path: Path | None = None

    def table(self, *names: str) -> dict[str, Any]:
        """Return a nested table, empty when it is not there.

        Raises
        ------
        UsageError
            There is something of that name that is no table.
        """
        found: Any = self.values
        for name in names:
            found = found.get(name, {})
            if not isinstance(found, Mapping):
                raise UsageError(f"{self.path}: [{'.'.join(names)}] is not a table.")
        return dict(found)


def load_settings(path: Path | None = None, *, folder: Path | None = None) -> Settings:
    """Read settings: `path`, else ``$BADC_CONFIG``, else ``badc.toml`` in `folder` (default: here), else none.

    Raises
    ------
    UsageError
        A file that was named is not there, or one is no TOML.
    """
    if path is None and (named := os.environ.get("BADC_CONFIG")):
        path = Path(named).expanduser()
    if path is None:
        candidate = (folder or Path()) / "badc.toml"
        if not candidate.is_file():
            return Settings()
        path = candidate
    import tomllib

    try:
        return Settings(tomllib.loads(path.read_text(encoding="utf-8-sig")), path)
    except OSError as error:
        raise UsageError(f"Cannot read settings from {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from error

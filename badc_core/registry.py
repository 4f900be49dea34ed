"""Which datasets this user connected, and where they lie: ``~/.config/badc/data.toml``, or ``BADC_DATA_CONFIG``.

A table for each dataset, sorted by name, in the form of BADC 0.1::

    [datasets.survey]
    path = "/data/survey"
    url = "https://example.org/survey.git"
    method = "datalad"            # git | datalad | git-submodule
    status = "connected"          # connected | disconnected
    last_connected = "2026-01-31T08:15:02.123456+00:00"
    last_disconnected = "..."     # once disconnected

What else a user wrote into the file is kept; comments are not.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from badc_core.atomic import explain, write_text
from badc_core.errors import ManifestError, UsageError

__all__ = ["changing", "datasets_of", "folder_of", "read_registry", "registry_path", "registry_text"]

DATASETS = "datasets"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def registry_path() -> Path:
    """Return where the registry lies."""
    named = os.environ.get("BADC_DATA_CONFIG")
    return Path(named).expanduser() if named else Path.home() / ".config" / "badc" / "data.toml"


def read_registry(path: Path) -> dict[str, Any]:
    """Read the file; none is an empty registry.

    Raises
    ------
    ManifestError
        It cannot be read.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"{path} cannot be read: {error}.", hint="Mend it, or move it away to begin anew."
        ) from error
    tables = found.get(DATASETS, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ManifestError(
            f"{path} holds no tables [{DATASETS}.NAME].", hint="Mend it, or move it away to begin anew."
        )
    return found


def folder_of(table: Mapping[str, Any]) -> Path | None:
    """Return where a dataset lies; ``None`` when its table does not say, or not with a text."""
    path = table.get("path")
    return Path(os.path.expanduser(path)) if isinstance(path, str) and path else None  # noqa: PTH111 - never raises


def datasets_of(registry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables of all datasets, by name."""
    return dict(sorted(registry.get(DATASETS, {}).items()))


@contextlib.contextmanager
def changing(path: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """Let the datasets of a registry be changed, and write it whole afterwards; others who change it wait.

    Raises
    ------
    ManifestError
        It cannot be read.
    StoreError
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise explain(error, path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        registry = read_registry(path)
        datasets = datasets_of(registry)
        yield datasets
        write_text(path, registry_text({**registry, DATASETS: dict(sorted(datasets.items()))}))
    finally:
        os.close(handle)


def registry_text(registry: Mapping[str, Any]) -> str:
    """Return a registry as TOML.

    Raises
    ------
    UsageError
        A text in it is no Unicode, which TOML cannot hold.
    """
    return "\n".join(_tables(registry, ())).lstrip("\n") + "\n" if registry else ""


def _tables(table: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if plain or (names and not table):
        if names:
            yield f"\n[{'.'.join(map(_key, names))}]"
        yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _tables(value, (*names, key))


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _text(text)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is no Unicode, which the registry of datasets needs.") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's escapes are those of JSON


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(one)}' for key, one in value.items())}}}"
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else repr(value)

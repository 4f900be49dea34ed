"""JSON as bytes: quick, and true to names that are no UTF-8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["dump_json", "load_json"]


def dump_json(entry: Mapping[str, Any], *, indent: bool = False) -> bytes:
    """Encode one JSON object; names that are no UTF-8 keep their surrogate escapes."""
    try:
        return orjson.dumps(entry, option=orjson.OPT_INDENT_2 if indent else None)
    except TypeError:
        return json.dumps(entry, indent=2 if indent else None, separators=None if indent else (",", ":")).encode()


def load_json(data: bytes) -> Any:
    """Decode JSON; raises ValueError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\ud" not in data.lower():
            raise
        return json.loads(data)

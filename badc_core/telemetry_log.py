"""The telemetry log: JSON lines, one for each event. How a line is made, and how a log is read.

The form is that of BADC 0.1; ``docs/reference/formats/telemetry.md`` tells it. Logs are appended to by processes that
may be killed, so a reader passes over what is no record: a torn last line, or one torn by an earlier run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from badc_core import annex
from badc_core.errors import BadcError
from badc_core.log import get_logger
from badc_core.model import Event, Measurement

__all__ = ["DEFAULT_LOG", "OUTPUT_LIMIT", "count_lines", "dumps", "loads", "metrics", "parse_line", "read_log", "tail"]
__all__ += ["to_line", "unreadable"]

DEFAULT_LOG = Path("data/telemetry/infer/log.jsonl")
"""What viewers read when no log is named, below the working folder."""

OUTPUT_LIMIT = 500
"""Characters kept of what a process wrote, counted from its end."""

_BLOCK = 1 << 16
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_log = get_logger(__name__)


def metrics(measurement: Measurement | None) -> dict[str, int | None] | None:
    """Return a measurement as logs tell it; memory in MiB, although the keys end in ``_mb``."""
    if measurement is None:
        return None
    return {
        "index": measurement.device_index,
        "utilization": measurement.utilization_percent,
        "memory_used_mb": measurement.memory_used_mib,
        "memory_total_mb": measurement.memory_total_mib,
    }


def _plain(value: Any) -> Any:
    """Make a JSON value of anything, for orjson and json: a log line must not fail for an odd detail."""
    if isinstance(value, Measurement):
        return metrics(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def dumps(value: Any) -> bytes:
    """Return `value` as JSON on one line; names that are no UTF-8 are escaped, for :func:`loads` to bring back."""
    try:
        return orjson.dumps(value, _plain, _OPTIONS)
    except orjson.JSONEncodeError:
        import json

        return json.dumps(value, default=_plain, skipkeys=True, separators=(",", ":")).encode("ascii")


def loads(text: bytes) -> Any:
    """Return the JSON value of `text`.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        import json

        return json.loads(text)  # knows the lone surrogates of names that are no UTF-8


def to_line(event: Event) -> bytes:
    """Return the log line of an event, its line end included: eight keys in the order of BADC 0.1."""
    details = event.details
    if "attempt" not in details:
        details = {"attempt": 1, **details}
    for key in ("stdout", "stderr"):
        text = details.get(key)
        if isinstance(text, str) and len(text) > OUTPUT_LIMIT:
            details = {**details, key: text[-OUTPUT_LIMIT:]}
    if details.get("gpu_metrics", details) is None:
        details = {**details, "gpu_metrics": {"before": None, "after": None}}
    if ":" in event.worker:  # on one of several machines: only this tells equal devices of theirs apart
        details = {**details, "worker": event.worker}
    device = event.device
    on_gpu = device.kind == "gpu"
    return (
        dumps(
            {
                "chunk_id": event.chunk_id,
                "gpu_index": device.index if on_gpu else None,
                "gpu_name": device.name if on_gpu else None,
                "status": event.status,
                "timestamp": event.timestamp,
                "finished_at": event.finished_at,
                "runtime_s": event.runtime_s,
                "details": details,
            }
        )
        + b"\n"
    )


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line with missing keys filled in; ``None`` when it is none."""
    try:
        found = loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("chunk_id"), str):
        return None
    if not isinstance(found.get("details"), dict):
        found["details"] = {}
    for key, default in (("status", "unknown"), ("timestamp", "")):
        if not isinstance(found.get(key), str):
            found[key] = default
    for key in ("gpu_index", "gpu_name", "finished_at", "runtime_s"):
        found.setdefault(key, None)
    return found


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log, missing keys filled in, foreign keys kept.

    Lines that are no record are passed over; how many there were is said once, at the end.

    Raises
    ------
    BadcError
        The log is not there or cannot be read.
    """
    strange = 0
    try:
        with path.open("rb") as file:
            for line in file:
                record = parse_line(line)
                if record is not None:
                    yield record
                elif line.endswith(b"\n") and line.strip():
                    strange += 1
    except OSError as error:
        raise unreadable(path, error) from error
    if strange:
        _log.warning("lines that are no telemetry records were passed over", log=str(path), lines=strange)


def _lines_backwards(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        rest: list[bytes] = []  # pieces of a line whose beginning is not read yet, last piece first
        while at > 0:
            size = min(_BLOCK, at)
            at -= size
            file.seek(at)
            lines = file.read(size).split(b"\n")
            if len(lines) > 1:
                yield lines.pop() + b"".join(reversed(rest))
                rest = []
                while len(lines) > 1:
                    yield lines.pop()
            rest.append(lines[0])
        yield b"".join(reversed(rest))


def tail(path: Path, count: int) -> list[dict[str, Any]]:
    """Return the last `count` records in the order of the log, without reading what lies before them.

    Raises
    ------
    BadcError
        The log is not there or cannot be read.
    """
    found: list[dict[str, Any]] = []
    try:
        for line in _lines_backwards(path):
            if len(found) >= count:
                break
            if (record := parse_line(line)) is not None:
                found.append(record)
    except OSError as error:
        raise unreadable(path, error) from error
    return found[::-1]


def count_lines(path: Path) -> int:
    """Return the number of whole lines of a log: its records, when none is damaged. Does not parse them.

    Raises
    ------
    BadcError
        The log is not there or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> BadcError:
    """Return the error for a log that the system refuses to give."""
    if annex.content_missing(path):
        return BadcError(f"The content of {path} is not on this machine.", hint=annex.fetch_hint(path))
    return BadcError(
        f"Cannot read the telemetry log {path}: {error.strerror or error}.",
        hint="badc infer run prints where its log lies; name it with --log PATH.",
    )

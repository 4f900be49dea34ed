"""What recorders write into their files: GUANO, and the AudioMoth's comment.

The PyPI package ``guano`` 1.0.16 was looked at and not used: it opens the file with Python's ``wave``, which refuses
float and RF64 files; one line without a colon makes it drop everything; it reads as many bytes as the piece claims to
have; and it prints warnings on stderr. What is needed of GUANO is a few lines of ``key: value``.

Formats: GUANO 1.0 (guano-md.org); "Recorded at …" as AudioMoth firmware 1.0 to 1.11 writes it into ``LIST INFO ICMT``.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from badc_audio.containers import Piece
from badc_core.model import Instant, LocalTime, StartTime
from badc_core.protocols import RecordingHints

__all__ = ["hints_from", "parse_comment", "parse_guano"]

_LONGEST_NOTE = 1 << 20
_COMMENT = re.compile(
    r"Recorded at (?P<clock>\d{1,2}:\d{2}:\d{2}(?:\.\d+)?) (?P<day>\d{1,2})/(?P<month>\d{1,2})/(?P<year>\d{4})"
    r"(?: \(UTC(?:(?P<sign>[+-])(?P<hours>\d{1,2})(?::(?P<minutes>\d{2}))?)?(?P<zone>\)))?"
)
_MOTH = re.compile(r"AudioMoth ([0-9A-F]{16})")


def hints_from(handle: int, notes: Iterable[Piece]) -> RecordingHints:
    """Return what the notes of a file say; GUANO is believed before the comment.

    Parameters
    ----------
    handle
        Descriptor of the file.
    notes
        Its ``guan`` and ``LIST`` pieces.
    """
    found: list[RecordingHints] = []
    for note in sorted(notes, key=lambda piece: piece.name != b"guan"):
        raw = os.pread(handle, min(note.size, _LONGEST_NOTE), note.start)
        if note.name == b"guan":
            found.append(parse_guano(raw))
        elif raw[:4] == b"INFO":
            info = _info_texts(raw[4:])
            found.append(parse_comment(info.get(b"ICMT", ""), info.get(b"IART", "")))
    return _merged(found)


def parse_guano(raw: bytes) -> RecordingHints:
    """Read a ``guan`` piece: start, recorder and place.

    Lines that make no sense are passed over; a time or place that makes none is told in ``problems``.
    """
    text = raw.decode("utf-8", "replace").strip("\0 \r\n\t")
    lines = (line.partition(":") for line in text.splitlines())
    fields = {key.strip(): value.strip(" \0\r\t") for key, colon, value in lines if colon}
    problems: list[str] = []
    started_at = _guano_time(fields.get("Timestamp", ""), problems)
    latitude, longitude = _place(fields.get("Loc Position", ""), problems)
    device = fields.get("Serial") or fields.get("Model") or None
    return RecordingHints(started_at, device, latitude, longitude, tuple(problems))


def parse_comment(comment: str, artist: str = "") -> RecordingHints:
    """Read an AudioMoth's comment; a time with a zone becomes an instant, one without stays local."""
    moth = _MOTH.search(comment) or _MOTH.search(artist)
    device = moth.group(1) if moth else None
    match = _COMMENT.search(comment)
    if match is None:
        return RecordingHints(device=device)
    try:
        clock = dt.time.fromisoformat(match["clock"].zfill(8) if "." not in match["clock"] else match["clock"])
        wall = dt.datetime.combine(dt.date(int(match["year"]), int(match["month"]), int(match["day"])), clock)
    except ValueError as error:
        return RecordingHints(device=device, problems=(f"the comment's time {match[0][12:]!r} is none: {error}",))
    return RecordingHints(_with_zone(wall, match), device)


def _with_zone(wall: dt.datetime, match: re.Match[str]) -> StartTime:
    if match["zone"] is None:
        return LocalTime(wall)
    offset = dt.timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    if match["sign"] == "-":
        offset = -offset
    return Instant(wall.replace(tzinfo=dt.timezone(offset)))


def _guano_time(text: str, problems: list[str]) -> StartTime | None:
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        problems.append(f"the GUANO time {text!r} is none")
        return None
    return LocalTime(moment) if moment.tzinfo is None else Instant(moment)


def _place(text: str, problems: list[str]) -> tuple[float | None, float | None]:
    if not text:
        return None, None
    try:
        latitude, longitude = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        latitude = longitude = float("nan")
    if -90 <= latitude <= 90 and -180 <= longitude <= 180:
        return latitude, longitude
    problems.append(f"the GUANO place {text!r} is none")
    return None, None


def _info_texts(raw: bytes) -> Mapping[bytes, str]:
    found = {}
    position = 0
    while position + 8 <= len(raw):
        name, size = struct.unpack_from("<4sI", raw, position)
        value = raw[position + 8 : position + 8 + size]
        found[name] = value.split(b"\0")[0].decode("utf-8", "replace").strip()
        position += 8 + size + size % 2
    return found


def _merged(found: list[RecordingHints]) -> RecordingHints:
    merged: dict[str, Any] = {}
    problems = [problem for hints in found for problem in hints.problems]
    for name in ("started_at", "device", "latitude", "longitude"):
        values = [value for hints in found if (value := getattr(hints, name)) is not None]
        if values:
            merged[name] = values[0]
    times = {hints.started_at.isoformat() for hints in found if isinstance(hints.started_at, Instant)}
    if len(times) > 1:
        problems.append(f"GUANO and the comment disagree on the start: {' and '.join(sorted(times))}")
    return RecordingHints(**merged, problems=tuple(problems))

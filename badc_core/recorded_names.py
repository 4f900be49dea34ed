"""When, and by whom: what recorders write into the names of their files.

Only names that can be read in one way are read. Years of two digits, and days and months that could be each other, need
a pattern of the user's. The table of what is read is in ``docs/how-to/recording-metadata.md``.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Iterable

from attrs import asdict, evolve, frozen

from badc_core.clocks import offset_zone
from badc_core.errors import UsageError
from badc_core.model import Instant, LocalTime, StartTime

__all__ = ["NameFacts", "name_pattern", "read_name", "without_window"]


@frozen
class NameFacts:
    """What a name tells; everything optional.

    Parameters
    ----------
    started_at
        The time in the name; an :class:`Instant` only where the name gives the zone.
    prefix
        What stands before the time: by custom the site, or the recorder's number.
    site, device
        From groups of the user's pattern; `device` also from an AudioMoth's number.
    latitude, longitude
        Decimal degrees.
    problem
        Why there is no time although something looks like one.
    """

    started_at: StartTime | None = None
    prefix: str | None = None
    site: str | None = None
    device: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    problem: str | None = None


_ZONE = r"(?:_?(?P<zone>Z|[+-]\d\d:?\d\d)(?![0-9A-Za-z]))?"
_SHAPES = (
    # AudioMoth, Wildlife Acoustics (with ``$`` when synchronised by GPS, some with milliseconds), Frontier Labs, Swift
    re.compile(
        r"(?<!\d)(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)[_T$]"
        r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?:_(?P<fraction>\d{3}))?(?!\d)" + _ZONE
    ),
    # OwlSense
    re.compile(
        r"(?<!\d)(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)(?:_T|_|T)"
        r"(?P<hour>\d\d)-(?P<minute>\d\d)-(?P<second>\d\d)(?!\d)" + _ZONE
    ),
)
_LOCATION = re.compile(
    r"\[(?P<latitude>[+-]?\d{1,2}(?:\.\d+)?)(?:[ ,_]+(?=[+-]?\d)|(?=[+-]))(?P<longitude>[+-]?\d{1,3}(?:\.\d+)?)\]"
)
_CHANNELS = re.compile(r"(?:_0\+1_?|__[01]__)$")
_AUDIOMOTH_NUMBER = re.compile(r"[0-9A-F]{16}")
_PIECE = re.compile(r"_chunk_(\d{1,12})_\d{1,12}$")  # up to 31 years

_UNIX_SECONDS = re.compile(r"[0-9A-F]{8}")
_FIRST_AUDIOMOTH = int(dt.datetime(2017, 1, 1, tzinfo=dt.UTC).timestamp())
_LAST_SIGNED_SECOND = 0x7FFFFFFF
_YEARS = range(1970, 2100)

_MONTH_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3])[0-5]\d"
_REFUSED = (
    (re.compile(rf"\.\d\d{_MONTH_DAY}{_CLOCK}[0-5]\d$"), "its year has two digits"),
    (re.compile(rf"(?<!\d)\d\d{_MONTH_DAY}[_-]{_CLOCK}(?:[0-5]\d)?(?!\d)"), "its year has two digits"),
    (re.compile(rf"(?<!\d){_CLOCK}-[0-3]\d[01]\d(?:19|20)\d\d(?!\d)"), "day and month could be each other"),
)


def read_name(stem: str, patterns: Iterable[re.Pattern[str]] = ()) -> NameFacts:
    """Read what a file's name tells.

    Parameters
    ----------
    stem
        The name without its suffix. The end that BADC gives to chunk files, ``_chunk_<start>_<end>``, counts: such a
        piece begins that much later.
    patterns
        The user's, from :func:`name_pattern`; the first that is found in the name counts, before what is known here.
    """
    piece = _PIECE.search(stem)
    whole = stem[: piece.start()] if piece is not None else stem
    facts = _facts(whole, patterns)
    if facts.started_at is not None and piece is not None:
        return evolve(facts, started_at=facts.started_at.plus_ms(int(piece[1])))
    return facts


def without_window(stem: str) -> str:
    """Return the name of the recording that a chunk file was cut from; other names as they are."""
    return _PIECE.sub("", stem)


def _facts(stem: str, patterns: Iterable[re.Pattern[str]]) -> NameFacts:
    for pattern in patterns:
        match = pattern.search(stem)
        if match is None:
            continue
        told = _by_pattern(match)
        if "year" in pattern.groupindex:
            return told
        return evolve(
            _known(stem), **{name: value for name, value in asdict(told, recurse=False).items() if value is not None}
        )
    return _known(stem)


def _known(stem: str) -> NameFacts:
    """Read the names that recorders give."""
    found = [match for shape in _SHAPES for match in shape.finditer(stem)]
    times = {moment: match for match in reversed(found) if (moment := _moment(match.groupdict())) is not None}
    latitude, longitude = _location(_LOCATION.search(stem))
    started_at: StartTime | None
    prefix = None
    if len(times) == 1:
        ((started_at, match),) = times.items()
        prefix = _prefix(stem[: match.start()])
        problem = None
    elif times:
        started_at, problem = None, "its name holds more than one time"
    else:
        started_at, problem = _rare(stem, found)
    device = prefix if prefix is not None and _AUDIOMOTH_NUMBER.fullmatch(prefix) else None
    return NameFacts(started_at, prefix, None, device, latitude, longitude, problem)


def _rare(stem: str, found: list[re.Match[str]]) -> tuple[StartTime | None, str | None]:
    """Read the old AudioMoth name, eight hexadecimal digits of Unix time, or say why there is no time."""
    if any(int(match["year"]) in _YEARS for match in found):
        return None, "its name holds a time or a zone that does not exist"
    if _UNIX_SECONDS.fullmatch(stem) and _FIRST_AUDIOMOTH <= int(stem, 16) <= _LAST_SIGNED_SECOND:
        if stem.isdigit():
            return None, "its name could be an AudioMoth's time or just a number"
        return Instant(dt.datetime.fromtimestamp(int(stem, 16), dt.UTC)), None
    for shape, reason in _REFUSED:
        if shape.search(stem):
            return None, f"its name looks like a time, but {reason}; name_pattern in [recordings] can tell"
    return None, None


def _moment(parts: dict[str, str | None]) -> StartTime | None:
    """Make a time of texts; ``None`` when there is no such time."""
    zone_text = parts.get("zone")
    zone = offset_zone(zone_text) if zone_text else None
    try:
        digits = parts.get("year") or ""
        year = int(digits) + (2000 if len(digits) == 2 else 0)
        month, day, hour, minute, second = (int(parts.get(name) or 0) for name in _TIME_GROUPS[1:6])
        microseconds = int((parts.get("fraction") or "")[:6].ljust(6, "0"))
        moment = dt.datetime(year, month, day, hour, minute, second, microseconds, tzinfo=zone)
        if year not in _YEARS or (zone_text and zone is None):
            return None
        return LocalTime(moment) if zone is None else Instant(moment)
    except (ValueError, OverflowError):
        return None


def _prefix(text: str) -> str | None:
    return _CHANNELS.sub("", text).rstrip("_ -.") or None


def _location(match: re.Match[str] | None) -> tuple[float | None, float | None]:
    if match is None or not match["latitude"] or not match["longitude"]:
        return None, None
    try:
        latitude, longitude = float(match["latitude"]), float(match["longitude"])
    except ValueError:
        return None, None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else (None, None)


# ------------------------------------------------------------------------------------ the user's patterns

_TIME_GROUPS = ("year", "month", "day", "hour", "minute", "second", "fraction", "zone")
_NEEDED_GROUPS = _TIME_GROUPS[:5]
_OTHER_GROUPS = ("prefix", "site", "device", "latitude", "longitude")


def name_pattern(text: str) -> re.Pattern[str]:
    r"""Compile a pattern of the user's: a regular expression whose named groups say what is where.

    Parameters
    ----------
    text
        Searched for in the name without its suffix. For a time it needs the groups ``year`` (four digits, or two for
        20yy), ``month``, ``day``, ``hour`` and ``minute``; it may have ``second``, ``fraction`` (of a second) and
        ``zone`` (``Z``, ``+1000``, ``-08:00``), and ``prefix``, ``site``, ``device``, ``latitude``, ``longitude``.

    Raises
    ------
    UsageError
        It is no regular expression, names a group that is none of these, or tells a part of a time only.

    Examples
    --------
    >>> read_name("0630-01052021", [name_pattern(r"(?P<hour>\d\d)(?P<minute>\d\d)-"
    ...     r"(?P<day>\d\d)(?P<month>\d\d)(?P<year>\d{4})")]).started_at.isoformat()
    '2021-05-01T06:30:00.000000'
    """
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"name_pattern {text!r} is no regular expression: {error}.") from None
    known = _TIME_GROUPS + _OTHER_GROUPS
    for group in pattern.groupindex:
        if group not in known:
            close = difflib.get_close_matches(group, known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            hint += f"There are: {', '.join(known)}."
            raise UsageError(f"name_pattern {text!r} names a group {group!r}, which means nothing.", hint=hint)
    if not pattern.groupindex:
        raise UsageError(
            f"name_pattern {text!r} names no group, so it tells nothing.", hint=r"Name the parts: (?P<year>\d{4}) …"
        )
    missing = [group for group in _NEEDED_GROUPS if group not in pattern.groupindex]
    if missing and any(group in pattern.groupindex for group in _TIME_GROUPS):
        raise UsageError(f"name_pattern {text!r} tells a time without {', '.join(missing)}.")
    return pattern


def _by_pattern(match: re.Match[str]) -> NameFacts:
    parts = match.groupdict()
    started_at = None
    problem = None
    if parts.get("year"):
        started_at = _moment(parts)
        if started_at is None:
            problem = "its name fits name_pattern, but holds a time or a zone that does not exist"
    names = match.re.groupindex
    located = match if "latitude" in names and "longitude" in names else None
    latitude, longitude = _location(located)
    return NameFacts(
        started_at,
        parts.get("prefix") or None,
        parts.get("site") or None,
        parts.get("device") or None,
        latitude,
        longitude,
        problem,
    )

"""Zones and clocks: from what a clock showed to a point in time, where the user says which zone it kept.

A local time is never made UTC by guessing. Times that a change of the clocks skips or repeats stay what they are, with
a sentence about it.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
import zoneinfo

from badc_core.errors import UsageError
from badc_core.model import Instant, LocalTime, StartTime

__all__ = ["difference_s", "localised", "now", "offset_zone", "zone_named"]

_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?")
_GREATEST_OFFSET = dt.timedelta(hours=14)
_QUARTER_S = 15 * 60


def now() -> str:
    """Return this moment as files of BADC have it: ISO 8601 in UTC, with microseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


def offset_zone(text: str) -> dt.timezone | None:
    """Return the zone that ``Z``, ``+10``, ``+1000`` or ``+10:00`` means.

    ``None`` for anything else, also for offsets that no place on earth has: beyond 14 hours, or between the quarters.
    """
    if text in ("Z", "z"):
        return dt.UTC
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    offset = dt.timedelta(hours=int(match["hours"]), minutes=int(match["minutes"] or 0))
    if offset > _GREATEST_OFFSET or offset.total_seconds() % _QUARTER_S or int(match["minutes"] or 0) >= 60:
        return None
    return dt.timezone(-offset if match["sign"] == "-" else offset)


def zone_named(name: str) -> dt.tzinfo:
    """Return a zone by its name in the IANA database, ``UTC``, or a fixed offset like ``-08:00``.

    Raises
    ------
    UsageError
        There is no such zone.
    """
    if name.upper() == "UTC":
        return dt.UTC
    fixed = offset_zone(name)
    if fixed is not None:
        return fixed
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:
        hint = "This machine has no database of zones. Install it: pip install tzdata"
    else:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        hint += "Write a name like 'America/Vancouver', 'UTC', or an offset like '-08:00'."
    raise UsageError(f"There is no time zone {name!r}.", hint=hint)


def localised(moment: StartTime, zone: dt.tzinfo | None) -> tuple[StartTime, str | None]:
    """Make a local time an instant, where that has one meaning.

    Parameters
    ----------
    moment
        An instant stays what it is.
    zone
        The zone the clock kept; ``None``: not known, and nothing is changed.

    Returns
    -------
    tuple
        The time, and what is wrong with it: a local time that a change of the clocks skips or repeats is left as it is.
    """
    if zone is None or isinstance(moment, Instant):
        return moment, None
    early = moment.wall.replace(tzinfo=zone, fold=0)
    late = moment.wall.replace(tzinfo=zone, fold=1)
    before, after = early.utcoffset(), late.utcoffset()
    shown = moment.wall.isoformat(sep=" ", timespec="seconds")
    if before == after or before is None or after is None:
        try:
            return Instant(early), None
        except OverflowError:  # the first or the last day of the calendar, as a clock shows that was never set
            return moment, f"{shown} in {zone} is outside the calendar; left without a zone"
    if before < after:
        return moment, f"{shown} does not exist in {zone}: the clocks were put forward then; left without a zone"
    return moment, f"{shown} happened twice in {zone}: the clocks were put back then; left without a zone"


def difference_s(one: StartTime, other: StartTime) -> float:
    """Return by how many seconds two statements of one time disagree at least.

    Two instants, or two local times, differ by what lies between them. An instant and a local time differ by what is
    left when the local clock is given the zone, in quarters of an hour up to 14 hours, that brings them closest.
    """
    if isinstance(one, Instant) and isinstance(other, Instant):
        return abs((one.utc - other.utc).total_seconds())
    if isinstance(one, LocalTime) and isinstance(other, LocalTime):
        return abs((one.wall - other.wall).total_seconds())
    instant, local = (one, other) if isinstance(one, Instant) else (other, one)
    assert isinstance(instant, Instant)
    assert isinstance(local, LocalTime)
    apart = (local.wall - instant.utc.replace(tzinfo=None)).total_seconds()
    greatest = _GREATEST_OFFSET.total_seconds()
    offset = max(-greatest, min(greatest, round(apart / _QUARTER_S) * _QUARTER_S))
    return abs(apart - offset)

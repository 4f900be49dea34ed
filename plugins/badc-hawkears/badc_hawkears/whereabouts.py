"""Where and when recordings were made, in the words in which HawkEars takes it: the same in every mode."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from badc_core.errors import RunnerError
from badc_core.model import Instant, Recording

__all__ = ["NOWHERE", "Whereabouts", "date_named", "local_date", "whereabouts_of", "without_place"]

_DEGREES_PER_HOUR = 15
_CENTURIES = ("19", "20")
_PLACES = ("region", "latitude", "longitude", "date", "filelist")


@frozen
class Whereabouts:
    """Where and when a recording was made, as far as HawkEars is to know it.

    Parameters
    ----------
    recorded_at
        The day at that place, ``YYYY-MM-DD`` or in another form that HawkEars takes.
    latitude, longitude
        Decimal degrees.
    region_code
        Of eBird, in place of these two.
    """

    recorded_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    region_code: str | None = None

    @property
    def known(self) -> bool:
        """Whether the place is known; without it HawkEars leaves no class out, whatever the date."""
        return self != NOWHERE

    @property
    def metadata(self) -> dict[str, Any]:
        """What of it is known, by the names that HawkEars gives to metadata of recordings."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


NOWHERE = Whereabouts()


def whereabouts_of(recording: Recording, settings: Mapping[str, Any]) -> Whereabouts:
    """Return where and when a recording was made: as it says itself, else as HawkEars' settings say for all.

    Parameters
    ----------
    recording
        The recording.
    settings
        HawkEars' section ``hawkears``.

    Raises
    ------
    RunnerError
        The date is to be in the recording's name, and is not.
    """
    latitude, longitude, region = recording.latitude, recording.longitude, None
    if latitude is None or longitude is None:
        latitude, longitude, region = (settings.get(name) for name in ("latitude", "longitude", "region"))
        if region is not None:
            latitude = longitude = None
        elif latitude is None or longitude is None:
            return NOWHERE
    own = local_date(recording, longitude)
    date = settings.get("date") if own is None else own.isoformat()
    return Whereabouts(_date_in(recording.path.name) if date == "file" else date, latitude, longitude, region)


def local_date(recording: Recording, longitude: float | None) -> dt.date | None:
    """Return the date on which a recording was begun, where it was made.

    What a recorder's clock showed is taken as it is. Of an instant the zone is not known any more; the sun's time at
    the place is within an hour or two of the clocks' there.
    """
    at = recording.started_at
    if at is None:
        return None
    if not isinstance(at, Instant):
        return at.wall.date()
    return (at.utc + dt.timedelta(hours=(longitude or 0.0) / _DEGREES_PER_HOUR)).date()


def date_named(name: str) -> dt.date | None:
    """Return the date in a file's name, as HawkEars finds it.

    It is eight digits, or four, two and two with hyphens or underscores between them, of a year from 1900 to 2099. The
    first that looks so counts: where that is no day of the calendar, there is none.
    """
    for first in range(len(name)):
        digits = _digits(name[first:])
        if digits[:2] in _CENTURIES and len(digits) == 8 and digits.isdecimal():
            try:
                return dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
            except ValueError:
                return None
    return None


def _digits(text: str) -> str:
    """Return the eight characters where the digits of a date would be, if one began here; else nothing."""
    mark = text[4:5] if text[4:5] in ("-", "_") else ""
    month = 4 + len(mark)
    day = month + 2 + len(mark)
    return text[:4] + text[month : month + 2] + text[day : day + 2] if text[month + 2 : day] == mark else ""


def _date_in(name: str) -> str:
    found = date_named(name)
    if found is None:
        raise RunnerError(
            f"HawkEars is to take the date of {name!r} from its name, and there is none.",
            hint="Name recordings like 20260531_043000.wav, give a date, or none: --hawkears-arg '--date 20260531'",
            retry=False,
        )
    return found.isoformat()


def without_place(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return settings that say nothing of places and dates, because each recording comes with its own."""
    return {
        section: {name: None if section == "hawkears" and name in _PLACES else value for name, value in values.items()}
        for section, values in settings.items()
    }

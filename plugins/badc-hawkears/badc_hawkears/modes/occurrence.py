"""Where and when recordings were made, in the words in which HawkEars' own programs take it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from badc_core.errors import RunnerError
from badc_core.model import Recording
from badc_hawkears.engine.occurrence import local_date

__all__ = ["NOWHERE", "Occurrence", "occurrence_of", "without_place"]

_IN_NAME = re.compile(r"((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)")
_PLACES = ("region", "latitude", "longitude", "date", "filelist")


@frozen
class Occurrence:
    """What HawkEars is told of one recording.

    Parameters
    ----------
    recorded_at
        The day, ``YYYY-MM-DD`` or in another form that HawkEars takes.
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


NOWHERE = Occurrence()


def occurrence_of(recording: Recording, settings: Mapping[str, Any]) -> Occurrence:
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
    date = own.isoformat() if own is not None else settings.get("date")
    return Occurrence(_date_in(recording.path.name) if date == "file" else date, latitude, longitude, region)


def without_place(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return settings that say nothing of places and dates, because each recording comes with its own."""
    return {
        section: {name: None if section == "hawkears" and name in _PLACES else value for name, value in values.items()}
        for section, values in settings.items()
    }


def _date_in(name: str) -> str:
    found = _IN_NAME.search(name)
    if found is None:
        raise RunnerError(
            f"HawkEars is to take the date of {name!r} from its name, and there is none.",
            hint="Name recordings like 20260531_043000.wav, give a date, or none: --hawkears-arg '--date 20260531'",
            retry=False,
        )
    return f"{found[1]}-{found[3]}-{found[4]}"

"""Where and when a recording was made, and what HawkEars makes of it: asked of its own ``OccurrenceManager``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from badc_core.errors import RunnerError
from badc_core.model import Instant, Recording
from badc_hawkears.engine.tables import Tables
from badc_hawkears.rules import ClassRules

__all__ = ["Occurrence", "local_date"]

_KEY = "recording"
_DEGREES_PER_HOUR = 15


class Occurrence:
    """Says what is done with the classes in a recording.

    A row of the configured file list counts most, then the recording's own place and date, then the place and date of
    the configuration. A recording of which no place is known is not filtered.

    Parameters
    ----------
    config
        HawkEars' configuration.
    class_manager
        Its ``ClassManager``.
    tables
        What it does with all classes where no place is known.

    Raises
    ------
    RunnerError
        The configured place is not in eBird's data, or the configured file list cannot be used.
    """

    def __init__(self, config: Any, class_manager: Any, tables: Tables) -> None:
        self._config = config.hawkears
        self._all = config
        self._class_manager = class_manager
        self._tables = tables
        self._loaded: Any = None
        self._known: dict[tuple[Any, Any], Sequence[ClassRules]] = {(None, None): tables.classes}
        self._default = self._configured_place()
        if self._config.filelist is not None:
            self._listed(Path("anything"))

    def classes(self, recording: Recording) -> Sequence[ClassRules] | None:
        """Return the rules of all classes in a recording; ``None``: the file list does not have it.

        Raises
        ------
        RunnerError
            The date is to be in the recording's name, and is not.
        """
        about = self._about(recording)
        if about is None:
            return None
        if not about:
            return self._tables.classes
        manager = self._manager()
        manager._process_recording_metadata({_KEY: about})
        where = manager.file_info[manager._recording_key(_KEY)]
        if where not in self._known:
            self._known[where] = [self._decided(rule) for rule in self._tables.classes]
        return self._known[where]

    def _about(self, recording: Recording) -> Mapping[str, object] | None:
        """Return place and date in HawkEars' words; empty where no place is known."""
        listed: Mapping[str, object] = {}
        if self._config.filelist is not None:
            found = self._listed(recording.path)
            if found is None:
                return None
            listed = {key: told for key, told in found.items() if told}
        place = {key: listed[key] for key in ("region_code", "latitude", "longitude") if key in listed}
        if not place and self._config.filelist is None:
            place = self._place_of(recording)
        if not place:
            return {}
        date = listed.get("recorded_at") or self._date_of(recording, place.get("longitude"))
        return {**place, "recorded_at": date} if date else place

    def _place_of(self, recording: Recording) -> dict[str, object]:
        if recording.latitude is not None and recording.longitude is not None:
            return {"latitude": recording.latitude, "longitude": recording.longitude}
        return self._default

    def _date_of(self, recording: Recording, longitude: Any) -> str | None:
        own = local_date(recording, longitude)
        if own is not None:
            return own.isoformat()
        if self._config.date != "file":
            return self._config.date or None
        from hawkears.core.recording_date import extract_recording_date

        named: str | None = extract_recording_date(recording.path.name)
        if named is None:
            raise RunnerError(
                f"HawkEars is to take the date of {recording.path.name!r} from its name, and there is none.",
                hint="Name recordings like 20260531_043000.wav, give a date, or none: --hawkears-arg '--date 20260531'",
                retry=False,
            )
        return named

    def _configured_place(self) -> dict[str, object]:
        config = self._config
        if config.region is not None:
            if not self._manager().provider.find_counties(config.region):
                raise RunnerError(
                    f"HawkEars knows no region {config.region!r}.",
                    hint="Give eBird's code of a country, province, state or county: CA, CA-NT, CA-ON-OT",
                    retry=False,
                )
            return {"region_code": config.region}
        if config.latitude is None or config.longitude is None:
            return {}
        if self._manager().provider.find_county(config.latitude, config.longitude) is None:
            raise RunnerError(
                f"HawkEars knows no county at {config.latitude:g}, {config.longitude:g}.",
                hint="Give degrees north and east, west and south negative: --lat 45.4 --lon -75.7",
                retry=False,
            )
        return {"latitude": config.latitude, "longitude": config.longitude}

    def _listed(self, path: Path) -> Mapping[str, object] | None:
        """Return the row of a recording; paths in the list may begin in any folder above it."""
        from hawkears.core.filelist import resolve_filelist_metadata

        for folder in path.absolute().parents:
            try:
                found = resolve_filelist_metadata(Path(self._config.filelist), [path], folder)
            except (OSError, ValueError) as error:
                raise RunnerError(f"HawkEars cannot use its file list: {error}", retry=False) from error
            if found:
                return next(iter(found.values()))
        return None

    def _manager(self) -> Any:
        if self._loaded is None:
            from hawkears.core.occurrence_manager import OccurrenceManager

            try:
                self._loaded = OccurrenceManager(self._all, self._class_manager, [], recording_metadata={})
            except Exception as error:
                raise RunnerError(
                    f"HawkEars cannot load its table of occurrences, {self._config.occurrence_pickle}: {error}",
                    hint="Make the data folder anew with hawkears init.",
                    retry=False,
                ) from error
        return self._loaded

    def _decided(self, rule: ClassRules) -> ClassRules:
        """Return a class' rules for the place and date that the manager was told last."""
        manager, alike = self._manager(), self._tables.soundalikes
        if not rule.included:
            return rule
        info = self._class_manager.class_info_by_code(rule.trained_code)
        rare = (
            info.model_name in manager.class_name_set
            and manager.get_value(_KEY, info.model_name) < self._config.min_occurrence
        )
        becomes: tuple[str, ...] = ()
        if rule.trained_code in alike.others and manager.get_value(_KEY, info.name) < alike.max_rare:
            becomes = self._common(alike.others[rule.trained_code])
        return attrs.evolve(rule, rare=rare, becomes=becomes)

    def _common(self, others: Sequence[str]) -> tuple[str, ...]:
        """Return those of a class' soundalikes that it may be taken for: one, or several where sounds must tell."""
        values = []
        for code in others:
            value = self._manager().get_value(_KEY, self._class_manager.class_info_by_code(code).name)
            if value > self._tables.soundalikes.min_common:
                values.append((value, code))
        values.sort(key=lambda one: one[0], reverse=True)
        if len(values) > 1 and values[0][0] >= 10 * values[1][0]:
            values = values[:1]
        return tuple(code for _, code in values)


def local_date(recording: Recording, longitude: float | None = None) -> dt.date | None:
    """Return the date on which a recording was begun, where it was made.

    What a recorder's clock showed is taken as it is. Of an instant the zone is not known any more; the sun's time at
    the place is within an hour or two of the clocks' there.
    """
    at = recording.started_at
    if at is None:
        return None
    if not isinstance(at, Instant):
        return at.wall.date()
    if longitude is None:
        longitude = recording.longitude
    return (at.utc + dt.timedelta(hours=(longitude or 0.0) / _DEGREES_PER_HOUR)).date()

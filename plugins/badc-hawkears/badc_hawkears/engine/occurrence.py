"""Where and when a recording was made, and what HawkEars makes of it: asked of its own ``OccurrenceManager``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from badc_core.errors import RunnerError
from badc_core.model import Instant, Recording
from badc_hawkears.engine.frames import Keeping
from badc_hawkears.engine.tables import Tables
from badc_hawkears.rules import ClassRules

__all__ = ["Occurrence", "local_date"]

_KEY = "recording"
_DEGREES_PER_HOUR = 15


class Occurrence:
    """Says what is done with the classes in a recording, hence what to keep of it.

    The recording's own place and date count; where it has none, those of the configuration. A recording of which no
    place is known is not filtered.

    Parameters
    ----------
    config
        HawkEars' configuration.
    class_manager
        Its ``ClassManager``.
    tables
        What it does with all classes where no place is known.
    floor
        Keep all scores from here on; ``None``: those that can matter.
    """

    def __init__(self, config: Any, class_manager: Any, tables: Tables, floor: float | None) -> None:
        self._config = config
        self._class_manager = class_manager
        self._tables = tables
        self._floor = floor
        self._loaded: Any = None
        self._anywhere = Keeping(tables.settings, tables.classes, floor)
        self._known: dict[tuple[Any, Any], Keeping] = {(None, None): self._anywhere}

    def keeping(self, recording: Recording) -> Keeping:
        """Return the rules of all classes in a recording.

        Raises
        ------
        RunnerError
            The table of occurrences cannot be loaded, or the date is to be in the recording's name, and is not.
        """
        place = self._place_of(recording)
        if not place:
            return self._anywhere
        manager = self._manager()
        manager._process_recording_metadata({_KEY: {**place, "recorded_at": self._date_of(recording, place)}})
        where = manager.file_info[manager._recording_key(_KEY)]
        if where not in self._known:
            decided = [self._decided(rule) for rule in self._tables.classes]
            self._known[where] = Keeping(self._tables.settings, decided, self._floor)
        return self._known[where]

    def _place_of(self, recording: Recording) -> Mapping[str, Any]:
        """Return the place in HawkEars' words; empty where none is known."""
        if recording.latitude is not None and recording.longitude is not None:
            return {"latitude": recording.latitude, "longitude": recording.longitude}
        configured = self._config.hawkears
        if configured.region is not None:
            return {"region_code": configured.region}
        if configured.latitude is not None and configured.longitude is not None:
            return {"latitude": configured.latitude, "longitude": configured.longitude}
        return {}

    def _date_of(self, recording: Recording, place: Mapping[str, Any]) -> str | None:
        own = local_date(recording, place.get("longitude"))
        if own is not None:
            return own.isoformat()
        configured: str | None = self._config.hawkears.date
        if configured != "file":
            return configured
        from hawkears.core.recording_date import extract_recording_date

        named: str | None = extract_recording_date(recording.path.name)
        if named is None:
            raise RunnerError(
                f"HawkEars is to take the date of {recording.path.name!r} from its name, and there is none.",
                hint="Name recordings like 20260531_043000.wav, or give another date, or none: --hawkears-arg --date …",
                retry=False,
            )
        return named

    def _manager(self) -> Any:
        if self._loaded is None:
            from hawkears.core.occurrence_manager import OccurrenceManager

            try:
                self._loaded = OccurrenceManager(self._config, self._class_manager, [], recording_metadata={})
            except Exception as error:
                path = self._config.hawkears.occurrence_pickle
                raise RunnerError(
                    f"HawkEars cannot load its table of occurrences, {path}: {error}",
                    hint="Make the data folder anew with hawkears init --dest FOLDER.",
                    retry=False,
                ) from error
        return self._loaded

    def _decided(self, rule: ClassRules) -> ClassRules:
        """Return a class' rules for the place and date that the manager was told last."""
        manager, alike = self._manager(), self._tables.soundalikes
        if not rule.included:
            return rule
        info = self._class_manager.class_info_by_code(rule.trained_code)
        rare = bool(
            info.model_name in manager.class_name_set
            and manager.get_value(_KEY, info.model_name) < self._config.hawkears.min_occurrence
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

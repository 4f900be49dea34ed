"""What HawkEars makes of where and when a recording was made: asked of its own ``OccurrenceManager``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from badc_core.errors import RunnerError
from badc_core.model import Recording
from badc_hawkears.engine.frames import Keeping
from badc_hawkears.engine.tables import Tables
from badc_hawkears.rules import ClassRules
from badc_hawkears.whereabouts import whereabouts_of

__all__ = ["Occurrence"]

_KEY = "recording"


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
        whereabouts = whereabouts_of(recording, self._config.hawkears)
        if not whereabouts.known:
            return self._anywhere
        manager = self._manager()
        manager._process_recording_metadata({_KEY: whereabouts.metadata})
        where = manager.file_info[manager._recording_key(_KEY)]
        if where not in self._known:
            decided = [self._decided(rule) for rule in self._tables.classes]
            self._known[where] = Keeping(self._tables.settings, decided, self._floor)
        return self._known[where]

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

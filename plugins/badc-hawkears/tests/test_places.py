"""Where HawkEars is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from badc_core.errors import RunnerError
from badc_hawkears.places import Places, memory_file, remember, remembered


def test_places_are_remembered_in_the_users_settings(isolated, monkeypatch):
    assert remembered() is None
    places = Places(Path("/a/python"), Path("/a/root"))
    assert remember(places) == Path.home() / ".config/badc/hawkears.json"
    assert remembered() == places
    monkeypatch.setenv("XDG_CONFIG_HOME", str(isolated / "settings"))
    assert remembered() is None


def test_a_damaged_memory_is_told(isolated):
    memory_file().parent.mkdir(parents=True)
    memory_file().write_text("{}")
    with pytest.raises(RunnerError, match="does not say where HawkEars is"):
        remembered()

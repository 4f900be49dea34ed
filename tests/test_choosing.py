"""What is the same for every plugin that somebody chose by name."""

from __future__ import annotations

import sys
import types

import pytest

from badc_core import RunnerSpec
from badc_core.choosing import isolation_of
from badc_core.errors import PluginError


def by_options(options):
    """Say where a runner lives, as its options say."""
    return options["place"]


@pytest.fixture
def spec(monkeypatch):
    """A runner that asks this module."""
    module = types.ModuleType("asked_for_isolation")
    module.where = by_options  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return RunnerSpec("lab", "Hears", isolation="asked_for_isolation:where")


def test_a_word_is_taken_as_it_is():
    assert isolation_of(RunnerSpec("lab", "Hears"), None) == "thread"
    assert isolation_of(RunnerSpec("lab", "Hears", isolation="process"), None) == "process"


def test_options_may_decide(spec):
    assert isolation_of(spec, {"place": "thread"}) == "thread"
    assert isolation_of(spec, {"place": "process"}) == "process"


def test_anything_else_is_an_error(spec):
    with pytest.raises(PluginError, match="'lab' wants to live in 'attic'"):
        isolation_of(spec, {"place": "attic"})
    with pytest.raises(PluginError, match="KeyError"):
        isolation_of(spec, {})
    with pytest.raises(PluginError, match="'nowhere'"):
        isolation_of(RunnerSpec("lab", "Hears", isolation="nowhere"), None)

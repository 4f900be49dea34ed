"""What HawkEars does with frame scores, done by us: the same labels from random scores, rule for rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def told(in_hawkears, hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What ``rules.py`` tells."""
    answer = in_hawkears("rules.py", hawkears_root, tmp_path_factory.mktemp("rules"), 1, 12)
    found: dict[str, dict[str, Any]] = json.loads(answer.rpartition("\n\0")[2])
    return found


@pytest.fixture(scope="module")
def compared(told: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was compared, by setting."""
    return told["compared"]


SETTINGS = ["default", "low", "high", "segments", "odd segments", "short", "pieces", "names", "scientific"]
SETTINGS += ["include", "exclude", "scores"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_labels_are_those_of_hawkears(compared: dict[str, dict[str, Any]], setting: str) -> None:
    """Labels, times and scores are equal, at places where classes are rare and where nothing is known."""
    found = compared[setting]
    assert found["differences"] == []
    assert found["labels"] > 100
    assert found["rare"]
    assert found["becomes"]
    assert found["recordings"] > found["rare"]


def test_all_rules_were_met(compared: dict[str, dict[str, Any]]) -> None:
    """Somewhere a rare class had to choose what it becomes; and no setting was left out."""
    assert sum(found["chooses"] for found in compared.values())
    assert list(compared) == SETTINGS


@pytest.mark.parametrize(
    ("settings", "facts", "asked"),
    [
        ("configured", "bare", ["CA-NT", 3]),
        ("configured", "placed", ["CA-BC-GV", 3]),  # the place is its own, the date is not known better
        ("configured", "dated", ["CA-NT", 21]),
        ("configured", "both", ["CA-BC-GV", 20]),  # the evening before, at that place
        ("point", "bare", ["CA-ON-OT", None]),
        ("point", "dated", ["CA-ON-OT", 21]),
        ("named", "dated", ["CA-NT", 21]),
        ("nothing", "bare", None),
        ("nothing", "dated", None),
        ("nothing", "placed", ["CA-BC-GV", None]),
        ("nothing", "both", ["CA-BC-GV", 20]),
    ],
)
def test_a_recordings_own_place_and_date_count(told, settings: str, facts: str, asked: list[Any] | None) -> None:
    """Else those of the configuration; without a place nothing is asked."""
    assert told["places"][f"{settings} {facts} x.wav"] == asked


def test_dates_in_names(told) -> None:
    """With ``--date file``; a name without a date is an error, not a recording in which nothing lives."""
    assert told["places"]["named bare site_2026-07-31_0400.wav"] == ["CA-NT", 27]
    assert "is to take the date of 'x.wav' from its name" in told["places"]["named bare x.wav"]


def test_dates_in_names_are_those_that_hawkears_finds(told) -> None:
    """In names put together of what dates are made of."""
    assert told["dates"]["differences"] == []
    assert told["dates"]["found"] > 100

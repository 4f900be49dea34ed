"""What HawkEars does with frame scores, done by us: the same labels from random scores, rule for rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def compared(in_hawkears, hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What was compared, by setting; see ``rules.py``."""
    answer = in_hawkears("rules.py", hawkears_root, tmp_path_factory.mktemp("rules"), 1, 12)
    found: dict[str, dict[str, Any]] = json.loads(answer.rpartition("\n\0")[2])
    return found


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

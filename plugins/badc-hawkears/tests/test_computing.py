"""How much is computed at once, and how precisely, changes no score noticeably; embeddings are HawkEars' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def said(in_hawkears, hawkears_root: Path) -> dict[str, Any]:
    """What the engine gives for one sound, computed in different ways; see ``computing.py``."""
    answer: dict[str, Any] = json.loads(in_hawkears("computing.py", hawkears_root).rpartition("\n\0")[2])
    return answer


@pytest.mark.parametrize("way", ["batch 1", "batch 5", "batch 64", "together", "alone", "backwards"])
def test_batches_change_nothing(said: dict[str, Any], way: str) -> None:
    """Windows together or one by one, chunks together or alone, in any order."""
    assert said["batches"]["highest"] > 0.9
    assert said["batches"][way] < 1e-4


def test_blocks_are_transformed_together_as_alone(said: dict[str, Any]) -> None:
    """HawkEars transforms one after another."""
    assert said["blocks"] < 1e-5


def test_embeddings_are_hawkears_own(said: dict[str, Any]) -> None:
    """Every window of the recording once, in the chunk that counts its first frame, rounded to 16 bits."""
    found = said["embeddings"]
    assert found["firsts"] == list(range(0, 4 * 48, 12))
    assert found["within"]
    assert found["type"] == "float16"
    assert found["difference"] < 2e-3


def test_half_precision_is_measured_before_it_is_used(said: dict[str, Any]) -> None:
    """The networks of this test are moved by more than 0.001, so ``auto`` leaves them alone; ``half`` does not."""
    assert said["halves"]["chosen"] == {"float32": False, "auto": False, "half": True}
    assert 1e-3 < said["halves"]["difference"] < 0.5

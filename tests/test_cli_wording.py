"""Numbers and lengths of time in sentences."""

from __future__ import annotations

import pytest

from badc_core.cli.progress import duration
from badc_core.cli.wording import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 chunks"), (1, "1 chunk"), (2, "2 chunks"), (12_000, "12,000 chunks")]
)
def test_one_is_singular(number: int, text: str):
    assert counted(number, "chunk") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.31, "0.3 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3725, "1 h 02 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str):
    assert duration(seconds) == text

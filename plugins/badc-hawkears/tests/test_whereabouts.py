"""Where and when a recording was made, as HawkEars is told in every mode."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.errors import RunnerError
from badc_core.model import Instant, LocalTime, Recording
from badc_hawkears.whereabouts import NOWHERE, Whereabouts, date_named, whereabouts_of

ALL = {"region": None, "latitude": 60.0, "longitude": -114.0, "date": "20260601"}


@pytest.mark.parametrize(
    ("own", "configured", "expected"),
    [
        ({}, {}, NOWHERE),
        ({"started_at": LocalTime(dt.datetime(2026, 6, 2, 23, 0))}, {"date": "20260601"}, NOWHERE),
        ({"started_at": LocalTime(dt.datetime(2026, 6, 2, 23, 0))}, ALL, Whereabouts("2026-06-02", 60.0, -114.0)),
        (
            {"started_at": Instant(dt.datetime(2026, 6, 3, 5, tzinfo=dt.UTC))},
            ALL,
            Whereabouts("2026-06-02", 60.0, -114.0),
        ),
        ({}, ALL, Whereabouts("20260601", 60.0, -114.0)),
        ({}, {**ALL, "region": "CA-NT"}, Whereabouts("20260601", region_code="CA-NT")),
        ({"latitude": 1.0, "longitude": 2.0}, {**ALL, "region": "CA-NT"}, Whereabouts("20260601", 1.0, 2.0)),
        ({"latitude": 1.0}, ALL, Whereabouts("20260601", 60.0, -114.0)),
        ({}, {**ALL, "date": "file"}, Whereabouts("2026-05-31", 60.0, -114.0)),
    ],
)
def test_a_recordings_own_place_counts_more_than_that_of_all(
    own: dict[str, Any], configured: dict[str, Any], expected: Whereabouts
) -> None:
    """Its date likewise; an instant's is that of the place."""
    recording = Recording("r", Path("20260531_043000.wav"), **own)
    assert whereabouts_of(recording, configured) == expected


def test_hawkears_is_told_what_is_known() -> None:
    """Nothing else, so that it is not taken for something."""
    assert Whereabouts("20260601", region_code="CA-NT").metadata == {"recorded_at": "20260601", "region_code": "CA-NT"}
    assert Whereabouts(None, 0.0, 0.0).metadata == {"latitude": 0.0, "longitude": 0.0}
    assert NOWHERE.metadata == {}


@pytest.mark.parametrize("name", ["r.wav", "20261331_043000.wav"])
def test_a_date_that_is_not_in_the_name(name: str) -> None:
    """Nor one that no calendar has."""
    with pytest.raises(RunnerError, match=f"the date of '{name}' from its name"):
        whereabouts_of(Recording("r", Path(name)), {**ALL, "date": "file"})


@given(
    st.dates(dt.date(1900, 1, 1), dt.date(2099, 12, 31)),
    st.sampled_from(["%Y%m%d", "%Y-%m-%d", "%Y_%m_%d"]),
    st.sampled_from(["", "site", "SM4A_", "7-", "3__"]),
    st.sampled_from(["", ".wav", "_043000.wav", "-12"]),
)
def test_any_date_in_a_name_is_found(date: dt.date, form: str, before: str, after: str) -> None:
    """Whatever stands around it."""
    assert date_named(before + date.strftime(form) + after) == date


@pytest.mark.parametrize(
    "name",
    [
        "",
        "r.wav",
        "2026-0531",
        "202605-31",
        "2026-05_31",
        "2026.05.31",
        "20260229",
        "2026053",
        "18991231",
        "21000101",
    ],
)
def test_what_is_no_date_is_not_found(name: str) -> None:
    """Mixed marks, days that are in no calendar, other centuries."""
    assert date_named(name) is None


def test_the_first_that_looks_like_a_date_counts() -> None:
    """As HawkEars has it."""
    assert date_named("20260531_20260601.wav") == dt.date(2026, 5, 31)
    assert date_named("20261331_20260601.wav") is None

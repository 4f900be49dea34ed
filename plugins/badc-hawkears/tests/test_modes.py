"""What the modes ask of a recording, where they live, and what HawkEars' words mean today."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from badc_core.errors import RunnerError
from badc_core.model import LocalTime, Recording
from badc_hawkears.modes import isolation
from badc_hawkears.modes.names import class_names
from badc_hawkears.modes.occurrence import NOWHERE, Occurrence, occurrence_of
from badc_hawkears.options import HawkEarsOptions

ALL = {"region": None, "latitude": 60.0, "longitude": -114.0, "date": "20260601"}


@pytest.mark.parametrize(
    ("own", "configured", "expected"),
    [
        ({}, {}, NOWHERE),
        ({"started_at": LocalTime(dt.datetime(2026, 6, 2, 23, 0))}, ALL, Occurrence("2026-06-02", 60.0, -114.0)),
        ({}, ALL, Occurrence("20260601", 60.0, -114.0)),
        ({}, {**ALL, "region": "CA-NT"}, Occurrence("20260601", region_code="CA-NT")),
        ({"latitude": 1.0, "longitude": 2.0}, {**ALL, "region": "CA-NT"}, Occurrence("20260601", 1.0, 2.0)),
        ({"latitude": 1.0}, ALL, Occurrence("20260601", 60.0, -114.0)),
        ({}, {**ALL, "date": "file"}, Occurrence("2026-05-31", 60.0, -114.0)),
    ],
)
def test_a_recordings_own_place_counts_more_than_that_of_all(own, configured, expected):
    recording = Recording("r", Path("20260531_043000.wav"), **own)
    assert occurrence_of(recording, configured) == expected


def test_a_date_that_is_not_in_the_name():
    with pytest.raises(RunnerError, match=r"the date of 'r\.wav' from its name"):
        occurrence_of(Recording("r", Path("r.wav")), {**ALL, "date": "file"})


def test_names_of_today(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/classes.csv").write_text("Name,Code,AltName,AltCode\nBarred Owl,BADO,Strix varia,brdowl\n")
    assert class_names(tmp_path)["BADO"] == ("BADO", "Barred Owl")
    (tmp_path / "data/taxonomy.csv").write_text("model_code,name,code,alt_name,alt_code\nBADO,,BAOW,,\n")
    names = class_names(tmp_path)
    assert names == dict.fromkeys(["BAOW", "Barred Owl", "Strix varia", "brdowl"], ("BAOW", "Barred Owl"))
    assert class_names(tmp_path / "nowhere") == {}


def test_only_the_command_lives_beside_other_workers(tmp_path):
    root = tmp_path.absolute()
    assert isolation(HawkEarsOptions(mode="cli", root=root, python=root)) == "thread"
    assert isolation(HawkEarsOptions(mode="api", root=root, python=root)) == "process"
    assert isolation(HawkEarsOptions(root=root, python=root)) == "process"
    assert isolation(HawkEarsOptions(script=root / "analyze.py")) == "thread"

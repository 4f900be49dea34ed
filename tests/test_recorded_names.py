"""Times, places and recorders in the names of files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.config import Settings
from badc_core.errors import UsageError
from badc_core.model import Instant, LocalTime
from badc_core.recorded_names import name_pattern, read_name
from badc_core.recordings import RecordingRules, describe, described, rules_from


def rules(**table: object) -> RecordingRules:
    return rules_from(Settings({"recordings": table}))


def local(text: str) -> LocalTime:
    return LocalTime(dt.datetime.fromisoformat(text))


def instant(text: str) -> Instant:
    return Instant(dt.datetime.fromisoformat(text))


READ = [
    ("20250503_031300", local("2025-05-03T03:13:00")),  # AudioMoth
    ("20250503_031300T", local("2025-05-03T03:13:00")),  # … triggered
    ("242A2604603691DD_20250503_031300", local("2025-05-03T03:13:00")),  # … with its number
    ("MEADOW_20250503_031300T", local("2025-05-03T03:13:00")),
    ("5E90A4B0", instant("2020-04-10T16:54:08+00:00")),  # AudioMoth before 2020: Unix seconds
    ("GNWT-290_20230331_235938", local("2023-03-31T23:59:38")),  # Song Meter
    ("SM_20230331_235938_250", local("2023-03-31T23:59:38.250")),
    ("LAKE_0_20120601_050000", local("2012-06-01T05:00:00")),
    ("LAKE_0+1_20120601_050000", local("2012-06-01T05:00:00")),
    ("LAKE__0__20120601_050000", local("2012-06-01T05:00:00")),
    ("LAKE_0+1_20120601$050000", local("2012-06-01T05:00:00")),
    ("20190102T000000+1000_REC_[-27.3866+152.8761]", instant("2019-01-01T14:00:00+00:00")),  # Frontier Labs
    ("20190102T000000-0330_REC_[47.5 -52.7]", instant("2019-01-02T03:30:00+00:00")),
    ("20200426T020000Z", instant("2020-04-26T02:00:00+00:00")),
    ("SW01_20170301_060000_-0400", instant("2017-03-01T10:00:00+00:00")),  # Swift
    ("2021-05-14_T04-30-00", local("2021-05-14T04:30:00")),  # OwlSense
    ("OWL_2021-05-14_T04-30-00", local("2021-05-14T04:30:00")),
    ("LAKE_20120601_050000_filtered", local("2012-06-01T05:00:00")),
    ("LAKE_20120601_050000_chunk_60000_120000", local("2012-06-01T05:01:00")),  # a piece that BADC cut
]
REFUSED = [
    ("5678.220101123456", "two digits"),  # SoundTrap
    ("210514_0430", "two digits"),
    ("LAKE_210514_043000", "two digits"),
    ("0430-14052021", "each other"),
    ("60000000", "just a number"),
    ("20201332_250000", "does not exist"),
    ("20210229_120000", "does not exist"),
    ("20210514_043000_+2500", "does not exist"),
    ("A_20210514_043000_20210515_043000", "more than one"),
]
ODD = "L_20120601_050000_chunk_" + "9" * 40 + "_1"  # no chunk file of ours: nobody records so long
NO_TIME = [
    "CommonYellowthroat",
    "20250503",
    "DEADBEEF",
    "00000001",
    "12345678_123456",
    "20250503_0313001",
    "A1B2C3D4E5",
]


@pytest.mark.parametrize(("stem", "start"), READ)
def test_names_of_recorders_are_read(stem: str, start: Instant | LocalTime) -> None:
    facts = read_name(stem)
    assert facts.started_at == start
    assert facts.problem is None


@pytest.mark.parametrize(("stem", "reason"), REFUSED)
def test_names_that_could_mean_several_times_are_refused_with_the_reason(stem: str, reason: str) -> None:
    facts = read_name(stem)
    assert facts.started_at is None
    assert reason in str(facts.problem)


@pytest.mark.parametrize("stem", NO_TIME)
def test_other_names_have_no_time_and_no_problem(stem: str) -> None:
    assert read_name(stem) == read_name("x")


@pytest.mark.parametrize(
    ("stem", "prefix"),
    [
        ("GNWT-290_20230331_235938", "GNWT-290"),
        ("LAKE_0+1_20120601_050000", "LAKE"),
        ("LAKE__1__20120601_050000", "LAKE"),
        ("PLOT_1_20120601_050000", "PLOT_1"),  # a channel or a plot: nobody knows, so it stays
        ("20120601_050000", None),
    ],
)
def test_what_stands_before_the_time(stem: str, prefix: str | None) -> None:
    assert read_name(stem).prefix == prefix


def test_place_and_recorder_in_names() -> None:
    facts = read_name("20190102T000000+1000_REC_[-27.3866+152.8761]")
    assert (facts.latitude, facts.longitude) == (-27.3866, 152.8761)
    assert read_name("20190102T000000+1000_REC_[47.5 -52.7]").longitude == -52.7
    assert read_name("20190102T000000+1000_REC_[95.0+10.0]").latitude is None
    assert read_name("242A2604603691DD_20250503_031300").device == "242A2604603691DD"
    assert read_name("MEADOW_20250503_031300").device is None


@pytest.mark.parametrize("stem", [ODD, "9" * 5000, "20120601_050000_" + "1" * 5000])
def test_endless_numbers_do_no_harm(stem: str) -> None:
    assert read_name(stem).started_at in (None, local("2012-06-01T05:00:00"))


@given(st.text(max_size=40))
def test_no_name_is_too_odd(stem: str) -> None:
    read_name(stem)


@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2099, 12, 31)), st.sampled_from("_T$"))
def test_every_time_is_read_as_it_was_written(moment: dt.datetime, between: str) -> None:
    moment = moment.replace(microsecond=0)
    assert read_name(f"S_{moment:%Y%m%d}{between}{moment:%H%M%S}").started_at == LocalTime(moment)


# ------------------------------------------------------------------------------------------- the user's pattern


@pytest.mark.parametrize(
    ("pattern", "stem", "start"),
    [
        (
            r"(?P<hour>\d\d)(?P<minute>\d\d)-(?P<day>\d\d)(?P<month>\d\d)(?P<year>\d{4})",
            "0430-14052021",
            local("2021-05-14T04:30:00"),
        ),
        (
            r"\.(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)$",
            "5678.220101123456",
            local("2022-01-01T12:34:56"),
        ),
        (
            r"(?P<year>\d{4})_(?P<month>\d+)_(?P<day>\d+)_(?P<hour>\d+)_(?P<minute>\d+)(?P<zone>[+-]\d\d)",
            "2021_5_14_4_30-07",
            instant("2021-05-14T11:30:00+00:00"),
        ),
    ],
)
def test_a_pattern_of_the_users(pattern: str, stem: str, start: Instant | LocalTime) -> None:
    table = rules(name_pattern=pattern)
    assert describe(Path(f"/x/{stem}.wav"), "R", None, None, table).started_at == start


def test_patterns_are_tried_in_order_before_the_known_names() -> None:
    table = rules(name_pattern=["^nothing(?P<site>x)", "^(?P<site>[^-]+)-(?P<device>[^_]+)_"])
    made = describe(Path("/x/Lake-SM4_20210514_043000.wav"), "R", None, None, table)
    assert (made.site, made.device, made.started_at) == ("Lake", "SM4", local("2021-05-14T04:30:00"))
    assert describe(Path("/x/20210514_043000.wav"), "R", None, None, table).started_at is not None


def test_a_pattern_that_reads_an_impossible_time_is_a_problem() -> None:
    table = rules(name_pattern=READ_ALL)
    made = described(Path("/x/20211514043000.wav"), "R", None, None, table)
    assert made.recording.started_at is None
    assert "name_pattern" in made.problems[0]


READ_ALL = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("(", "no regular expression"),
        (r"\d+", "names no group"),
        (r"(?P<yaer>\d{4})", "Did you mean 'year'"),
        (r"(?P<year>\d{4})(?P<month>\d\d)", "without day, hour, minute"),
    ],
)
def test_patterns_that_cannot_be_used(pattern: str, complaint: str) -> None:
    with pytest.raises(UsageError, match="name_pattern") as caught:
        name_pattern(pattern)
    assert complaint in str(caught.value)

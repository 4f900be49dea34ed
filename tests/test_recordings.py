"""Who, where, when: names, folders, clocks; finding recordings and giving them ids."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.clocks import difference_s, localised, offset_zone, zone_named
from badc_core.config import Settings
from badc_core.errors import RecordingError, UsageError
from badc_core.layout import check_id
from badc_core.model import Chunk, Instant, LocalTime
from badc_core.recorded_names import name_pattern, read_name
from badc_core.recordings import (
    FolderPattern,
    RecordingRules,
    assign_ids,
    describe,
    described,
    find,
    recording_of_chunk,
    rules_from,
)
from badc_core.specs import RecordingHints, SignalInfo

ROOT = Path("/data/set")


def rules(**table: object) -> RecordingRules:
    return rules_from(Settings({"recordings": table}))


def local(text: str) -> LocalTime:
    return LocalTime(dt.datetime.fromisoformat(text))


def instant(text: str) -> Instant:
    return Instant(dt.datetime.fromisoformat(text))


# ------------------------------------------------------------------------------------------- names

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


# ------------------------------------------------------------------------------------------- clocks

VANCOUVER = "America/Vancouver"


@pytest.mark.parametrize(
    ("zone", "wall", "utc"),
    [
        ("UTC", "2025-05-03T03:13:00", "2025-05-03T03:13:00+00:00"),
        (VANCOUVER, "2025-07-01T12:00:00", "2025-07-01T19:00:00+00:00"),
        (VANCOUVER, "2025-01-01T12:00:00", "2025-01-01T20:00:00+00:00"),
        (VANCOUVER, "2025-03-09T01:59:59", "2025-03-09T09:59:59+00:00"),  # the last second before the gap
        (VANCOUVER, "2025-03-09T02:00:00", None),
        (VANCOUVER, "2025-03-09T02:59:59", None),
        (VANCOUVER, "2025-03-09T03:00:00", "2025-03-09T10:00:00+00:00"),
        (VANCOUVER, "2025-11-02T00:59:59", "2025-11-02T07:59:59+00:00"),  # the last second before the fold
        (VANCOUVER, "2025-11-02T01:00:00", None),
        (VANCOUVER, "2025-11-02T01:59:59", None),
        (VANCOUVER, "2025-11-02T02:00:00", "2025-11-02T10:00:00+00:00"),
        ("Australia/Lord_Howe", "2025-10-05T02:15:00", None),  # half an hour is skipped
        ("Australia/Lord_Howe", "2025-10-05T02:45:00", "2025-10-04T15:45:00+00:00"),
        ("America/Phoenix", "2025-03-09T02:30:00", "2025-03-09T09:30:00+00:00"),  # no summer time
        ("-08:00", "2025-07-01T12:00:00", "2025-07-01T20:00:00+00:00"),  # a clock that nobody put forward
    ],
)
def test_local_times_in_a_zone(zone: str, wall: str, utc: str | None) -> None:
    stem = wall.replace("-", "").replace(":", "").replace("T", "_")
    made = described(Path(f"/x/{stem}.wav"), "R", None, None, rules(timezone=zone))
    if utc is None:
        assert made.recording.started_at == local(wall)  # not rounded, not guessed
        assert len(made.problems) == 1
        assert zone in made.problems[0]
        assert f"/x/{stem}.wav" in made.problems[0]
    else:
        assert made.recording.started_at == instant(utc)
        assert made.problems == ()


def test_without_a_stated_zone_a_local_time_stays_local() -> None:
    assert describe(Path("/x/20250503_031300.WAV"), "R", None, None, rules()).started_at == local("2025-05-03T03:13:00")


def test_gap_and_fold_are_told_apart() -> None:
    zone = zone_named(VANCOUVER)
    assert "does not exist" in str(localised(local("2025-03-09T02:30:00"), zone)[1])
    assert "twice" in str(localised(local("2025-11-02T01:30:00"), zone)[1])


@pytest.mark.parametrize(
    ("name", "meant"), [("America/Vancuver", VANCOUVER), ("Mars/Olympus", "UTC"), ("../etc/passwd", "UTC"), ("", "UTC")]
)
def test_unknown_zones(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match="no time zone") as caught:
        rules(timezone=name) if name else zone_named(name)
    assert meant in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "hours"), [("Z", 0), ("+1000", 10), ("-04:00", -4), ("+05:45", 5.75), ("-03", -3), ("+1400", 14)]
)
def test_offsets(text: str, hours: float) -> None:
    assert offset_zone(text) == dt.timezone(dt.timedelta(hours=hours))


@pytest.mark.parametrize("text", ["", "1000", "+1500", "+0123", "+0090", "UTC", "+1"])
def test_offsets_that_no_place_has(text: str) -> None:
    assert offset_zone(text) is None


# ------------------------------------------------------------------------------------------- which time counts

NAME = "S_20250503_031300.wav"
NAME_WITH_ZONE = "S_20250503_031300_-0700.wav"


@pytest.mark.parametrize(
    ("name", "header", "start", "problems"),
    [
        (NAME, None, local("2025-05-03T03:13:00"), 0),
        (NAME, instant("2025-05-03T10:13:00+00:00"), instant("2025-05-03T10:13:00+00:00"), 0),
        (NAME, instant("2025-05-03T10:13:02+00:00"), instant("2025-05-03T10:13:02+00:00"), 0),  # within 2 s
        (NAME, instant("2025-05-03T10:13:03+00:00"), instant("2025-05-03T10:13:03+00:00"), 1),
        (NAME, instant("2025-05-04T10:13:00+00:00"), instant("2025-05-04T10:13:00+00:00"), 1),  # no zone is that far
        (NAME, local("2025-05-03T03:13:01"), local("2025-05-03T03:13:01"), 0),
        (NAME, local("2025-05-03T04:13:00"), local("2025-05-03T04:13:00"), 1),
        (NAME_WITH_ZONE, local("2025-05-03T03:13:00"), instant("2025-05-03T10:13:00+00:00"), 0),
        (NAME_WITH_ZONE, instant("2025-05-03T11:13:00+00:00"), instant("2025-05-03T11:13:00+00:00"), 1),
        ("210514_0430.wav", None, None, 1),
        ("210514_0430.wav", local("2025-05-03T03:13:01"), local("2025-05-03T03:13:01"), 0),
    ],
)
def test_metadata_with_zone_then_name_with_zone_then_metadata_then_name(
    name: str, header: Instant | LocalTime | None, start: Instant | LocalTime | None, problems: int
) -> None:
    made = described(Path("/x") / name, "R", None, RecordingHints(started_at=header), rules())
    assert made.recording.started_at == start
    assert len(made.problems) == problems


def test_a_stated_zone_is_held_against_the_metadata() -> None:
    header = RecordingHints(started_at=instant("2025-05-03T10:13:00+00:00"))
    assert described(Path("/x") / NAME, "R", None, header, rules(timezone=VANCOUVER)).problems == ()
    assert len(described(Path("/x") / NAME, "R", None, header, rules(timezone="UTC")).problems) == 1


def test_differences() -> None:
    assert difference_s(local("2025-01-01T00:00:00"), instant("2025-01-01T14:00:00+00:00")) == 0
    assert difference_s(local("2025-01-01T00:00:00"), instant("2025-01-01T15:00:00+00:00")) == 3600
    assert difference_s(instant("2025-01-01T00:07:00+00:00"), local("2025-01-01T00:00:00")) == 7 * 60


def test_header_and_hints_go_into_the_recording() -> None:
    hints = RecordingHints(device="SM4-7", latitude=49.0, longitude=-123.0, problems=("battery says 900 V",))
    made = described(Path("/x/a.wav"), "R", SignalInfo(48000, 2, 48000 * 3 + 24), hints, rules())
    assert (made.recording.sample_rate_hz, made.recording.channels, made.recording.duration_ms) == (48000, 2, 3000)
    assert (made.recording.device, made.recording.latitude, made.recording.longitude) == ("SM4-7", 49.0, -123.0)
    assert made.problems == ("/x/a.wav: battery says 900 V",)


# ------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("path", "study_area", "site"),
    [
        ("Boreal/ARU_data/SM/ST-7/A/Data/x.wav", "Boreal", "ST-7"),
        ("Boreal/Acoustic/ST-7/x.flac", "Boreal", "ST-7"),
        ("Boreal/ST-7/x.wav", "Boreal", "ST-7"),
        ("ST-7/x.wav", None, None),
        ("x.wav", None, None),
        ("a/b/c/d/x.wav", None, None),
    ],
)
def test_folders_of_the_first_users(path: str, study_area: str | None, site: str | None) -> None:
    made = describe(ROOT / path, "R", None, None, rules(), ROOT)
    assert (made.study_area, made.site) == (study_area, site)


@pytest.mark.parametrize(
    ("pattern", "folders", "told"),
    [
        ("{site}", "a", {"site": "a"}),
        ("{site}", "a/b", None),
        ("{site}/**", "a", {"site": "a"}),
        ("{site}/**", "a/b/c", {"site": "a"}),
        ("**/{study_area}/{site}", "x/y/a/b", {"study_area": "a", "site": "b"}),
        ("{study_area}/*/{site}", "a/b/c", {"study_area": "a", "site": "c"}),
        ("plots/site-{site}", "plots/site-7", {"site": "7"}),
        ("plots/site-{site}", "plots/7", None),
        ("{site}_{device}", "lake_7", {"site": "lake", "device": "7"}),
        ("20*/{site}", "2021/a", {"site": "a"}),
        ("20*/{site}", "2121/a", None),
        ("a.b/{site}", "axb/c", None),
        ("/{site}/", "a,\n鳥", {"site": "a,\n鳥"}),
    ],
)
def test_folder_patterns(pattern: str, folders: str, told: dict[str, str] | None) -> None:
    assert FolderPattern(pattern).match(tuple(folders.split("/"))) == told


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("{stie}", "{site}"),
        ("{studyarea}/{site}", "{study_area}"),
        ("a/b", "tells nothing"),
        ("{site", "brace"),
        ("{site}/{site}", "cannot be used"),
        ("{}", "unknown"),
    ],
)
def test_folder_patterns_that_cannot_be_used(pattern: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        rules(folders=[pattern])
    assert complaint in str(caught.value)


def test_in_a_dataset_folders_count_from_its_audio_folder(tmp_path: Path) -> None:
    (tmp_path / ".datalad").mkdir()
    path = tmp_path / "audio/Boreal/ST-7/x.wav"
    path.parent.mkdir(parents=True)
    for root in (None, tmp_path):
        made = describe(path, "R", None, None, rules(), root)
        assert (made.study_area, made.site) == ("Boreal", "ST-7")


def test_the_site_from_the_name_when_the_user_asks() -> None:
    path = ROOT / "Boreal/ST-7/LAKE_20120601_050000.wav"
    assert describe(path, "R", None, None, rules(site_from="name"), ROOT).site == "LAKE"
    assert describe(path.with_name("x.wav"), "R", None, None, rules(site_from="name"), ROOT).site == "ST-7"


def test_relative_paths_count_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe(Path("in/Boreal/ST-7/x.wav"), "R", None, None, rules(), Path("in")).site == "ST-7"
    assert describe(Path("in/Boreal/ST-7/x.wav"), "R", None, None, rules(), tmp_path / "other").site is None


# ------------------------------------------------------------------------------------------- settings


def test_rules_without_settings_are_the_defaults() -> None:
    assert rules_from(Settings()) == RecordingRules()
    assert pickle.loads(pickle.dumps(RecordingRules())) == RecordingRules()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"timzone": "UTC"}, "Did you mean 'timezone'?"),
        ({"site_from": "moon"}, "one of folders, name"),
        ({"timezone": ["UTC", "UTC"]}, "timezone"),
    ],
)
def test_settings_that_cannot_be_used(table: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=r"\[recordings\] of /x/badc.toml") as caught:
        rules_from(Settings({"recordings": table}, Path("/x/badc.toml")))
    assert complaint in str(caught.value)


# ------------------------------------------------------------------------------------------- chunks without recordings


@pytest.mark.parametrize(
    ("chunk", "start", "site"),
    [
        # a chunk file: folders are BADC's, the time comes from the id
        (
            Chunk("L_20120601_050000_chunk_0_60000", "L_20120601_050000", ROOT / "artifacts/chunks/L_20120601_050000/"
                  "L_20120601_050000_chunk_0_60000.wav", 0, 60000),
            local("2012-06-01T05:00:00"),
            None,
        ),
        # a slice, and a whole recording as 0.1 lists them
        (
            Chunk("c", "A__L_20120601_050000", ROOT / "Boreal/A/L_20120601_050000.flac", 6000, 12000, offset_ms=6000),
            local("2012-06-01T05:00:00"),
            "A",
        ),
        (
            Chunk("L_20120601_050000_0_60000", "L_20120601_050000", ROOT / "Boreal/A/L_20120601_050000.wav", 0, 60000),
            local("2012-06-01T05:00:00"),
            "A",
        ),
        # a chunk file under a foreign id: its window counts from the recording's start, once
        (
            Chunk("c7", "R", ROOT / "L_20120601_050000_chunk_60000_120000.wav", 60000, 120000),
            local("2012-06-01T05:00:00"),
            None,
        ),
        # a chunk file taken for a recording: it starts where it was cut
        (
            Chunk("c", "L_20120601_050000_chunk_60000_120000", ROOT / "L_20120601_050000_chunk_60000_120000.wav",
                  0, 3000, offset_ms=0),
            local("2012-06-01T05:01:00"),
            None,
        ),
        # the id tells what the file's name does not
        (Chunk("c", "20120601_050000", ROOT / "Boreal/A/x.wav", 0, 3, offset_ms=0), local("2012-06-01T05:00:00"), "A"),
    ],
)  # fmt: skip
def test_recordings_of_chunks(chunk: Chunk, start: LocalTime, site: str | None) -> None:
    made = recording_of_chunk(chunk, rules(), ROOT)
    assert (made.recording_id, made.path) == (chunk.recording_id, chunk.source_path)
    assert (made.started_at, made.site) == (start, site)


def test_problems_of_chunks_reach_who_asks() -> None:
    said: list[str] = []
    chunk = Chunk("c", "20250309_023000", Path("/x/20250309_023000.wav"), 0, 1, offset_ms=0)
    recording_of_chunk(chunk, rules(timezone=VANCOUVER), None, said.append)
    assert len(said) == 1
    assert said[0].startswith("20250309_023000: ")


def test_the_site_from_an_id_with_folders_in_front() -> None:
    chunk = Chunk("c", "A__LAKE_20120601_050000", Path("/x/c.wav"))
    assert recording_of_chunk(chunk, rules(site_from="name")).site == "LAKE"


# ------------------------------------------------------------------------------------------- finding


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(root: Path, **options: object) -> list[str]:
    return [str(path.relative_to(root)) for path in find(root, {".wav", ".flac"}, **options)]  # type: ignore[arg-type]


def test_recordings_are_found_sorted_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    tree(tmp_path, "b.WAV", "a/z.flac", "a/y, \n鳥.wav", "c/d/e.wav", "readme.txt", "c/x.wav.part", "c/.x.wav.a8Gh3k")
    tree(tmp_path, ".git/g.wav", ".datalad/d.wav", "._b.wav", "artifacts/chunks/R/R_chunk_0_1.wav", "old.wav~")
    assert found(tmp_path) == ["a/y, \n鳥.wav", "a/z.flac", "b.WAV", "c/d/e.wav"]
    assert found(tmp_path, recursive=False) == ["b.WAV"]
    assert list(find(tmp_path, {".wav"})) == sorted(find(tmp_path, {".wav"}))


def test_patterns_ignore_letter_case(tmp_path: Path) -> None:
    tree(tmp_path, "A.WAV", "b.wav", "c.flac", "Site/d.wav")
    assert found(tmp_path, pattern="*.wav") == ["A.WAV", "Site/d.wav", "b.wav"]
    assert found(tmp_path, pattern="site/*") == ["Site/d.wav"]


def test_empty_files_are_reported_or_taken(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    said: list[str] = []
    assert found(tmp_path, on_problem=said.append) == []
    assert said == [f"{tmp_path / 'a.wav'} is empty; left out"]
    assert found(tmp_path, skip_empty=False) == ["a.wav"]


def test_links_keep_their_names_and_loops_end(tmp_path: Path) -> None:
    tree(tmp_path, "annex/MD5E-s1--1eca.wav", "in/real/a.wav", "out/b.wav", "out/deep/c.wav")
    root = tmp_path / "in"
    (root / "GNWT-290_20230331_235938.wav").symlink_to("../annex/MD5E-s1--1eca.wav")
    (root / "gone.wav").symlink_to("../annex/MD5E-s1--9999.wav")  # content not fetched
    (root / "loop").symlink_to(".")
    (root / "parent").symlink_to("..")
    (root / "real/again").symlink_to("../real")
    (root / "other").symlink_to("../out")
    (root / "zother").symlink_to("../out")
    (root / "self.wav").symlink_to("self.wav")
    said: list[str] = []
    assert found(root, on_problem=said.append) == [
        "GNWT-290_20230331_235938.wav",
        "gone.wav",
        "other/b.wav",
        "other/deep/c.wav",
        "real/a.wav",
    ]
    assert len(said) == 1
    assert "self.wav" in said[0]


def test_an_unreadable_folder_is_reported_and_the_rest_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/1.wav", "b/2.wav", "c/3.wav")
    locked = tmp_path / "b"
    locked.chmod(0)
    try:
        if os.access(locked, os.R_OK):  # root reads everything; then the system's answer is made here
            real = os.scandir

            def scandir(path: Path) -> object:
                if Path(path) == locked:
                    raise PermissionError(13, "Permission denied")
                return real(path)

            monkeypatch.setattr(os, "scandir", scandir)
        said: list[str] = []
        assert found(tmp_path, on_problem=said.append) == ["a/1.wav", "c/3.wav"]
    finally:
        locked.chmod(0o755)
    assert len(said) == 1
    assert str(locked) in said[0]
    assert "Permission denied" in said[0]


def test_names_that_are_no_utf8_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"x")
    assert [os.fsencode(path.name) for path in find(tmp_path, {".wav"})] == [b"caf\xe9.wav"]


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    depth = sys.getrecursionlimit() + 50
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.wav").write_bytes(b"x")
    os.chdir(tmp_path)
    try:
        assert [path.name for path in find(Path(), {".wav"})] == ["a.wav"]
    finally:  # shutil.rmtree cannot go so deep
        deepest = Path(*["d"] * depth)
        (deepest / "a.wav").unlink()
        for folder in (deepest, *deepest.parents[:-1]):
            folder.rmdir()


def test_a_file_and_a_missing_folder(tmp_path: Path) -> None:
    tree(tmp_path, "a.wav")
    assert list(find(tmp_path / "a.wav", {".wav"})) == [tmp_path / "a.wav"]
    with pytest.raises(RecordingError, match="no folder"):
        list(find(tmp_path / "nothing", {".wav"}))


# ------------------------------------------------------------------------------------------- ids


def ids(*names: str) -> list[str]:
    return list(assign_ids([ROOT / name for name in names], ROOT).values())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/x.wav", "b/y.wav"], ["x", "y"]),
        (["a/x.wav", "b/x.wav", "b/y.wav"], ["a__x", "b__x", "y"]),
        (["s/A/Data/x.wav", "s/B/Data/x.wav"], ["A__Data__x", "B__Data__x"]),
        (["x.wav", "a/x.wav"], ["x", "a__x"]),
        (["a/x.wav", "a/x.flac"], ["x.wav", "x.flac"]),
        (["a/x.wav", "a/x.flac", "b/x.wav"], ["a__x.wav", "a__x.flac", "b__x"]),
        (["a/X.wav", "b/x.wav"], ["a__X", "b__x"]),
        (["a/caf\u00e9.wav", "b/cafe\u0301.wav"], ["a__caf\u00e9", "b__cafe\u0301"]),
        (["a/Straße.wav", "b/STRASSE.wav"], ["a__Straße", "b__STRASSE"]),
        (["a/x.wav", "b/x.wav", "a__x.wav"], ["a__x", "b__x", "a__x"]),
    ],
)
def test_ids_are_stems_with_as_many_folders_as_needed(names: list[str], expected: list[str]) -> None:
    made = ids(*names)
    if "a__x.wav" in names:  # the name is taken already: no two may be the same
        assert len(set(made)) == len(made)
        assert made[2] == "a__x"
    else:
        assert made == expected


def test_ids_do_not_depend_on_order_nor_on_other_recordings() -> None:
    names = ["a/x.wav", "b/x.wav", "A/X.wav", "c/y.wav", "c/Y.wav", "c/z.wav"]
    one = assign_ids([ROOT / name for name in names], ROOT)
    assert assign_ids([ROOT / name for name in reversed(names)], ROOT) == one
    assert {p: i for p, i in assign_ids([*one, ROOT / "q/new.wav"], ROOT).items() if p in one} == one


path_parts = st.sampled_from(
    ["a", "A", "é", "e\u0301", "..", "b\\", "b_", "_segments", "x" * 240, "鳥" * 80, "\udcff", "a__a"]
)
path_lists = st.lists(
    st.builds(
        lambda folders, stem, suffix: ROOT.joinpath(*[f for f in folders if f != ".."], stem + suffix),
        st.lists(path_parts, max_size=3),
        path_parts,
        st.sampled_from([".wav", ".WAV", ".flac", ""]),
    ),
    max_size=8,
    unique=True,
)


@given(path_lists)
def test_ids_are_valid_and_distinct_even_where_letter_case_does_not_count(paths: list[Path]) -> None:
    made = assign_ids(paths, ROOT)
    assert list(made) == paths
    for name in made.values():
        check_id(f"{name}_chunk_360000000_360060000", "chunk_id")
    folded = {unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()) for name in made.values()}
    assert len(folded) == len(paths)


def test_nothing_heavy_is_imported() -> None:
    import subprocess

    code = "import sys, badc_core.recordings, badc_core.manifest; print(*sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "soundfile", "cattrs", "soxr", "pyarrow", "rich", "structlog"} & set(output)

"""Who, where, when: clocks, metadata against names, folders, settings."""

from __future__ import annotations

import datetime as dt
import pickle
import sys
from pathlib import Path

import pytest

from badc_core.clocks import difference_s, localised, now, offset_zone, zone_named
from badc_core.config import Settings
from badc_core.errors import UsageError
from badc_core.model import Chunk, Instant, LocalTime
from badc_core.protocols import RecordingHints, SignalInfo
from badc_core.recordings import (
    FolderPattern,
    RecordingRules,
    describe,
    described,
    recording_of_chunk,
    rules_from,
)

ROOT = Path("/data/set")


def rules(**table: object) -> RecordingRules:
    return rules_from(Settings({"recordings": table}))


def local(text: str) -> LocalTime:
    return LocalTime(dt.datetime.fromisoformat(text))


def instant(text: str) -> Instant:
    return Instant(dt.datetime.fromisoformat(text))


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


def test_now_is_told_in_utc():
    """In a form that sorts as text, whatever the microseconds."""
    before, told, after = dt.datetime.now(dt.UTC), now(), dt.datetime.now(dt.UTC)
    assert before <= dt.datetime.fromisoformat(told) <= after
    assert len(told) == len("2026-06-01T04:30:00.000000+00:00")
    assert told.endswith("+00:00")


@pytest.mark.parametrize(("wall", "zone"), [("0001-01-01T00:00:00", "+10:00"), ("9999-12-31T23:00:00", "-08:00")])
def test_times_at_the_ends_of_the_calendar_stay_local(wall: str, zone: str) -> None:
    moment, problem = localised(local(wall), zone_named(zone))
    assert moment == local(wall)
    assert "outside the calendar" in str(problem)


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


def test_nothing_heavy_is_imported() -> None:
    import subprocess

    code = "import sys, badc_core.recordings, badc_core.manifest; print(*sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "soundfile", "cattrs", "soxr", "pyarrow", "rich", "structlog"} & set(output)

"""Who, where and when, as recorders write it into their files; times with a zone and without stay apart."""

from __future__ import annotations

import datetime as dt
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sounds import add_piece, cut_off, noise, write

from badc_audio.metadata import parse_comment, parse_guano
from badc_audio.reader import open_file
from badc_core.model import Instant, LocalTime

MOTH = "Recorded at 19:17:30 04/04/2018 (UTC-5) by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery was 4.5V."


def utc(*numbers: int) -> Instant:
    return Instant(dt.datetime(*numbers, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (MOTH, utc(2018, 4, 5, 0, 17, 30)),
        (MOTH.replace("(UTC-5)", "(UTC)"), utc(2018, 4, 4, 19, 17, 30)),
        (MOTH.replace("(UTC-5)", "(UTC+10:30)"), utc(2018, 4, 4, 8, 47, 30)),
        (MOTH.replace("(UTC-5)", "(UTC-3:30)"), utc(2018, 4, 4, 22, 47, 30)),
        (MOTH.replace(":30 ", ":30.250 "), utc(2018, 4, 5, 0, 17, 30, 250_000)),
        (MOTH.replace(" (UTC-5)", ""), LocalTime(dt.datetime(2018, 4, 4, 19, 17, 30))),
        (MOTH.replace("04/04/", "31/04/"), None),
        ("Made with love", None),
        ("", None),
    ],
)
def test_audiomoth_comment(comment: str, expected: Instant | LocalTime | None):
    hints = parse_comment(comment)
    assert hints.started_at == expected
    assert type(hints.started_at) is type(expected)
    assert hints.device == ("0FE081F80FE081F0" if "AudioMoth" in comment else None)


def test_comment_with_an_impossible_day_is_a_problem():
    assert "31/04/2018" in parse_comment(MOTH.replace("04/04/", "31/04/")).problems[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-05-03T03:13:00Z", utc(2025, 5, 3, 3, 13)),
        ("2025-05-03T03:13:00+02:00", utc(2025, 5, 3, 1, 13)),
        ("2025-05-03 03:13:00.5-07:00", utc(2025, 5, 3, 10, 13, 0, 500_000)),
        ("2025-05-03T03:13:00", LocalTime(dt.datetime(2025, 5, 3, 3, 13))),
    ],
)
def test_guano_times(text: str, expected: Instant | LocalTime):
    hints = parse_guano(f"GUANO|Version:1.0\nTimestamp:{text}\n".encode())
    assert hints.started_at == expected
    assert hints.problems == ()


def test_guano_place_and_device():
    hints = parse_guano(b"GUANO|Version: 1.0\r\nMake:ACME\r\nSerial: 17 \r\nLoc Position:52.146196 -4.47\r\n\0\0")
    assert (hints.device, hints.latitude, hints.longitude) == ("17", 52.146196, -4.47)


def test_broken_guano_loses_only_what_is_broken():
    hints = parse_guano(b"no colon\n\xff\xfe:\xff\nTimestamp:yesterday\nLoc Position:91 0\nSerial:S4\n:\n")
    assert (hints.started_at, hints.latitude, hints.device) == (None, None, "S4")
    assert hints.problems == ("the GUANO time 'yesterday' is none", "the GUANO place '91 0' is none")


@given(st.binary(max_size=300))
def test_any_guano_is_survived(raw: bytes):
    parse_guano(raw)
    parse_guano(b"Timestamp:" + raw + b"\nLoc Position:" + raw)


def test_notes_are_found_before_and_behind_the_samples(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(1))
    comment = MOTH.encode() + b"\0"
    comment += b"\0" * (len(comment) % 2)
    add_piece(path, b"LIST", b"INFOICMT" + struct.pack("<I", len(comment)) + comment)
    with open_file(path) as file:
        assert file.hints().started_at == utc(2018, 4, 5, 0, 17, 30)
    add_piece(path, b"guan", b"GUANO|Version:1.0\nTimestamp:2018-04-05T00:17:30Z\nSerial:other\n")
    with open_file(path) as file:
        hints = file.hints()
        assert (hints.started_at, hints.device, hints.problems) == (utc(2018, 4, 5, 0, 17, 30), "other", ())


def test_guano_and_comment_that_disagree_are_a_problem(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(1))
    comment = MOTH.encode() + b"\0"
    add_piece(path, b"LIST", b"INFOICMT" + struct.pack("<I", len(comment)) + comment)
    add_piece(path, b"guan", b"Timestamp:2018-04-04T00:17:30Z\n")
    with open_file(path) as file:
        assert "disagree" in file.hints().problems[0]


def test_note_that_was_cut_off_or_lies_about_its_length(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(1))
    add_piece(path, b"guan", b"Timestamp:2018-04-05T00:17:30Z\nSerial:S4\n")
    data = path.read_bytes()
    at = data.index(b"guan") + 4
    path.write_bytes(data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :])
    with open_file(path) as file:
        assert file.hints().device == "S4"
    cut_off(path, 0.999)
    with open_file(path) as file:
        file.hints()


def test_float_wav_has_hints_too(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(1), subtype="FLOAT")
    add_piece(path, b"guan", b"Timestamp:2018-04-05T00:17:30Z\n")
    with open_file(path) as file:
        assert file.hints().started_at == utc(2018, 4, 5, 0, 17, 30)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".aiff"])
def test_formats_without_notes_have_none(tmp_path: Path, suffix: str):
    subtype = "VORBIS" if suffix == ".ogg" else "PCM_16"
    with open_file(write(tmp_path / f"a{suffix}", noise(1), subtype=subtype)) as file:
        assert file.hints().started_at is None

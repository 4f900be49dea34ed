"""The tables that HawkEars writes, in both forms, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from badc_core.errors import RunnerError
from badc_hawkears.csvs import Row, milliseconds, read_table

ONE = "filename,start_time,end_time,class_name,class_code,score\n"
TWO = "recording,name,start_time,end_time,score\n"


@pytest.fixture
def table(tmp_path: Path):
    """Write a table, and return its rows."""

    def read(text: str | bytes) -> list[Row]:
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_table(path)

    return read


def test_hawkears_1(table):
    rows = table(ONE + 'a_chunk_0_30000.wav,0.500,2.0095,"Grouse, Ruffed",RUGR,0.870\n,3,6,,RUGR,\n')
    assert rows == [
        Row("a_chunk_0_30000.wav", 500, 2010, 0.87, code="RUGR", name="Grouse, Ruffed"),
        Row("", 3000, 6000, None, code="RUGR"),
    ]


def test_hawkears_2(table):
    assert table(TWO + "c00,COYE,8.250,8.750,0.785\nsite/c01.wav,Common Yellowthroat,0.000,30.000,1.000\n") == [
        Row("c00", 8250, 8750, 0.785, label="COYE"),
        Row("site/c01.wav", 0, 30_000, 1.0, label="Common Yellowthroat"),
    ]


@pytest.mark.parametrize("header", [ONE, TWO])
def test_nothing_heard(table, header):
    assert table(header) == []


def test_columns_go_by_their_names(table):
    moved = "\ufeffscore,extra,name,recording,end_time,start_time\r\n0.5,x,COYE,a,2.0,1.0\r\n"
    assert table(moved) == [Row("a", 1000, 2000, 0.5, label="COYE")]


def test_names_that_are_no_utf8(table):
    (row,) = table(TWO.encode() + b"caf\xe9,COYE,0.0,1.0,0.5\n")
    assert row.source.encode("utf-8", "surrogateescape") == b"caf\xe9"


@pytest.mark.parametrize(("seconds", "expected"), [("2.01", 2010), ("0.0005", 1), (" 1e1 ", 10_000), ("3", 3000)])
def test_seconds_become_the_nearest_millisecond(seconds, expected):
    assert milliseconds(seconds) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"line 1: the header is ''"),
        ("a,b\n1,2\n", r"line 1: the header is 'a,b', not with filename,.* or recording,"),
        (TWO.strip(), "line 1: the last line is torn"),
        (TWO + "a,COYE,0.0,1.0,0.5", "the last line is torn"),
        (TWO + "a,COYE,0.0,1.0,0.5\nb,CO", "the last line is torn"),
        (TWO + "a,COYE,0.0,1.0\n", "line 2: it has 4 fields, the header 5"),
        (TWO + "a,COYE,0.0,1.0,0.5\n\na,COYE,zero,1.0,0.5\n", "line 4: 'zero' is no time"),
        (TWO + "a,COYE,nan,1.0,0.5\n", "line 2: 'nan' is no time"),
        (TWO + "a,COYE,2.0,1.0,0.5\n", "line 2: a label from 2000 to 1000 ms"),
        (TWO + "a,COYE,-1.0,1.0,0.5\n", "line 2: a label from -1000 to 1000 ms"),
        (TWO + "a,COYE,0.0,1.0,high\n", "line 2: 'high' is no score"),
        (TWO + "a,COYE,0.0,1.0,nan\n", "line 2: the score nan is not within"),
        (TWO + "a,COYE,0.0,1.0,7\n", "line 2: the score 7 is not within"),
        (TWO + "a,,0.0,1.0,0.5\n", "line 2: a label without a name"),
        (TWO + 'a,"COYE,0.0,1.0,0.5\n', "line 2: unexpected end of data"),
    ],
)
def test_damage_is_told_with_file_and_line(table, text, words):
    with pytest.raises(RunnerError, match=rf"table\.csv, .*{words}"):
        table(text)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(RunnerError, match=r"nowhere\.csv cannot be read: No such file"):
        read_table(tmp_path / "nowhere.csv")

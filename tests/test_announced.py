"""Entry points found among what is installed: the same as the standard library finds."""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from badc_core.announced import announcements, parse_entry_points

NAMED = """[console_scripts]
x = y:z

[badc]
# a comment
lab=badc_lab
odd = badc_odd : plugin [all]
[other]
lab = no
"""


def _install(folder: Path, name: str, version: str = "1", text: str = NAMED, ending: str = "dist-info") -> None:
    inside = folder / f"{name}-{version}.{ending}"
    inside.mkdir(parents=True)
    (inside / "entry_points.txt").write_text(text)
    headers = {"dist-info": "METADATA", "egg-info": "PKG-INFO"}[ending]
    (inside / headers).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: in the text\n")


@pytest.mark.parametrize("group", ["badc", "console_scripts", "pytest11", "nobody"])
def test_the_same_as_the_standard_library(group: str):
    assert {(one.name, one.value) for one in announcements(group)} == {
        (point.name, point.value) for point in entry_points(group=group)
    }


def test_name_and_version_come_from_the_same_place():
    points = {point.name: point for point in entry_points(group="badc")}
    found = list(announcements("badc"))
    assert found
    for one in found:
        assert one.header("Name") == points[one.name].dist.name
        assert one.header("Version") == points[one.name].dist.version


def test_what_is_read():
    assert parse_entry_points(NAMED, "badc") == [("lab", "badc_lab"), ("odd", "badc_odd:plugin")]
    assert parse_entry_points("", "badc") == []


def test_the_first_copy_counts(tmp_path: Path):
    _install(tmp_path / "first", "badc_lab", "2", "[badc]\nnew = badc_lab\n")
    _install(tmp_path / "second", "Badc.Lab", "1", "[badc]\nold = badc_lab\n")
    (found,) = announcements("badc", [str(tmp_path / "first"), str(tmp_path / "second"), str(tmp_path / "gone")])
    assert (found.name, found.header("Version"), found.header("License")) == ("new", "2", "?")


def test_older_forms_and_archives(tmp_path: Path):
    _install(tmp_path / "old", "badc_lab", ending="egg-info")
    archive = tmp_path / "all.zip"
    _install(tmp_path / "zipped", "badc_zipped", text="[badc]\nzipped = badc_zipped\n")
    with zipfile.ZipFile(archive, "w") as file:
        for path in (tmp_path / "zipped").rglob("*-1.dist-info/*"):
            file.write(path, path.relative_to(tmp_path / "zipped"))
    found = {one.name: one for one in announcements("badc", [str(tmp_path / "old"), str(archive)])}
    assert set(found) == {"lab", "odd", "zipped"}
    assert [found[name].header("Name") for name in ("lab", "zipped")] == ["badc_lab", "badc_zipped"]


def test_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _install(tmp_path, "badc_here", text="[badc]\nhere = badc_here\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert "here" in {one.name for one in announcements("badc")}

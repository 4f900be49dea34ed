"""Settings that HawkEars cannot heed are refused, where it would be silent; what of them can change an answer."""

from __future__ import annotations

import copy
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from badc_core.errors import UsageError
from badc_hawkears.settings import as_yaml, check_settings, file_lines, that_matter

AREAS = [  # code, level, longitudes, latitudes
    ("CA", 0, None, None, None, None),
    ("CA-ON", 1, None, None, None, None),
    ("CA-ON-OT", 2, -76.4, -75.2, 44.9, 45.6),
    ("CA-NT", 1, None, None, None, None),
    ("CA-NT-IN", 2, -136.5, -120.0, 64.0, 70.0),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder with tables of places and classes, in HawkEars' form."""
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data/locations.db") as areas:
        areas.execute(
            "CREATE TABLE AdministrativeArea (Code TEXT, Level INTEGER, MinLongitude REAL, MaxLongitude REAL,"
            " MinLatitude REAL, MaxLatitude REAL)"
        )
        areas.executemany("INSERT INTO AdministrativeArea VALUES (?, ?, ?, ?, ?, ?)", AREAS)
    areas.close()
    (tmp_path / "data/classes.csv").write_text(
        "Name,Code,AltName,AltCode\nOvenbird,OVEN,Seiurus aurocapilla,ovenbi1\nBarred Owl,BADO,Strix varia,brdowl\n"
    )
    (tmp_path / "data/taxonomy.csv").write_text(
        "model_code,name,code,alt_name,alt_code\nBADO,Barred Owl,BAOW,Strix varia,brdowl\n"
    )
    (tmp_path / "data/exclude.txt").write_text("American Bullfrog\n")
    return tmp_path


@pytest.fixture
def settings(root: Path) -> dict[str, dict[str, Any]]:
    """Settings as HawkEars comes."""
    return {
        "audio": {"choose_channel": False},
        "train": {"seed": None},
        "infer": {"min_score": 0.7, "max_models": 6, "label_field": "codes", "segment_len": None, "num_threads": 3},
        "misc": {"ckpt_folder": str(root / "data/ckpt")},
        "hawkears": {
            "filelist": None,
            "region": None,
            "latitude": None,
            "longitude": None,
            "date": None,
            "include_list": None,
            "exclude_list": str(root / "data/exclude.txt"),
            "taxonomy_file": str(root / "data/taxonomy.csv"),
            "min_label_length": None,
            "max_label_length": None,
            "max_label_length_merge_threshold": 0.5,
            "save_rarities": True,
        },
    }


def test_hawkears_own_settings_are_sound(settings: dict[str, dict[str, Any]], root: Path) -> None:
    """Its own list of excluded classes is not ours to judge."""
    check_settings(settings, root)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"region": "CA-XX"}, "no region 'CA-XX'"),
        ({"region": "ca-on"}, "no region 'ca-on'"),
        ({"region": "Ontario"}, "no region 'Ontario'"),
        ({"latitude": 45.4}, "latitude alone"),
        ({"longitude": -75.7}, "longitude alone"),
        ({"latitude": 45.4, "longitude": 75.7}, "no county at latitude 45.4, longitude 75.7"),
        ({"region": "CA", "latitude": 45.4}, "latitude alone"),
    ],
)
def test_a_place_that_hawkears_does_not_know(
    settings: dict[str, dict[str, Any]], root: Path, place: dict[str, Any], words: str
) -> None:
    """It would leave the filter out, and say nothing."""
    settings["hawkears"].update(place)
    with pytest.raises(UsageError, match=words) as caught:
        check_settings(settings, root)
    assert caught.value.hint


@pytest.mark.parametrize(
    "place",
    [
        {"region": "CA"},
        {"region": "CA-ON-OT"},
        {"region": "CA-N"},  # HawkEars takes it for all areas whose code begins so
        {"latitude": 45.4, "longitude": -75.7},
        {"region": "CA-NT", "latitude": 1.0, "longitude": 1.0},  # the region counts
    ],
)
def test_a_place_that_hawkears_knows(settings: dict[str, dict[str, Any]], root: Path, place: dict[str, Any]) -> None:
    """Codes, beginnings of codes, points within a county."""
    settings["hawkears"].update(place)
    check_settings(settings, root)
    (root / "data/locations.db").unlink()  # an older data folder: HawkEars alone can tell
    check_settings(settings, root)


def test_a_misspelt_region_is_corrected(settings: dict[str, dict[str, Any]], root: Path) -> None:
    """Among those of its own kind."""
    settings["hawkears"]["region"] = "CA-OM"
    with pytest.raises(UsageError) as caught:
        check_settings(settings, root)
    assert "CA-ON" in (caught.value.hint or "")
    assert "CA-ON-OT" not in (caught.value.hint or "")


def test_a_torn_table_of_places_is_named(settings: dict[str, dict[str, Any]], root: Path) -> None:
    """It is a file of the data folder, which can be made anew."""
    (root / "data/locations.db").write_bytes(b"not a database, but as long as one would be" * 30)
    settings["hawkears"]["region"] = "CA"
    with pytest.raises(UsageError, match=r"locations\.db cannot be read"):
        check_settings(settings, root)


@pytest.mark.parametrize("spelling", ["Ovenbird", "OVEN", "Seiurus aurocapilla", "ovenbi1", "BADO", "BAOW", "brdowl"])
def test_every_spelling_of_a_class_is_known(settings: dict[str, dict[str, Any]], root: Path, spelling: str) -> None:
    """Names and codes of the models, and those of today."""
    (root / "mine.txt").write_text(f"# these\n\n  {spelling}  \n")
    for word in ("include", "exclude"):
        settings["hawkears"][f"{word}_list"] = str(root / "mine.txt")
    check_settings(settings, root)


@pytest.mark.parametrize("word", ["include", "exclude"])
def test_a_class_that_is_none_is_refused(settings: dict[str, dict[str, Any]], root: Path, word: str) -> None:
    """HawkEars would ignore it, and a bird would be missing, or stay."""
    (root / "mine.txt").write_text("Ovenbird\nOvenbrid\nDodo\n")
    settings["hawkears"][f"{word}_list"] = str(root / "mine.txt")
    with pytest.raises(UsageError, match=r"'Ovenbrid', which is no class of HawkEars, and neither 1 more") as caught:
        check_settings(settings, root)
    assert caught.value.hint == "Did you mean 'Ovenbird'?"


@pytest.mark.parametrize("word", ["include", "exclude"])
def test_a_list_that_is_not_there_is_refused(settings: dict[str, dict[str, Any]], root: Path, word: str) -> None:
    """HawkEars would take it for an empty one; an empty list of what to report is refused, too."""
    settings["hawkears"][f"{word}_list"] = str(root / "mine.txt")
    with pytest.raises(UsageError, match=r"mine\.txt cannot be read"):
        check_settings(settings, root)
    (root / "mine.txt").write_text("# nothing\n")
    if word == "include":
        with pytest.raises(UsageError, match="names no class"):
            check_settings(settings, root)
    else:
        check_settings(settings, root)


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("infer", {"min_score": 0.0}, "infer.min_score is 0, but must be from 0.05 to 1"),
        ("infer", {"min_score": 2.0}, "infer.min_score is 2"),
        ("infer", {"max_models": 7}, "no such ensemble"),
        ("infer", {"label_field": "latin"}, "infer.label_field"),
        ("infer", {"segment_len": 0.1}, "shorter than a frame"),
        ("hawkears", {"filelist": "files.csv"}, "hawkears.filelist is not for use"),
        ("hawkears", {"max_label_length": 0.0}, "above 0"),
        ("hawkears", {"min_label_length": 0.3}, "multiple of 0.25"),
        ("hawkears", {"min_label_length": 3.0, "max_label_length": 2.0}, "is above the greatest"),
        ("hawkears", {"max_label_length_merge_threshold": -1.0}, "merge_threshold"),
    ],
)
def test_settings_that_do_not_fit(
    settings: dict[str, dict[str, Any]], root: Path, section: str, values: dict[str, Any], words: str
) -> None:
    """Whichever file or argument they come from."""
    settings[section].update(values)
    with pytest.raises(UsageError, match=words):
        check_settings(settings, root)


@pytest.mark.parametrize("length", ["min_label_length", "max_label_length"])
def test_fixed_labels_have_no_limits(settings: dict[str, dict[str, Any]], root: Path, length: str) -> None:
    """One excludes the other, in HawkEars, too."""
    settings["infer"]["segment_len"] = 3.0
    check_settings(settings, root)
    settings["hawkears"][length] = 1.0
    with pytest.raises(UsageError, match="labels of one length"):
        check_settings(settings, root)


def test_only_what_changes_answers_matters(settings: dict[str, dict[str, Any]]) -> None:
    """Neither speed nor paths; thresholds, places and labels do."""
    plain = that_matter(settings)
    for section, name, value, matters in [
        ("infer", "num_threads", 9, False),
        ("misc", "ckpt_folder", "/elsewhere", False),
        ("hawkears", "exclude_list", "/elsewhere/exclude.txt", False),
        ("hawkears", "save_rarities", False, False),
        ("train", "seed", 1, False),
        ("infer", "min_score", 0.6, True),
        ("infer", "label_field", "names", True),
        ("hawkears", "region", "CA", True),
        ("audio", "choose_channel", True, True),
    ]:
        other = copy.deepcopy(settings)
        other[section][name] = value
        assert (that_matter(other) != plain) is matters, name


def test_yaml_holds_everything(settings: dict[str, dict[str, Any]]) -> None:
    """So nothing is left to what HawkEars has for the device that it finds."""
    assert json.loads(as_yaml(settings)) == settings


def test_lists_are_read_as_hawkears_reads_them(tmp_path: Path) -> None:
    """Without blank lines, without comments, without spaces around."""
    (tmp_path / "list.txt").write_bytes(b"# a comment\r\n\r\n Ovenbird \r\nOVEN # not one\n")
    assert file_lines(tmp_path / "list.txt") == ["Ovenbird", "OVEN # not one"]

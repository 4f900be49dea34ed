"""Arguments of HawkEars' own commands: known or refused, and written down in one way."""

from __future__ import annotations

from pathlib import Path

import pytest

from badc_core.errors import UsageError
from badc_hawkears.arguments import FIRST, SECOND, given, settings_given, tidied


def test_one_text_may_hold_several_words() -> None:
    """As ``--hawkears-arg "--region CA-NT"``, or word by word."""
    expected = {"infer.min_score": 0.3, "hawkears.region": "CA-NT"}
    assert given(["--min_score 0.3 --region CA-NT"]) == expected
    assert given(["--region", "CA-NT", "-m", "0.3"]) == expected
    assert given(["--region=CA-NT", "-m0.3"]) == expected


def test_a_value_is_not_split(tmp_path: Path) -> None:
    """Only texts that begin with a dash are; in those a shell's quotes hold words together."""
    path = tmp_path / "my list.txt"
    path.write_text("OVEN\n")
    assert given(["--include", str(path)]) == given([f"--include '{path}'"]) == {"hawkears.include_list": str(path)}


def test_a_negative_number_is_a_value() -> None:
    """Longitudes of Canada are."""
    assert given(["--lon", "-123.5"]) == given(["--lon -123.5"]) == {"hawkears.longitude": -123.5}


@pytest.mark.parametrize("texts", [["--min_score 0.30"], ["-m", "0.3"], ["--min_score", "0.9", "--min_score", ".3"]])
def test_the_same_said_otherwise_is_the_same(texts: list[str]) -> None:
    """The last one of an argument counts, as with HawkEars."""
    assert tidied(texts) == ("--min_score", "0.3")


def test_tidied_twice_is_tidied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words go through a plan to workers, who read them again, elsewhere."""
    (tmp_path / "birds to keep.txt").write_text("OVEN\n")
    monkeypatch.chdir(tmp_path)
    texts = [
        "--include 'birds to keep.txt' --no-low-band --label alt-name",
        "--lat -1 --lon",
        "-2",
        "--date 2026-06-01",
    ]
    once = tidied(texts)
    assert str(tmp_path / "birds to keep.txt") in once
    monkeypatch.chdir("/")
    assert tidied(once) == once
    assert given(once)["infer.label_field"] == "alt_names"


def test_what_is_set_looks_like_yaml() -> None:
    """So that it can be laid over what YAML files say; a YAML file named here is not among it."""
    assert settings_given(["-m 0.5 --low-band --seg 3 -c", __file__]) == {
        "infer": {"min_score": 0.5, "segment_len": 3.0},
        "hawkears": {"low_band_classifier": True},
    }


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("--min-score 0.3", "--min_score"),
        ("--lowband", "--low-band"),
        ("--no_low_band", "--no-low-band"),
        ("--regoin CA", "--region"),
        ("--max_label_length 3", "--max-label-length"),
        ("--xyzzy", "It knows: --cfg, --min_score"),
        ("-q", "It knows:"),
    ],
)
def test_an_unknown_argument_is_an_error(text: str, hint: str) -> None:
    """With what was probably meant."""
    with pytest.raises(UsageError, match="HawkEars has no argument") as caught:
        given([text])
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "--min_score 1.5",
        "--min_score 0.01",
        "--min_score much",
        "--min_score",
        "--models 0",
        "--models 7",
        "--models 2.5",
        "--lat 91",
        "--lon -181",
        "--seg 0.1",
        "--seg -1",
        "--min-label-length 0.3",
        "--min-label-length 0",
        "--max-label-length 0",
        "--label latin",
        "--date 20260231",
        "--date 1",
        "--date yesterday",
        "--region ''",
        "--include there/is/no/such/file.txt",
        "--cfg there/is/no/such/file.yaml",
        "recording.wav",
        "--region 'CA",
    ],
)
def test_a_value_that_does_not_fit_is_an_error(text: str) -> None:
    """HawkEars' command would do nothing, or something else, for many of them, and say that all is well."""
    with pytest.raises(UsageError, match="HawkEars' argument"):
        given([text])


@pytest.mark.parametrize("table", [SECOND, FIRST], ids=["2", "1"])
def test_what_is_refused_has_a_way_out(table) -> None:
    """Every such argument is refused in all its spellings, with what to use instead."""
    refused = [one for one in table if one.instead]
    assert len(refused) >= 8
    for one in refused:
        for flag in one.flags.split():
            with pytest.raises(UsageError, match="not for use in BADC") as caught:
                given([flag] if one.kind is None else [flag, "3"], table)
            assert caught.value.hint == one.instead


def test_hawkears_1_has_other_arguments() -> None:
    """There ``-m`` merges labels, and ``-p`` is the threshold."""
    assert tidied(["-p 0.5 -m 1 -b 0 --lpf --lpfstart 100 --overlap 1.5"], FIRST) == (
        *("--min_score", "0.5", "--merge", "1", "--band", "0", "--overlap", "1.5"),
        *("--lpfstart", "100.0", "--lpf"),
    )
    with pytest.raises(UsageError, match="no argument --models"):
        given(["--models 3"], FIRST)
    with pytest.raises(UsageError, match="no argument -p"):
        given(["-p 0.3"], SECOND)

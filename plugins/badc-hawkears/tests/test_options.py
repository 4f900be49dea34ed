"""The runner's options: read from the command line, settled for all workers, refused when they contradict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from badc_core.config import describe, fill, result_options
from badc_core.errors import RunnerError, UsageError
from badc_core.serde import structure, unstructure
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.places import Places, memory_file, remember


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered, and the environment says nothing."""
    for name in ("HAWKEARS_DATA_DIR", "BADC_HAWKEARS_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def made(**values: object) -> HawkEarsOptions:
    """Return options as the command line makes them."""
    options = fill(HawkEarsOptions, values, "runner 'hawkears'")
    assert options is not None
    return options


def test_they_survive_the_way_to_a_worker() -> None:
    """As JSON, in a plan."""
    options = made(args=["-m 0.5"], keep="scores,embeddings", models="3", low_band="no", python="here/python")
    assert structure(json.loads(json.dumps(unstructure(options))), HawkEarsOptions) == options


def test_what_to_keep_is_a_set() -> None:
    """However it is written."""
    assert made(keep="scores,embeddings").keep == made(keep=["embeddings", "scores"]).keep == ("embeddings", "scores")
    assert made(keep="scores , ").keep == ("scores",)
    assert made().keep == made(keep="").keep == ()


def test_the_data_folder_comes_from_the_nearest_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option, the environment variable, what setup remembered, HawkEars' own place."""
    assert made().root in (tmp_path / "data/hawkears", Path.home() / "Library/Application Support/HawkEars")
    remember(Places(tmp_path / "env/bin/python", tmp_path / "remembered"))
    assert made().root == tmp_path / "remembered"
    monkeypatch.setenv("HAWKEARS_DATA_DIR", str(tmp_path / "variable"))
    assert made().root == tmp_path / "variable"
    assert made(root=str(tmp_path / "option")).root == tmp_path / "option"


def test_the_interpreter_is_the_remembered_one(tmp_path: Path) -> None:
    """So that workers elsewhere get it from the plan."""
    assert made().python is None
    remember(Places(tmp_path / "env/bin/python", tmp_path / "root"))
    assert made().python == tmp_path / "env/bin/python"
    assert made(python="/usr/bin/python3").python == Path("/usr/bin/python3")


def test_a_memory_that_says_nothing_is_an_error() -> None:
    """With the way out of it; options that name both places do without."""
    memory_file().parent.mkdir(parents=True)
    memory_file().write_text("{")
    with pytest.raises(RunnerError, match="does not say where HawkEars is"):
        made()
    assert made(python="/a/python", root="/b").root == Path("/b")


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may run in another folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("OVEN\n")
    options = made(python="env/bin/python", root="root", config="c.yaml", args=["--include list.txt"])
    assert (options.python, options.root) == (tmp_path / "env/bin/python", tmp_path / "root")
    assert (options.config, options.args) == (tmp_path / "c.yaml", ("--include", str(tmp_path / "list.txt")))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "fast", "models": "3"}, "preset and models"),
        ({"preset": "best"}, "must be one of fast, balanced, full"),
        ({"models": "7"}, "no ensemble of 7"),
        ({"min_score": "0"}, "at least 0.05"),
        ({"min_score": "1.1"}, "at most 1"),
        ({"keep": "frames"}, "keep names 'frames'"),
        ({"keep": "scores", "mode": "api"}, "nothing but detections"),
        ({"keep": "embeddings", "mode": "cli"}, "nothing but detections"),
        ({"floor": "0.2", "mode": "cli"}, "floor has no meaning"),
        ({"config": "a.yaml", "args": ["--cfg", __file__]}, "named twice"),
        ({"args": ["--bogus"]}, "no argument --bogus"),
        ({"script": "/h/analyze.py", "preset": "fast"}, "HawkEars 1 has no option preset"),
        ({"script": "/h/analyze.py", "keep": "scores"}, "HawkEars 1 has no option keep"),
        ({"script": "/h/analyze.py", "min_score": "0.5"}, "HawkEars 1 has no option min_score"),
        ({"script": "/h/analyze.py", "args": ["--low-band"]}, "no argument --low-band"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], words: str) -> None:
    """Before anything runs."""
    with pytest.raises(UsageError, match=words):
        made(**values)


def test_the_variable_of_badc_0_1_means_hawkears_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless options ask for HawkEars 2."""
    monkeypatch.setenv("BADC_HAWKEARS_ROOT", str(tmp_path))
    assert made().script == tmp_path / "analyze.py"
    assert made(args=["-p 0.5"]).args == ("--min_score", "0.5")
    assert made(root="/r").script is made(mode="api").script is None


def test_ways_to_say_the_same_leave_the_fingerprint_alone(tmp_path: Path) -> None:
    """What HawkEars is told is in the digest of the model; here only what no digest has."""
    plain = result_options(made())
    same = [
        {"preset": "full"},
        {"models": "3"},
        {"low_band": "yes"},
        {"min_score": "0.5"},
        {"args": ["-m 0.5"]},
        {"config": str(tmp_path / "a.yaml")},
        {"root": "/r"},
        {"python": "/p"},
        {"batch": "3"},
        {"threads": "2"},
        {"readers": "2"},
        {"precision": "float32"},
        {"trust": "yes"},
    ]
    assert [result_options(made(**values)) == plain for values in same] == [True] * len(same)
    other = [{"keep": "scores"}, {"keep": "embeddings"}, {"floor": "0.2"}, {"mode": "api"}]
    assert [result_options(made(**values)) == plain for values in other] == [False] * len(other)


def test_every_option_has_a_line_of_help() -> None:
    """For ``badc plugins`` and the docs."""
    assert [name for name, _, text in describe(HawkEarsOptions) if not text] == []

"""The identity tells which HawkEars it was: another one for all that can change an answer, and for nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import attrs
import pytest

from badc_core.errors import RunnerError
from badc_hawkears.environment import Told
from badc_hawkears.identity import data_root, digest_of, identity_of
from badc_hawkears.options import HawkEarsOptions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder of six small members, two for the low band, and small tables."""
    files = {f"data/ckpt/m{number}.ckpt": f"member {number}" for number in range(6)}
    files |= {f"data/ckpt-low-band/l{number}.ckpt": f"low {number}" for number in range(3)}
    files |= {"data/classes.csv": "Name,Code\n", "data/taxonomy.csv": "model_code\n", "data/occurrence.pkl": "rare"}
    files |= {"data/exclude.txt": "Frog\nToad\n", "yaml/low_band.yaml": "infer:\n  max_models: 2\n"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.fixture
def told(root: Path) -> Told:
    """HawkEars as it comes."""
    return Told(
        ("2.3.0", "1.8.4"),
        {
            "audio": {"check_seconds": 6.0},
            "infer": {"max_models": 6, "min_score": 0.7, "num_threads": 3},
            "misc": {"ckpt_folder": str(root / "data/ckpt")},
            "hawkears": {
                "low_band_classifier": True,
                "low_band_ckpt_folder": str(root / "data/ckpt-low-band"),
                "heuristics_manager": "some.Class",
                "include_list": None,
                "exclude_list": str(root / "data/exclude.txt"),
                "taxonomy_file": str(root / "data/taxonomy.csv"),
                "occurrence_pickle": str(root / "data/occurrence.pkl"),
            },
        },
    )


def changed(told: Told, **values: Any) -> Told:
    """Return the same with other settings: ``infer__max_models=3``."""
    settings = copy.deepcopy(dict(told.settings))
    for name, value in values.items():
        section, _, key = name.partition("__")
        settings[section] = {**settings[section], key: value}
    return attrs.evolve(told, settings=settings)


def test_its_version_can_be_read(root: Path, told: Told) -> None:
    """Packages, ensemble, and the beginnings of two digests."""
    words = identity_of(HawkEarsOptions(root=root), told).version.split()
    assert words[:3] == ["2.3.0+britekit.1.8.4", "6", "members+low-band"]
    assert [words[3], words[5]] == ["weights", "config"]
    assert [len(words[4]), len(words[6])] == [8, 8]
    alone = changed(told, infer__max_models=1, hawkears__low_band_classifier=False)
    assert "1.8.4 1 member weights" in identity_of(HawkEarsOptions(root=root), alone).version


@pytest.mark.parametrize(
    "name",
    [
        "data/ckpt/m0.ckpt",
        "data/ckpt/m5.ckpt",
        "data/ckpt-low-band/l1.ckpt",
        "data/classes.csv",
        "data/taxonomy.csv",
        "data/occurrence.pkl",
        "data/exclude.txt",
        "yaml/low_band.yaml",
    ],
)
def test_another_content_is_another_model(root: Path, told: Told, name: str) -> None:
    """Of weights and of tables."""
    options = HawkEarsOptions(root=root)
    before = identity_of(options, told)
    (root / name).write_text("something else")
    after = identity_of(options, told)
    assert before.weights_digest != after.weights_digest
    words, others = before.version.split(), after.version.split()
    of_weights = name.endswith(".ckpt")
    assert [words[4] != others[4], words[6] != others[6]] == [of_weights, not of_weights]


def test_members_that_do_not_take_part_do_not_count(root: Path, told: Told) -> None:
    """With three members the fourth may change or go; without the low band, all of that may."""
    options = HawkEarsOptions(root=root)
    small = changed(told, infer__max_models=3, hawkears__low_band_classifier=False)
    before = identity_of(options, small)
    (root / "data/ckpt/m3.ckpt").write_text("other")
    (root / "data/ckpt/m5.ckpt").unlink()
    (root / "data/ckpt-low-band/l0.ckpt").write_text("other")
    (root / "yaml/low_band.yaml").unlink()
    assert identity_of(options, small) == before
    (root / "data/ckpt/m2.ckpt").write_text("other")
    assert identity_of(options, small) != before


def test_a_third_member_of_the_low_band_does_not_count(root: Path, told: Told) -> None:
    """HawkEars takes two."""
    options = HawkEarsOptions(root=root)
    before = identity_of(options, told)
    (root / "data/ckpt-low-band/l2.ckpt").write_text("other")
    assert identity_of(options, told) == before


def test_what_changes_nothing_does_not_count(root: Path, told: Told, tmp_path: Path) -> None:
    """Paths, threads, names of checkpoints, the order and the comments of a list."""
    before = identity_of(HawkEarsOptions(root=root), told)
    assert identity_of(HawkEarsOptions(root=root), changed(told, infer__num_threads=1)) == before
    (root / "data/exclude.txt").write_text("# no frogs\nToad\n\nFrog\nToad\n")
    assert identity_of(HawkEarsOptions(root=root), told) == before
    (root / "data/ckpt/m0.ckpt").rename(root / "data/ckpt/a.ckpt")
    assert identity_of(HawkEarsOptions(root=root), told) == before


@pytest.mark.parametrize(
    "values",
    [
        {"infer__min_score": 0.6},
        {"infer__max_models": 5},
        {"hawkears__low_band_classifier": False},
        {"hawkears__exclude_list": None},
        {"audio__check_seconds": 3.0},
    ],
)
def test_other_settings_are_another_model(root: Path, told: Told, values: dict[str, Any]) -> None:
    """Wherever they come from."""
    options = HawkEarsOptions(root=root)
    assert identity_of(options, changed(told, **values)).weights_digest != identity_of(options, told).weights_digest


def test_half_precision_that_is_asked_for_is_another_model(root: Path, told: Told) -> None:
    """It may move scores by more than BADC promises; `auto` takes it only where it does not."""
    auto, exact, half = (
        identity_of(HawkEarsOptions(root=root, precision=precision), told) for precision in ("auto", "float32", "half")
    )
    assert auto == exact
    assert half.weights_digest != exact.weights_digest
    assert " half weights " in half.version


def test_members_in_another_order_are_another_model(root: Path, told: Told) -> None:
    """Each listens from another moment on."""
    options = HawkEarsOptions(root=root)
    before = identity_of(options, told)
    (root / "data/ckpt/m0.ckpt").rename(root / "data/ckpt/z.ckpt")
    assert identity_of(options, told) != before


def test_openvino_takes_other_files(root: Path, told: Told) -> None:
    """Those count where HawkEars loads its weights itself."""
    with_openvino = attrs.evolve(told, openvino=True)
    for mode, counts in (("api", True), ("warm", False)):
        options = HawkEarsOptions(root=root, mode=mode)
        (root / "data/ckpt/m0.onnx").write_text("one")
        before = identity_of(options, with_openvino)
        (root / "data/ckpt/m0.onnx").write_text("another")
        assert (identity_of(options, with_openvino) != before) is counts


def test_missing_weights_are_said(root: Path, told: Told) -> None:
    """With the lines that fetch them."""
    for path in (root / "data/ckpt").iterdir():
        path.unlink()
    (root / "bin").mkdir()
    (root / "bin/hawkears").touch()
    with pytest.raises(RunnerError, match="weights are missing") as caught:
        identity_of(HawkEarsOptions(root=root, python=root / "bin/python"), told)
    assert str(root / "data/ckpt") in caught.value.message
    assert "badc hawkears setup" in (caught.value.hint or "")
    assert f"{root}/bin/hawkears init --dest {root};" in (caught.value.hint or "")


def test_a_missing_data_folder_is_said(tmp_path: Path) -> None:
    """With all places where it was looked for, and the command in the interpreter's own folder."""
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    (python.parent / "hawkears").touch()
    with pytest.raises(RunnerError, match="is not there") as caught:
        data_root(HawkEarsOptions(root=tmp_path / "nowhere", python=python))
    hint = caught.value.hint or ""
    assert f"{python.parent / 'hawkears'} init --dest {tmp_path / 'nowhere'}" in hint
    assert "HAWKEARS_DATA_DIR" in hint


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match=r"gone\.ckpt cannot be read") as caught:
        digest_of(tmp_path / "gone.ckpt")
    assert "hawkears init" in (caught.value.hint or "")

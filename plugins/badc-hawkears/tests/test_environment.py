"""Whatever is wrong with HawkEars' interpreter, the error says which line mends it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from badc_core.errors import RunnerError
from badc_hawkears.check import check, readiness
from badc_hawkears.environment import WARM, Told, ask, needed_line, tell
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.places import Places, memory_file, remember


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered, and the environment says nothing."""
    for name in ("HAWKEARS_DATA_DIR", "BADC_HAWKEARS_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def program(path: Path, does: str) -> Path:
    """Write a program that stands for an interpreter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


def test_an_answer_is_the_last_line() -> None:
    """Packages print what they like."""
    statement = "print('Hello'); print('noise {'); print(json.dumps({'n': 3}))"
    assert ask(Path(sys.executable), statement) == {"n": 3}


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    """Or that was moved with its environment."""
    with pytest.raises(RunnerError, match="cannot be started: No such file") as caught:
        ask(tmp_path / "python", "pass")
    assert "badc hawkears setup" in (caught.value.hint or "")
    assert caught.value.retry is False


def test_an_interpreter_without_hawkears(tmp_path: Path) -> None:
    """The line makes one that has it, whatever else is lacking."""
    python = program(tmp_path / "python", f'exec {sys.executable} -S -I "$@"')
    with pytest.raises(RunnerError, match="HawkEars cannot be imported with the interpreter") as caught:
        ask(python, "import attrs")
    assert "badc hawkears setup" in (caught.value.hint or "")


def test_an_interpreter_that_lacks_a_small_package(tmp_path: Path) -> None:
    """The line installs all of badc's side into it, and touches neither torch nor numpy."""
    (tmp_path / "hawkears").mkdir()
    (tmp_path / "hawkears/__init__.py").touch()
    python = program(tmp_path / "python", f'PYTHONPATH={tmp_path} exec {sys.executable} -S "$@"')
    with pytest.raises(RunnerError, match="lacks what BADC needs there: No module named 'attrs'") as caught:
        ask(python, "import attrs")
    line = (caught.value.hint or "").removeprefix("Install it: ")
    assert line == needed_line(python)
    words = line.split()
    assert words[:5] == [str(python), "-m", "pip", "install", "--no-deps"]
    assert words[-5:] == ["attrs", "cattrs", "orjson", "pluggy", "click"]
    assert len(words) == 12


def test_last_words_are_told(tmp_path: Path) -> None:
    """Of one that dies."""
    python = program(tmp_path / "python", "echo 'libpython3.11.so: cannot open shared object file' >&2; exit 127")
    with pytest.raises(RunnerError, match=r"libpython3\.11\.so: cannot open") as caught:
        ask(python, "pass")
    assert caught.value.returncode == 127


def test_one_that_hangs_is_given_up(tmp_path: Path) -> None:
    """A file system that is gone."""
    with pytest.raises(RunnerError, match=r"no answer within 0\.2 s"):
        ask(program(tmp_path / "python", "exec sleep 20"), "pass", limit_s=0.2)


def test_it_is_asked_anew_when_something_changed(tmp_path: Path) -> None:
    """Packages, files of settings, checkpoints; else what it said is remembered."""
    (tmp_path / "root/data/ckpt").mkdir(parents=True)
    settings = '{"versions": ["2.3.0", "1.8.4"], "settings": {}, "low_band_members": 2, "openvino": false}'
    python = program(tmp_path / "env/bin/python", f"echo >> {tmp_path}/asked; cat > /dev/null; echo '{settings}'")
    options = HawkEarsOptions(python=python, root=tmp_path / "root")
    assert tell(options) == tell(options) == Told(("2.3.0", "1.8.4"), {}, 2, False)
    assert (tmp_path / "asked").read_text() == "\n"
    (tmp_path / "root/data/ckpt/new.ckpt").touch()
    tell(options)
    assert (tmp_path / "asked").read_text() == "\n\n"


# ---------------------------------------------------------------------------------------------------------- badc doctor


def test_doctor_knows_no_hawkears() -> None:
    """The fix makes one."""
    found = check()
    assert not found.ready
    assert found.fix == "badc hawkears setup"


def test_doctor_on_a_memory_that_is_torn() -> None:
    """It is named."""
    memory_file().parent.mkdir(parents=True)
    memory_file().write_text("{")
    found = check()
    assert not found.ready
    assert str(memory_file()) in found.detail


def test_doctor_on_an_environment_that_is_gone(tmp_path: Path) -> None:
    """Setup makes it again."""
    remember(Places(tmp_path / "env/bin/python", tmp_path / "root"))
    found = check()
    assert not found.ready
    assert "cannot be started" in found.detail
    assert found.fix == "badc hawkears setup"


def test_doctor_on_hawkears_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the variable of BADC 0.1 names it."""
    monkeypatch.setenv("BADC_HAWKEARS_ROOT", str(tmp_path))
    assert not check().ready
    (tmp_path / "analyze.py").touch()
    assert check().ready


def test_doctor_on_another_version() -> None:
    """It can be used, but not from within."""
    found = {"torch": "2.13.0", "cuda": None, "gpus": []}
    settings = {"infer": {"max_models": 6}, "hawkears": {"low_band_classifier": True}}
    assert readiness(found, Told(WARM, settings), Path("/root")).ready
    other = readiness(found, Told(("2.4.0", "1.9.0"), settings), Path("/root"))
    assert not other.ready
    assert "HawkEars 2.4.0" in other.detail
    assert "-o mode=api" in other.fix


def test_doctor_on_all_that_is_well(hawkears_python: Path, hawkears_root: Path) -> None:
    """It says what was found."""
    remember(Places(hawkears_python, hawkears_root))
    found = check()
    assert found.ready, found
    assert "HawkEars 2.3.0, BriteKit 1.8.4, torch " in found.detail
    assert str(hawkears_root) in found.detail

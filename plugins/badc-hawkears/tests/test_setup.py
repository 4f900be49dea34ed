"""``badc hawkears setup``: which commands, in which order, and what is left when something breaks them off."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from badc_hawkears import setup as library
from badc_hawkears.places import Places, memory_file, remembered

HERE = Path(__file__).parent


@define
class Pretender:
    """An interpreter that only pretends, see :mod:`pretender`."""

    home: Path
    program: Path

    def now(self, **state: Any) -> None:
        """Let it behave so from now on."""
        whole = {"version": [3, 12, 4], "fails": "", "hangs": "", "cuda": None, "problem": None}
        whole |= {"because": "", **state}
        (self.home / "state.json").write_text(json.dumps(whole))

    def calls(self) -> list[list[str]]:
        """Return with which words it was called since this was asked last."""
        log = self.home / "calls.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return [json.loads(line) for line in lines]

    def did(self) -> list[str]:
        """Return what it was called for since this was asked last, in a word each."""
        return [_word(call) for call in self.calls()]


def _word(call: list[str]) -> str:
    """Return the name of what an interpreter was called for: the first package for pip."""
    words = call[1:] if call[0] == "-m" else call
    if words[0] != "pip":
        return words[1] if words[0] == "badc_hawkears.inside" else words[0]
    names = [word.partition("=")[0].partition("<")[0] for word in words[words.index("install") + 1 :]]
    return next(name for name in names if name and not name.startswith("-") and ":" not in name)


ALL = ["venv", "torch", "torchaudio", "hawkears", "av", "attrs", "mend", "data", "example", "weights"]
"""What a whole setup does."""


@pytest.fixture
def pretender(isolated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretender:
    """Return the stand-in; nothing listens to a bird."""
    home = tmp_path / "pretender"
    home.mkdir()
    program = home / "python"
    program.write_text(f"#!{sys.executable} -IS\n" + (HERE / "pretender.py").read_text("utf-8"))
    program.chmod(0o755)
    monkeypatch.setenv("PRETENDER", str(home))
    monkeypatch.setattr(library, "listen", lambda *arguments: None)
    made = Pretender(home, program)
    made.now()
    return made


@pytest.fixture
def setup(cli, pretender):
    """Run ``badc hawkears setup`` for the folder ``made``."""
    return lambda *words: cli("hawkears", "setup", "--cpu", "--path", "made", "--python", pretender.program, *words)


# ---------------------------------------------------------------------------------------------- what is done


def test_everything_is_made_in_order_and_remembered(setup, pretender, isolated):
    said = setup().ok().stdout
    assert pretender.did() == ALL
    place = isolated / "made"
    assert remembered() == Places(place / "env/bin/python", place / "root")
    for name in ("badc_core", "badc_hawkears"):
        assert (place / "badc" / name / "__init__.py").samefile(Path(sys.modules[name].__file__))
    assert (place / "env/lib/python/site-packages/badc.pth").read_text() == f"{place / 'badc'}\n"
    assert "8/9 Check: a small model hears a bird" in said
    assert str(memory_file()) in said


def test_again_does_nothing_but_look_for_weights(setup, pretender):
    setup().ok()
    pretender.calls()
    said = setup().ok().stdout
    assert pretender.did() == ["weights"]
    assert said.count("there already") == 8


def test_an_interpreter_of_an_environment_stands_for_what_that_was_made_with(tmp_path):
    """`badc` and `python -m badc_core` are started by other names; and badc's environment may be removed one day."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    found = library.interpreter(str(tmp_path / "venv/bin/python"))
    assert found == library.interpreter(str(tmp_path / "venv/bin/python3")) == library.interpreter()
    assert tmp_path not in found.path.parents
    made = tmp_path / "venv" / found.packages
    assert made.is_dir()


def test_only_torch_comes_from_the_index_that_is_named(setup, pretender):
    setup("--index-url", "file:///wheels/cpu", "--torch", "2.12.1").ok()
    asked = [call for call in pretender.calls() if "--index-url" in call]
    assert [call[-1] for call in asked] == ["torch==2.12.1", "torchvision==0.26.0"]


def test_what_fights_with_torch_comes_without_what_it_asks_for(setup, pretender):
    setup().ok()
    calls = pretender.calls()
    alone = {word for call in calls if "--no-deps" in call for word in call if "==" in word}
    assert {word.partition("==")[0] for word in alone} == {"torchaudio", "torchvision", "hawkears", "britekit", "timm"}


def test_dry_run_prints_the_same_commands_and_makes_nothing(setup, pretender, isolated):
    lines = setup("--dry-run").ok().stdout
    assert not (isolated / "made").exists()
    assert pretender.calls() == []
    subprocess.run(["sh", "-e"], input=lines, text=True, check=True)
    assert pretender.did() == ALL


def test_it_can_be_left_unremembered(setup, pretender, isolated):
    said = setup("--no-remember").ok().stdout
    assert remembered() is None
    assert f"-o python={isolated / 'made/env/bin/python'} -o root={isolated / 'made/root'}" in said


def test_no_weights_are_fetched_when_they_are_not_wanted(setup, pretender, isolated):
    said = setup("--no-weights").ok().stdout
    assert pretender.did() == [name for name in ALL if name != "weights"]
    assert f"{isolated / 'made/env/bin/hawkears'} init --dest {isolated / 'made/root'}" in said


def test_weights_that_cannot_be_fetched_leave_all_else_ready(setup, pretender, isolated):
    pretender.now(problem="URL: no route to host")
    said = setup()
    assert said.code == 1
    assert "All is there but HawkEars' weights: URL: no route to host" in said.stderr
    assert f"{isolated / 'made/env/bin/hawkears'} init --dest {isolated / 'made/root'}" in said.stderr
    assert remembered() is not None
    pretender.calls()
    pretender.now()
    setup().ok()
    assert pretender.did() == ["weights"]


# ----------------------------------------------------------------------------------------------- broken off


@pytest.mark.parametrize(("fails", "left"), [("torch==", 9), ("librosa", 6), ("attrs", 5), ("mend", 4), ("example", 2)])
def test_a_command_that_fails_is_shown_and_the_next_call_goes_on_there(setup, pretender, isolated, fails, left):
    pretender.now(fails=fails)
    said = setup()
    assert said.code == 1
    assert f"pretending that there is no {fails}" in said.stderr
    assert str(isolated / "made/setup.log") in said.stderr
    assert fails in (isolated / "made/setup.log").read_text()
    assert remembered() is None
    pretender.calls()
    pretender.now()
    setup().ok()
    assert pretender.did() == ALL[-left:]


def test_what_a_full_disk_left_of_a_package_is_not_built_upon(setup, pretender):
    pretender.now(fails="librosa", because=": [Errno 28] No space left on device")
    assert "No space left" in setup().stderr
    pretender.calls()
    pretender.now()
    setup().ok()
    assert pretender.did() == ALL


@pytest.mark.parametrize(("hangs", "again"), [("torch==", ALL), ("attrs", ALL), ("mend", ALL[6:]), ("data", ALL[7:])])
def test_after_kill_9_the_second_call_repairs(setup, pretender, isolated, hangs, again):
    """What pip was at is not to be built upon; what lies before is kept where pip had ended."""
    pretender.now(hangs=hangs)
    words = ["hawkears", "setup", "--cpu", "--path", "made", "--python", str(pretender.program)]
    process = subprocess.Popen([sys.executable, "-m", "badc_core", *words], stdout=subprocess.DEVNULL)
    hanging = pretender.home / "hanging"
    deadline = time.monotonic() + 30
    while not (hanging.exists() and hanging.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    pretender.now()
    pretender.calls()

    held = setup()  # the program that it started is still at work
    assert held.code == 4
    assert "Another setup is at work" in held.stderr
    assert pretender.calls() == []

    os.kill(int(hanging.read_text()), signal.SIGKILL)
    (isolated / "made/.check-left").mkdir()
    deadline = time.monotonic() + 10
    while (said := setup()).code == 4:  # the killed program's lock goes with it
        assert time.monotonic() < deadline
        time.sleep(0.02)
    said.ok()
    assert pretender.did() == again
    assert not (isolated / "made/.check-left").exists()
    assert remembered() is not None


def test_a_bird_that_is_not_heard_is_an_error_and_listened_for_again(setup, pretender, monkeypatch):
    from badc_core.errors import BadcError

    def deaf(*arguments: object) -> None:
        raise BadcError("hears nothing")

    monkeypatch.setattr(library, "listen", deaf)
    said = setup()
    assert said.code == 1
    assert "hears nothing" in said.stderr
    assert remembered() is None
    pretender.calls()
    monkeypatch.setattr(library, "listen", lambda *arguments: None)
    setup().ok()
    assert pretender.did() == ["example", "weights"]


# ------------------------------------------------------------------------------------------------ made anew


def test_another_torch_is_not_put_upon_the_first(setup, pretender):
    setup().ok()
    pretender.calls()
    setup("--torch", "2.12.1").ok()
    assert pretender.did() == [name for name in ALL if name != "data"]


def test_an_environment_whose_interpreter_is_gone_is_made_anew(setup, pretender, isolated):
    setup().ok()
    pretender.calls()
    (isolated / "made/env/bin/python").unlink()
    setup().ok()
    assert pretender.did()[0] == "venv"


def test_a_data_folder_that_is_gone_is_laid_out_again(setup, pretender, isolated):
    setup().ok()
    (isolated / "made/root/yaml/changed.yaml").touch()
    pretender.calls()
    setup().ok()
    assert (isolated / "made/root/yaml/changed.yaml").exists()
    shutil.rmtree(isolated / "made/root")
    pretender.calls()
    setup().ok()
    assert pretender.did() == ["data", "example", "weights"]


# ------------------------------------------------------------------------------------------------- refusals


def test_a_folder_of_somebody_else_is_left_alone(setup, pretender, isolated):
    (isolated / "made").mkdir()
    (isolated / "made/thesis.txt").write_text("all of it")
    said = setup()
    assert said.code == 2
    assert "did not make" in said.stderr
    assert [entry.name for entry in (isolated / "made").iterdir()] == ["thesis.txt"]
    assert pretender.calls() == []


def test_an_empty_folder_is_taken_and_a_file_is_not(setup, pretender, isolated):
    (isolated / "made").write_text("")
    assert setup().code == 2
    (isolated / "made").unlink()
    (isolated / "made").mkdir()
    setup().ok()


def test_a_stamp_of_something_else_is_told(setup, isolated):
    (isolated / "made").mkdir()
    (isolated / "made/setup.json").write_text('{"name": "not ours"}')
    said = setup()
    assert said.code == 2
    assert "was not written by `badc hawkears setup`" in said.stderr


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(setup, pretender, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(10**9))
    said = setup()
    assert said.code == 1
    assert "1.0 GB left" in said.stderr
    assert pretender.calls() == []


def test_torch_for_another_cuda_is_refused(cli, pretender):
    pretender.now(cuda="13.0")
    words = ["hawkears", "setup", "--path", "made", "--python", pretender.program]
    said = cli(*words, "--cuda", "12.8")
    assert said.code == 1
    assert "built for CUDA 13.0, not for CUDA 12.8" in said.stderr
    assert "--index-url" in said.stderr
    cli(*words, "--cuda", "13").ok()
    cli(*words, "--cuda", "any").ok()


def test_torch_without_cuda_is_refused_where_a_version_is_wanted(cli, pretender):
    said = cli("hawkears", "setup", "--path", "made", "--python", pretender.program, "--cuda", "12.8")
    assert "for CPUs only" in said.stderr


def test_cpu_and_cuda_are_not_both_to_be_had(cli, pretender):
    said = cli("hawkears", "setup", "--cpu", "--cuda", "12.8")
    assert said.code == 2


def test_a_python_that_is_too_old_or_not_there_is_refused(setup, cli, pretender):
    pretender.now(version=[3, 10, 2])
    said = setup()
    assert said.code == 2
    assert "is Python 3.10" in said.stderr
    said = cli("hawkears", "setup", "--cpu", "--python", "python9.9")
    assert said.code == 2
    assert "There is no program python9.9" in said.stderr


def test_a_program_that_is_no_python_is_refused(cli, isolated):
    said = cli("hawkears", "setup", "--cpu", "--python", "true")
    assert said.code == 2
    assert "no Python that can be used" in said.stderr

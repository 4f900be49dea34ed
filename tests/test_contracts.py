"""The conformance kit catches every wrong plugin of the zoo by the right test, and passes the right ones."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import unittest
from collections import defaultdict
from pathlib import Path

import pytest

from badc_core.answers import check_answers
from badc_core.errors import RunnerError
from badc_core.testing import RunnerContract, guard, oracle
from badc_core.testing.base import Contract

ZOO = Path(__file__).parent / "zoo"
KINDS = ["runners", "seams", "sinks", "exporters", "readers", "schedulers"]


@functools.cache
def zoo(kind: str):
    """Import the zoo's table of one kind, from its file."""
    spec = importlib.util.spec_from_file_location(f"zoo_{kind}", ZOO / f"zoo_{kind}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong_ones(kind: str) -> dict[str, tuple[str, str]]:
    return {**zoo(kind).WRONG, **getattr(zoo(kind), "ELSEWHERE", {})}


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory):
    """What became of every test of the kit, for every animal: ``outcomes(kind)[class][test]``."""

    @functools.cache
    def ask(kind: str) -> dict[str, dict[str, tuple[str, str]]]:
        folder = tmp_path_factory.mktemp(kind)
        path = folder / "outcomes.jsonl"
        environment = {**os.environ, "PYTHONPATH": str(ZOO), "ZOO_OUTCOMES": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
        files = sorted(map(str, ZOO.glob(f"check_{kind}*.py")))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            f"-c{ZOO / 'pytest.ini'}",
            *files,
            f"--basetemp={folder / 'tmp'}",
        ]
        if kind == "schedulers" and importlib.util.find_spec("xdist"):
            command += ["-n4", "--dist=loadscope"]  # they wait more than they work
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 1, f"the zoo should fail here and there:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        found: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        for line in path.read_text().splitlines():
            told = json.loads(line)
            found[told["class"]][told["test"]] = (told["outcome"], told["message"])
        found["printed"] = {"printed": ("", done.stdout)}
        return found

    return ask


def of_class(animal: str) -> str:
    return f"Test{animal.replace(' ', '')}"


@pytest.mark.parametrize(("kind", "animal"), [(kind, name) for kind in KINDS for name in wrong_ones(kind)])
def test_a_wrong_plugin_fails_the_right_test(outcomes, kind, animal):
    found = outcomes(kind)[of_class(animal)]
    failed = {test: message for test, (outcome, message) in found.items() if outcome == "failed"}
    test, reason = wrong_ones(kind)[animal]
    assert list(failed) == [test]
    assert reason in failed[test]


@pytest.mark.parametrize(("kind", "animal"), [(kind, name) for kind in KINDS for name in zoo(kind).GOOD])
def test_a_right_plugin_passes(outcomes, kind, animal):
    found = outcomes(kind)[of_class(animal)]
    assert {test: message for test, (outcome, message) in found.items() if outcome == "failed"} == {}
    assert sum(outcome == "passed" for outcome, _ in found.values()) > len(found) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_standard_test_catches_somebody(kind):
    """A standard test that no animal fails cannot be trusted."""
    standard = set(guard.standard(zoo(kind).contract()))
    caught = {test for test, _ in wrong_ones(kind).values()} | {"test_nothing_is_overridden"}
    if kind != "runners":  # what all contracts share is shown with the runners
        standard -= set(guard.standard(Contract))
    assert standard - caught == set()


def test_known_failures_are_told(outcomes):
    found = outcomes("runners")
    assert found["TestKnownFailure"]["test_one_answer_per_chunk"][0] == "xfailed"
    printed = found["printed"]["printed"][1]
    assert "test_one_answer_per_chunk is expected to fail: the vendor's library drops silent chunks" in printed


RULES = {
    "test_one_answer_per_chunk",
    "test_answers_are_detections",
    "test_times_lie_within_the_chunk",
    "test_detections_end_after_they_begin",
    "test_confidence_is_between_0_and_1",
    "test_labels_are_declared",
    "test_extra_is_json",
}


def checked_by_the_worker(animal: str, folder: Path) -> list[str]:
    """Play to a runner, and return what the worker's own check says of the answers."""
    runner = getattr(zoo("runner_animals"), animal)(None, None)
    problems = []
    for scene in oracle.scenes(8000, 3000):
        batch = [oracle.make_signal(scene, runner.info.input, 8000, folder)]
        try:
            check_answers(batch, runner.predict(batch), animal, runner.info.labels)
        except RunnerError as error:
            problems.append(error.message)
    return problems


@pytest.mark.parametrize("animal", [name for name, (test, _) in zoo("runners").WRONG.items() if test in RULES])
def test_the_worker_refuses_the_same_answers(tmp_path, animal):
    """The kit's rules and the worker's were written twice; they must agree."""
    assert checked_by_the_worker(animal, tmp_path)


@pytest.mark.parametrize("animal", ["Good", "GoodWithHalo", "GoodWithFiles", "GoodWithNothing"])
def test_the_worker_takes_right_answers(tmp_path, animal):
    assert checked_by_the_worker(animal, tmp_path) == []


def test_a_plugin_that_is_not_ready_is_not_tested_and_that_is_told(outcomes):
    found = outcomes("runners")["TestNotReady"]
    assert {test for test, (outcome, _) in found.items() if outcome == "failed"} == set()
    assert found["test_it_opens"][0] == "skipped"
    assert found["test_spec_reads_well"][0] == "passed"
    printed = outcomes("runners")["printed"]["printed"][1]
    assert "NotReady: TestNotReady is not tested: no weights. badc-zoo fetch" in printed


# ------------------------------------------------------------------------------------- not to be overridden

DODGERS = zoo("dodgers")


def test_a_standard_test_cannot_be_overridden():
    with pytest.raises(TypeError, match="TestMine overrides the standard test test_order_is_kept"):

        class TestMine(RunnerContract):
            def test_order_is_kept(self):
                pass


@pytest.mark.parametrize("what", DODGERS.REFUSED)
def test_a_class_cannot_replace(what):
    body, message = DODGERS.REFUSED[what]
    with pytest.raises(TypeError, match=message):
        type(RunnerContract)("TestMine", (RunnerContract,), dict(body))


@pytest.mark.parametrize("what", DODGERS.REFUSED)
def test_nor_can_a_mixin(what):
    body, message = DODGERS.REFUSED[what]
    with pytest.raises(TypeError, match=message):
        type(RunnerContract)("TestMine", (type("Mixin", (), dict(body)), RunnerContract), {})


@pytest.mark.parametrize("what", DODGERS.REFUSED)
@pytest.mark.parametrize("inherited", [False, True])
def test_nor_can_it_be_replaced_later(what, inherited):
    body, message = DODGERS.REFUSED[what]
    (name, value) = next(iter(body.items()))
    made = RunnerContract if inherited else type(RunnerContract)("TestMine", (RunnerContract,), {})
    before = vars(made).get(name)
    with pytest.raises(TypeError, match=message):
        setattr(made, name, value)
    assert vars(made).get(name) is before


@pytest.mark.parametrize("mark", [pytest.mark.skip, pytest.mark.skipif(True, reason="x"), pytest.mark.xfail])
def test_nor_marked_by_a_decorator(mark):
    with pytest.raises(TypeError, match="by the mark"):

        @mark
        class TestMine(RunnerContract):
            pass


def test_a_mixin_cannot_keep_the_class_from_being_looked_at():
    class Mixin:
        def __init_subclass__(cls):
            pass

    with pytest.raises(TypeError, match="replaces broken"):

        class TestMine(Mixin, RunnerContract):
            def broken(self, message):
                pass


def test_a_class_cannot_pass_for_one_of_the_kit():
    class TestMine(RunnerContract):
        __module__ = RunnerContract.__module__

        def test_order_is_kept(self):
            pass

    assert "overrides the standard test test_order_is_kept" in next(guard.faults(TestMine))


def test_unittest_which_makes_tests_in_its_own_way_is_refused():
    with pytest.raises(TypeError, match="defines __init__"):

        class TestMine(RunnerContract, unittest.TestCase):
            pass


@pytest.mark.parametrize("dodger", DODGERS.CAUGHT)
def test_what_a_class_does_later_is_found_out(outcomes, dodger):
    test, message = DODGERS.CAUGHT[dodger]
    outcome, told = outcomes("dodgers")[of_class(dodger)][test]
    assert outcome == "failed"
    assert message in told


def test_every_dodger_is_listed(outcomes):
    made = outcomes("dodgers").keys() - {"printed", "TestUsesWhatPytestOffers"}
    assert made == {of_class(dodger) for dodger in DODGERS.CAUGHT}


def test_ordinary_means_are_no_way_around(outcomes):
    """Marks, fixtures, parameters, setup and tests of the author's own."""
    found = outcomes("dodgers")["TestUsesWhatPytestOffers"]
    assert {test for test, (outcome, _) in found.items() if outcome == "failed"} == set()
    assert found["test_of_the_author"][0] == "skipped"
    assert found["test_of_the_author_with_hearing"][0] == "passed"
    assert found["test_order_is_kept"][0] == "passed"
    assert found["test_nothing_is_overridden"][0] == "passed"


def test_every_standard_test_says_what_it_promises():
    for kind in KINDS:
        for name, function in guard.standard(zoo(kind).contract()).items():
            assert (function.__doc__ or "").strip().endswith("."), name


# --------------------------------------------------------------------------------------------- documentation

KIT_PAGE = Path(__file__).parent.parent / "docs/reference/conformance-kit.md"


def rows(tests: dict) -> list[str]:
    return [f"| `{name}` | {' '.join(function.__doc__.split())} |" for name, function in tests.items()]


def test_the_reference_lists_every_standard_test_with_its_promise():
    parts = dict(re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", KIT_PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    common = guard.standard(Contract)
    wanted = {"All contracts": common}
    for kind in KINDS:
        contract = zoo(kind).contract()
        own = {name: test for name, test in guard.standard(contract).items() if name not in common}
        wanted[f"{kind.capitalize()}: `{contract.__name__}`"] = own
    assert parts.keys() == wanted.keys()
    for title, tests in wanted.items():
        listed = [line for line in parts[title].splitlines() if line.startswith("| `test_")]
        assert listed == rows(tests), title

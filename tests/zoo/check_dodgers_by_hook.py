"""Tries to put something else in the place of what was heard; the failures are wanted. See zoo_dodgers.py."""

from badc_core.testing import RunnerContract
from badc_core.testing.hearing import Hearing


def pytest_generate_tests(metafunc):
    if "hearing" in metafunc.fixturenames:
        metafunc.parametrize("hearing", [Hearing()])


class TestBringsItsOwnHearing(RunnerContract):
    entry_module = "zoo_runners"
    name = "dropssilence"

"""Classes that try to get around the standard tests; the failures are wanted. See zoo_dodgers.py."""

import csv
import unittest

import pytest

from badc_core.testing import ExporterContract, RunnerContract, guard


class Good(RunnerContract):
    entry_module = "zoo_runners"
    name = "good"


class Wrong(RunnerContract):
    entry_module = "zoo_runners"
    name = "dropssilence"


# ------------------------------------------------------------------------------------------------ skipping


class TestSkipsInAFixture(Good):
    @pytest.fixture(autouse=True)
    def _skip(self):
        pytest.skip("no thanks")


class TestSkipsInAFixtureOfTheClass(Good):
    @pytest.fixture(autouse=True, scope="class")
    def _skip(self):
        pytest.skip("no thanks")


class TestSkipsInSetup(Good):
    def setup_method(self):
        pytest.skip("no thanks")


class TestSkipsInSetupOfTheClass(Good):
    @classmethod
    def setup_class(cls):
        pytest.skip("no thanks")


class TestSkipsAsUnittestDoes(Good):
    def setup_method(self):
        raise unittest.SkipTest("no thanks")


class TestSkipsInOpening(Good):
    def open_runner(self, options, context):
        pytest.skip("no thanks")


class TestSkipsInTheKitsName(Good):
    def open_runner(self, options, context):
        return self.load_or_skip("nowhere:nothing")


class TestSkipsByNoParameters(Good):
    @pytest.fixture(autouse=True, params=[])
    def _nothing(self, request):
        pass


@pytest.fixture
def not_today():
    pytest.skip("no thanks")


@pytest.mark.usefixtures("not_today")
class TestSkipsByUsefixtures(Good):
    pass


# ---------------------------------------------------------------------------------------- expecting failure


class TestExpectsFailureInOpening(Good):
    def open_runner(self, options, context):
        pytest.xfail("we know")


class TestExpectsFailureByMark(Wrong):
    @pytest.fixture(autouse=True)
    def _mark(self, request):
        request.node.add_marker(pytest.mark.xfail)


# ------------------------------------------------------------------------------- changing the test in hand


class TestSilencesTheKit(Wrong):
    def setup_method(self):
        self.broken = lambda message: None


class TestChangesTheTest(Wrong):
    @pytest.fixture(autouse=True)
    def _change(self, request):
        request.node.obj = lambda **arguments: None


class TestChangesTheRun(Wrong):
    @pytest.fixture(autouse=True)
    def _change(self, request):
        request.node.runtest = lambda: None


class TestCatchesTheFailure(Wrong):
    @pytest.fixture(autouse=True)
    def _change(self, request):
        run = request.node.runtest

        def quietly():
            try:
                run()
            except BaseException:
                pass

        request.node.runtest = quietly


# ----------------------------------------------------------------------------------- changing the class later


class TestOverridesPastTheSeal(Wrong):
    pass


type.__setattr__(TestOverridesPastTheSeal, "test_one_answer_per_chunk", lambda self: None)


class TestHidesPastTheSeal(Wrong):
    pass


def _get(self, name):
    return (lambda *args, **kwargs: None) if name.startswith("test_") else object.__getattribute__(self, name)


type.__setattr__(TestHidesPastTheSeal, "__getattribute__", _get)


class Mixin:
    pass


class TestChangesItsMixin(Mixin, Wrong):
    pass


Mixin.broken = lambda self, message: None


class Unsealed(type(RunnerContract)):
    def __init__(cls, name, bases, namespace):
        type.__init__(cls, name, bases, namespace)


class TestHasItsOwnMetaclass(Wrong, metaclass=Unsealed):
    def broken(self, message):
        pass


class TestDismissesTheGuard(Good):
    @pytest.fixture(autouse=True)
    def _dismiss(self, request):
        plugins = request.config.pluginmanager
        plugins.unregister(guard)
        yield
        plugins.register(guard)


class TestFailsWhereItExcuses(ExporterContract):
    """Reads wrong where others ask whether it reads right, and right where it is judged."""

    entry_module = "zoo_exporters"
    name = "good"
    columns = ("recording_id", "chunk_start_ms", "timestamp_ms", "end_ms", "label", "label_name", "confidence")

    def read(self, target):
        if "works" in target.parts:
            raise ValueError
        with target.open(encoding="utf-8", newline="") as file:
            return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]


class TestBreaksOneFactory(Good):
    """Only the first of its factories is right."""

    @pytest.fixture(params=["right", "wrong"], autouse=True)
    def _factory(self, request):
        self.factory = request.param

    def open_runner(self, options, context):
        if self.factory == "wrong":
            raise RuntimeError("no such factory")
        return super().open_runner(options, context)


# ---------------------------------------------------------------------------------------- and no dodger at all


@pytest.fixture
def quiet():
    return "hush"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("unused", ["a"], indirect=True)
class TestUsesWhatPytestOffers(Good):
    """Marks, fixtures, parameters, setup and tests of its own: none of them is a way around."""

    __test__ = True

    @pytest.fixture(params=["one factory", "another"], autouse=True)
    def factory(self, request):
        self.factory_name = request.param

    @pytest.fixture(autouse=True)
    def unused(self, request):
        return request.param

    def setup_method(self):
        self.prepared = True

    def open_runner(self, options, context):
        assert self.factory_name
        assert self.prepared
        return super().open_runner(options, context)

    @pytest.mark.skip(reason="the author's own test is the author's matter")
    def test_of_the_author(self):
        raise AssertionError

    def test_of_the_author_with_hearing(self, hearing, tmp_path):
        assert hearing.scenes

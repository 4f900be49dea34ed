"""Ways around the standard tests, and how each is found out.

Not the plugins are at fault here but their authors. `REFUSED` are bodies of a class that cannot be made at all; the
classes of `CAUGHT` are made, in ``check_dodgers*.py``, and fail when pytest runs them.
"""

import pytest

FAKE = pytest.fixture(lambda self: None)

REFUSED = {
    # what: (the body of the class, a part of the message)
    "a test": ({"test_order_is_kept": lambda self: None}, "overrides the standard test test_order_is_kept"),
    "a test by nothing": ({"test_order_is_kept": None}, "overrides the standard test test_order_is_kept"),
    "the test of tests": ({"test_nothing_is_overridden": None}, "overrides the standard test test_nothing"),
    "how a test fails": ({"broken": lambda self, message: None}, "replaces broken"),
    "the plugin": ({"spec": None}, "replaces spec"),
    "a part of a test": ({"_judge": lambda self, *args: None}, "replaces _judge"),
    "what is asked first": ({"load_or_skip": lambda self, where: pytest.skip("no")}, "replaces load_or_skip"),
    "what may be replaced": ({"_replaceable": {"test_order_is_kept"}}, "replaces _replaceable"),
    "the hook": ({"pytest_generate_tests": lambda self, metafunc: None}, "replaces pytest_generate_tests"),
    "a fixture of the kit": ({"hearing": FAKE}, "replaces hearing"),
    "a fixture by its name": ({"other": pytest.fixture(name="hearing")(lambda self: None)}, "replaces hearing"),
    "a fixture of pytest": ({"capfd": FAKE}, "replaces capfd"),
    "every attribute": ({"__getattribute__": lambda self, name: None}, "defines __getattribute__"),
    "missing attributes": ({"__getattr__": lambda self, name: None}, "defines __getattr__"),
    "a constructor": ({"__init__": lambda self: None}, "defines __init__"),
    "a maker": ({"__new__": lambda cls: object.__new__(cls)}, "defines __new__"),
    "no test": ({"__test__": False}, "sets __test__"),
    "mark skip": ({"pytestmark": pytest.mark.skip}, "by the mark 'skip'"),
    "mark skipif": ({"pytestmark": [pytest.mark.slow, pytest.mark.skipif(True, reason="x")]}, "by the mark 'skipif'"),
    "mark xfail": ({"pytestmark": (pytest.mark.xfail,)}, "by the mark 'xfail'"),
    "xfails of nothing": ({"xfails": {"test_no_such": "reason"}}, "no standard test"),
    "xfails without reason": ({"xfails": {"test_order_is_kept": " "}}, "must give a reason for test_order_is_kept"),
}
"""For the contract of runners; as the class's own body, as a mixin's, and set later."""

CAUGHT = {
    # class in check_dodgers*.py: (a test that fails, a part of its message)
    "SkipsInAFixture": ("test_order_is_kept", "was skipped, but not by the kit: no thanks"),
    "SkipsInAFixtureOfTheClass": ("test_order_is_kept", "was skipped, but not by the kit: no thanks"),
    "SkipsInSetup": ("test_order_is_kept", "was skipped, but not by the kit: no thanks"),
    "SkipsInSetupOfTheClass": ("test_order_is_kept", "was skipped, but not by the kit: no thanks"),
    "SkipsAsUnittestDoes": ("test_order_is_kept", "was skipped, but not by the kit: no thanks"),
    "SkipsInOpening": ("test_order_is_kept", "was skipped, but not by the kit: no thanks"),
    "SkipsInTheKitsName": ("test_order_is_kept", "was skipped, but not by the kit: see test_import_strings"),
    "SkipsByNoParameters": ("test_order_is_kept", "was skipped, but not by the kit: got empty parameter set"),
    "SkipsByUsefixtures": ("test_order_is_kept", "was skipped, but not by the kit: no thanks"),
    "SkipsTheModule": ("test_order_is_kept", "was skipped, but not by the kit: the whole file"),
    "ExpectsFailureInOpening": ("test_it_opens", "is expected to fail, but xfails does not say so"),
    "ExpectsFailureByMark": ("test_one_answer_per_chunk", "is expected to fail, but xfails does not say so"),
    "SilencesTheKit": ("test_one_answer_per_chunk", "ran with a replaced broken"),
    "BringsItsOwnHearing": ("test_one_answer_per_chunk", "ran with a replaced hearing"),
    "ChangesTheTest": ("test_one_answer_per_chunk", "did not run to its end"),
    "ChangesTheRun": ("test_one_answer_per_chunk", "did not run to its end"),
    "CatchesTheFailure": ("test_one_answer_per_chunk", "did not run to its end"),
    "OverridesPastTheSeal": ("test_nothing_is_overridden", "overrides the standard test test_one_answer_per_chunk"),
    "HidesPastTheSeal": ("test_order_is_kept", "did not run to its end"),
    "ChangesItsMixin": ("test_nothing_is_overridden", "replaces broken"),
    "HasItsOwnMetaclass": ("test_nothing_is_overridden", "has a metaclass of its own"),
    "DismissesTheGuard": ("test_nothing_is_overridden", "the kit's guard was taken from pytest"),
    "BreaksOneFactory": ("test_it_opens", "RuntimeError: no such factory"),
    "FailsWhereItExcuses": ("test_nulls_survive", "is skipped for the sake of test_rows_come_back, which passes"),
}

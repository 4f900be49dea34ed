"""Sees to it that no standard test is quietly replaced, skipped or passed over.

The class is judged when it is made and whenever it is changed, by its metaclass :class:`Sealed`: what the kit defines
is the kit's, but for what a contract lists in ``_replaceable``. What became of each standard test is judged when pytest
reports it, by the hook below: a test passes when it ran to its end, and is excused only by the kit itself.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import pytest

__all__ = ["Sealed", "faults", "notes", "pytest_runtest_makereport", "standard", "watch"]

_KIT = "badc_core.testing."
_FIXTURES = frozenset({"capfd", "monkeypatch", "tmp_path", "tmp_path_factory"})
"""What the standard tests ask pytest for."""
_Fixture = type(pytest.fixture(lambda: None))
"""Has a `name` of its own with ``@pytest.fixture(name="hearing")``."""
_HIDING = frozenset({"__getattr__", "__getattribute__", "__init__", "__new__"})
"""With the first two, a class shows pytest other tests than it has; with the others, pytest does not look at it."""

_NOTES: pytest.StashKey[dict[str, dict[str, Any]]] = pytest.StashKey()


class Sealed(type):
    """Metaclass of the contracts: refuses, with a TypeError, what would change or hide a standard test."""

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(name, bases, namespace, **kwargs)
        if cls.__module__.startswith(_KIT):
            for test in [name for name in namespace if name.startswith("test_")]:
                type.__setattr__(cls, test, _noting_its_end(namespace[test]))
        else:
            for fault in faults(cls):
                raise TypeError(f"{cls.__qualname__} {fault}")

    def __setattr__(cls, name: str, value: Any) -> None:
        fault = _fault(cls, name, value)
        if fault is not None:
            raise TypeError(f"{cls.__qualname__} {fault}")
        super().__setattr__(name, value)


def standard(cls: type) -> Mapping[str, Any]:
    """Return the standard tests of a contract, or of a subclass of one, by name."""
    return {name: value for name, value in _of_the_kit(cls).items() if name.startswith("test_")}


def faults(cls: type) -> Iterator[str]:
    """Yield what is wrong with a class made from a contract: ``"overrides the standard test …"``."""
    if type(cls) is not Sealed:
        yield "has a metaclass of its own"
    for base in cls.__mro__[:-1]:
        if not _is_of_the_kit(base):
            yield from filter(None, (_fault(cls, name, value) for name, value in vars(base).items()))


def _is_of_the_kit(cls: type) -> bool:
    return cls.__module__.startswith(_KIT) and getattr(sys.modules[cls.__module__], cls.__name__, None) is cls


def _of_the_kit(cls: type) -> dict[str, Any]:
    """Return what the contracts among the bases of `cls` define, but for what an author may replace."""
    bases = [vars(base) for base in reversed(cls.__mro__) if _is_of_the_kit(base)]
    replaceable = {name for base in bases for name in base.get("_replaceable", ())}
    return {n: value for base in bases for n, value in base.items() if n not in replaceable and not n.startswith("__")}


def _fault(cls: type, name: str, value: Any) -> str | None:
    tests = standard(cls)
    if name in tests:
        return f'overrides the standard test {name}. If it is known to fail, write xfails = {{"{name}": "the reason"}}.'
    for taken in (name, getattr(value, "name", name) if isinstance(value, _Fixture) else name):
        if taken in _of_the_kit(cls) or taken in _FIXTURES:
            return f"replaces {taken}, which the standard tests use; choose another name."
    if name in _HIDING:
        return f"defines {name}, which can hide the standard tests."
    if name == "__test__" and value is not True:
        return "sets __test__, so that pytest passes it over."
    if name == "pytestmark":
        for mark in value if isinstance(value, (list, tuple)) else [value]:
            if mark.name in {"skip", "skipif", "xfail"}:
                return f"overrides the standard tests by the mark {mark.name!r}. Known failures belong in xfails."
    return _fault_of_xfails(tests, value) if name == "xfails" else None


def _fault_of_xfails(tests: Mapping[str, Any], xfails: Mapping[str, str]) -> str | None:
    for name, reason in xfails.items():
        if name not in tests:
            return f"names {name} in xfails, which is no standard test."
        if not isinstance(reason, str) or not reason.strip():
            return f"must give a reason for {name} in xfails."
    return None


def _noting_its_end(test: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        test(self, *args, **kwargs)
        vars(self)["_ran_to_end"] = test.__name__

    return run


# ----------------------------------------------------------------------------------------- what became of a test


def notes(item: pytest.Function) -> dict[str, Any]:
    """Return what is kept from one test of a class to the next, for each set of parameters by itself."""
    notes_of_the_class = item.listchain()[-2].stash.setdefault(_NOTES, {})
    return notes_of_the_class.setdefault(repr(_parameters(item)), {})


def _parameters(item: pytest.Function) -> Mapping[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def watch(config: pytest.Config) -> None:
    """Have pytest call the hook of this module from now on."""
    if not config.pluginmanager.is_registered(sys.modules[__name__]):
        config.pluginmanager.register(sys.modules[__name__])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the report of a standard test that was passed over into a failure."""
    report = yield
    test, cls = getattr(item, "originalname", ""), getattr(item, "cls", None)
    if isinstance(item, pytest.Function) and isinstance(cls, Sealed) and test in standard(cls) and not report.failed:
        problem = _judge(item, test, call, report)
        if problem is not None:
            report.outcome, report.longrepr = "failed", f"{cls.__name__}.{test} {problem}"
            vars(report).pop("wasxfail", None)
    return report


def _judge(item: pytest.Function, test: str, call: pytest.CallInfo[None], report: pytest.TestReport) -> str | None:
    if hasattr(report, "wasxfail"):
        return None if test in item.cls.xfails else "is expected to fail, but xfails does not say so"
    if report.skipped:
        reason = str(call.excinfo.value) if call.excinfo else ""
        if not _skipped_by_the_kit(call):
            return f"was skipped, but not by the kit: {reason}"
        excuse = re.search(r"\bsee (test_\w+)", reason)
        contradicts = excuse and _contradicts(item, "excuses", excuse[1])
        return f"is skipped for the sake of {excuse[1]}, which passes" if excuse and contradicts else None
    if report.when != "call":
        return None
    if vars(item.instance).get("_ran_to_end") != test:
        return "was passed over: it did not run to its end"
    replaced = _of_the_kit(item.cls).keys() & {*vars(item.instance), *_parameters(item)}
    if replaced:
        return f"ran with a replaced {min(replaced)}"
    return "passes, but others are skipped for its sake" if _contradicts(item, "passed", test) else None


def _skipped_by_the_kit(call: pytest.CallInfo[None]) -> bool:
    """Say whether it was the kit that skipped: all code from pytest's call to the skip is the kit's."""
    modules = [entry.frame.f_globals.get("__name__", "") for entry in call.excinfo.traceback] if call.excinfo else []
    while modules and modules[-1] == "_pytest.outcomes":  # pytest.skip itself
        modules.pop()
    inner = next((i for i, name in enumerate(reversed(modules)) if name.startswith(("_pytest", "pluggy"))), 0)
    return inner > 0 and all(name.startswith(_KIT) for name in modules[-inner:])


def _contradicts(item: pytest.Function, role: str, test: str) -> bool:
    """Note that a test of the class passed, or was the excuse for skipping another; say whether it is both."""
    told = notes(item)
    told.setdefault(role, set()).add(test)
    return test in told.get("passed", ()) and test in told.get("excuses", ())

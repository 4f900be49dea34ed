"""What all contracts share: how a plugin is named and found, and the tests of a spec of any kind.

A plugin author subclasses a contract and names the plugin; pytest then finds the standard tests in the subclass. What
the kit expects it makes itself (signals, tables, events): neither the plugin nor the core's code that uses it is asked.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import attrs
import pytest

from badc_core.config import fill
from badc_core.errors import BadcError, UsageError
from badc_core.host import Host, load_object
from badc_core.specs import Spec
from badc_core.testing import guard

__all__ = ["HEAVY", "MODEL_LIBRARIES", "Contract", "ExpectedFailure"]

MODEL_LIBRARIES = frozenset(
    {
        "ai_edge_litert",
        "jax",
        "keras",
        "onnxruntime",
        "opensoundscape",
        "tensorflow",
        "tflite_runtime",
        "torch",
        "torchaudio",
    }
)
"""Modules that mean that a model, or what runs it, was loaded."""

HEAVY = MODEL_LIBRARIES | frozenset(
    {
        "cattrs",
        "duckdb",
        "librosa",
        "matplotlib",
        "numba",
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
        "pynvml",
        "rich",
        "scipy",
        "sklearn",
        "soundfile",
        "soxr",
    }
)
"""Modules that no entry module may import: every ``badc`` command imports all entry modules."""

_IMPORT_STRINGS = ("open", "load", "options", "identify", "check", "finish")

_DISCOVER = """\
import importlib, json, os, sys
out = os.dup(1)
from badc_core.host import Host
before = set(sys.modules)
host = Host([importlib.import_module(sys.argv[1])], installed=False)
new = sorted(set(sys.modules) - before)
problems = [str(provider.error) for provider in host.providers if provider.error]
sys.stdout.flush()
os.write(out, b"\\n\\0" + json.dumps([new, problems]).encode())
"""


class ExpectedFailure(UserWarning):
    """A standard test that a plugin does not pass, by its author's own word."""


@attrs.frozen
class _Discovery:
    modules: frozenset[str]
    problems: tuple[str, ...]
    printed: str


def run_python(code: str, *arguments: str) -> tuple[str, Any]:
    """Run `code` in a fresh interpreter with this one's search path.

    Returns
    -------
    printed, result
        What was printed on the way, and the JSON value that the code wrote after a NUL.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"A fresh interpreter ended with status {done.returncode}:\n{done.stderr}", pytrace=False)
    printed, _, result = done.stdout.rpartition("\0")
    return printed.strip(), json.loads(result)


@functools.cache
def _discover(module: str) -> _Discovery:
    printed, (modules, problems) = run_python(_DISCOVER, module)
    return _Discovery(frozenset(modules), tuple(problems), printed)


def heavy_among(modules: Any, heavy: frozenset[str]) -> list[str]:
    """Return the top-level names among `modules` that are in `heavy`, sorted."""
    return sorted({name.partition(".")[0] for name in modules} & heavy)


class Contract(metaclass=guard.Sealed):
    """Base of the contracts: the standard tests of a spec of any kind.

    A plugin's author writes a subclass of the contract of a kind; or of this one, with `spec_class`, for a kind that
    has no contract of its own (samplers, sources, commands).

    Attributes
    ----------
    entry_module
        The module that the plugin announces as an entry point, ``"badc_mylab"``.
    name
        Which of its specs; ``None`` when there is just one of this kind.
    options
        What a user would give with ``-o key=value``, for plugins that need some.
    xfails
        Standard tests that the plugin does not pass, each with the reason: ``{"test_name": "reason"}``. They are
        printed as warnings at every run, and fail once they pass.
    """

    entry_module: ClassVar[str] = ""
    name: ClassVar[str | None] = None
    options: ClassVar[Mapping[str, Any]] = {}
    xfails: ClassVar[Mapping[str, str]] = {}

    spec_class: ClassVar[type[Spec]] = Spec
    _replaceable: ClassVar = {"entry_module", "name", "options", "xfails", "spec_class"}

    # ------------------------------------------------------------------------------- for the kit's own tests

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Have the guard see what becomes of the standard tests."""
        guard.watch(metafunc.config)

    @pytest.fixture(autouse=True)
    def _expected_failures(self, request: pytest.FixtureRequest) -> None:
        test = getattr(request.node, "originalname", request.node.name)
        reason = self.xfails.get(test)
        if reason is not None:
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))
            warnings.warn(f"{type(self).__name__}.{test} is expected to fail: {reason}", ExpectedFailure, stacklevel=1)

    def broken(self, message: str) -> NoReturn:
        """Fail the test in hand, naming the plugin."""
        pytest.fail(f"{self.entry_module}{f' ({self.name})' if self.name else ''}: {message}", pytrace=False)

    @property
    def spec(self) -> Any:
        """The spec under test, as the host finds it."""
        if not self.entry_module:
            self.broken("name the module under test: entry_module = 'badc_mylab'")
        host = Host([importlib.import_module(self.entry_module)], installed=False)
        specs = host.all(self.spec_class)
        if self.name is None and len(specs) == 1:
            return specs[0]
        for spec in specs:
            if spec.name == self.name:
                return spec
        problems = "; ".join(provider.error for provider in host.providers if provider.error)
        known = ", ".join(spec.name for spec in specs) or "nothing"
        return self.broken(f"not found; the module registers {known}. {problems}")

    def make_options(self) -> Any:
        """Return the options object, made the way the command line makes it."""
        where = getattr(self.spec, "options", None)
        cls = load_object(where) if where else None
        if cls is not None and not attrs.has(cls):
            return cls(**self.options)  # test_options_are_attrs says so
        try:
            return fill(cls, self.options, f"{self.spec.name!r} under test")
        except BadcError as error:
            return self.broken(f"its options cannot be made: {error}")

    def _options_class(self) -> Any:
        where = getattr(self.spec, "options", None)
        return load_object(where) if where else None

    def load_or_skip(self, where: str) -> Any:
        """Load what an import string names; when that fails, it is the matter of another test."""
        try:
            return load_object(where)
        except BadcError:
            pytest.skip("see test_import_strings_lead_somewhere")

    # ------------------------------------------------------------------------------------------ standard tests

    def test_nothing_is_overridden(self, request: pytest.FixtureRequest) -> None:
        """Nothing that the standard tests are made of was replaced, and skips and passes are watched."""
        for fault in guard.faults(type(self)):
            pytest.fail(f"{type(self).__qualname__} {fault}", pytrace=False)
        if not request.config.pluginmanager.is_registered(guard):
            pytest.fail("the kit's guard was taken from pytest", pytrace=False)

    def test_spec_is_plain_data(self) -> None:
        """The spec can be pickled, compared and hashed."""
        spec = self.spec
        try:
            again = pickle.loads(pickle.dumps(spec))
            hash(spec)
        except Exception as error:
            self.broken(f"the spec is not plain data: {type(error).__name__}: {error}")
        if again != spec:
            self.broken("the spec is not plain data: it is not equal to itself after pickling")

    def test_spec_reads_well(self) -> None:
        """The name can be typed on a command line, and the summary is one line without a full stop."""
        spec = self.spec
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*( [a-z0-9][a-z0-9_.-]*)?", spec.name):
            self.broken(f"the name {spec.name!r} should be lower-case letters, digits, '-', '_' and '.'")
        if not spec.summary.strip() or "\n" in spec.summary or spec.summary.rstrip().endswith("."):
            self.broken(f"the summary should be one line without a full stop, not {spec.summary!r}")

    def test_import_strings_lead_somewhere(self) -> None:
        """Every import string of the spec names something that can be called."""
        spec = self.spec
        for field in _IMPORT_STRINGS:
            where = getattr(spec, field, None)
            if not where:
                continue
            try:
                found = load_object(where)
            except BadcError as error:
                self.broken(f"{field}: {error}")
            if not callable(found):
                self.broken(f"{field}: {where} cannot be called")

    def test_discovery_is_light(self) -> None:
        """Importing the entry module and listing its specs imports no heavy library (in a fresh interpreter)."""
        found = _discover(self.entry_module)
        heavy = heavy_among(found.modules, HEAVY)
        if heavy:
            self.broken(f"discovery imports {', '.join(heavy)}; import it in the function that needs it")
        if found.problems:
            self.broken("; ".join(found.problems))

    def test_discovery_is_quiet(self) -> None:
        """Importing the entry module and listing its specs prints nothing to stdout."""
        printed = _discover(self.entry_module).printed
        if printed:
            self.broken(f"discovery prints to stdout: {printed[:200]!r}")

    def test_options_are_attrs(self) -> None:
        """Options are an attrs class of annotated fields with a help each, and an unknown option is refused."""
        cls = self._options_class()
        if cls is None:
            return
        if not (isinstance(cls, type) and attrs.has(cls)):
            self.broken(f"the options {cls!r} are not an attrs class; decorate it with @attrs.frozen")
        for field in attrs.fields(cls):
            if field.type is None:
                self.broken(f"the option {field.name!r} has no type annotation")
            if not field.metadata.get("help"):
                self.broken(f"the option {field.name!r} has no help; declare it with badc_core.option(…, help=…)")
        with pytest.raises(UsageError):
            fill(cls, {**self.options, "no_such_option": "1"}, "plugin under test")

    def test_options_can_be_given_as_text(self) -> None:
        """The default of every option, written as text on the command line, gives the same options."""
        cls = self._options_class()
        if cls is None or not attrs.has(cls):
            return
        expected = self.make_options()
        for field in attrs.fields(cls):
            default = field.default
            if field.name in self.options or default is None or not isinstance(default, (str, int, float)):
                continue
            text = str(default).lower() if isinstance(default, bool) else str(default)
            try:
                made = fill(cls, {**self.options, field.name: text}, "plugin under test")
            except BadcError as error:
                self.broken(f"-o {field.name}={text} is refused: {error}")
            if made != expected:
                self.broken(f"-o {field.name}={text} gives {made}, but leaving it out gives {expected}")

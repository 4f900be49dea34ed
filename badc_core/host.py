"""Finding, isolating and naming plugins; the only module that knows pluggy.

Plugins are installed distributions with an entry point in the group ``badc``, and one-file plugins that the environment
variable ``BADC_PLUGINS`` names: modules, or paths of ``.py`` files, separated as in ``PATH``.

Entry points are loaded one by one. What goes wrong in one is caught, kept with the plugin's name and version, and shown
by ``badc plugins``; it stops only a command that asks for that plugin. Results are sorted by name, so nothing depends
on the order of installation.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pluggy
from attrs import evolve, field, frozen

from badc_core import hookspecs
from badc_core.announced import Announcement, announcements
from badc_core.errors import PluginError
from badc_core.specs import (
    CommandSpec,
    ExporterSpec,
    ReaderSpec,
    RunnerSpec,
    SamplerSpec,
    SchedulerSpec,
    SinkSpec,
    SourceSpec,
    Spec,
)

__all__ = ["KINDS", "Host", "Kind", "Provided", "ProviderRecord", "default_host", "load_object", "one_file_plugins"]

S = TypeVar("S", bound=Spec)


@frozen
class Kind:
    """One kind of plugin.

    Parameters
    ----------
    word
        What people call one of it.
    hook
        Name of the hook that yields it.
    spec
        The class of its specs.
    """

    word: str
    hook: str
    spec: type[Spec]


KINDS: tuple[Kind, ...] = (
    Kind("runner", "badc_runners", RunnerSpec),
    Kind("scheduler", "badc_schedulers", SchedulerSpec),
    Kind("sink", "badc_telemetry_sinks", SinkSpec),
    Kind("sampler", "badc_telemetry_samplers", SamplerSpec),
    Kind("exporter", "badc_exporters", ExporterSpec),
    Kind("reader", "badc_readers", ReaderSpec),
    Kind("source", "badc_sources", SourceSpec),
    Kind("command", "badc_commands", CommandSpec),
)
_KIND_OF = {kind.spec: kind for kind in KINDS}


@frozen
class ProviderRecord:
    """One announced plugin module.

    Parameters
    ----------
    entry_point
        Name under which it is announced.
    module
        What it loads.
    source
        The entry point of an installed distribution; ``None`` for a one-file plugin or a module of a test. Reading its
        name and version costs more than all the rest, so that is put off until somebody asks.
    error
        Why it cannot be used, or why a part of it cannot; ``None`` when all is well.
    """

    entry_point: str
    module: str
    source: Announcement | None = field(default=None, eq=False, repr=False)
    error: str | None = None

    @property
    def distribution(self) -> str:
        """Who brought it."""
        return self.module if self.source is None else self.source.header("Name")

    @property
    def version(self) -> str:
        """Version of who brought it; empty for what is not installed."""
        return "" if self.source is None else self.source.header("Version")

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@frozen
class Provided:
    """A spec and who brought it."""

    spec: Spec
    provider: ProviderRecord


@frozen
class _Announced:
    """An entry point before it is loaded, or a module handed over by a test."""

    record: ProviderRecord
    load: Callable[[], Any]


def _announced() -> list[_Announced]:
    found = {}
    for point in announcements(hookspecs.PROJECT):
        record = ProviderRecord(point.name, point.value, point)
        found[point.name, point.value] = _Announced(record, functools.partial(_load, point.value))
    for module in one_file_plugins():
        load = functools.partial(importlib.import_module, module)
        found[module, module] = _Announced(ProviderRecord(module, module), load)
    return [found[key] for key in sorted(found)]


def _load(value: str) -> Any:
    """Return the module that an entry point names, or something in it."""
    return load_object(value) if ":" in value else importlib.import_module(value)


def one_file_plugins() -> list[str]:
    """Return the modules that ``BADC_PLUGINS`` names, and make those that are files importable."""
    modules = []
    for item in filter(None, os.environ.get("BADC_PLUGINS", "").split(os.pathsep)):
        if item.endswith(".py"):
            folder = str(Path(item).absolute().parent)
            if folder not in sys.path:
                sys.path.append(folder)
            item = Path(item).stem
        modules.append(item)
    return modules


class Host:
    """All plugins of this installation.

    Parameters
    ----------
    extra
        Modules, or anything with hook functions, to use besides the installed plugins: for tests.
    installed
        Whether to load the installed plugins.
    """

    def __init__(self, extra: Iterable[Any] = (), *, installed: bool = True) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._provided: dict[type[Spec], list[Provided]] = {kind.spec: [] for kind in KINDS}
        self._providers: list[ProviderRecord] = []
        announced = _announced() if installed else []
        for plugin in extra:
            name = getattr(plugin, "__name__", type(plugin).__name__)
            announced.append(_Announced(ProviderRecord(name, name), functools.partial(_same, plugin)))
        for item in announced:
            self._take(item)
        for found in self._provided.values():
            found.sort(key=lambda p: (p.spec.name, p.provider.entry_point, p.provider.module))

    def _take(self, item: _Announced) -> None:
        record = item.record
        problems: list[str] = []
        yielded: list[Spec] = []
        try:
            plugin = item.load()
            problems += _misspelt(plugin)
            if not problems:
                self._manager.register(plugin, name=f"{record.module}:{record.entry_point}")
        except (Exception, SystemExit) as error:
            problems.append(f"cannot be loaded: {_brief(error)}")
        else:
            for kind in KINDS:
                try:
                    yielded += _ask(plugin, kind)
                except (Exception, SystemExit) as error:
                    problems.append(f"{kind.hook} failed: {_brief(error)}")
        if problems:
            record = evolve(record, error="; ".join(problems))
        self._providers.append(record)
        for spec in yielded:
            self._provided[type(spec)].append(Provided(spec, record))

    @property
    def providers(self) -> Sequence[ProviderRecord]:
        """All announced plugin modules, broken ones too."""
        return tuple(self._providers)

    def provided(self, spec: type[S]) -> list[Provided]:
        """Return everything of one kind, sorted by name, conflicting names included."""
        return list(self._provided[spec])

    def conflicts(self, spec: type[Spec]) -> dict[str, list[ProviderRecord]]:
        """Return the names of one kind that more than one plugin claims, with all claimants."""
        claims: dict[str, list[ProviderRecord]] = defaultdict(list)
        for item in self._provided[spec]:
            claims[item.spec.name].append(item.provider)
        return {name: who for name, who in claims.items() if len(who) > 1}

    def all(self, spec: type[S]) -> list[S]:
        """Return the usable specs of one kind, sorted by name."""
        clashing = self.conflicts(spec)
        return [p.spec for p in self._provided[spec] if p.spec.name not in clashing]  # type: ignore[misc]

    def find(self, spec: type[S], name: str) -> S:
        """Return the spec of that name.

        Raises
        ------
        PluginError
            Nobody has it, or more than one does; the message says who, and what it might have meant.
        """
        return self.find_provided(spec, name).spec  # type: ignore[return-value]

    def find_provided(self, spec: type[S], name: str) -> Provided:
        """Like :meth:`find`, with the provider."""
        word = _KIND_OF[spec].word
        claimants = self.conflicts(spec).get(name)
        if claimants:
            raise PluginError(
                f"The {word} {name!r} is claimed by {' and by '.join(map(str, claimants))}; neither is used.",
                hint=f"Uninstall one of them: pip uninstall {claimants[-1].distribution}",
            )
        for item in self._provided[spec]:
            if item.spec.name == name:
                return item
        known = [s.name for s in self.all(spec)]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        hint += f"Installed: {', '.join(known) or 'none'}."
        broken = [p for p in self._providers if p.error]
        if broken:
            hint += " Broken plugins: " + "; ".join(f"{p} {p.error}" for p in broken) + "."
        raise PluginError(f"There is no {word} named {name!r}.", hint=hint)


def _same(plugin: Any) -> Any:
    return plugin


def _brief(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _misspelt(plugin: Any) -> list[str]:
    known = [kind.hook for kind in KINDS]
    problems = []
    for name in dir(plugin):
        marked = getattr(getattr(plugin, name, None), f"{hookspecs.PROJECT}_impl", None) is not None
        if name in known or not (marked or name.startswith("badc_")):
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if marked:
            meant = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
            problems.append(f"there is no hook {name}{meant}")
    return problems


def _ask(plugin: Any, kind: Kind) -> list[Spec]:
    function = getattr(plugin, kind.hook, None)
    if function is None:
        return []
    if getattr(function, f"{hookspecs.PROJECT}_impl", None) is None:
        raise TypeError("the function lacks the @hookimpl decorator")
    specs = list(function() or ())
    for spec in specs:
        if type(spec) is not kind.spec:
            raise TypeError(f"yields {type(spec).__name__}, not {kind.spec.__name__}")
        target = getattr(spec, "load", None) or getattr(spec, "open", None)
        if not isinstance(target, str) or ":" not in target:
            raise TypeError(f"{spec.name!r} names no object to open ('package.module:attribute')")
    return specs


def load_object(import_string: str) -> Any:
    """Import what an import string names.

    Parameters
    ----------
    import_string
        ``"package.module:attribute"``.

    Raises
    ------
    PluginError
        The module or the attribute is not there.
    """
    module, _, attribute = import_string.partition(":")
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except ImportError as error:
        missing = getattr(error, "name", None) or module
        raise PluginError(
            f"Cannot import {import_string}: {_brief(error)}", hint=f"Is the package of {missing!r} installed?"
        ) from error
    except AttributeError as error:
        raise PluginError(f"Cannot import {import_string}: {module} has no {attribute!r}.") from error


@functools.cache
def default_host() -> Host:
    """Return the host of this process; plugins are looked for once."""
    return Host()

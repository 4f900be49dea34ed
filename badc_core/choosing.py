"""What is the same for every plugin that somebody chose by name: its options are filled, and it is asked with care."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from badc_core.config import fill
from badc_core.errors import BadcError, PluginError
from badc_core.host import load_object
from badc_core.protocols import RunnerIdentity
from badc_core.specs import ExporterSpec, RunnerSpec, SchedulerSpec, SourceSpec

__all__ = ["asked", "identity_of", "isolation_of", "options_of"]

T = TypeVar("T")


def options_of(
    spec: ExporterSpec | RunnerSpec | SchedulerSpec | SourceSpec, values: Mapping[str, Any], what: str
) -> Any:
    """Return the options object of a plugin; ``None`` where it takes none.

    Parameters
    ----------
    spec
        The plugin.
    values
        Texts from the command line, or values from TOML.
    what
        Who takes them, for messages: ``"runner 'birdnet'"``.

    Raises
    ------
    UsageError
        They do not fit.
    """
    return fill(None if spec.options is None else load_object(spec.options), values, what)


def asked(ask: Callable[[], T], what: str) -> T:
    """Return what a plugin answers.

    Raises
    ------
    BadcError
        What it raised of these, else a PluginError that names it.
    """
    try:
        return ask()
    except BadcError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"The {what} cannot be used: {type(error).__name__}: {error}.",
            hint="`badc doctor` says what it lacks; --debug shows where it failed.",
        ) from error


def identity_of(spec: RunnerSpec, options: Any) -> RunnerIdentity:
    """Return which model a runner would load, with these options; nothing is loaded.

    Raises
    ------
    BadcError
        It cannot say.
    """
    identify = spec.identify
    if identify is None:
        return RunnerIdentity(spec.name)
    identity: RunnerIdentity = asked(lambda: load_object(identify)(options), f"runner {spec.name!r}")
    return identity


def isolation_of(spec: RunnerSpec, options: Any) -> str:
    """Return where a runner with these options lives: ``thread`` or ``process``.

    Raises
    ------
    BadcError
        It cannot say, or says something else.
    """
    found = spec.isolation
    if ":" in found:
        found = asked(lambda: str(load_object(spec.isolation)(options)), f"runner {spec.name!r}")
    if found not in ("thread", "process"):
        raise PluginError(f"The runner {spec.name!r} wants to live in {found!r}: it must be 'thread' or 'process'.")
    return found

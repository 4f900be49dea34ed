"""The runner's other ways to use HawkEars: its public function, its command, and the program of HawkEars 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from badc_core.protocols import Runner, WorkerContext
    from badc_hawkears.options import HawkEarsOptions

__all__ = ["isolation", "open_mode"]


def open_mode(options: HawkEarsOptions, context: WorkerContext) -> Runner | None:
    """Open HawkEars in the way that `options` ask for; ``None``: the mode ``warm``, which is not made here.

    Raises
    ------
    RunnerError
        It cannot be used so.
    """
    if options.script is not None:
        from badc_hawkears.modes.v1 import open_v1

        return open_v1(options.script, options, context)
    if options.mode == "api":
        from badc_hawkears.modes.api import open_api

        return open_api(options, context)
    if options.mode == "cli":
        from badc_hawkears.modes.command import open_command

        return open_command(options, context)
    return None


def isolation(options: HawkEarsOptions) -> Literal["thread", "process"]:
    """Return where the runner lives: beside other workers when it starts processes itself, else in its own process."""
    return "thread" if options.mode == "cli" or options.script is not None else "process"

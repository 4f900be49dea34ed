"""The runner's other ways to use HawkEars: its public function, its command, and the program of HawkEars 1."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from badc_core.protocols import Runner, WorkerContext
    from badc_hawkears.options import HawkEarsOptions

__all__ = ["isolation", "open_mode", "script_of"]


def open_mode(options: HawkEarsOptions, context: WorkerContext) -> Runner | None:
    """Open HawkEars in the way that `options` ask for; ``None``: the mode ``warm``, which is not made here.

    Raises
    ------
    RunnerError
        It cannot be used so.
    """
    if (script := script_of(options)) is not None:
        from badc_hawkears.modes.v1 import open_v1

        return open_v1(script, options, context)
    if options.mode == "api":
        from badc_hawkears.modes.api import open_api

        return open_api(options, context)
    if options.mode == "cli":
        from badc_hawkears.modes.command import open_command

        return open_command(options, context)
    return None


def script_of(options: HawkEarsOptions) -> Path | None:
    """Return the program of HawkEars 1, where it is asked for.

    That is the option ``script``; else ``analyze.py`` in the folder that ``BADC_HAWKEARS_ROOT`` names, unless options
    ask for HawkEars 2 by a data folder or a mode.
    """
    if options.script is not None:
        return options.script
    named = os.environ.get("BADC_HAWKEARS_ROOT")
    if named and options.root is None and options.mode == "warm":
        return Path(named).expanduser().absolute() / "analyze.py"
    return None


def isolation(options: HawkEarsOptions) -> Literal["thread", "process"]:
    """Return where the runner lives: beside other workers when it starts processes itself, else in its own process."""
    return "thread" if options.mode == "cli" or script_of(options) is not None else "process"

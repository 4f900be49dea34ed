"""Options that several commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from badc_core.errors import BadcError

__all__ = ["SCHEDULER", "WORKERS", "FilePath", "bucket_option", "decorator", "runner_options"]

WORKERS = (
    click.option("--max-gpus", type=click.IntRange(0), help="Use at most so many GPUs.  [default: all]"),
    click.option(
        "--cpu-workers", type=click.IntRange(0), default=0, show_default=True, help="CPU workers, besides the GPUs."
    ),
)
"""How many workers a machine has."""

SCHEDULER = (
    click.option("--scheduler", default="local", show_default=True, help="Where to run."),
    click.option(
        "-s",
        "--scheduler-option",
        "scheduler_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the scheduler.",
    ),
)
"""Where to run."""


def runner_options(default: str) -> tuple[Callable[[Any], Any], ...]:
    """Return the options that say who listens.

    Parameters
    ----------
    default
        The runner, unless one is named.
    """
    named = f"The model; `badc plugins` lists them.  [default: {default}]"
    return (
        click.option("--runner", metavar="NAME", help=named),
        click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the runner."),
        click.option(
            "--use-hawkears/--stub-runner", default=None, help="The same as --runner hawkears or --runner stub."
        ),
        click.option("--hawkears-arg", "hawkears_args", multiple=True, help="An argument for HawkEars; repeatable."),
    )


class FilePath(click.Path):
    """A file that is there; where git-annex keeps its content elsewhere, it says how to fetch it."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        from badc_core.annex import content_missing, fetch_hint

        path = Path(value)
        if content_missing(path):
            raise BadcError(
                f"The content of {path} is not on this machine: git-annex keeps it elsewhere.", hint=fetch_hint(path)
            )
        return super().convert(value, param, ctx)


def bucket_option(name: str, default: int) -> Callable[[Any], Any]:
    """Return the option that says how wide the timelines' buckets are.

    Parameters
    ----------
    name
        Of the option.
    default
        In minutes.
    """
    return click.option(
        name, type=click.IntRange(min=1), default=default, show_default=True, help="Width of the timelines' buckets."
    )


def decorator(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a decorator that puts options on a command, in their order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate

"""HawkEars 2.3 for BADC: its models loaded once per worker, its answers those on the whole recording.

Neither torch nor HawkEars is part of this package. They live in an environment of their own, whose interpreter the
option ``python`` names; the runner works there, in a child process.
"""

from __future__ import annotations

from collections.abc import Iterable

from badc_core import CommandSpec, RunnerSpec, hookimpl

__version__ = "0.2.0"


@hookimpl
def badc_runners() -> Iterable[RunnerSpec]:
    """Yield the runner ``hawkears``."""
    yield RunnerSpec(
        "hawkears",
        "HawkEars 2.3, kept warm: birds of Canada and the northern United States",
        open="badc_hawkears.runner:open_runner",
        options="badc_hawkears.options:HawkEarsOptions",
        identify="badc_hawkears.identity:identify",
        check="badc_hawkears.check:check",
        finish="badc_hawkears.finish:finish",
        isolation="badc_hawkears.modes:isolation",
        notice="It gets an environment of its own: badc hawkears setup (GPUs: --cuda VERSION, clusters: --path DIR)",
        by_place=True,
    )


@hookimpl
def badc_commands() -> Iterable[CommandSpec]:
    """Yield the commands that make HawkEars' environment and look at what its results keep."""
    yield CommandSpec(
        "hawkears setup",
        "Make an environment with HawkEars, and try it",
        load="badc_hawkears.cli:setup",
        group="Install HawkEars, and use what its results keep",
    )
    yield CommandSpec(
        "hawkears scores", "Make a table of the frame scores that results keep", load="badc_hawkears.cli:scores"
    )
    yield CommandSpec(
        "hawkears embeddings", "Make a table of the embeddings that results keep", load="badc_hawkears.cli:embeddings"
    )
    yield CommandSpec(
        "hawkears aggregate", "Compile results into a table at another threshold", load="badc_hawkears.cli:aggregate"
    )

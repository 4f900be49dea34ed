"""Runners that need no model: ``stub``, which hears nothing, and ``command``, which runs any program per chunk."""

from __future__ import annotations

from collections.abc import Iterator

from badc_core.hookspecs import hookimpl
from badc_core.specs import RunnerSpec

__version__ = "0.2.0"


@hookimpl
def badc_runners() -> Iterator[RunnerSpec]:
    """Yield the two runners."""
    yield RunnerSpec(
        "stub",
        "Hears nothing; shows that everything else works",
        open="badc_stub.stub:open_runner",
        identify="badc_stub.stub:identify",
    )
    yield RunnerSpec(
        "command",
        "Runs a program per chunk (--runner-cmd)",
        open="badc_stub.command:open_runner",
        options="badc_stub.command:CommandOptions",
        identify="badc_stub.command:identify",
    )

"""``badc demo``: builds a small dataset, lets BirdNET listen to it, and shows what was heard where and when."""

from __future__ import annotations

from collections.abc import Iterable

from badc_core import CommandSpec, hookimpl

__version__ = "0.2.0"


@hookimpl
def badc_commands() -> Iterable[CommandSpec]:
    """Yield the command ``badc demo``."""
    yield CommandSpec("demo", "See it work: a real model on real bird song", load="badc_demo.cli:demo")

"""Commands that call other commands: those of plugins, too, which are known by their words only."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import click

from badc_core.errors import PluginError

__all__ = ["call", "find"]


def find(ctx: click.Context, group: str, name: str) -> tuple[click.Context, click.Command]:
    """Return a command with the context of its group.

    Raises
    ------
    PluginError
        There is no such command: the plugin that brings it is not installed.
    """
    root = ctx.find_root()
    found = root.command.get_command(root, group) if isinstance(root.command, click.Group) else None
    if isinstance(found, click.Group):
        within = click.Context(found, info_name=group, parent=root)
        command = found.get_command(within, name)
        if command is not None:
            return within, command
    raise PluginError(
        f"There is no command `badc {group} {name}`, which is needed here.",
        hint="A plugin brings it: pip install badc-duckdb. `badc plugins` lists what is installed.",
    )


def call(ctx: click.Context, group: str, name: str, arguments: Sequence[object], *, quiet: bool = False) -> int:
    """Call a command as if it had been typed, and return its exit status.

    Parameters
    ----------
    ctx
        Of the command that calls.
    group, name
        Of the command to call.
    arguments
        What follows its name.
    quiet
        Keep to itself what it prints on stdout.

    Raises
    ------
    BadcError
        What the command raises.
    """
    within, command = find(ctx, group, name)
    silence = contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext()
    with command.make_context(name, [str(argument) for argument in arguments], parent=within) as inner, silence:
        return int(command.invoke(inner) or 0)

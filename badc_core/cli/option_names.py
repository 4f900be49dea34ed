"""One name for an option everywhere: its flag, the environment and the TOML file spell it alike.

click goes by the name of the Python parameter instead, which is another where the flag's is taken (``--json`` and the
module ``json``). What :func:`bind` does holds for the commands of plugins, too.
"""

from __future__ import annotations

from collections.abc import Iterable

import click

from badc_core.errors import UsageError

__all__ = ["bind", "flag_name"]


def flag_name(option: click.Parameter) -> str:
    """Return what an option is called by: its long flag, with ``_`` for ``-``; an argument by its own name."""
    if isinstance(option, click.Argument):
        return option.name or ""
    long = [text for text in option.opts if text.startswith("--")]
    return (long or option.opts)[0].lstrip("-").replace("-", "_")


def bind(ctx: click.Context, name: str, command: click.Command) -> None:
    """Let the environment and the TOML file give the options of a command by the names of their flags.

    Parameters
    ----------
    ctx
        Of the group that the command is in.
    name, command
        The command.

    Raises
    ------
    UsageError
        The file names a command or an option that is not there.
    """
    parameters = {flag_name(one): one for one in command.params}
    for flag, one in parameters.items():
        if one.name != flag and one.envvar is None and ctx.auto_envvar_prefix:
            one.envvar = f"{ctx.auto_envvar_prefix}_{name}_{flag}".upper().replace("-", "_")
    tables = dict(ctx.default_map or {})
    table = tables.get(name)
    if isinstance(table, dict):
        below = command.list_commands(ctx) if isinstance(command, click.Group) else []
        _check(ctx, name if ctx.parent is None else f"{ctx.info_name}.{name}", table, [*parameters, *below])
        tables[name] = {str(parameters[key].name) if key in parameters else key: table[key] for key in table}
        ctx.default_map = tables


def _check(ctx: click.Context, table: str, keys: Iterable[str], known: list[str]) -> None:
    for key in keys:
        if key not in known:
            from badc_core.config import meant

            path = getattr(ctx.find_root().obj, "path", None)
            raise UsageError(f"{path}: [{table}] has no option {key!r}.", hint=meant(key, sorted(known)))

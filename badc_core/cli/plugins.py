"""``badc plugins``: what is installed, who brought it, and which options it takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from badc_core import host as hosts
from badc_core.errors import PluginError
from badc_core.host import KINDS, Host, Kind, Provided

_NEW = "badc_core.cli.plugins_new"

_HELP = """List plugins; with a NAME, tell everything about that one.

\b
badc plugins              what is installed
badc plugins NAME         one plugin and its options
badc plugins new NAME     a new plugin, ready to fill in
"""

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")


class _PluginsGroup(click.Group):
    """Its commands are ``new``, and the name of every plugin there is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from importlib.util import find_spec

        return ["new"] if find_spec(_NEW) is not None else []

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.list_commands(ctx):
            command: click.Command = hosts.load_object(f"{_NEW}:new")
            return command

        @click.command(cmd_name, help=f"Tell everything about {cmd_name}.")
        @_JSON
        @click.pass_context
        def one(ctx: click.Context, as_json: bool) -> None:
            above = ctx.parent.params if ctx.parent is not None else {}
            _show_one(hosts.default_host(), cmd_name, as_json=as_json or bool(above.get("as_json")))

        return one


@click.group(cls=_PluginsGroup, invoke_without_command=True, subcommand_metavar="[NAME | new NAME ...]", help=_HELP)
@_JSON
@click.option("--options", is_flag=True, help="Show the options that each takes, with their defaults.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool, options: bool) -> None:
    """``badc plugins``."""
    if ctx.invoked_subcommand is not None:
        return
    host = hosts.default_host()
    if as_json:
        _show_json(catalogue(host, options=options))
    else:
        click.echo("\n".join(table(host, options=options)))


def _show_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _show_one(host: Host, name: str, *, as_json: bool) -> None:
    found = [(kind, provided) for kind, provided in _everything(host) if provided.spec.name == name]
    if not found:
        known = sorted({provided.spec.name for _, provided in _everything(host)})
        raise PluginError(f"There is no plugin named {name!r}.", hint=_meant(name, known))
    if as_json:
        _show_json([_row(host, kind, provided, options=True) for kind, provided in found])
        return
    for number, (kind, provided) in enumerate(found):
        if number:
            click.echo("")
        click.echo("\n".join(_told(host, kind, provided)))


def _meant(name: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return (f"Did you mean {close[0]!r}? " if close else "") + f"Installed: {', '.join(known) or 'none'}."


def _everything(host: Host) -> Iterable[tuple[Kind, Provided]]:
    return ((kind, provided) for kind in KINDS for provided in host.provided(kind.spec))


# ------------------------------------------------------------------------------------------------- facts


def catalogue(host: Host, *, options: bool = False) -> dict[str, Any]:
    """Return everything that is installed as JSON values; options on request only, because they import plugins."""
    return {
        "plugins": [_row(host, kind, provided, options=options) for kind, provided in _everything(host)],
        "broken": [
            {
                "distribution": provider.distribution,
                "version": provider.version,
                "module": provider.module,
                "problem": provider.error,
            }
            for provider in host.providers
            if provider.error
        ],
    }


def _row(host: Host, kind: Kind, provided: Provided, *, options: bool) -> dict[str, Any]:
    spec, provider = provided.spec, provided.provider
    row: dict[str, Any] = {
        "kind": kind.word,
        "name": spec.name,
        "summary": spec.summary,
        "distribution": provider.distribution,
        "version": provider.version,
        "notice": getattr(spec, "notice", ""),
        "claimed_by": [str(who) for who in host.conflicts(kind.spec).get(spec.name, [])],
    }
    if options:
        found, problem = _options(provided)
        row["options"] = [{"name": name, "default": default, "help": text} for name, default, text in found]
        if problem:
            row["problem"] = problem
    return row


def _options(provided: Provided) -> tuple[list[tuple[str, str, str]], str | None]:
    """Return the options of a plugin, and what was wrong when they were looked for."""
    where = getattr(provided.spec, "options", None)
    if not where:
        return [], None
    from badc_core.config import describe

    try:
        return describe(hosts.load_object(where)), None
    except PluginError as error:
        return [], error.message
    except (Exception, SystemExit) as error:
        return [], f"{type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------------------- texts


def table(host: Host, *, options: bool = False) -> list[str]:
    """Return the lines of ``badc plugins``."""
    lines: list[str] = []
    rows = list(_everything(host))
    widths = [
        max((len(provided.spec.name) for _, provided in rows), default=0),
        max((len(provided.spec.summary) for _, provided in rows), default=0),
    ]
    for kind in KINDS:
        mine = [provided for found, provided in rows if found is kind]
        if not mine:
            continue
        lines += ["", f"{kind.word.capitalize()}s"] if lines else [f"{kind.word.capitalize()}s"]
        for provided in mine:
            name, summary = provided.spec.name.ljust(widths[0]), provided.spec.summary.ljust(widths[1])
            lines.append(f"  {name}  {summary}  {provided.provider}")
            lines += [f"    {text}" for text in _notes(host, kind, provided)]
            if options:
                lines += [f"    {text}" for text in _option_lines(provided)]
    return (lines or ["No plugins are installed."]) + _broken_lines(host)


def _notes(host: Host, kind: Kind, provided: Provided) -> list[str]:
    notes = []
    claims = host.conflicts(kind.spec).get(provided.spec.name)
    if claims:
        notes.append(f"CONFLICT: claimed by {' and by '.join(map(str, claims))}; none is used until one is uninstalled")
    notice = getattr(provided.spec, "notice", "")
    return notes + ([notice] if notice else [])


def _broken_lines(host: Host) -> list[str]:
    broken = [provider for provider in host.providers if provider.error]
    if not broken:
        return []
    return ["", "BROKEN", *(f"  {provider} ({provider.module}): {provider.error}" for provider in broken)]


def _told(host: Host, kind: Kind, provided: Provided) -> list[str]:
    spec, provider = provided.spec, provided.provider
    lines = [f"{kind.word} {spec.name}: {spec.summary}", f"brought by {provider}"]
    lines += _notes(host, kind, provided)
    if hasattr(spec, "options"):
        lines += ["", "Options", *(f"  {text}" for text in _option_lines(provided))]
    return lines + ([f"  BROKEN: {provider.error}"] if provider.error else [])


def _option_lines(provided: Provided) -> list[str]:
    options, problem = _options(provided)
    if problem:
        return [f"its options cannot be told: {problem}"]
    if not options:
        return ["takes no options"]
    width = max(len(name) for name, _, _ in options)
    return [f"{name.ljust(width)}  {text}" + (f" [{_default(default)}]") for name, default, text in options]


def _default(default: str) -> str:
    if default == "required":
        return default
    return f"default: {default}" if default else "no default"

"""Write the reference pages that are made from the code: ``make reference``, or ``python docs/generate.py``.

Three pages have no other source than the code: the command line from the command tree, the hooks from the docstrings of
:mod:`badc_core.hookspecs`, :mod:`badc_core.specs`, :mod:`badc_core.protocols` and :mod:`badc_core.scheduling`, the exit
codes from their enum. They are committed, so that they can be read where the code is read; ``tests/test_docs.py`` fails
when one is out of date. Only plugins that live in this repository are described, whatever else is installed.
"""

from __future__ import annotations

import ast
import copy
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click
from attrs import frozen
from docstrings import entries, markdown, sections

from badc_core import errors, hookspecs, model, protocols, scheduling, specs
from badc_core.host import KINDS, Host, Kind, default_host

__all__ = [
    "MAKERS",
    "Described",
    "cli_page",
    "described_commands",
    "exit_codes_page",
    "hooks_page",
    "local_distributions",
]

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent

HEADER = "<!-- Made from the code by `make reference`: change the code, not this page. -->\n\n"

OPENS: Mapping[str, tuple[str, ...]] = {
    "badc_runners": ("Runner", "RunnerInfo", "RunnerIdentity", "InputSpec", "WorkerContext", "Finisher", "Readiness"),
    "badc_schedulers": (
        *("Scheduler", "DetachedScheduler", "ScriptWriter"),
        *("Run", "Submission", "ShardState", "WorkerReport", "ArrayScript"),
    ),
    "badc_telemetry_sinks": ("Sink", "SinkContext"),
    "badc_telemetry_samplers": ("Sampler",),
    "badc_exporters": ("Exporter", "ExportBatch"),
    "badc_readers": ("SignalFile", "SignalInfo", "RecordingHints"),
    "badc_sources": ("Source",),
    "badc_commands": (),
}
"""What each hook's specs lead to: protocols to fulfil, and values to give or take."""

VALUES = (
    "Signal",
    "Detection",
    "Prediction",
    "Recording",
    "Chunk",
    "ChunkResult",
    "Instant",
    "LocalTime",
    "Device",
    "Measurement",
    "Event",
)
"""Classes of the model that plugins meet."""


def local_distributions() -> frozenset[str]:
    """Return the names of the distributions in this repository."""
    projects = [REPOSITORY / "pyproject.toml", *REPOSITORY.glob("plugins/*/pyproject.toml")]
    projects += REPOSITORY.glob("contrib/*/pyproject.toml")
    return frozenset(tomllib.loads(path.read_text("utf-8"))["project"]["name"] for path in projects)


def _providers(host: Host, spec: type[Any]) -> dict[str, str]:
    """Return name of spec → distribution, of those that live here."""
    local = local_distributions()
    return {p.spec.name: p.provider.distribution for p in host.provided(spec) if p.provider.distribution in local}


# ----------------------------------------------------------------------------------------- command line


@frozen
class Described:
    """One command of the command line.

    Parameters
    ----------
    path
        As typed: ``"badc infer run"``.
    command
        The command or group.
    context
        Its context, for defaults.
    provider
        The distribution that brings it.
    """

    path: str
    command: click.Command
    context: click.Context
    provider: str = "badc-core"

    @property
    def options(self) -> list[click.Option]:
        """Its options, without hidden ones."""
        return [p for p in self.command.params if isinstance(p, click.Option) and not p.hidden]

    @property
    def arguments(self) -> list[click.Argument]:
        """Its positional arguments."""
        return [p for p in self.command.params if isinstance(p, click.Argument)]


def described_commands(host: Host | None = None) -> Iterator[Described]:
    """Yield ``badc`` and every command below it that comes from this repository, in order of name.

    Raises
    ------
    PluginError
        The module of a command cannot be imported; the message names it.
    """
    from badc_core.cli import cli

    host = host or default_host()
    by_name = {p.spec.name: p.provider.distribution for p in host.provided(specs.CommandSpec)}
    local = local_distributions()

    def walk(command: click.Command, names: tuple[str, ...], parent: click.Context | None) -> Iterator[Described]:
        provider = by_name.get(" ".join(names[1:]), "badc-core")
        if provider not in local or command.hidden:
            return
        context = click.Context(command, info_name=names[-1], parent=parent)
        yield Described(" ".join(names), command, context, provider)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                if below is not None:
                    yield from walk(below, (*names, name), context)

    yield from walk(cli, ("badc",), None)


def _plain(text: str) -> str:
    """Return text in which nothing outside of code spans means something in Markdown."""
    spans = re.split(r"(`[^`]*`)", text)
    return "".join(span if span.startswith("`") else re.sub(r"([*<\[\]])", r"\\\1", span) for span in spans)


def _prose(text: str) -> str:
    r"""Return a command's help as Markdown; a block marked ``\b`` keeps its lines."""
    blocks = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text).split("\f")[0].strip()):
        if paragraph.startswith("\b"):
            blocks.append("```text\n" + textwrap.dedent(paragraph.lstrip("\b").strip("\n")) + "\n```")
        else:
            blocks.append(markdown(_plain(paragraph)))
    return "\n\n".join(blocks)


def _option_lines(option: click.Option, context: click.Context) -> list[str]:
    shown = copy.copy(option)
    shown.show_default = option.show_default or True
    extra = shown.get_help_extra(context)
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.secondary_opts:
        names += " / " + ", ".join(f"`{name}`" for name in option.secondary_opts)
    if not option.is_flag and not option.count:
        names += f" `{option.make_metavar(context)}`"
    text, told = re.subn(r"\s*\[default: (.*)\]$", r" Default: `\1`.", option.help or "")
    facts = [_prose(text)]
    if option.required:
        facts.append("Required.")
    if option.multiple and "repeat" not in text:
        facts.append("May be given several times.")
    if extra.get("range"):
        facts.append(f"Range: `{extra['range']}`.")
    if extra.get("default") and not told:
        facts.append(f"Default: `{extra['default']}`.")
    return [names, textwrap.indent(" ".join(filter(None, facts)), "  ").replace("  ", ": ", 1), ""]


def _command_section(item: Described) -> str:
    level = "#" * (item.path.count(" ") + 1) if item.path != "badc" else "##"
    usage = item.command.get_usage(item.context).removeprefix("Usage: ")
    lines = [f"{max(level, '##')} {item.path}", "", _prose(item.command.help or item.command.get_short_help_str(200))]
    lines += ["", "```text", re.sub(r"\s+", " ", usage), "```", ""]
    if item.provider != "badc-core":
        lines += [f"Brought by the plugin `{item.provider}`.", ""]
    for argument in item.arguments:
        text = getattr(argument, "help", None)
        if text:
            lines += [f"`{argument.human_readable_name}`", f": {text}", ""]
    for option in item.options:
        lines += _option_lines(option, item.context)
    names = item.command.list_commands(item.context) if isinstance(item.command, click.Group) else []
    if names:
        lines += ["Commands: " + ", ".join(f"`{name}`" for name in names) + ".", ""]
    return "\n".join(lines)


def cli_page(host: Host | None = None) -> str:
    """Return the reference of the command line."""
    intro = """\
# Command line

Everything `badc` can do. `badc --help` and `badc COMMAND --help` say the same, with what your own plugins add.

Every option can also come from an environment variable (`BADC_`, the command's words and the option's name, in capitals
and joined by `_`: `--max-retries` of `badc infer run` is `BADC_INFER_RUN_MAX_RETRIES`) or from a TOML file; see
[Configuration](configuration.md). What a command's exit status says: [Exit codes](exit-codes.md).

"""
    return HEADER + intro + "\n".join(_command_section(item) for item in described_commands(host)).rstrip() + "\n"


# ------------------------------------------------------------------------------------------------ hooks


def _class_section(cls: type[Any], level: str) -> list[str]:
    parts = sections(cls.__doc__)
    lines = [f"{level} {cls.__name__}", "", markdown(parts[""]), ""]
    fields = {f.name: f for f in attrs.fields(cls)} if attrs.has(cls) else {}
    for names, text in entries(parts.get("Parameters", "")):
        shown = ", ".join(f"`{_field(cls, fields[name])}`" if name in fields else f"`{name}`" for name in names)
        lines += [shown, textwrap.indent(markdown(text), "  ").replace("  ", ": ", 1), ""]
    for name, member in vars(cls).items():
        if name.startswith("_") and name != "__arrow_c_stream__":
            continue
        if isinstance(member, property) and name not in fields:
            lines += _member(f"{name}", member.__doc__)
        elif inspect.isfunction(member):
            lines += _member(f"{name}{_signature(member)}", member.__doc__)
    return lines


def _field(cls: type[Any], field: attrs.Attribute[Any]) -> str:
    # As it was written: `field.type` changes once somebody resolves it.
    kind = next(
        kinds[field.name] for one in cls.__mro__ if field.name in (kinds := vars(one).get("__annotations__", {}))
    )
    if field.default is attrs.NOTHING or isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return f"{field.name}: {kind}"
    default = "…" if callable(field.default) or isinstance(field.default, Mapping) else repr(field.default)
    return f"{field.name}: {kind} = {default}"


def _signature(function: Any) -> str:
    text = str(inspect.signature(function)).replace("'", "")
    return re.sub(r"\(self(, /)?(, )?", "(", text).replace(", /)", ")")


def _member(title: str, docstring: str | None) -> list[str]:
    return [f"`{title}`", textwrap.indent(markdown(sections(docstring)[""]), "  ").replace("  ", ": ", 1), ""]


def _hook_section(kind: Kind, host: Host) -> list[str]:
    parts = sections(getattr(hookspecs, kind.hook).__doc__)
    lines = [f"## {kind.hook}", "", markdown(parts[""]), "", markdown(parts.get("Examples", "")), ""]
    users = sorted(set(_providers(host, kind.spec).values()))
    if users:
        lines += ["In this repository it is used by " + ", ".join(f"`{name}`" for name in users) + ".", ""]
    lines += _class_section(kind.spec, "###")
    module = scheduling if kind.spec is specs.SchedulerSpec else protocols
    if OPENS[kind.hook]:
        lines += [f"What follows can be imported from `{module.__name__}`.", ""]
    for name in OPENS[kind.hook]:
        lines += _class_section(getattr(module, name), "###")
    return lines


def hooks_page(host: Host | None = None) -> str:
    """Return the reference of all hooks, with what their specs open and the values that plugins meet."""
    host = host or default_host()
    lines = ["# Hooks", "", markdown(inspect.cleandoc(hookspecs.__doc__ or "")), ""]
    lines += ["| hook | yields | a |", "|---|---|---|"]
    lines += [f"| [`{k.hook}`](#{_slug(k.hook)}) | `{k.spec.__name__}` | {k.word} |" for k in KINDS]
    lines += ["", "Every spec begins with the same two fields:", "", *_class_section(specs.Spec, "##")]
    for kind in KINDS:
        lines += _hook_section(kind, host)
    lines += ["## Values", "", "What travels between the core and plugins. All can be imported from `badc_core`.", ""]
    for name in VALUES:
        lines += _class_section(getattr(model, name), "###")
    return HEADER + "\n".join(lines).rstrip() + "\n"


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


# ------------------------------------------------------------------------------------------- exit codes


def _enum_docs(cls: type[Any]) -> dict[str, str]:
    """Return the strings that stand below the members of an enum."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for member, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(following, ast.Expr):
            target, text = member.targets[0], following.value
            if isinstance(target, ast.Name) and isinstance(text, ast.Constant):
                found[target.id] = inspect.cleandoc(str(text.value))
    return found


def exit_codes_page() -> str:
    """Return the reference of exit codes."""
    docs = _enum_docs(errors.ExitCode)
    lines = [
        "# Exit codes",
        "",
        "What the exit status of a `badc` command says. Scripts can rely on these numbers.",
        "",
        "| code | name | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| {int(code)} | `{code.name}` | {markdown(docs[code.name])} |" for code in errors.ExitCode]
    lines += ["", "## Errors", "", "Which error leads to which code:", "", "| error | code | when |", "|---|---|---|"]
    for name, cls in vars(errors).items():
        if inspect.isclass(cls) and issubclass(cls, errors.BadcError) and cls is not errors.BadcError:
            when = markdown(sections(cls.__doc__)[""].split("\n\n")[0]).replace("\n", " ")
            lines.append(f"| `{name}` | {int(cls.exit_code)} | {when} |")
    return HEADER + "\n".join(lines) + "\n"


# -------------------------------------------------------------------------------------------------- all


MAKERS: Mapping[str, Callable[[], str]] = {
    "reference/cli.md": cli_page,
    "reference/exit-codes.md": exit_codes_page,
    "reference/hooks.md": hooks_page,
}
"""How each generated page is made, by its path below ``docs/``."""


def main() -> int:
    """Write all pages that can be made, say which changed, and return 1 when one cannot be made."""
    from badc_core.atomic import write_text

    status = 0
    for name, make in MAKERS.items():
        try:
            text = make()
        except errors.BadcError as error:
            print(f"docs/{name} cannot be made: {error}", file=sys.stderr)
            status = 1
            continue
        target = DOCS / name
        if not target.exists() or target.read_text("utf-8") != text:
            write_text(target, text)
            print(f"wrote docs/{name}")
    return status


if __name__ == "__main__":
    sys.exit(main())

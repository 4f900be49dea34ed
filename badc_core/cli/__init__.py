"""The command line: parses, calls one library function, prints.

Only names and one-line helps of commands are known here; a command's module is imported when it is asked for. So
``badc --help`` imports neither numpy nor a model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from badc_core import __version__
from badc_core.cli.option_names import bind
from badc_core.errors import BadcError, ExitCode

__all__ = ["LazyGroup", "cli", "main"]

GROUPS: Mapping[str, tuple[str, Mapping[str, tuple[str, str]]]] = {
    "chunk": (
        "Cut recordings into chunks, and list them in manifests",
        {
            "manifest": ("List chunks of recordings without writing audio", "badc_core.cli.chunk:manifest"),
            "orchestrate": ("Cut a whole dataset", "badc_core.cli.chunk_orchestrate:orchestrate"),
            "probe": ("Find a chunk length that fits the device's memory", "badc_core.cli.chunk:probe"),
            "run": ("Write chunk files and their manifest", "badc_core.cli.chunk:run"),
            "split": ("Show the chunks of a recording", "badc_core.cli.chunk:split"),
        },
    ),
    "data": (
        "Bring datasets here, and say which are here",
        {
            "connect": ("Bring a dataset here, or up to date", "badc_core.cli.data:connect"),
            "disconnect": ("Forget a dataset, or delete it here", "badc_core.cli.data:disconnect"),
            "status": ("List datasets, and whether they are here", "badc_core.cli.data:status"),
        },
    ),
    "infer": (
        "Run a classifier over a manifest",
        {
            "orchestrate": ("Analyse a whole dataset", "badc_core.cli.infer_orchestrate:orchestrate"),
            "run": ("Analyse every chunk of a manifest", "badc_core.cli.infer:run"),
            "run-config": ("The same, told by a TOML file", "badc_core.cli.infer:run_config"),
        },
    ),
    "jobs": (
        "Look after runs that go on by themselves, as on a cluster",
        {
            "cancel": ("Stop the jobs of a run", "badc_core.cli.jobs:cancel"),
            "list": ("List such runs", "badc_core.cli.jobs:list_runs"),
            "record": ("Record a run in its DataLad dataset, when that failed before", "badc_core.cli.jobs:record"),
            "logs": ("Show what the workers of a run wrote", "badc_core.cli.jobs:logs"),
            "resume": ("Take a run up again, follow it, and say how it ended", "badc_core.cli.jobs:resume"),
            "status": ("Say where every shard of a run stands", "badc_core.cli.jobs:status"),
        },
    ),
    "pipeline": (
        "From recordings to reports in one go",
        {"run": ("Cut a dataset, analyse it and report on it", "badc_core.cli.pipeline:run")},
    ),
}
"""Groups of the core: help, and per command help and import string. Plugins add to them."""

COMMANDS: Mapping[str, tuple[str, str]] = {
    "doctor": ("Say what is installed and what can run here", "badc_core.cli.doctor:doctor"),
    "gpus": ("List the GPUs that may be used", "badc_core.cli.doctor:gpus"),
    "plugins": ("List plugins; make a new one", "badc_core.cli.plugins:plugins"),
    "telemetry": ("Show the last records of a telemetry log", "badc_core.cli.telemetry:telemetry"),
    "version": ("Say which BADC this is", "badc_core.cli.version:version"),
    "watch": ("Analyse recordings as they arrive", "badc_core.cli.watch:watch"),
    "worker": ("Do one shard of a run; schedulers call it", "badc_core.cli.worker:worker"),
}


_UNTOLD = "Further commands, of plugins"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    Parameters
    ----------
    table
        Per command its one-line help and its import string.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table: dict[str, tuple[str, str]] = dict(table or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.table, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.table:
            from badc_core.host import load_object

            command = load_object(self.table[cmd_name][1])
            if not isinstance(command, click.Command):
                raise click.ClickException(f"{self.table[cmd_name][1]} is no click command")
            if ctx.parent is not None:  # the root's file is read later, by `cli`
                bind(ctx, cmd_name, command)
            return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if close and "Did you mean" not in error.message:
                raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            if name in self.table:
                rows.append((name, self.table[name][0]))
            else:
                rows.append((name, self.commands[name].get_short_help_str(limit=100)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _group(name: str, summary: str, table: Mapping[str, tuple[str, str]]) -> LazyGroup:
    return LazyGroup(name=name, help=summary + ".", short_help=summary, table=table)


class RootGroup(LazyGroup):
    """``badc`` itself: the core's commands and the plugins', looked for when first needed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._complete = False

    def complete(self) -> None:
        """Add the commands of plugins; what the core has is not replaced."""
        if self._complete:
            return
        self._complete = True
        for name, (summary, table) in GROUPS.items():
            self.add_command(_group(name, summary, table))
        from badc_core.host import default_host
        from badc_core.specs import CommandSpec

        for spec in default_host().all(CommandSpec):
            head, _, tail = spec.name.partition(" ")
            if not tail:
                self.table.setdefault(head, (spec.summary, spec.load))
                continue
            group = self.commands.get(head)
            if group is None:
                group = _group(head, spec.group or _UNTOLD, {})
                self.add_command(group)
            elif spec.group and group.short_help == _UNTOLD:
                group.short_help, group.help = spec.group, spec.group + "."
            if isinstance(group, LazyGroup):
                group.table.setdefault(tail, (spec.summary, spec.load))

    def list_commands(self, ctx: click.Context) -> list[str]:
        self.complete()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self.complete()
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=RootGroup,
    table=COMMANDS,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "BADC",
        "max_content_width": 100,
    },
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 some chunks failed, 4 folder held by another run, 75 run again.",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with defaults; else ./badc.toml.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="warning",
    show_default=True,
    help="How much to say about what happens inside, on stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    help="For people, or one JSON object a line.",
)
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
@click.version_option(__version__, prog_name="badc")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, log_level: str, log_format: str, debug: bool) -> None:
    """Run classifiers over field recordings, and compile what they heard."""
    from badc_core.config import load_settings
    from badc_core.log import configure

    settings = load_settings(config)
    configure("debug" if debug else log_level, log_format)
    ctx.obj = settings
    ctx.default_map = {key: value for key, value in settings.values.items() if isinstance(value, dict)}
    name = ctx.invoked_subcommand or ""
    if (command := ctx.command.get_command(ctx, name)) is not None:  # type: ignore[attr-defined]
        bind(ctx, name, command)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status; the console script ``badc``."""
    args = sys.argv[1:] if argv is None else argv
    debug = "--debug" in args or os.environ.get("BADC_DEBUG", "").lower() in {"1", "true", "yes"}
    try:
        status = cli.main(args=args, prog_name="badc", standalone_mode=False)
        return int(status or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Aborted.", err=True)
        return int(ExitCode.RESUME)
    except BadcError as error:
        if debug:
            raise
        click.secho(f"Error: {error.message}", fg="red", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        return int(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader left; say nothing at interpreter exit
        return int(ExitCode.OK)

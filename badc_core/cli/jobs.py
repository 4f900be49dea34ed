"""``badc jobs``: runs that go on by themselves, seen from any machine that sees their folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from badc_core import layout
from badc_core.cli.wording import counted
from badc_core.errors import BadcError, ExitCode

if TYPE_CHECKING:
    from badc_core.scheduling import ShardState

PATH = click.Path(path_type=Path)
_SHOWN = 20

_output_dir = click.option(
    "--output-dir",
    type=PATH,
    default=layout.DEFAULT_OUTPUT,
    show_default=True,
    help="Where the run's results go; not needed when RUN is a folder.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
_run = click.argument("run", default="last")


def _base(output_dir: Path) -> Path:
    return layout.output_base(Path.cwd() / "x", output_dir)


def _find(run: str, output_dir: Path) -> Path:
    from badc_core.run_folders import find_run

    return find_run(run, _base(output_dir))


def _asked_states(folder: Path) -> Mapping[int, ShardState]:
    """Ask the scheduler of a run where its shards stand."""
    from badc_core.host import default_host
    from badc_core.run_folders import ask

    scheduler, submission = ask(folder, default_host())
    return scheduler.states(submission)


def _how(ended: Mapping[str, Any]) -> str:
    """Return how a run ended: complete, with what failed; cancelled; left, because another run went on."""
    failures = ended.get("failures")
    return str(ended.get("how")) + (f", {counted(failures, 'chunk')} failed" if failures else "")


def _standing(states: Mapping[int, ShardState]) -> str:
    """Return where the shards stand of a run that somebody must still look after."""
    from badc_core.run_folders import FINAL, in_words

    over = all(state.state in FINAL for state in states.values())
    return in_words(states.values()) + ("; to be gathered by badc jobs resume" if over else "")


def _print_json(entry: Any) -> None:
    from badc_core.json_text import dump_json

    click.echo(dump_json(entry, indent=True).decode())


# ------------------------------------------------------------------------------------------------ list


@click.command("list")
@_output_dir
@_json
def list_runs(output_dir: Path, as_json: bool) -> int:
    """List the runs that go on by themselves, oldest first."""
    from badc_core.plan import read_plan
    from badc_core.run_folders import REQUEST_FILE, read_asked, read_ended, run_folders

    base = _base(output_dir)
    entries = []
    for folder in run_folders(base):
        if not (folder / REQUEST_FILE).exists():
            continue
        plan, asked = read_plan(folder), read_asked(folder)
        entry: dict[str, Any] = {
            "run_id": plan.run_id,
            "scheduler": asked.scheduler,
            "runner": plan.runner,
            "chunks": plan.chunks,
            "shards": plan.shards,
            "run_folder": str(folder),
        }
        if ended := read_ended(folder):
            entry["state"] = _how(ended)
        else:
            try:
                entry["state"] = _standing(_asked_states(folder))
            except BadcError as error:
                entry["state"] = f"unknown: {error.message}"
        entries.append(entry)
    if as_json:
        _print_json(entries)
        return ExitCode.OK
    if not entries:
        click.echo(f"No runs that go on by themselves in {base}.")
    for entry in entries:
        chunks, shards = counted(entry["chunks"], "chunk"), counted(entry["shards"], "shard")
        click.echo(
            f"{entry['run_id']}  {entry['scheduler']}  {entry['runner']}  {chunks} in {shards}: {entry['state']}"
        )
    return ExitCode.OK


# ---------------------------------------------------------------------------------------------- status


@click.command()
@_run
@_output_dir
@click.option("--all", "show_all", is_flag=True, help="Every shard, not only those that are neither done nor waiting.")
@_json
def status(run: str, output_dir: Path, show_all: bool, as_json: bool) -> int:
    """Say where every shard of RUN stands (a run id or its beginning, a run folder, or `last`)."""
    from badc_core.plan import read_plan
    from badc_core.run_folders import in_words, read_ended

    folder = _find(run, output_dir)
    plan, states, ended = read_plan(folder), _asked_states(folder), read_ended(folder)
    if as_json:
        shards = {str(index): {"state": state.state, "detail": state.detail} for index, state in states.items()}
        about = {"run_id": plan.run_id, "run_folder": str(folder), "ended": bool(ended), "how": ended.get("how")}
        _print_json({**about, "shards": shards})
        return ExitCode.OK
    click.echo(f"Run      {plan.run_id}, runner {plan.runner}, {counted(plan.chunks, 'chunk')}")
    click.echo(f"Folder   {folder}")
    if ended:
        click.echo(f"Ended    {_how(ended)}, {ended.get('ended_at')}")
    click.echo(f"Shards   {in_words(states.values()) if ended else _standing(states)}")
    told = [
        (index, state) for index, state in sorted(states.items()) if show_all or state.state not in ("done", "waiting")
    ]
    for index, state in told if show_all else told[:_SHOWN]:
        first, _, more = state.detail.partition("\n")
        click.echo(f"  {index:>6}  {state.state}{f': {first}' if first else ''}")
        for line in more.splitlines() if state.state == "failed" else ():
            click.echo(f"            {line}")
    if len(told) > _SHOWN and not show_all:
        click.echo(f"  … and {len(told) - _SHOWN:,} more; --all shows every shard")
    for reason, number in Counter(s.detail for s in states.values() if s.state == "waiting" and s.detail).most_common(
        3
    ):
        click.echo(f"Waiting  {number:,} x {reason}")
    return ExitCode.OK


# ------------------------------------------------------------------------------------------------ logs


@click.command()
@_run
@_output_dir
@click.option("--shard", type=click.IntRange(0), help="Of this shard.  [default: those that failed]")
@click.option("--tail", type=click.IntRange(1), default=20, show_default=True, help="Lines of each.")
def logs(run: str, output_dir: Path, shard: int | None, tail: int) -> int:
    """Show the last lines of what workers of RUN wrote: of one shard, or of the first few that failed."""
    from badc_core.host import default_host
    from badc_core.run_folders import ask

    scheduler, submission = ask(_find(run, output_dir), default_host())
    wanted = [shard] if shard is not None else [
        index for index, state in scheduler.states(submission).items() if state.state == "failed"
    ][:3]  # fmt: skip
    if not wanted:
        click.echo("No shard failed; --shard N shows the log of any.")
    for index in wanted:
        path = scheduler.log(submission, index)
        click.echo(f"--- shard {index}: {path or 'no log'}")
        if path is not None:
            lines = path.read_text("utf-8", errors="replace").splitlines()
            click.echo("\n".join(lines[-tail:]))
    return ExitCode.OK


# -------------------------------------------------------------------------------------- cancel, resume


@click.command()
@_run
@_output_dir
@click.option("--forget", is_flag=True, help="Even if the scheduler cannot be asked: its jobs are known to be gone.")
def cancel(run: str, output_dir: Path, forget: bool) -> int:
    """Stop the jobs of RUN; what was committed stays, and running the same command again does the rest.

    Of a run that has ended, nothing is changed.
    """
    from badc_core.following import stop_for_good
    from badc_core.run_folders import in_words, read_ended

    folder = _find(run, output_dir)
    before = read_ended(folder)
    states = stop_for_good(folder, forget=forget)
    if before and states:
        click.echo(f"The run {folder.name} had ended ({_how(before)}); jobs of it that were left are stopped.")
    elif before:
        click.echo(f"The run {folder.name} has ended already ({_how(before)}); nothing was changed.")
    elif read_ended(folder).get("how") == "complete":
        click.echo(f"The run {folder.name} had come to its end, and was gathered: {in_words(states.values())}.")
    else:
        click.echo(f"Cancelled {folder.name}: {in_words(states.values())}.")
    return ExitCode.OK


@click.command()
@_run
@_output_dir
@click.option("--detach", is_flag=True, help="Hand over again what is missing, and return.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for another process that follows RUN, or another run that holds the folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No progress.")
def resume(run: str, output_dir: Path, detach: bool, wait: float, as_json: bool, quiet: bool) -> int:
    """Take RUN up again: hand over again what neither is done nor on its way, follow it, and say how it ended.

    For a run whose command was stopped or detached, from any machine that can reach the scheduler.
    """
    from badc_core.cli.outcome import detached_text, exit_code, outcome_json, outcome_text
    from badc_core.cli.progress import ProgressLine
    from badc_core.following import resume as resume_run

    folder = _find(run, output_dir)
    with ProgressLine(quiet=quiet or detach) as progress:
        summary = resume_run(folder, progress, wait_s=wait, detach=detach)
    if summary is None:
        click.echo(detached_text(folder))
        return ExitCode.OK
    if as_json:
        _print_json(outcome_json(summary))
    else:
        click.echo(outcome_text(summary))
    return exit_code(summary)


# ---------------------------------------------------------------------------------------------- record


@click.command()
@_run
@_output_dir
def record(run: str, output_dir: Path) -> int:
    """Save what RUN made in its DataLad dataset, in one commit, where that could not be done when it ended."""
    from badc_core.run_folders import REQUEST_FILE, named, read_ended
    from badc_core.run_record import read_wanted
    from badc_core.run_record import record as record_run
    from badc_core.task_facts import write_task_facts

    folder = _find(run, output_dir)
    wanted = read_wanted(folder)
    if wanted is None:
        raise BadcError(f"No record of the run {folder.name} was asked for.", hint="`datalad save` keeps what it made.")
    ended, detached = read_ended(folder), (folder / REQUEST_FILE).exists()
    if ended.get("how") != "complete":
        again = "The command that began it does the rest, and records all of it."
        follow = f"Follow it there: badc jobs resume {named(folder)}"
        raise BadcError(f"The run {folder.name} has not come to its end.", hint=follow if detached else again)
    if wanted.commit is None and detached:
        write_task_facts(folder)
    commit = record_run(folder, ExitCode.SOME_FAILED if ended.get("failures") else ExitCode.OK)
    click.echo(f"Recorded   {commit} in {wanted.record.dataset}")
    return ExitCode.OK

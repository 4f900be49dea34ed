"""``badc infer run`` and ``badc infer run-config``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from badc_core import layout
from badc_core.cli.option_names import flag_name
from badc_core.cli.options import SCHEDULER, WORKERS, decorator, runner_options
from badc_core.cli.wording import counted
from badc_core.config import Settings, pairs
from badc_core.errors import BadcError, ExitCode, UsageError
from badc_core.runs import RunRequest

PATH = click.Path(path_type=Path)
_SHARDS_SHOWN = 10


_RUN_OPTIONS = (
    *runner_options("stub"),
    click.option("--output-dir", type=PATH, default=layout.DEFAULT_OUTPUT, show_default=True, help="Where results go."),
    click.option(
        "--layout",
        "result_layout",
        type=click.Choice(["files", "segments"]),
        default="files",
        show_default=True,
        help="One JSON file per chunk, or one file per worker (for millions of chunks).",
    ),
    *WORKERS,
    click.option(
        "--max-retries", type=click.IntRange(0), default=2, show_default=True, help="Attempts after the first."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Longest time for a chunk; a command or child process that takes longer is ended.",
    ),
    click.option("--fail-fast", is_flag=True, help="Stop at the first chunk that fails for good."),
    *SCHEDULER,
    click.option(
        "--detach", is_flag=True, help="Return once the run was handed over to a scheduler that goes on by itself."
    ),
    click.option("--telemetry", multiple=True, metavar="NAME[=TARGET]", help="A further destination of telemetry."),
    click.option("--telemetry-log", type=PATH, help="The telemetry log.  [default: beside the dataset]"),
    click.option(
        "--resume/--no-resume", default=True, show_default=True, help="Do only what is missing, or everything anew."
    ),
    click.option(
        "--resume-summary",
        type=PATH,
        help="Summary of an earlier run, to count results without a fingerprint (BADC 0.1) as done.",
    ),
    click.option("--replace", is_flag=True, help="Make results of another runner, model or options anew."),
    click.option(
        "--wait",
        type=click.FloatRange(0),
        default=0.0,
        metavar="SECONDS",
        help="Wait so long for another run that holds the folder.",
    ),
    click.option("--share", is_flag=True, help="Share the output folder with runs over manifests of other recordings."),
    click.option("--runner-cmd", help="A program to run per chunk; --input and --output are added."),
    click.option("--print-datalad-run", is_flag=True, help="Print the command wrapped in `datalad run`; run nothing."),
    click.option(
        "--record-datalad/--no-record-datalad",
        default=None,
        help="Record the run in its DataLad dataset, as `datalad run` does.  [default: where that can be]",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing."),
    click.option("--show-config", is_flag=True, help="Say where each value came from; run nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout."),
    click.option("--quiet", is_flag=True, help="No progress."),
)


@click.command()
@click.argument("manifest", type=PATH)
@decorator(_RUN_OPTIONS)
@click.pass_context
def run(ctx: click.Context, /, manifest: Path, **given: Any) -> int:
    """Analyse every chunk of MANIFEST that has no result yet.

    Running the same command again does only what is missing.
    """
    settings = ctx.obj if isinstance(ctx.obj, Settings) else Settings()
    return _run(ctx, manifest, settings, given)


def _run(ctx: click.Context, manifest: Path, settings: Settings, given: dict[str, Any]) -> int:
    if given["show_config"]:
        return _show_config(ctx)
    request = _request(manifest, settings, given)
    if given["print_datalad_run"]:
        from badc_core.provenance import datalad_run_command

        click.echo(datalad_run_command(request))
        return ExitCode.OK
    if given["dry_run"]:
        return _dry_run(request, as_json=given["as_json"])
    return execute(_with_record(request), as_json=given["as_json"], quiet=given["quiet"])


def _request(manifest: Path, settings: Settings, given: dict[str, Any]) -> RunRequest:
    runner, options = choose_runner(settings, given)
    return RunRequest(
        manifest=manifest,
        runner=runner,
        options=options,
        output_dir=given["output_dir"],
        layout=given["result_layout"],
        max_gpus=given["max_gpus"],
        cpu_workers=given["cpu_workers"],
        max_retries=given["max_retries"],
        timeout_s=given["timeout"],
        fail_fast=given["fail_fast"],
        scheduler=given["scheduler"],
        scheduler_options={
            **settings.table("scheduler", given["scheduler"]),
            **pairs(given["scheduler_options"], "-s"),
        },
        telemetry=tuple(given["telemetry"]),
        telemetry_log=given["telemetry_log"],
        resume=given["resume"],
        resume_summary=given["resume_summary"],
        replace=given["replace"],
        wait_s=given["wait"],
        settings=settings,
        detach=given["detach"],
        record=given["record_datalad"],
        share=given["share"],
    )


def goes_on_by_itself(scheduler: str) -> bool:
    """Whether a scheduler's work goes on without this process."""
    from badc_core.host import default_host
    from badc_core.specs import SchedulerSpec

    return default_host().find(SchedulerSpec, scheduler).detached


def _with_record(request: RunRequest) -> RunRequest:
    """Return the request of a run, with the word on its record where the run works in this process.

    Besides what the engine asks for, chunks and log must be in the dataset of the manifest. A record that was asked for
    and cannot be is an error before anything is done.
    """
    from attrs import evolve

    from badc_core.datalad import may_record
    from badc_core.provenance import record_of
    from badc_core.run_record import check_recordable

    if request.record is False or goes_on_by_itself(request.scheduler):
        return request
    if request.record:
        check_recordable(record_of(request).dataset)
        return request
    root = layout.dataset_root(request.manifest)
    if root is None or not may_record(root):
        return request
    try:
        dataset = record_of(request).dataset
    except BadcError:
        return evolve(request, record=False)
    log = Path(os.path.abspath((request.telemetry_log or Path()).expanduser()))  # noqa: PTH100 - links stay as they are
    beside = request.telemetry_log is None and request.output_dir == layout.DEFAULT_OUTPUT
    return request if beside or log.is_relative_to(dataset) else evolve(request, record=False)


def choose_runner(settings: Settings, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the runner's name and options, from the four ways to name one."""
    named = {
        "--runner": given["runner"],
        "--runner-cmd": None if given["runner_cmd"] is None else "command",
        "--use-hawkears/--stub-runner": {True: "hawkears", False: "stub", None: None}[given["use_hawkears"]],
    }
    chosen = {flag: name for flag, name in named.items() if name is not None}
    if len(set(chosen.values())) > 1:
        raise UsageError(f"{' and '.join(chosen)} name different runners.", hint="Give one of them.")
    runner = next(iter(chosen.values()), "stub")
    if runner == "hawkears":
        _need_hawkears()
    elif given["hawkears_args"]:
        raise UsageError("--hawkears-arg goes with --use-hawkears.", hint="Options of other runners: -o key=value.")
    options = {**settings.table("runner", runner), **pairs(given["options"])}
    if given["runner_cmd"] is not None:
        if not given["runner_cmd"].strip():
            raise UsageError("--runner-cmd is empty.", hint="Name the program, with its arguments in one text.")
        options["command"] = given["runner_cmd"]
    if given["hawkears_args"]:
        others = options.get("args", [])
        options["args"] = [*([others] if isinstance(others, str) else others), *given["hawkears_args"]]
    return runner, options


def _need_hawkears() -> None:
    from badc_core.errors import PluginError
    from badc_core.host import default_host
    from badc_core.specs import RunnerSpec

    if all(spec.name != "hawkears" for spec in default_host().all(RunnerSpec)):
        raise PluginError(
            "The HawkEars runner is not installed.",
            hint="It comes with the plugin badc-hawkears: pip install badc-hawkears. `badc plugins` lists the others.",
        )


def _show_config(ctx: click.Context) -> int:
    words = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment", "DEFAULT_MAP": "TOML", "DEFAULT": "default"}
    for option in sorted(ctx.command.params, key=flag_name):
        name = option.name or ""
        if name not in ("show_config", "manifest"):
            source = ctx.get_parameter_source(name)
            where = words.get(source.name, source.name.lower()) if source is not None else "default"
            click.echo(f"{flag_name(option)} = {ctx.params[name]!s}  ({where})")
    return ExitCode.OK


def _dry_run(request: RunRequest, *, as_json: bool) -> int:
    from badc_core.engine import preview

    found = preview(request)
    plan, planned = found.plan, found.planned
    if as_json:
        _print_json(
            {
                "total": planned.total,
                "done": planned.done,
                "chunks": plan.chunks,
                "audio_ms": plan.audio_ms,
                "shards": plan.shards,
                "workers": list(found.devices),
                "runner": plan.runner,
                "options": dict(plan.options),
                "fingerprint": plan.fingerprint,
                "output": [str(base) for base in plan.bases],
                "files": dict(found.files),
                "shard_sizes": [{"chunks": shard.count, "audio_ms": shard.audio_ms} for shard in found.shards],
            }
        )
        return ExitCode.OK
    model = f" ({plan.identity.model} {plan.identity.version})" if plan.identity.version else ""
    click.echo(f"Runner       {plan.runner}{model}, fingerprint {plan.fingerprint}")
    click.echo(f"Manifest     {request.manifest}: {counted(planned.total, 'chunk')}, {planned.done} done")
    shards = counted(plan.shards, "shard")
    click.echo(f"To do        {counted(plan.chunks, 'chunk')}, {plan.audio_ms / 3_600_000:.2f} h, in {shards}")
    click.echo(f"Workers      {', '.join(found.devices)} ({request.scheduler})")
    for base in plan.bases:
        click.echo(f"Results      {base} (layout {plan.layout})")
    for shard in found.shards[:_SHARDS_SHOWN] if found.files else ():
        click.echo(f"Shard {shard.index:<6} {counted(shard.count, 'chunk')}, {shard.audio_ms / 3_600_000:.2f} h")
    if found.files and plan.shards > _SHARDS_SHOWN:
        click.echo(f"             and {plan.shards - _SHARDS_SHOWN:,} more")
    for name, text in found.files.items():
        click.echo(f"--- {name}\n{text}")
    return ExitCode.OK


def execute(request: RunRequest, *, as_json: bool = False, quiet: bool = False) -> int:
    """Run, show progress, print how it ended, and return the exit status."""
    from badc_core.cli.outcome import detached_text, exit_code, gathered_text, outcome_json, outcome_text
    from badc_core.cli.progress import ProgressLine
    from badc_core.engine import run as run_engine

    with ProgressLine(quiet=quiet) as progress:
        summary = run_engine(request, progress)
    if as_json:
        _print_json(outcome_json(summary))
    elif summary.detached and summary.folder is not None:
        if summary.gathered:
            click.echo(gathered_text(summary.gathered))
        click.echo(detached_text(summary.folder))
    else:
        click.echo(outcome_text(summary))
    return exit_code(summary)


def _print_json(entry: dict[str, Any]) -> None:
    from badc_core.json_text import dump_json

    click.echo(dump_json(entry, indent=True).decode())


# ------------------------------------------------------------------------------------------- run-config


def _checked(ctx: click.Context, file: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Hold values from a file to what the same options take on the command line."""
    parameters = {parameter.name: parameter for parameter in run.params}
    checked = {}
    for name, value in values.items():
        try:
            checked[name] = parameters[name].type_cast_value(ctx, value)
        except click.BadParameter as error:
            raise UsageError(f"{file}: {flag_name(parameters[name])} cannot be {value!r}: {error.message}") from error
    return checked


@click.command("run-config")
@click.argument("file", type=PATH)
@click.option("--print-datalad-run", is_flag=True, help="Print the command wrapped in `datalad run`; run nothing.")
@click.option(
    "--record-datalad/--no-record-datalad",
    default=None,
    help="Record the run in its DataLad dataset, as `datalad run` does.  [default: where that can be]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.pass_context
def run_config(ctx: click.Context, /, file: Path, record_datalad: bool | None, **more: bool) -> int:
    """Analyse the manifest that FILE (TOML) names, with the options it gives."""
    from badc_core.config import load_settings
    from badc_core.run_config import read_run_config

    manifest, values = read_run_config(load_settings(file))
    given = run.make_context("run", ["--", str(manifest)], parent=ctx.parent).params
    given.update(_checked(ctx, file, values), **more)
    if record_datalad is not None:
        given["record_datalad"] = record_datalad
    settings = ctx.obj if isinstance(ctx.obj, Settings) else Settings()
    return _run(ctx, manifest, settings, given)

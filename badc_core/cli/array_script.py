"""``badc infer orchestrate --slurm-script``: a script to submit by hand.

The text around a task is the scheduler's: the core asks the plugin ``slurm`` for it, and never imports it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from badc_core.cli.bundling import Bundling
from badc_core.cli.chunk import PATH
from badc_core.cli.infer_work import Work
from badc_core.cli.option_names import flag_name
from badc_core.cli.options import bucket_option, decorator
from badc_core.cli.wording import counted
from badc_core.config import pairs
from badc_core.errors import PluginError, UsageError
from badc_core.infer_jobs import InferJob

__all__ = ["check_script_options", "reports_of_script", "script_options", "write_script"]

SCHEDULER = "slurm"
_OPTIONS = {
    "sockeye_account": ("account", "Account to charge"),
    "sockeye_partition": ("partition", "Partition"),
    "sockeye_gres": ("gres", "Resources of a task, such as gpu:1"),
    "sockeye_time": ("time", "Time limit of a task"),
    "sockeye_cpus_per_task": ("cpus", "Processor cores of a task"),
    "sockeye_mem": ("mem", "Memory of a task"),
}
"""Parameters that say in BADC 0.1's words what ``-s key=value`` says; their keys, and what they are."""


def script_options(function: Any) -> Any:
    """Put the options of scripts on a command."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--slurm-script",
            "--sockeye-script",
            "slurm_script",
            type=PATH,
            help="Write a script for `sbatch`: an array with a task for each recording.",
        ),
        click.option("--sockeye-job-name", default="badc-infer", show_default=True, help="Name of its jobs."),
        *(
            click.option(f"--{name.replace('_', '-')}", help=f"{what}; the same as -s {key}=….")
            for name, (key, what) in _OPTIONS.items()
        ),
        click.option("--sockeye-log-dir", type=PATH, help="Where its tasks write their logs.  [default: as without]"),
        click.option(
            "--sockeye-resume-completed/--sockeye-rerun-all",
            default=None,
            help="The same as --resume-completed/--rerun-all, for the script.",
        ),
        click.option(
            "--sockeye-bundle/--sockeye-no-bundle",
            default=False,
            show_default=True,
            help="Each task makes tables and reports, too.",
        ),
        click.option(
            "--sockeye-bundle-aggregate-dir",
            type=PATH,
            default=Path("artifacts/aggregate"),
            show_default=True,
            help="Where they go.",
        ),
        bucket_option("--sockeye-bundle-bucket-minutes", 60),
    ]
    return decorator(options)(function)


def check_script_options(ctx: click.Context, given: Mapping[str, Any]) -> None:
    """Raise UsageError where something is said of a script that nobody asked for."""
    if given["slurm_script"] is not None:
        return
    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if (option.name or "").startswith("sockeye_") and source == click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"{flag_name(option)} goes with --slurm-script FILE.")


def reports_of_script(ctx: click.Context, work: Work, given: Mapping[str, Any]) -> Bundling | None:
    """Return what the script's tasks make of their results; ``None``: nothing.

    Raises
    ------
    PluginError
        The commands that make reports are missing.
    """
    if not given["sockeye_bundle"]:
        return None
    folder = work.places.inside(given["sockeye_bundle_aggregate_dir"])
    made = Bundling(ctx, folder, given["sockeye_bundle_bucket_minutes"], False, 1, folder)
    made.check()
    return made


def write_script(ctx: click.Context, jobs: Sequence[InferJob], work: Work, given: Mapping[str, Any]) -> None:
    """Write the script, and say how to submit it.

    Parameters
    ----------
    ctx
        Of the command.
    jobs
        A task for each.
    work
        How they are to be done.
    given
        Values of :func:`script_options`, `scheduler_options` and `require_complete_chunks`.

    Raises
    ------
    BadcError
        There is no such scheduler, its options do not fit, or the file cannot be written.
    """
    from badc_core.atomic import write_text

    path: Path = given["slurm_script"].expanduser()
    write_text(path, _script(ctx, jobs, work, given))
    tasks = counted(len(jobs), "task")
    click.echo(
        f"Script: {path}, an array of {tasks}. To submit it: sbatch {shlex.quote(str(path))}",
        err=given["print_datalad_run"],
    )


def _script(ctx: click.Context, jobs: Sequence[InferJob], work: Work, given: Mapping[str, Any]) -> str:
    from badc_core.array_scripts import CLAIM_WAIT_S, HandBundle, array_of_jobs
    from badc_core.host import default_host
    from badc_core.preparing import open_scheduler
    from badc_core.provenance import changed_flags
    from badc_core.scheduling import ScriptWriter

    options = {**work.settings.table("scheduler", SCHEDULER), **pairs(given["scheduler_options"], "-s")}
    options |= {key: given[name] for name, (key, _) in _OPTIONS.items() if given[name] is not None}
    scheduler = open_scheduler(SCHEDULER, options, default_host())
    if not isinstance(scheduler, ScriptWriter):
        raise PluginError(f"The scheduler {SCHEDULER!r} writes no scripts.", hint="pip install --upgrade badc-slurm")
    trust = given["sockeye_resume_completed"]
    resume = work.resume if trust is None else trust
    request = attrs.evolve(
        work.request(jobs[0]),
        resume=resume,
        resume_summary=None,
        scheduler="local",
        scheduler_options={},
        share=True,
        wait_s=CLAIM_WAIT_S,
    )
    dataset = work.places.dataset
    # What a badc.toml in the dataset may say of other runs does not hold for these.
    # Tasks that record at the same time in one clone would lose work.
    flags = ["--scheduler", "local", "--layout", "files", "--no-record-datalad", *changed_flags(request, dataset)]
    settings = work.settings.path
    reports = reports_of_script(ctx, work, given)
    log_dir = given["sockeye_log_dir"]
    return scheduler.script(
        array_of_jobs(
            given["sockeye_job_name"],
            jobs,
            dataset,
            flags,
            globals_=() if settings is None else ("--config", str(settings.expanduser().absolute())),
            log_dir=None if log_dir is None else work.places.inside(log_dir),
            check_chunks=given["require_complete_chunks"],
            again=resume,
            trust_summaries=work.trust_summary if trust is None else trust,
            bundle=None if reports is None else HandBundle(reports.folder, reports.bucket_minutes),
        )
    )

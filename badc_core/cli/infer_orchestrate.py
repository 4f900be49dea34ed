"""``badc infer orchestrate``: analyse the manifests of a dataset, one after the other."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from badc_core.cli.array_script import check_script_options, reports_of_script, script_options, write_script
from badc_core.cli.bundling import Bundling, bundle_options
from badc_core.cli.carrying_out import carry_out
from badc_core.cli.chunk import PATH, finish
from badc_core.cli.chunk_orchestrate import DATASET
from badc_core.cli.complaints import Complaints
from badc_core.cli.infer_work import Work, check_work, jobs_of, place_options, work_of, work_options
from badc_core.cli.wording import counted
from badc_core.errors import BadcError, ExitCode, ManifestError
from badc_core.infer_jobs import InferJob


@click.command()
@click.argument("dataset", type=PATH, default=DATASET)
@place_options
@click.option("--pattern", metavar="GLOB", default="*.csv", show_default=True, help="Names of manifests to take.")
@click.option("--chunk-plan", type=PATH, help="Take the manifests that this plan names (JSON or CSV), in its order.")
@click.option(
    "--require-complete-chunks/--allow-partial-chunks",
    default=True,
    show_default=True,
    help="Refuse recordings whose chunk files are not known to be complete, or only warn.",
)
@click.option(
    "--include-existing/--skip-existing",
    default=False,
    show_default=True,
    help="Take recordings that are finished, too.",
)
@click.option("--limit", type=click.IntRange(0), default=0, show_default=True, help="At most so many; 0: all.")
@work_options("hawkears")
@click.option(
    "--resume-completed/--rerun-all",
    default=None,
    help="Do only what has no result yet, or every chunk anew.  "
    "[default: what has no result yet; with --include-existing every chunk]",
)
@click.option("--plan-csv", type=PATH, help="Write the plan as CSV.")
@click.option("--plan-json", type=PATH, help="Write the plan as JSON.")
@click.option("--print-datalad-run", is_flag=True, help="Print a shell command with `datalad run` per recording.")
@click.option("--apply/--plan-only", default=False, show_default=True, help="Do it, or say what would be done.")
@bundle_options(bundle=False, bucket_minutes=60, rollup=False)
@script_options
@click.pass_context
def orchestrate(ctx: click.Context, /, dataset: Path, **given: Any) -> int:
    """Analyse the manifests of DATASET, one run for each, and make reports of them.

    Without --apply only the plan is shown. Recordings of which every chunk has a result, and with --bundle reports
    made of these results, are passed over; others go on where they stopped. One that fails does not stop the others,
    and the same command tries it again.
    """
    check_script_options(ctx, given)
    complaints = Complaints()
    work = work_of(ctx, dataset, given, default="hawkears")
    jobs = _plan(work, given, complaints, reports_of_script(ctx, work, given))
    if not jobs:
        click.echo(_nothing(work, given, complaints), err=given["print_datalad_run"])
        if given["apply"]:
            carry_out(jobs, work, complaints)  # counts over all tables, where that is wanted
        return finish(complaints)
    _show(jobs, work.places.dataset, to_stderr=given["print_datalad_run"])
    if not _chunks_may_be_used(jobs, complaints, work.places.dataset, required=given["require_complete_chunks"]):
        return ExitCode.ERROR
    if given["apply"]:
        check_work(work)
    _write_plans(jobs, given)
    if given["slurm_script"] is not None:
        write_script(ctx, jobs, work, given)
    if given["print_datalad_run"]:
        _print_commands(jobs, work)
    if given["apply"]:
        carry_out(jobs, work, complaints)
    elif not given["print_datalad_run"] and given["slurm_script"] is None:
        click.echo("Nothing was run yet; add --apply to analyse them.")
    return finish(complaints)


# --------------------------------------------------------------------------------------------------- plan


def _plan(work: Work, given: Mapping[str, Any], complaints: Complaints, reports: Bundling | None) -> list[InferJob]:
    from badc_core.infer_jobs import find_manifests, manifests_of_plan

    dataset = work.places.dataset
    if not dataset.is_dir():
        raise ManifestError(f"There is no folder {dataset}.", hint="Name the dataset's folder.")
    plan = given["chunk_plan"]
    if plan is None:
        manifests = find_manifests(work.places, given["pattern"])
    else:
        manifests = manifests_of_plan(plan.expanduser(), dataset, complaints.warn)
    return jobs_of(manifests, work, complaints, given["include_existing"], given["limit"], reports)


def _nothing(work: Work, given: Mapping[str, Any], complaints: Complaints) -> str:
    begin = f"Nothing to analyse in {work.places.dataset}"
    if complaints.losses:
        return f"{begin} but for what is named above."
    if given["include_existing"]:
        return f"{begin}: there is no such manifest."
    return f"{begin}: no manifest that is not done; --include-existing takes those, too."


def _show(jobs: Sequence[InferJob], dataset: Path, *, to_stderr: bool) -> None:
    width = max(len(job.recording_id) for job in jobs)
    click.echo(f"{counted(len(jobs), 'manifest')} to analyse in {dataset}:", err=to_stderr)
    for job in jobs:
        chunks = job.chunk_status or ("slices" if job.chunk_status_path is None else "unknown")
        click.echo(f"  {job.recording_id:<{width}}  chunks: {chunks:<11}  {job.manifest_path}", err=to_stderr)


def _chunks_may_be_used(jobs: Sequence[InferJob], complaints: Complaints, dataset: Path, *, required: bool) -> bool:
    """Tell which recordings have chunk files that are not known to be complete; return whether to go on."""
    from badc_core.infer_jobs import unfinished_chunks

    doubtful = unfinished_chunks(jobs)
    for job in doubtful:
        state = job.chunk_status or "not known"
        text = f"{job.recording_id}: whether its chunk files are complete is {state} ({job.chunk_status_path})."
        if job.chunk_status:
            text = f"{job.recording_id}: its chunk files are {state.replace('_', ' ')} ({job.chunk_status_path})."
        (complaints.lose if required else complaints.warn)(text)
    if doubtful and required:
        cut = f"badc chunk orchestrate {shlex.quote(str(dataset))} --apply"
        if not all(job.chunk_status for job in doubtful):
            cut += " --include-existing"  # what `badc chunk run` cut without --status has a manifest, and counts as cut
        click.echo(
            f"Analyse what is there: --allow-partial-chunks. Or cut them, with the same length as before: {cut}",
            err=True,
        )
    return not (doubtful and required)


def _write_plans(jobs: Sequence[InferJob], given: Mapping[str, Any]) -> None:
    from badc_core.infer_jobs import write_plan_csv, write_plan_json

    for path, write in ((given["plan_csv"], write_plan_csv), (given["plan_json"], write_plan_json)):
        if path is not None:
            write(path.expanduser(), jobs)
            click.echo(f"Plan: {path}", err=given["print_datalad_run"])


def _print_commands(jobs: Sequence[InferJob], work: Work) -> None:
    from badc_core.provenance import datalad_run_command

    dataset = work.places.dataset
    if not (dataset / ".datalad").exists():
        raise BadcError(f"{dataset} is no DataLad dataset.", hint="`datalad create --force` makes it one.")
    lines = [datalad_run_command(work.request(job), dataset) for job in jobs]
    for line in lines:
        click.echo(line)

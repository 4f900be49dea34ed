"""``badc pipeline run``: cut a dataset, analyse it and report on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from badc_core.cli.bundling import bundle_options
from badc_core.cli.carrying_out import carry_out
from badc_core.cli.chunk import PATH, SECONDS, finish, settings_of
from badc_core.cli.chunk_orchestrate import DATASET, PATTERN, apply_jobs
from badc_core.cli.complaints import Complaints
from badc_core.cli.infer_work import Work, check_work, jobs_of, place_options, work_of, work_options
from badc_core.cli.wording import counted
from badc_core.errors import ManifestError


@click.command()
@click.argument("dataset", type=PATH, default=DATASET)
@click.option(
    "--chunk-plan",
    type=PATH,
    default=Path("plans/pipeline_chunks.json"),
    show_default=True,
    help="Remembers what was cut, from one call to the next; counts from the dataset.",
)
@click.option("--chunk-pattern", metavar="GLOB", default=PATTERN, show_default=True, help="Recordings to take.")
@click.option(
    "--chunk-duration", type=SECONDS, default=60.0, show_default=True, metavar="SECONDS", help="Length of a chunk."
)
@click.option(
    "--chunk-overlap",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="How much a chunk shares with the one before.",
)
@click.option(
    "--chunk-include-existing/--chunk-skip-existing",
    default=False,
    show_default=True,
    help="Cut recordings again that were finished before.",
)
@click.option(
    "--chunk-limit", type=click.IntRange(0), default=0, show_default=True, help="Cut at most so many; 0: all."
)
@click.option("--chunk-workers", type=click.IntRange(1), default=1, show_default=True, help="Cut so many at once.")
@click.option(
    "--chunk-record-datalad/--chunk-no-record-datalad",
    default=None,
    help="Record the cutting with `datalad run`.  [default: as --record-datalad]",
)
@place_options
@click.option(
    "--infer-include-existing/--infer-skip-existing",
    default=True,
    show_default=True,
    help="Take recordings that are finished, too.",
)
@click.option(
    "--resume-completed/--rerun-all",
    default=True,
    show_default=True,
    help="Do only what has no result yet, or every chunk anew.",
)
@work_options("stub")
@bundle_options(bundle=True, bucket_minutes=30, rollup=True)
@click.pass_context
def run(ctx: click.Context, /, dataset: Path, **given: Any) -> int:
    """Cut the recordings of DATASET, analyse their chunks and make reports.

    Running the same command again does only what is missing. What fails does not stop the rest.
    """
    complaints = Complaints()
    work = work_of(ctx, dataset, {**given, "include_existing": given["infer_include_existing"]}, default="stub")
    check_work(work)
    plan = work.places.inside(given["chunk_plan"])
    _cut(ctx, work, plan, given, complaints)
    _analyse(work, plan, complaints, include_existing=given["infer_include_existing"])
    return finish(complaints)


def _cut(ctx: click.Context, work: Work, plan: Path, given: Mapping[str, Any], complaints: Complaints) -> None:
    """Cut what is not cut yet, and add it to the plan."""
    from badc_core.chunk_jobs import plan_dataset
    from badc_core.chunk_plans import merge_plan_json

    dataset = work.places.dataset
    jobs = plan_dataset(
        dataset,
        pattern=given["chunk_pattern"],
        chunk_duration=given["chunk_duration"],
        overlap=given["chunk_overlap"],
        manifest_dir=work.places.manifests,
        chunks_dir=work.places.chunks,
        include_existing=given["chunk_include_existing"],
        limit=given["chunk_limit"],
        on_problem=complaints.lose,
    )
    if not jobs:
        click.echo(f"Nothing to cut in {dataset / 'audio'}.")
        return
    merge_plan_json(plan, jobs, dataset)
    record = given["record_datalad"] if given["chunk_record_datalad"] is None else given["chunk_record_datalad"]
    apply_jobs(jobs, dataset, settings_of(ctx), complaints, record, given["chunk_workers"])


def _analyse(work: Work, plan: Path, complaints: Complaints, *, include_existing: bool) -> None:
    """Analyse what the plan names, but for recordings whose chunk files are not complete."""
    from badc_core.infer_jobs import manifests_of_plan, unfinished_chunks

    if not plan.exists():
        raise ManifestError(
            f"Nothing was cut, and there is no plan {plan}.",
            hint="Manifests that are there already are analysed by `badc infer orchestrate`.",
        )
    manifests = manifests_of_plan(plan, work.places.dataset, complaints.lose)
    jobs = jobs_of(manifests, work, complaints, include_existing, again="--infer-include-existing --rerun-all")
    doubtful = unfinished_chunks(jobs)
    for job in doubtful:
        complaints.lose(f"{job.recording_id} is not analysed: its chunk files are not complete.")
    usable = [job for job in jobs if job not in doubtful]
    click.echo(f"{counted(len(usable), 'recording')} to analyse in {work.places.dataset}.")
    carry_out(usable, work, complaints)

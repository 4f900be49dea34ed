"""``badc chunk orchestrate``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from badc_core.cli.chunk import PATH, SECONDS, finish, settings_of
from badc_core.cli.complaints import Complaints
from badc_core.cli.wording import counted
from badc_core.config import Settings
from badc_core.errors import BadcError

if TYPE_CHECKING:
    from badc_core.chunk_jobs import Outcome
    from badc_core.chunk_status import Job


DATASET = Path("data/datalad/bogus")
"""Where a dataset is looked for when none is named, as in BADC 0.1."""

PATTERN = "*.wav"
"""Names of recordings unless told otherwise, as in BADC 0.1."""


@click.command()
@click.argument("dataset", type=PATH, default=DATASET)
@click.option("--pattern", metavar="GLOB", default=PATTERN, show_default=True, help="Names to take; case is ignored.")
@click.option(
    "--chunk-duration", type=SECONDS, default=60.0, show_default=True, metavar="SECONDS", help="Length of a chunk."
)
@click.option(
    "--overlap",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="How much a chunk shares with the one before.",
)
@click.option("--manifest-dir", type=PATH, default=Path("manifests"), show_default=True, help="Where manifests go.")
@click.option(
    "--chunks-dir", type=PATH, default=Path("artifacts/chunks"), show_default=True, help="Where chunk files go."
)
@click.option(
    "--include-existing/--skip-existing",
    default=False,
    show_default=True,
    help="Cut recordings again that were finished before.",
)
@click.option("--limit", type=click.IntRange(0), default=0, show_default=True, help="At most so many; 0: all.")
@click.option("--print-datalad-run", is_flag=True, help="Print a shell script with a `datalad run` per recording.")
@click.option("--apply/--plan-only", default=False, show_default=True, help="Do it, or say what would be done.")
@click.option("--plan-csv", type=PATH, help="Write the plan as CSV.")
@click.option("--plan-json", type=PATH, help="Write the plan as JSON.")
@click.option(
    "--record-datalad/--no-record-datalad",
    default=True,
    show_default=True,
    help="Record the work with `datalad run`, where it is a dataset and the tool is there.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Recordings cut side by side.")
@click.pass_context
def orchestrate(
    ctx: click.Context,
    dataset: Path,
    pattern: str,
    chunk_duration: float,
    overlap: float,
    manifest_dir: Path,
    chunks_dir: Path,
    include_existing: bool,
    limit: int,
    print_datalad_run: bool,
    apply: bool,
    plan_csv: Path | None,
    plan_json: Path | None,
    record_datalad: bool,
    workers: int,
) -> int:
    """Cut all recordings below DATASET/audio into chunk files, with a manifest each.

    Without --apply only the plan is shown. Recordings that are done are passed over; those that failed or were cut
    short come again. One that fails does not stop the others; the exit status is 3 then.
    """
    from badc_core.chunk_jobs import plan_dataset
    from badc_core.chunk_plans import write_plan_csv, write_plan_json
    from badc_core.chunking import check_lengths

    check_lengths(chunk_duration, overlap)
    complaints = Complaints()
    dataset = dataset.expanduser().absolute()
    jobs = plan_dataset(
        dataset,
        pattern=pattern,
        chunk_duration=chunk_duration,
        overlap=overlap,
        manifest_dir=manifest_dir,
        chunks_dir=chunks_dir,
        include_existing=include_existing,
        limit=limit,
        on_problem=complaints.lose,
    )
    if not jobs:
        nothing = f"Nothing to cut in {dataset / 'audio'}: no recording fits {pattern!r} that is not done."
        click.echo(nothing, err=print_datalad_run)
        return finish(complaints)
    _show(jobs, dataset, to_stderr=print_datalad_run)
    for path, write in ((plan_csv, write_plan_csv), (plan_json, write_plan_json)):
        if path is not None:
            write(path.expanduser(), jobs)
            click.echo(f"Plan: {path}", err=print_datalad_run)
    if print_datalad_run:
        _print_commands(jobs, dataset, settings_of(ctx))
    if apply:
        apply_jobs(jobs, dataset, settings_of(ctx), complaints, record_datalad, workers)
    elif not print_datalad_run:
        click.echo("Nothing was written yet; add --apply to cut them.")
    return finish(complaints)


def _show(jobs: Sequence[Job], dataset: Path, *, to_stderr: bool) -> None:
    from badc_core.chunk_status import read_status

    width = max(len(job.recording_id) for job in jobs)
    click.echo(f"{counted(len(jobs), 'recording')} to cut in {dataset}:", err=to_stderr)
    for job in jobs:
        status = read_status(job.chunk_output_dir) or "new"
        line = f"  {job.recording_id:<{width}}  {status:<11}  {job.audio_path.relative_to(dataset)}"
        click.echo(line, err=to_stderr)


def _print_commands(jobs: Sequence[Job], dataset: Path, settings: Settings) -> None:
    from badc_core.chunk_jobs import datalad_argv

    place = shlex.quote(str(dataset))
    if not (dataset / ".datalad").exists():
        raise BadcError(f"{dataset} is no DataLad dataset.", hint=f"Make it one: datalad create --force {place}")
    click.echo(f"cd {place} || exit")
    for job in jobs:
        click.echo(shlex.join(datalad_argv(dataset, job, settings.path)))


def apply_jobs(
    jobs: Sequence[Job], dataset: Path, settings: Settings, complaints: Complaints, record: bool, workers: int
) -> None:
    """Cut the recordings, and tell how it goes.

    Parameters
    ----------
    jobs, dataset
        What to cut, and where.
    settings
        Of the user.
    complaints
        Told of what is lost.
    record
        Use ``datalad run`` where that can be.
    workers
        Recordings cut side by side.
    """
    from badc_core.chunk_jobs import cut, run_jobs, run_recorded, with_status
    from badc_core.datalad import may_record
    from badc_core.recordings import rules_from

    rules = rules_from(settings)
    warn, lose = complaints.warn, complaints.lose

    def recorded(job: Job) -> int:
        return run_recorded(dataset, job, settings.path, on_problem=warn, on_loss=lose)

    def direct(job: Job) -> int:
        return with_status(job, lambda job: cut(job, rules, on_problem=warn, on_loss=lose))

    recording = record and may_record(dataset)
    if recording and workers > 1:
        complaints.warn("`datalad run` works on one recording at a time; --workers is not used.")
        workers = 1
    done = 0

    def tell(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if outcome.error is not None:
            complaints.lose(f"{outcome.job.recording_id}: {outcome.error}")
        else:
            click.echo(f"[{done}/{len(jobs)}] {outcome.job.recording_id}: {counted(outcome.rows, 'chunk')}")

    outcomes = run_jobs(jobs, recorded if recording else direct, workers=workers, tell=tell)
    failed = sum(outcome.error is not None for outcome in outcomes)
    click.echo(f"{counted(len(jobs) - failed, 'recording')} cut, {failed} failed.")

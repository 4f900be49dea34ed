"""How manifests of a dataset are to be analysed: the options that say so, and what is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import field, frozen

from badc_core.cli.bundling import Bundling, check_bundle_options
from badc_core.cli.chunk import PATH, settings_of
from badc_core.cli.complaints import Complaints
from badc_core.cli.options import SCHEDULER, WORKERS, decorator, runner_options
from badc_core.cli.wording import counted
from badc_core.config import Settings, pairs
from badc_core.infer_jobs import InferJob, Places

if TYPE_CHECKING:
    from badc_core.runs import RunRequest

__all__ = ["Work", "check_work", "jobs_of", "place_options", "work_of", "work_options"]


place_options = decorator(
    (
        click.option(
            "--manifest-dir", type=PATH, default=Path("manifests"), show_default=True, help="Where manifests are."
        ),
        click.option(
            "--chunks-dir",
            type=PATH,
            default=Path("artifacts/chunks"),
            show_default=True,
            help="Where chunk files are.",
        ),
        click.option(
            "--output-dir", type=PATH, default=Path("artifacts/infer"), show_default=True, help="Where results go."
        ),
        click.option(
            "--telemetry-dir",
            type=PATH,
            default=Path("artifacts/telemetry"),
            show_default=True,
            help="Where logs go, into its folder infer.",
        ),
    )
)
"""Where things lie in the dataset."""


def work_options(default: str) -> Callable[[Any], Any]:
    """Return a decorator for the options that say who listens, and where.

    Parameters
    ----------
    default
        The runner, unless one is named.
    """
    return decorator(
        (
            *runner_options(default),
            *WORKERS,
            *SCHEDULER,
            click.option(
                "--record-datalad/--no-record-datalad",
                default=True,
                show_default=True,
                help="Record each run as `datalad run` does, where it is a dataset and the tool is there.",
            ),
        )
    )


@frozen
class Work:
    """How manifests are to be analysed.

    Parameters
    ----------
    places
        Where things lie.
    runner, options
        Name of the runner; its options.
    hawkears_args
        In HawkEars' spelling, for plans and records.
    max_gpus, cpu_workers
        Worker slots.
    scheduler, scheduler_options
        Where to run.
    record
        Record each run where that can be.
    resume
        Do only what has no result yet.
    trust_summary
        Count results without a fingerprint as done when the summary of an earlier run says so.
    bundling
        What to make of the results; ``None``: nothing.
    settings
        From TOML.
    """

    places: Places
    runner: str
    options: Mapping[str, Any]
    hawkears_args: tuple[str, ...]
    max_gpus: int | None
    cpu_workers: int
    scheduler: str
    scheduler_options: Mapping[str, Any]
    record: bool
    resume: bool
    trust_summary: bool
    bundling: Bundling | None
    settings: Settings = field(factory=Settings)

    def request(self, job: InferJob) -> RunRequest:
        """Return the run of one manifest."""
        from badc_core.runs import RunRequest
        from badc_core.summary_form import summary_path

        summary = summary_path(job.telemetry_log)
        return RunRequest(
            manifest=job.manifest_path,
            runner=self.runner,
            options=self.options,
            output_dir=job.output_dir,
            max_gpus=self.max_gpus,
            cpu_workers=self.cpu_workers,
            scheduler=self.scheduler,
            scheduler_options=self.scheduler_options,
            telemetry_log=job.telemetry_log,
            resume=self.resume,
            resume_summary=summary if self.trust_summary and summary.exists() else None,
            settings=self.settings,
            record=None if self.record else False,
        )


def work_of(ctx: click.Context, dataset: Path, given: Mapping[str, Any], *, default: str) -> Work:
    """Return what the options ask for.

    Parameters
    ----------
    ctx
        Of the command.
    dataset
        The dataset's folder.
    given
        Values of :data:`place_options`, :func:`work_options` and :func:`~badc_core.cli.bundling.bundle_options`,
        `resume_completed`, and `include_existing`, where there is such an option.
    default
        The runner, unless one is named.

    Raises
    ------
    UsageError
        They contradict each other.
    """
    from badc_core.cli.infer import choose_runner

    settings = settings_of(ctx)
    unnamed = given["runner"] is None and given["use_hawkears"] is None
    named = {**given, "runner_cmd": None, "runner": default if unnamed else given["runner"]}
    runner, options = choose_runner(settings, named)
    folder = dataset.expanduser().absolute()
    places = Places(folder, *(given[name] for name in ("manifest_dir", "chunks_dir", "output_dir", "telemetry_dir")))
    resume = given["resume_completed"]
    return Work(
        places=places,
        runner=runner,
        options=options,
        hawkears_args=tuple(given["hawkears_args"]),
        max_gpus=given["max_gpus"],
        cpu_workers=given["cpu_workers"],
        scheduler=given["scheduler"],
        scheduler_options={
            **settings.table("scheduler", given["scheduler"]),
            **pairs(given["scheduler_options"], "-s"),
        },
        record=given["record_datalad"],
        resume=not given["include_existing"] if resume is None else resume,
        trust_summary=resume is True,
        bundling=_bundling(ctx, places, given),
        settings=settings,
    )


def _bundling(ctx: click.Context, places: Places, given: Mapping[str, Any]) -> Bundling | None:
    check_bundle_options(ctx, given)
    if not given["bundle"]:
        return None
    folder = places.inside(given["bundle_aggregate_dir"])
    export = given["bundle_rollup_export_dir"]
    made = Bundling(
        ctx,
        folder,
        given["bundle_bucket_minutes"],
        given["bundle_rollup"],
        given["bundle_rollup_limit"],
        folder / "aggregate_summary" if export is None else places.inside(export),
    )
    made.check()
    return made


def jobs_of(
    manifests: Sequence[Path],
    work: Work,
    complaints: Complaints,
    include_existing: bool,
    limit: int = 0,
    reports: Bundling | None = None,
    again: str = "--include-existing",
) -> list[InferJob]:
    """Return what is to be analysed of some manifests; see :func:`badc_core.infer_jobs.plan_jobs`.

    Manifests are finished when their reports are made of just these results, too, where `reports`, or the work's own,
    are wanted. That results are of another runner is told, with `again`, the options that make them anew.
    """
    from badc_core.infer_jobs import is_done, plan_jobs

    wanted = reports or work.bundling
    foreign: Counter[str] = Counter()

    def is_finished(path: Path, results: Path) -> bool:
        runners: set[str] = set()
        if not is_done(path, results, runners.add):
            return False
        # What --runner-cmd runs may call itself as it likes.
        foreign.update(runners - {work.runner} if work.runner != "command" else ())
        return wanted is None or wanted.is_made(path, results)

    jobs = plan_jobs(
        manifests,
        work.places,
        use_hawkears=work.runner == "hawkears",
        hawkears_args=work.hawkears_args,
        max_gpus=work.max_gpus,
        cpu_workers=work.cpu_workers,
        include_existing=include_existing,
        is_finished=is_finished,
        limit=limit,
        on_problem=complaints.lose,
    )
    for runner, number in sorted(foreign.items()):
        complaints.warn(
            f"{counted(number, 'manifest')} counted as done, with results of {runner}, not of {work.runner}. "
            f"Choose another --output-dir to keep both, or make them anew: {again}"
        )
    return jobs


def check_work(work: Work) -> None:
    """Make sure that there are such a runner and scheduler, and that they take their options.

    So that it is said once, and before anything is done, what else every recording would fail of.

    Raises
    ------
    BadcError
        Not so; or the runner cannot say which model it would load.
    """
    from badc_core.choosing import identity_of, options_of
    from badc_core.host import default_host
    from badc_core.specs import RunnerSpec, SchedulerSpec

    scheduler = default_host().find(SchedulerSpec, work.scheduler)
    options_of(scheduler, work.scheduler_options, f"scheduler {work.scheduler!r}")
    runner = default_host().find(RunnerSpec, work.runner)
    identity_of(runner, options_of(runner, work.options, f"runner {work.runner!r}"))

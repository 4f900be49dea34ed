"""Tables and reports of each recording as it is finished, and a roll-up at the end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from badc_core.cli.calling import call, find
from badc_core.cli.options import bucket_option, decorator
from badc_core.errors import BadcError, ExitCode, UsageError
from badc_core.infer_jobs import InferJob

__all__ = ["Bundling", "bundle_options", "check_bundle_options"]


def bundle_options(bundle: bool, bucket_minutes: int, rollup: bool) -> Callable[[Any], Any]:
    """Return a decorator that puts the options of bundling on a command.

    Parameters
    ----------
    bundle, bucket_minutes, rollup
        Their defaults.
    """
    options = (
        click.option(
            "--bundle/--no-bundle", default=bundle, show_default=True, help="Make tables and reports of each recording."
        ),
        click.option(
            "--bundle-aggregate-dir",
            type=click.Path(path_type=Path),
            default=Path("artifacts/aggregate"),
            show_default=True,
            help="Where they go.",
        ),
        bucket_option("--bundle-bucket-minutes", bucket_minutes),
        click.option(
            "--bundle-rollup/--bundle-no-rollup",
            default=rollup,
            show_default=True,
            help="In the end count over all tables.",
        ),
        click.option(
            "--bundle-rollup-limit",
            type=click.IntRange(min=1),
            default=20,
            show_default=True,
            help="Labels, and recordings, in that count.",
        ),
        click.option(
            "--bundle-rollup-export-dir",
            type=click.Path(path_type=Path),
            help="Where that count goes.  [default: aggregate_summary, among the tables]",
        ),
    )
    return decorator(options)


@frozen
class Bundling:
    """What is made of results, with the commands of whoever brings them.

    Parameters
    ----------
    ctx
        Of the command that calls.
    folder
        Where tables and reports go.
    bucket_minutes
        Width of the timelines' buckets.
    rollup
        Whether to count over all tables in the end.
    rollup_limit
        Labels, and recordings, in that count.
    rollup_folder
        Where it goes.
    """

    ctx: click.Context
    folder: Path
    bucket_minutes: int
    rollup: bool
    rollup_limit: int
    rollup_folder: Path

    def check(self) -> None:
        """Raise PluginError when a command is missing, before hours of work end with that."""
        find(self.ctx, "infer", "aggregate")
        find(self.ctx, "report", "bundle")
        find(self.ctx, "report", "aggregate-dir")

    def is_made(self, manifest: Path, results: Path) -> bool:
        """Whether the reports of a manifest are there and up to date, or cannot be made, for want of such results.

        Parameters
        ----------
        manifest
            Names its reports.
        results
            The output folder.
        """
        from badc_core.report_facts import are_fresh, results_folder

        found = results_folder(manifest, results)
        return found is None or are_fresh(self.folder, manifest.stem, manifest, found, self.bucket_minutes)

    def make(self, job: InferJob) -> bool:
        """Make tables and reports of one recording; return whether all of its results are in them.

        Raises
        ------
        BadcError
            They cannot be made.
        """
        from badc_core.report_facts import note, results_folder, state_of

        name = job.recording_id
        results = results_folder(job.manifest_path, job.output_dir)
        if results is None:
            raise BadcError(
                f"{job.output_dir} has no folder of results that are those of {job.manifest_path} and no others.",
                hint="A manifest of several recordings, and results in segments, have no reports of their own. "
                f"Make tables of all: badc infer aggregate {shlex.quote(str(job.output_dir))}",
            )
        state = state_of(job.manifest_path, results)
        table = self.folder / f"{name}.parquet"
        outputs = ("--output", self.folder / f"{name}_summary.csv", "--parquet", table)
        arguments = ("--manifest", job.manifest_path, *outputs, "--", results)
        status = call(self.ctx, "infer", "aggregate", arguments, quiet=True)
        places = ("--output-dir", self.folder, "--run-prefix", name, "--bucket-minutes", self.bucket_minutes)
        if table.exists():
            call(self.ctx, "report", "bundle", ("--parquet", table, *places), quiet=True)
            note(self.folder, name, table, state, self.bucket_minutes)
        return status == ExitCode.OK

    def finish(self) -> bool:
        """Count over all tables, if that is wanted; return whether all could be used."""
        if not self.rollup:
            return True
        if not self.folder.is_dir():
            click.echo(f"There are no tables in {self.folder} to count.")
            return True
        arguments = ("--limit", self.rollup_limit, "--export-dir", self.rollup_folder, "--", self.folder)
        return call(self.ctx, "report", "aggregate-dir", arguments) == ExitCode.OK


def check_bundle_options(ctx: click.Context, given: Mapping[str, Any]) -> None:
    """Raise UsageError where a roll-up is asked for, and no tables.

    Parameters
    ----------
    ctx
        Of the command.
    given
        Values of :func:`bundle_options`.
    """
    typed = ctx.get_parameter_source("bundle_rollup") == click.core.ParameterSource.COMMANDLINE
    if typed and given["bundle_rollup"] and not given["bundle"]:
        raise UsageError(
            "--bundle-rollup goes with --bundle, which makes the tables that it counts.",
            hint="To count over tables that are there: badc report aggregate-dir FOLDER",
        )

"""Tables and reports of each recording as it is finished, and a roll-up at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from badc_core.cli.calling import call, find
from badc_core.cli.options import bucket_option, decorator
from badc_core.errors import BadcError, ExitCode
from badc_core.infer_jobs import InferJob

__all__ = ["Bundling", "bundle_options"]


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

    def is_made(self, name: str, results: Path) -> bool:
        """Whether the reports of a recording are there, or cannot be made, because it has no results of its own."""
        return (
            not results.is_dir() or (self.folder / f"{name}_duckdb_exports" / "timeline.csv").exists()
        )  # the last file

    def make(self, job: InferJob) -> bool:
        """Make tables and reports of one recording; return whether all of its results are in them.

        Raises
        ------
        BadcError
            They cannot be made.
        """
        name = job.recording_id
        if not job.recording_output_dir.is_dir():
            raise BadcError(
                f"There are no results in {job.recording_output_dir}.",
                hint="Where one manifest holds several recordings, make tables with `badc infer aggregate`.",
            )
        table = self.folder / f"{name}.parquet"
        outputs = ("--output", self.folder / f"{name}_summary.csv", "--parquet", table)
        arguments = ("--manifest", job.manifest_path, *outputs, "--", job.recording_output_dir)
        status = call(self.ctx, "infer", "aggregate", arguments, quiet=True)
        places = ("--output-dir", self.folder, "--run-prefix", name, "--bucket-minutes", self.bucket_minutes)
        if table.exists():
            call(self.ctx, "report", "bundle", ("--parquet", table, *places), quiet=True)
        return status == ExitCode.OK

    def finish(self) -> bool:
        """Count over all tables, if that is wanted; return whether all could be used."""
        if not self.rollup or not self.folder.is_dir():
            return True
        arguments = ("--limit", self.rollup_limit, "--export-dir", self.rollup_folder, "--", self.folder)
        return call(self.ctx, "report", "aggregate-dir", arguments) == ExitCode.OK

"""What is to be cut, as files: plans of ``badc chunk orchestrate``, and what the pipeline remembers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import attrs

from badc_core import plan_files
from badc_core.chunk_status import Job
from badc_core.layout import dataset_root, source_name

__all__ = ["merge_plan_json", "write_plan_csv", "write_plan_json"]


def write_plan_json(path: Path, jobs: Iterable[Job]) -> None:
    """Write a chunk plan as JSON."""
    plan_files.write_json(path, map(plan_files.plan_row, jobs))


def write_plan_csv(path: Path, jobs: Iterable[Job]) -> None:
    """Write a chunk plan as CSV."""
    plan_files.write_csv(path, [spec.name for spec in attrs.fields(Job)], map(plan_files.plan_row, jobs))


def merge_plan_json(path: Path, jobs: Iterable[Job], dataset: Path) -> None:
    """Write a chunk plan as JSON, and keep the entries that it has of other recordings that were cut.

    In a DataLad dataset paths count from its root, so that the plan holds in its copies and clones.

    Parameters
    ----------
    path
        The plan.
    jobs
        What is cut now.
    dataset
        The dataset's folder.

    Raises
    ------
    ManifestError
        What is there is no plan.
    """
    root = dataset_root(dataset)
    rows = [plan_files.plan_row(job) for job in jobs]
    for row, name in itertools.product(rows, ("audio_path", "manifest_path", "chunk_output_dir")):
        row[name] = source_name(Path(row[name]), root)
    new = {row["recording_id"] for row in rows}
    kept = [
        row
        for row in (plan_files.read_rows(path) if path.exists() else [])
        if row.get("recording_id") not in new and (dataset / str(row.get("manifest_path"))).exists()
    ]
    plan_files.write_json(path, [*kept, *rows])

"""BADC on this machine: worker threads for every device slot, and a folder that is watched for finished recordings."""

from __future__ import annotations

from collections.abc import Iterator

from badc_core.hookspecs import hookimpl
from badc_core.specs import SchedulerSpec, SourceSpec

__version__ = "0.2.0"


@hookimpl
def badc_schedulers() -> Iterator[SchedulerSpec]:
    """Yield the local scheduler."""
    yield SchedulerSpec(
        "local", "This machine: one worker per GPU or CPU slot", open="badc_local.scheduler:open_scheduler"
    )


@hookimpl
def badc_sources() -> Iterator[SourceSpec]:
    """Yield the watched folder."""
    yield SourceSpec(
        "folder",
        "A folder that is watched for finished recordings",
        open="badc_local.folder:open_source",
        options="badc_local.folder:FolderOptions",
    )

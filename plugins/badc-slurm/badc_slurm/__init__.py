"""BADC on SLURM clusters: job arrays that survive time limits, lost nodes and lost logins."""

from __future__ import annotations

from collections.abc import Iterator

from badc_core.hookspecs import hookimpl
from badc_core.specs import SchedulerSpec

__version__ = "0.2.0"


@hookimpl
def badc_schedulers() -> Iterator[SchedulerSpec]:
    """Yield the scheduler of SLURM job arrays."""
    yield SchedulerSpec(
        "slurm",
        "A SLURM cluster: one array task per shard, which goes on without this command",
        open="badc_slurm.scheduler:open_scheduler",
        options="badc_slurm.options:SlurmOptions",
        detached=True,
    )

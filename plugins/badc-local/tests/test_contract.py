"""The kit's tests of schedulers, which run over SLURM, too."""

from __future__ import annotations

from badc_core.testing import SchedulerContract


class TestLocal(SchedulerContract):
    """Threads of this process."""

    entry_module = "badc_local"

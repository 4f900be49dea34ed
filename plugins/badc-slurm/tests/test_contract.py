"""The kit's tests of schedulers, on a real SLURM."""

from __future__ import annotations

import pytest

from badc_core.testing import SchedulerContract
from badc_slurm.rehearsal import Cluster


@pytest.mark.slow
class TestSlurm(SchedulerContract):
    """SLURM job arrays."""

    entry_module = "badc_slurm"
    wait_s = 120.0

    @pytest.fixture(autouse=True)
    def _on_the_cluster(self, cluster: Cluster) -> None:
        pass

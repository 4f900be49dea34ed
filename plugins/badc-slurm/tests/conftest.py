"""A real SLURM for the tests, with four emulated nodes; where it is not installed they are skipped, saying so."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from badc_slurm.rehearsal import PACKAGES, Cluster, missing


@pytest.fixture(scope="session")
def make_cluster() -> Iterator[Callable[..., Cluster]]:
    """Return ``make_cluster(**settings)``, which starts a cluster; all of them are stopped at the end."""
    absent = missing()
    if absent:
        pytest.skip(f"{', '.join(absent)} are not installed here: apt-get install {PACKAGES}")
    made: list[Cluster] = []

    def make(**settings: object) -> Cluster:
        root = Path(tempfile.mkdtemp(prefix="badc-slurm-"))
        cluster = Cluster(root, **settings)  # type: ignore[arg-type]
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.stop()
        shutil.rmtree(cluster.root, ignore_errors=True)


@pytest.fixture(scope="session")
def started(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Return the cluster that tests share."""
    return make_cluster()


def use(cluster: Cluster, patch: pytest.MonkeyPatch) -> Cluster:
    """Make this process and its children use a cluster."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))]:
        patch.delenv(name)
    for name, value in cluster.environment.items():
        patch.setenv(name, value)
    return cluster


@pytest.fixture
def cluster(started: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return the cluster that tests share, all of its nodes up, in the environment of this process."""
    return use(started, monkeypatch)

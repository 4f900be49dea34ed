"""The environment of SLURM's commands: what of it they may see, since much of it changes what they mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

__all__ = ["clean"]

_SLURMS = re.compile(r"(SLURM|SLURMD|SBATCH|SALLOC|SRUN|SQUEUE|SINFO|SACCT|SCANCEL|SCONTROL)_")
_WHICH_CLUSTER = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"}
_DEFAULTS = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_WCKEY": "wckey",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_MEM_PER_CPU": "mem-per-cpu",
    "SBATCH_MEM_PER_GPU": "mem-per-gpu",
}
"""What sites and people set on purpose, and the option that it stands for."""
_MEMORY = {"mem", "mem-per-cpu", "mem-per-gpu"}


def clean(environment: Mapping[str, str], chosen: Collection[str] = ()) -> dict[str, str]:
    """Return an environment for SLURM's commands, without what would change their meaning behind our back.

    Parameters
    ----------
    environment
        Of this process, which may itself run in a job.
    chosen
        Options of sbatch that are said already; sbatch lets its environment override the lines of a script.

    Notes
    -----
    What says which cluster stays, and so do the defaults that people set for sbatch, where nothing else was chosen.
    """
    said = set(chosen) | (_MEMORY if _MEMORY & set(chosen) else set())
    kept = {
        name: value
        for name, value in environment.items()
        if not _SLURMS.match(name) or name in _WHICH_CLUSTER or (name in _DEFAULTS and _DEFAULTS[name] not in said)
    }
    return {**kept, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}

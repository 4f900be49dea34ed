"""The text of an array script that somebody submits by hand: a pure function, quoted throughout.

What a task does is the core's (:class:`badc_core.scheduling.ArrayScript`); here is what SLURM wants around it. Nothing
follows such an array and no run folder belongs to it: a task is a run of its own.
"""

from __future__ import annotations

import re
import shlex

from badc_core.errors import UsageError
from badc_core.scheduling import ArrayScript
from badc_slurm.options import SlurmOptions
from badc_slurm.script import (
    GPUS_WANTED,
    Place,
    inside,
    listening,
    put_back,
    sbatch_lines,
    setup_lines,
    supervised,
    warning_option,
)

__all__ = ["hand_script"]

_NAME = re.compile(r"""[^\s"'\\#%/]+""")

_NOT_AGAIN = 'if ((warned)); then echo "Task $task was stopped near its time limit: it needs more." >&2; fi'


def hand_script(options: SlurmOptions, array: ArrayScript, badc: tuple[str, ...]) -> str:
    """Return the script.

    Parameters
    ----------
    options
        What the user chose.
    array
        What each task is to do.
    badc
        How to call ``badc``: words.

    Raises
    ------
    UsageError
        The name would need quotes in an ``#SBATCH`` line, where SLURM's own rules hold.
    """
    if not _NAME.fullmatch(array.name):
        raise UsageError(
            f"A job cannot be named {array.name!r}.", hint="No blanks, quotes, backslashes, '/', '%' or '#'."
        )
    words = [*inside(options, Place(array.workdir, array.workdir, badc), array.folders), *map(shlex.quote, badc)]
    again = array.again and options.requeue > 0
    warning, value = warning_option(options)
    lines = [
        "#!/usr/bin/env bash",
        *sbatch_lines(options, [("job-name", array.name)]),
        f"#SBATCH --array=1-{array.tasks}" + (f"%{options.throttle}" if options.throttle else ""),
        f"#SBATCH --{warning}={value}",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue" if again else "#SBATCH --no-requeue",
        *(f"#SBATCH {line}" for line in options.sbatch),
        "",
        "# shellcheck disable=SC2016 # a name may hold a dollar sign",
        "# Written by badc infer orchestrate: a run of its own for each task. To submit it: sbatch FILE",
        "# Where arrays may not be that large: sbatch --array=1-1000 FILE; BADC_OFFSET=1000 sbatch --array=1-500 FILE",
        "",
        *listening("TERM"),
        *setup_lines(options),
        "",
        "set -euo pipefail",
        'task="${SLURM_ARRAY_JOB_ID-}_${SLURM_ARRAY_TASK_ID:?submit this script with sbatch}"',
        "index=$((SLURM_ARRAY_TASK_ID - 1 + ${BADC_OFFSET:-0}))",
        *array.prepare,
        "",
        *_gpus(options),
        f"badc=({' '.join(words)})",
        "",
        *supervised(array.command, "TERM"),
        *array.finish,
        "",
        *(put_back(options.requeue, "TERM", "submit the script again") if again else (_NOT_AGAIN,)),
        'exit "$status"',
    ]
    return "\n".join(lines) + "\n"


def _gpus(options: SlurmOptions) -> tuple[str, ...]:
    """Return the lines that keep a task to the GPUs it was given; they may be asked for on sbatch's line, too."""
    if options.gpu_count:
        return ('export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES-}"', *GPUS_WANTED)
    return (
        "# Without GPUs of its own a task sees none, whatever the login shell had in its environment.",
        '[[ -n ${SLURM_JOB_GPUS-} ]] || export CUDA_VISIBLE_DEVICES=""',
    )

"""The text of an array script: a pure function of its parts, quoted throughout.

One task does one shard. What users and paths bring lies in shell variables, quoted by :func:`shlex.quote`; ``#SBATCH``
lines, which have rules of their own, hold only what needs no quotes. The log is opened by the script itself, so that a
path with any character will do, and so that a missing folder is not a task that fails without a word.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from badc_slurm.journal import Part
from badc_slurm.options import SlurmOptions

__all__ = ["NO_FOLDER", "Place", "array_script", "badc_command", "log_path"]

NO_FOLDER = 74
"""Exit status of a task that cannot write into the run folder."""

LOGS = "logs"

_GPUS_WANTED = (
    "if [[ -z $CUDA_VISIBLE_DEVICES ]]; then",
    '    echo "SLURM gave this task no GPU: CUDA_VISIBLE_DEVICES is empty."',
    "    exit 1",
    "fi",
)
"""A model on the processor, where GPUs were asked for, would go on for days without a word."""


@frozen
class Place:
    """Where tasks work.

    Parameters
    ----------
    folder
        The run folder.
    workdir
        The folder in which the user called ``badc``; relative paths count from it.
    badc
        How to call ``badc``: words.
    """

    folder: Path
    workdir: Path
    badc: tuple[str, ...]


def log_path(folder: Path, shard: int) -> Path:
    """Return where the workers of a shard write; all its lives write into one file."""
    return folder / LOGS / f"{shard:06d}.log"


def badc_command(options: SlurmOptions, python: str) -> tuple[str, ...]:
    """Return how a task calls ``badc``.

    Parameters
    ----------
    options
        What the user chose.
    python
        The interpreter that runs this.
    """
    if options.command is not None:
        return tuple(shlex.split(options.command))
    return ("badc",) if options.container is not None else (python, "-m", "badc_core")


def _sbatch_lines(options: SlurmOptions, part: Part, throttle: int) -> list[str]:
    limit = f"%{throttle}" if throttle else ""
    warn_s = options.warn_s
    if options.limit_minutes is not None:
        warn_s = max(1, min(warn_s, int(options.limit_minutes * 60 / 2)))
    wanted: list[tuple[str, object]] = [
        ("job-name", part.name),
        ("array", part.indices + limit),
        ("output", "/dev/null"),
        ("open-mode", "append"),
        ("signal", f"B:USR1@{warn_s}"),
        ("account", options.account),
        ("partition", options.partition),
        ("qos", options.qos),
        ("constraint", options.constraint),
        ("gres", f"gpu:{options.gpus}" if options.gpu_count else None),
        ("time", options.time),
        ("cpus-per-task", options.cpus),
        ("mem", part.memory or options.mem),
        ("exclude", options.exclude),
        ("nice", options.nice or None),
    ]
    lines = [f"#SBATCH --{name}={value}" for name, value in wanted if value is not None]
    return [*lines, "#SBATCH --requeue", *(f"#SBATCH {line}" for line in options.sbatch)]


def _inside(options: SlurmOptions, place: Place, bases: Sequence[Path]) -> list[str]:
    """Return the words before ``badc`` that put it into a container."""
    if options.container is None:
        return []
    words = shlex.split(options.container_run)
    tool = Path(words[0]).name if words else ""
    seen = dict.fromkeys(map(str, [*bases, place.workdir, *options.bind]))
    quoted = [shlex.quote(word) for word in words]
    if tool == "ch-run":
        quoted.append('"--set-env=CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES"')
        for folder in seen:
            quoted += ["--bind", shlex.quote(f"{folder}:{folder}")]
        quoted += ["--cd", shlex.quote(str(place.workdir)), shlex.quote(options.container), "--"]
        return quoted
    if tool in ("apptainer", "singularity"):
        if options.gpu_count:
            quoted.append("--nv")
        for folder in seen:
            quoted += ["--bind", shlex.quote(folder)]
        quoted += ["--pwd", shlex.quote(str(place.workdir))]
    return [*quoted, shlex.quote(options.container)]


def array_script(options: SlurmOptions, place: Place, part: Part, throttle: int, bases: Sequence[Path] = ()) -> str:
    """Return the script of one array.

    Parameters
    ----------
    options
        What the user chose.
    place
        Where tasks work.
    part
        The array.
    throttle
        At most so many of its tasks at a time; 0: no limit.
    bases
        Output folders, for containers.
    """
    command = " ".join([*_inside(options, place, bases), *map(shlex.quote, place.badc), "worker", '"$folder"'])
    gpus = '"${CUDA_VISIBLE_DEVICES-}"' if options.gpu_count else "''"
    setup = ["", "# As asked for with setup.", *options.setup] if options.setup else []
    lines = [
        "#!/usr/bin/env bash",
        *_sbatch_lines(options, part, throttle),
        "",
        "# shellcheck disable=SC2016 # a name may hold a dollar sign",
        f"# A shard of a BADC run for each task. To look: badc jobs status {place.folder.name}",
        f"folder={shlex.quote(str(place.folder))}",
        f"workdir={shlex.quote(str(place.workdir))}",
        f"shard=$(({part.offset} + SLURM_ARRAY_TASK_ID))",
        "task=\"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\" # never the bare job id: the last task's is the array's",
        'life="$task.${SLURM_RESTART_COUNT:-0}"',
        'node="${SLURMD_NODENAME:-$HOSTNAME}"',
        "",
        f'mkdir -p -- "$folder/{LOGS}" || exit {NO_FOLDER}',
        f'exec >>"$folder/{LOGS}/$(printf %06d "$shard").log" 2>&1 || exit {NO_FOLDER}',
        'printf "== shard %s, task %s on %s, %s\\n" "$shard" "$life" "$node" "$(date -u +%FT%TZ)"',
        *setup,
        "",
        "set -euo pipefail",
        'cd -- "$workdir"',
        f"export CUDA_VISIBLE_DEVICES={gpus}" + ("" if options.gpu_count else " # none was asked for"),
        *(_GPUS_WANTED if options.gpu_count else ()),
        "",
        "# SLURM signals this shell only. USR1: the time limit is near. The worker finishes its batch and commits.",
        "warned=0 worker=",
        "trap 'warned=1; [[ -z $worker ]] || kill -USR1 \"$worker\" 2>/dev/null || true' USR1",
        "trap 'warned=0; [[ -z $worker ]] || kill -TERM \"$worker\" 2>/dev/null || true' TERM",
        f'{command} --shard "$shard" --life "$life" --place "$node" &',
        "worker=$!",
        "status=0",
        'while wait "$worker" && status=0 || status=$?; kill -0 "$worker" 2>/dev/null; do :; done',
        'wait "$worker" && status=0 || status=$?',
        'printf "== shard %s, task %s ended with status %s\\n" "$shard" "$life" "$status"',
        "",
        "# 75: work is left. 138: the signal came before the worker could hear it.",
        f"if (((status == 75 || status == 138) && warned && ${{SLURM_RESTART_COUNT:-0}} < {options.requeue})); then",
        "    # Until SLURM ends this life; where it will not put it back, badc hands the shard over again.",
        '    scontrol requeue "$task" && { sleep 60 & wait; }',
        "fi",
        'exit "$status"',
    ]
    return "\n".join(lines) + "\n"

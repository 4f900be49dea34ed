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

from badc_slurm.journal import FOLDER, Part
from badc_slurm.options import SlurmOptions

__all__ = ["GPUS_WANTED", "NO_FOLDER", "Place", "array_script", "badc_command", "inside", "log_path", "put_back"]
__all__ += ["LOGS", "listening", "sbatch_lines", "setup_lines", "supervised", "warning_option", "withdrawn_path"]

NO_FOLDER = 74
"""Exit status of a task that cannot write into the run folder."""

LOGS = "logs"
"""Folder of the logs, in the run folder."""

GPUS_WANTED = (
    "if [[ -z $CUDA_VISIBLE_DEVICES ]]; then",
    '    echo "SLURM gave this task no GPU: CUDA_VISIBLE_DEVICES is empty."',
    "    exit 1",
    "fi",
)
"""A model on the processor, where GPUs were asked for, would go on for days without a word."""


_Wanted = tuple[str, object]


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


def withdrawn_path(folder: Path, name: str) -> Path:
    """Return the file that has tasks of an array end at once, should it turn up."""
    return folder / FOLDER / f"{name}.withdrawn"


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


def sbatch_lines(options: SlurmOptions, first: Sequence[_Wanted], memory: str | None = None) -> list[str]:
    """Return the ``#SBATCH`` lines: `first`, then what the user chose."""
    wanted: list[_Wanted] = [
        *first,
        ("account", options.account),
        ("partition", options.partition),
        ("qos", options.qos),
        ("constraint", options.constraint),
        ("gres", options.resources),
        ("time", options.time),
        ("cpus-per-task", options.cpus),
        ("mem", memory or options.mem),
        ("exclude", options.exclude),
        ("nice", options.nice or None),
    ]
    return [f"#SBATCH --{name}={value}" for name, value in wanted if value is not None]


def warning_option(options: SlurmOptions) -> _Wanted:
    """Return the option that has SLURM warn a task before its time limit."""
    warn_s = options.warn_s
    if options.limit_minutes is not None:
        warn_s = max(1, min(warn_s, int(options.limit_minutes * 60 / 2)))
    return ("signal", f"B:USR1@{warn_s}")


def inside(options: SlurmOptions, place: Place, bases: Sequence[Path]) -> list[str]:
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


def array_script(
    options: SlurmOptions, place: Place, part: Part, bases: Sequence[Path] = (), *, waits: bool = False
) -> str:
    """Return the script of one array.

    Parameters
    ----------
    options
        What the user chose.
    place
        Where tasks work.
    part
        The array.
    bases
        Output folders, for containers.
    waits
        It is submitted so that it begins when the arrays before it have ended.
    """
    command = " ".join([*inside(options, place, bases), *map(shlex.quote, place.badc), "worker", '"$folder"'])
    gpus = '"${CUDA_VISIBLE_DEVICES-}"' if options.gpu_count else "''"
    limit = f"%{options.throttle}" if options.throttle else ""
    first = [
        ("job-name", part.name),
        ("array", part.indices + limit),
        ("output", "/dev/null"),
        ("open-mode", "append"),
        warning_option(options),
    ]
    lines = [
        "#!/usr/bin/env bash",
        *sbatch_lines(options, first, part.memory),
        "#SBATCH --requeue",
        *(f"#SBATCH {line}" for line in options.sbatch),
        "",
        "# shellcheck disable=SC2016 # a name may hold a dollar sign",
        f"# A shard of a BADC run for each task. To look: badc jobs status {place.folder.name}",
        *(["# Submitted with --dependency: it begins when the run's arrays before it have ended."] if waits else ()),
        f"folder={shlex.quote(str(place.folder))}",
        f"workdir={shlex.quote(str(place.workdir))}",
        f"shard=$(({part.offset} + SLURM_ARRAY_TASK_ID))",
        'number="$(printf %06d "$shard")"',
        "task=\"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\" # never the bare job id: the last task's is the array's",
        'life="$task.${SLURM_RESTART_COUNT:-0}"',
        'node="${SLURMD_NODENAME:-$HOSTNAME}"',
        "",
        f'[[ ! -e "$folder/{FOLDER}/{part.name}.withdrawn" ]] || exit 0 # its shards were handed over again',
        f'mkdir -p -- "$folder/{LOGS}" || exit {NO_FOLDER}',
        f'exec >>"$folder/{LOGS}/$number.log" 2>&1 || exit {NO_FOLDER}',
        'printf "== shard %s, task %s on %s, %s\\n" "$shard" "$life" "$node" "$(date -u +%FT%TZ)"',
        "",
        *listening("USR1"),
        *setup_lines(options),
        "",
        "set -euo pipefail",
        'cd -- "$workdir"',
        f"export CUDA_VISIBLE_DEVICES={gpus}" + ("" if options.gpu_count else " # none was asked for"),
        *(GPUS_WANTED if options.gpu_count else ()),
        "",
        *supervised(f'{command} --shard "$shard" --life "$life" --place "$node"', "USR1"),
        'printf "== shard %s, task %s ended with status %s\\n" "$shard" "$life" "$status"',
        "",
        *put_back(options.requeue, "USR1", worth=_GAINED),
        'exit "$status"',
    ]
    return "\n".join(lines) + "\n"


def setup_lines(options: SlurmOptions) -> list[str]:
    """Return what the user wants to have run first; before strict mode, which modules do not bear."""
    return ["", "# As asked for with setup.", *options.setup] if options.setup else []


def listening(warning: str) -> list[str]:
    """Return the lines that have a script hear what SLURM signals, from its first line of work on.

    Parameters
    ----------
    warning
        The signal by which the command of :func:`supervised` is told that the time limit is near.
    """
    return [
        f"# SLURM signals this shell only. USR1: the time limit is near. {_ENDS[warning]}",
        "warned=0 worker=",
        f"trap 'warned=1; [[ -z $worker ]] || kill -{warning} \"$worker\" 2>/dev/null || true' USR1",
        "trap 'warned=0; [[ -n $worker ]] || exit 143; kill -TERM \"$worker\" 2>/dev/null || true' TERM",
    ]


def supervised(command: str, warning: str) -> list[str]:
    """Return the lines that run a command, and pass on to it what SLURM signals; then ``$status`` is its exit status.

    Parameters
    ----------
    command
        Not a function of the shell: what is signalled would be a shell around it.
    warning
        As for :func:`listening`, whose lines come before.
    """
    return [
        "status=75",
        "if ((!warned)); then",
        f"    {command} &",
        "    worker=$!",
        f'    ((!warned)) || kill -{warning} "$worker" 2>/dev/null || true',
        "    status=0",
        '    while wait "$worker" && status=0 || status=$?; kill -0 "$worker" 2>/dev/null; do :; done',
        '    wait "$worker" && status=0 || status=$?',
        "fi",
    ]


_ENDS = {
    "USR1": "The worker finishes its batch and commits.",
    "TERM": "badc finishes what is in hand and commits.",
}
_UNHEARD = {"USR1": 138, "TERM": 143}
_GAINED = """grep -q '"final":true' -- "$folder/events/$number.$life.jsonl" 2>/dev/null"""
"""Whether a life that is not the first of its shard settled a chunk."""


def put_back(
    times: int, warning: str, otherwise: str = "badc hands the shard over again", worth: str = ""
) -> list[str]:
    """Return the lines that put a task back into the queue which stopped because of its time limit.

    Parameters
    ----------
    times
        At most so often.
    warning
        As for :func:`supervised`.
    otherwise
        What helps where SLURM refuses.
    worth
        What must be true of a second life, and further ones.
    """
    unheard = _UNHEARD[warning]
    again = '    scontrol requeue "$task" && { sleep 60 & wait; }'
    if worth:
        again = f"""    if ((${{SLURM_RESTART_COUNT:-0}} == 0)) || {worth}; then
        scontrol requeue "$task" && {{ sleep 60 & wait; }}
    else
        echo "Nothing was done in this life: it is not put back."
    fi"""
    return [
        f"# 75: work is left. {unheard}: the signal came before the worker could hear it.",
        f"if (((status == 75 || status == {unheard}) && warned && ${{SLURM_RESTART_COUNT:-0}} < {times})); then",
        f"    # Until SLURM ends this life; where it will not put it back, {otherwise}.",
        again,
        "fi",
    ]

"""What a user may choose with ``-s key=value`` or under ``[scheduler.slurm]``."""

from __future__ import annotations

import math
import re
from typing import Any

from attrs import Attribute, frozen, validators

from badc_core.config import option

__all__ = ["SlurmOptions", "minutes_of", "raised"]

_PLAIN = re.compile(r"""[^\s"'\\#]+""")


def _plain(options: object, attribute: Attribute[Any], value: str | None) -> None:
    """Refuse what would need quotes in an ``#SBATCH`` line, where SLURM's own rules hold."""
    if value is not None and not _PLAIN.fullmatch(value):
        raise ValueError(f"{attribute.name} cannot be {value!r}: no blanks, quotes, backslashes or '#'")


def _gpus(options: object, attribute: Attribute[Any], value: str) -> None:
    if not re.fullmatch(r"([\w.-]+:)?\d+", value):
        raise ValueError(f"{attribute.name} cannot be {value!r}: it is a number, or a kind and a number, like v100:4")


def _time(options: object, attribute: Attribute[Any], value: str | None) -> None:
    if value is not None:
        minutes_of(value)


def _lines(options: object, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
    for line in value:
        if not line.startswith("--") or "\n" in line:
            raise ValueError(f"{attribute.name} cannot be {line!r}: it is one option of sbatch, like --reservation=x")


def minutes_of(text: str) -> float:
    """Return a time limit in minutes; infinite where none is asked for.

    Parameters
    ----------
    text
        As sbatch takes it: ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
        ``days-hours:minutes`` or ``days-hours:minutes:seconds``; no limit is ``0``, ``UNLIMITED`` or ``INFINITE``.

    Raises
    ------
    ValueError
        It is none of them.
    """
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return math.inf
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        raise ValueError(f"the time limit {text!r} is not of the form 4:00:00, 90 or 1-12:00:00")
    days, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60 or math.inf


def raised(memory: str, factor: float) -> str:
    """Return an amount of memory, as sbatch takes it, times a factor: ``raised("8G", 1.5)`` is ``12G``."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", memory, re.IGNORECASE)
    if found is None:
        return memory
    number, unit = int(found[1]) * factor, found[2].upper()
    return (
        f"{number:.0f}{unit}"
        if number.is_integer() or unit in ("", "K", "M")
        else f"{number * 1024:.0f}{_SMALLER[unit]}"
    )


_SMALLER = {"G": "M", "T": "G"}


@frozen
class SlurmOptions:
    """What the user may choose."""

    partition: str | None = option(None, help="partition, as sbatch takes it", validator=_plain)
    account: str | None = option(None, help="account to charge", validator=_plain)
    qos: str | None = option(None, help="quality of service", validator=_plain)
    constraint: str | None = option(None, help="features that nodes must have", validator=_plain)
    time: str | None = option(
        None, help="time limit of a task: 4:00:00, 90 (minutes), 1-12:00:00; 0: none", validator=_time
    )
    gpus: str = option("0", help="GPUs of a task: 1, or v100:4; each gets a worker", validator=_gpus)
    gres: str | None = option(None, help="other resources of a task, as sbatch takes them: nvme:1", validator=_plain)
    cpus: int | None = option(None, help="processor cores of a task", validator=validators.optional(validators.ge(1)))
    mem: str | None = option(None, help="memory of a task: 16G", validator=_plain)
    raise_mem: float = option(
        1.0, help="memory times this for a shard that ran out of it, when tried again", validator=validators.ge(1.0)
    )
    throttle: int = option(0, help="at most so many tasks of a run at a time; 0: no limit", validator=validators.ge(0))
    nice: int = option(0, help="lower priority by so much", validator=validators.ge(0))
    exclude: str | None = option(None, help="nodes to keep away from", validator=_plain)
    sbatch: tuple[str, ...] = option((), help="a further option of sbatch, like --reservation=x", validator=_lines)
    setup: tuple[str, ...] = option((), help="a line of shell to run first, like: module load cuda")
    container: str | None = option(None, help="image to run in; badc must be in it")
    container_run: str = option("apptainer exec", help="what runs the image: apptainer exec, ch-run, …")
    bind: tuple[str, ...] = option((), help="a folder that the container shall see, besides results and this one")
    command: str | None = option(None, help="how to call badc there, in place of this very installation")
    shard_minutes: float = option(
        30.0, help="work of a task that is aimed at, in minutes", validator=validators.gt(0.0)
    )
    speed: float | None = option(
        None,
        help="seconds of recording that one worker does in a second; default: as an earlier run measured it, else 20",
        validator=validators.optional(validators.gt(0.0)),
    )
    shard_chunks: int = option(100_000, help="at most so many chunks in a task", validator=validators.ge(1))
    warn_s: int = option(
        120, help="seconds before the time limit to stop and be put back into the queue", validator=validators.ge(1)
    )
    requeue: int = option(5, help="how often a task may be put back at its time limit", validator=validators.ge(0))
    retries: int = option(
        3, help="how often a shard is handed over again when nothing of it was done", validator=validators.ge(0)
    )
    lost_s: float = option(
        90.0, help="seconds after which a task that SLURM knows no longer counts as lost", validator=validators.ge(0.0)
    )
    max_array: int | None = option(
        None,
        help="at most so many tasks in an array; default: what the cluster says",
        validator=validators.optional(validators.ge(1)),
    )
    patience_s: float = option(60.0, help="seconds to wait for an answer of SLURM", validator=validators.gt(0.0))

    @property
    def gpu_count(self) -> int:
        """GPUs of a task, those asked for with `gres` included."""
        asked = [part.split(":") for part in (self.gres or "").split(",")]
        others = sum(int(words[-1]) if words[-1].isdecimal() else 1 for words in asked if words[0] == "gpu")
        return int(self.gpus.rpartition(":")[2]) + others

    @property
    def resources(self) -> str | None:
        """What to ask for with ``--gres``."""
        gpus = f"gpu:{self.gpus}" if int(self.gpus.rpartition(":")[2]) else None
        return ",".join(filter(None, (gpus, self.gres))) or None

    @property
    def limit_minutes(self) -> float | None:
        """Time limit of a task; ``None``: it is not known, or there is none."""
        minutes = math.inf if self.time is None else minutes_of(self.time)
        return minutes if math.isfinite(minutes) else None

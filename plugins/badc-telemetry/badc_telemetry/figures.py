"""From records of telemetry logs to figures per device. Arithmetic only: nothing here reads or prints."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

__all__ = ["SAMPLES", "DeviceFigures", "Figures", "Latest", "Spread", "device_name"]

SAMPLES = 24
"""Samples that a sparkline shows."""

_METRICS = (("utilization", "utilization_percent"), ("memory_used_mb", "memory_mib"))


@define
class Latest:
    """The latest of many things by their time, in whatever order they come.

    Parameters
    ----------
    limit
        How many are kept.
    """

    limit: int
    _kept: list[tuple[str, int, Any]] = field(factory=list, init=False)
    _count: Iterator[int] = field(factory=itertools.count, init=False)

    def add(self, time: str, value: Any) -> None:
        """Take one; equal times keep the order in which they came."""
        kept = self._kept
        if not kept or time >= kept[-1][0]:
            kept.append((time, next(self._count), value))
        else:
            bisect.insort(kept, (time, next(self._count), value))
        if len(kept) > self.limit:
            del kept[0]

    def __iter__(self) -> Iterator[Any]:
        return (value for _, _, value in self._kept)

    def __len__(self) -> int:
        return len(self._kept)


@define
class Spread:
    """Least, mean and greatest of numbers.

    Parameters
    ----------
    count, total
        How many, and their sum.
    least, greatest
        ``None`` without numbers.
    """

    count: int = 0
    total: float = 0.0
    least: float | None = None
    greatest: float | None = None

    def add(self, value: float) -> None:
        """Take one."""
        self.count += 1
        self.total += value
        self.least = value if self.least is None else min(self.least, value)
        self.greatest = value if self.greatest is None else max(self.greatest, value)

    @property
    def mean(self) -> float | None:
        """Their mean; ``None`` without numbers."""
        return self.total / self.count if self.count else None


@define
class DeviceFigures:
    """What one device did. The counts have the meaning of the table at a run's end.

    Parameters
    ----------
    name
        ``gpu-0``, with the driver's name, or ``cpu``; before it the machine, where workers are on several; behind it
        the log, where logs are told apart.
    success
        Chunks analysed.
    failures
        Chunks whose last attempt failed, and for which no further one has begun.
    retries
        Attempts after a chunk's first.
    failed_attempts
        How many of those failed.
    runtime_s
        Of all attempts that ended.
    utilization_percent, memory_mib
        As they were before and after chunks.
    memory_total_mib
        Of the device.
    series
        The last samples of each, by name.
    last
        The latest record.
    """

    name: str
    success: int = 0
    failures: int = 0
    retries: int = 0
    failed_attempts: int = 0
    runtime_s: Spread = field(factory=Spread)
    utilization_percent: Spread = field(factory=Spread)
    memory_mib: Spread = field(factory=Spread)
    memory_total_mib: int | None = None
    series: dict[str, Latest] = field(factory=dict)
    last: Latest = field(factory=lambda: Latest(1))

    @property
    def jobs(self) -> int:
        """Chunks settled."""
        return self.success + self.failures

    def note(self, what: str, time: str, value: object) -> None:
        """Take a sample of `what`, the name of a :class:`Spread`; what is no number is passed over."""
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            getattr(self, what).add(value)
            self.series.setdefault(what, Latest(SAMPLES)).add(time, value)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        load, memory = self.utilization_percent, self.memory_mib
        (last,) = self.last
        return {
            "device": self.name,
            "jobs": self.jobs,
            "success": self.success,
            "failures": self.failures,
            "retries": self.retries,
            "failed_attempts": self.failed_attempts,
            "average_runtime_s": self.runtime_s.mean,
            "utilization_percent": {"min": load.least, "avg": load.mean, "max": load.greatest},
            "peak_memory_mib": memory.greatest,
            "memory_total_mib": self.memory_total_mib,
            "series": {name: list(values) for name, values in self.series.items()},
            "last": {key: last[key] for key in ("status", "chunk_id", "timestamp")},
        }


@define
class Figures:
    """All devices, and the latest events.

    Parameters
    ----------
    tail
        How many events are kept.
    per_log
        Tell the devices of different logs apart; otherwise the tasks of an array are seen as one.
    """

    tail: int = 15
    per_log: bool = False
    events: int = field(default=0, init=False)
    latest: Latest = field(init=False)
    _devices: dict[tuple[str, Path | None], DeviceFigures] = field(factory=dict, init=False)
    _failing: dict[str, DeviceFigures] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.latest = Latest(self.tail)

    @property
    def devices(self) -> list[DeviceFigures]:
        """By name."""
        return sorted(self._devices.values(), key=lambda device: _natural(device.name))

    def take(self, record: Mapping[str, Any], log: Path) -> None:
        """Count one record."""
        self.events += 1
        time, status, details = record["timestamp"], record["status"], record["details"]
        self.latest.add(time, record)
        device = self._device(record, log)
        device.last.add(time, record)
        failing = self._failing.pop(record["chunk_id"], None)
        if failing is not None:
            failing.failures -= 1  # it is tried again
        if status not in ("success", "failure"):
            return
        failed = status == "failure"
        attempt = details.get("attempt")
        if isinstance(attempt, int) and attempt > 1:
            device.retries += 1
            device.failed_attempts += failed
        if failed:
            device.failures += 1
            self._failing[record["chunk_id"]] = device
        else:
            device.success += 1
        device.note("runtime_s", time, record["runtime_s"])
        _note_metrics(device, time, details.get("gpu_metrics"))

    def _device(self, record: Mapping[str, Any], log: Path) -> DeviceFigures:
        key = (device_name(record), log if self.per_log else None)
        found = self._devices.get(key)
        if found is None:
            found = self._devices[key] = DeviceFigures(f"{key[0]} {log.name}" if self.per_log else key[0])
        return found


def _note_metrics(device: DeviceFigures, time: str, metrics: object) -> None:
    if not isinstance(metrics, Mapping):
        return
    for when in ("before", "after"):
        measured = metrics.get(when)
        if isinstance(measured, Mapping):
            for key, what in _METRICS:
                device.note(what, time, measured.get(key))
            total = measured.get("memory_total_mb")
            if isinstance(total, int):
                device.memory_total_mib = total


def device_name(record: Mapping[str, Any]) -> str:
    """Return what to call the device of a record: ``gpu-0 NVIDIA H100``, ``gpu-0``, ``cpu``.

    Where workers are on several machines, the machine stands before it: ``n1:gpu-0 NVIDIA H100``.
    """
    name = "cpu" if record["gpu_index"] is None else f"gpu-{record['gpu_index']} {record['gpu_name'] or ''}".rstrip()
    return f"{place}:{name}" if (place := _place(record)) else name


def _place(record: Mapping[str, Any]) -> str:
    """Return the machine that a worker's label names; empty without one."""
    worker = record["details"].get("worker") or record.get("worker")  # the latter in the files of a run's folder
    return worker.rpartition(":")[0] if isinstance(worker, str) else ""


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that puts ``gpu-2`` before ``gpu-10``."""
    parts = re.sub(r"(\d+)|[-:]", r" \1 ", name).split()
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]

"""How long chunks may be for a device's memory: an estimate, not a measurement.

Strategy ``memory_estimator_v1``: samples in memory, times 4 for a model's copies, times 1.35 to be safe.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

from attrs import field, frozen

from badc_core.annex import own_copy
from badc_core.atomic import explain
from badc_core.errors import UsageError
from badc_core.model import Device
from badc_core.protocols import SignalInfo

__all__ = ["STRATEGY", "Attempt", "Probe", "default_log", "estimate_mib", "memory_limit_mib", "search", "write_log"]

STRATEGY = "memory_estimator_v1"

_COPIES = 4
_SAFETY = 1.35
_SHARE = 0.8
_WITHOUT_DEVICE_MIB = 4096.0
_BYTES_PER_SAMPLE = 2
_SHORTEST_S = 0.001


@frozen
class Attempt:
    """One length that was tried."""

    duration_s: float
    estimated_mib: float
    fits: bool
    reason: str


@frozen
class Probe:
    """What was found.

    Parameters
    ----------
    duration_s
        The longest length that was tried and fits; 0: none does.
    limit_mib
        Memory that may be used.
    attempts
        All lengths tried, in order.
    """

    duration_s: float
    limit_mib: float
    attempts: tuple[Attempt, ...] = field(factory=tuple)


def estimate_mib(info: SignalInfo, seconds: float) -> float:
    """Return the memory that a chunk of so many seconds may need, in MiB."""
    width = (info.bits_per_sample or 8 * _BYTES_PER_SAMPLE) // 8
    return info.sample_rate_hz * info.channels * width * _COPIES * seconds * _SAFETY / 2**20


def memory_limit_mib(device: Device | None) -> float:
    """Return how much of a device's memory chunks may use: 80 %; 4096 MiB without a device."""
    if device is None or device.memory_total_mib is None:
        return _WITHOUT_DEVICE_MIB
    return max(device.memory_total_mib * _SHARE, 1.0)


def search(
    estimate: Callable[[float], float], limit_mib: float, initial_s: float, longest_s: float, tolerance_s: float
) -> Probe:
    """Find a length that fits: halve while it is too long, then close in by bisection.

    The longest length is tried, too, which BADC 0.1 never did.

    Parameters
    ----------
    estimate
        Seconds to MiB.
    limit_mib
        What may be used.
    initial_s, longest_s
        The first length to try, and the last that makes sense.
    tolerance_s
        How close to come.

    Raises
    ------
    UsageError
        A length or tolerance that is not above 0.
    """
    if min(initial_s, longest_s, tolerance_s) <= 0:
        raise UsageError("Durations and the tolerance must be above 0 s.")
    attempts: list[Attempt] = []

    def fits(seconds: float) -> bool:
        needed = estimate(seconds)
        good = needed <= limit_mib
        reason = "fits memory budget" if good else f"needs {needed:.1f} MiB, but the limit is {limit_mib:.1f} MiB"
        attempts.append(Attempt(seconds, needed, good, reason))
        return good

    low, high = min(initial_s, longest_s), longest_s
    while not fits(low):
        low, high = low / 2, low
        if low < _SHORTEST_S:
            return Probe(0.0, limit_mib, tuple(attempts))
    if high == longest_s and (low == high or fits(high)):
        return Probe(high, limit_mib, tuple(attempts))
    while high - low > tolerance_s:
        middle = (low + high) / 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return Probe(low, limit_mib, tuple(attempts))


def default_log(path: Path, now: dt.datetime) -> Path:
    """Return where the log goes when the user named no place: below the working folder."""
    name = f"{'_'.join(path.stem.split())}_{now:%Y%m%dT%H%M%SZ}.jsonl"
    return Path("artifacts") / "telemetry" / "chunk_probe" / name


def write_log(log: Path, path: Path, probe: Probe, device: Device | None, now: dt.datetime) -> None:
    """Append one JSON line per tried length.

    Raises
    ------
    StoreError
        The system refused.
    """
    lines = []
    for attempt in probe.attempts:
        line = {
            "timestamp": now.isoformat(timespec="microseconds"),
            "audio": str(path.absolute()),
            "duration_s": attempt.duration_s,
            "estimated_vram_mb": attempt.estimated_mib,
            "fits": attempt.fits,
            "reason": attempt.reason,
            "gpu_index": None if device is None else device.index,
            "gpu_name": None if device is None else device.name,
            "memory_limit_mb": probe.limit_mib,
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        own_copy(log)
        with log.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(lines))
    except OSError as error:
        raise explain(error, log) from error

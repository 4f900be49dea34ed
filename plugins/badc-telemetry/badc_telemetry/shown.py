"""The monitor's two tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from badc_core.cli.screen import Kind, number, table
from badc_core.cli.sparkline import sparkline
from badc_core.cli.wording import counted
from badc_telemetry.figures import SAMPLES, DeviceFigures, Figures, device_name

__all__ = ["device_row", "event_row", "samples_row", "shown"]

_DEVICE: list[tuple[str, Kind]] = [("device", "text"), ("jobs", "number"), ("failures", "number")]
_DEVICE += [("retries", "number"), ("failed\nattempts", "number"), ("s/job", "number"), ("load %", "number")]
_DEVICE += [("peak MiB", "number")]
_SAMPLES: list[tuple[str, Kind]] = [("device", "text"), ("s/job", "word"), ("load %", "word"), ("memory", "word")]
_SAMPLES += [("last event", "text")]
_EVENT: list[tuple[str, Kind]] = [("time", "word"), ("device", "word"), ("event", "word"), ("chunk", "text")]
_EVENT += [("attempt", "number"), ("s", "number"), ("load %", "number"), ("MiB", "number"), ("error", "text")]
_WIDE = 100


def shown(figures: Figures, logs: int, letters: str, width: int, replaced: int = 0) -> Any:
    """Return what to print, for rich.

    Parameters
    ----------
    figures
        The figures.
    logs
        How many logs they come from.
    letters
        For sparklines.
    width
        Of the terminal.
    replaced
        How often a log was found cut off or exchanged.
    """
    from rich.console import Group

    title = f"{counted(figures.events, 'event')} in {counted(logs, 'log')}"
    if replaced:
        title += f"; a log was cut off or exchanged {counted(replaced, 'time')}, and read from its beginning"
    samples = SAMPLES if width >= _WIDE else SAMPLES // 2
    parts: list[Any] = [
        table(title, _DEVICE, map(device_row, figures.devices)),
        "",
        table("Last samples", _SAMPLES, (samples_row(device, letters, samples) for device in figures.devices)),
    ]
    if figures.latest:
        parts += ["", table("Latest events", *_filled(_EVENT, [event_row(record) for record in figures.latest]))]
    return Group(*parts)


def _filled(
    columns: list[tuple[str, Kind]], rows: Sequence[tuple[str, ...]]
) -> tuple[list[tuple[str, Kind]], list[tuple[str, ...]]]:
    """Leave out columns in which no row says anything: an event shall fit into a line of a usual terminal."""
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return [columns[place] for place in kept], [tuple(row[place] for place in kept) for row in rows]


def device_row(device: DeviceFigures) -> tuple[str, ...]:
    """Return the figures of one device."""
    load, peak = device.utilization_percent, device.memory_mib.greatest
    return (
        device.name,
        *(f"{count:,}" for count in (device.jobs, device.failures, device.retries, device.failed_attempts)),
        number(device.runtime_s.mean, 2),
        "" if load.mean is None else f"{load.least:.0f}/{load.mean:.0f}/{load.greatest:.0f}",
        "" if peak is None else f"{peak:,.0f}",
    )


def samples_row(device: DeviceFigures, letters: str, samples: int) -> tuple[str, ...]:
    """Return sparklines of one device, latest sample on the right, and its last event."""
    scales = (("runtime_s", None), ("utilization_percent", 100), ("memory_mib", device.memory_total_mib))
    lines = []
    for what, highest in scales:
        series = list(device.series.get(what, ()))[-samples:]
        lines.append(sparkline(series, highest=highest, letters=letters))
    (last,) = device.last
    return (device.name, *lines, f"{_clock(last)} {last['status']} {last['chunk_id']}")


def event_row(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of one event."""
    details = record["details"]
    metrics = details.get("gpu_metrics")
    after = (metrics.get("after") or metrics.get("before") or {}) if isinstance(metrics, Mapping) else {}
    wrong = details.get("error") or details.get("stderr") if record["status"] == "failure" else None
    said = str(wrong or "").strip().splitlines()
    runtime = record["runtime_s"]
    return (
        _clock(record),
        device_name(record).partition(" ")[0],
        str(record["status"]),
        str(record["chunk_id"]),
        str(details.get("attempt", "")),
        f"{runtime:.2f}" if isinstance(runtime, int | float) and math.isfinite(runtime) else "",
        _whole(after, "utilization"),
        _whole(after, "memory_used_mb"),
        said[-1][:100] if said else "",
    )


def _whole(metrics: object, key: str) -> str:
    value = metrics.get(key) if isinstance(metrics, Mapping) else None
    return f"{value:,}" if isinstance(value, int) else ""


def _clock(record: Mapping[str, Any]) -> str:
    """Return the time of day of a record, UTC."""
    return str(record["timestamp"])[11:19]

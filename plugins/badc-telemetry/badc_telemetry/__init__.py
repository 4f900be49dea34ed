"""Telemetry for BADC: a log of JSON lines, and NVIDIA GPUs through NVML."""

from __future__ import annotations

from collections.abc import Iterable

from badc_core.hookspecs import hookimpl
from badc_core.specs import CommandSpec, SamplerSpec, SinkSpec

__version__ = "0.2.0"


@hookimpl
def badc_telemetry_sinks() -> Iterable[SinkSpec]:
    """Yield the log of JSON lines."""
    yield SinkSpec("jsonl", "Log of JSON lines, one for each event", open="badc_telemetry.jsonl:open_sink")


@hookimpl
def badc_telemetry_samplers() -> Iterable[SamplerSpec]:
    """Yield the sampler of NVIDIA GPUs."""
    yield SamplerSpec(
        "nvml",
        "NVIDIA GPUs: list, load and memory",
        open="badc_telemetry.nvml:open_sampler",
        check="badc_telemetry.nvml:check",
    )


@hookimpl
def badc_commands() -> Iterable[CommandSpec]:
    """Yield the monitor of runs."""
    yield CommandSpec("infer monitor", "Show what each device does", load="badc_telemetry.monitor:monitor")

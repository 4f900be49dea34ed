"""BADC: run classifiers over field recordings at any scale, and compile what they heard.

The names a plugin needs can be imported from here; each is loaded when it is first used, so that
``import badc_core`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = [
    "BadcError",
    "Chunk",
    "ChunkResult",
    "CommandSpec",
    "Detection",
    "Device",
    "Event",
    "ExporterSpec",
    "InputSpec",
    "Instant",
    "LocalTime",
    "Measurement",
    "Prediction",
    "ReaderSpec",
    "Recording",
    "RecordingError",
    "RunnerError",
    "RunnerIdentity",
    "RunnerInfo",
    "RunnerSpec",
    "SamplerSpec",
    "SchedulerSpec",
    "Signal",
    "SinkSpec",
    "SourceSpec",
    "WorkerContext",
    "__version__",
    "hookimpl",
    "option",
]

_HOMES = {
    "BadcError": "badc_core.errors",
    "Chunk": "badc_core.model",
    "ChunkResult": "badc_core.model",
    "CommandSpec": "badc_core.specs",
    "Detection": "badc_core.model",
    "Device": "badc_core.model",
    "Event": "badc_core.model",
    "ExporterSpec": "badc_core.specs",
    "InputSpec": "badc_core.protocols",
    "Instant": "badc_core.model",
    "LocalTime": "badc_core.model",
    "Measurement": "badc_core.model",
    "Prediction": "badc_core.model",
    "ReaderSpec": "badc_core.specs",
    "Recording": "badc_core.model",
    "RecordingError": "badc_core.errors",
    "RunnerError": "badc_core.errors",
    "RunnerIdentity": "badc_core.protocols",
    "RunnerInfo": "badc_core.protocols",
    "RunnerSpec": "badc_core.specs",
    "SamplerSpec": "badc_core.specs",
    "SchedulerSpec": "badc_core.specs",
    "Signal": "badc_core.model",
    "SinkSpec": "badc_core.specs",
    "SourceSpec": "badc_core.specs",
    "WorkerContext": "badc_core.protocols",
    "hookimpl": "badc_core.hookspecs",
    "option": "badc_core.config",
}
"""Where each public name lives; imported when it is first asked for."""

if TYPE_CHECKING:
    from badc_core.config import option
    from badc_core.errors import BadcError, RecordingError, RunnerError
    from badc_core.hookspecs import hookimpl
    from badc_core.model import (
        Chunk,
        ChunkResult,
        Detection,
        Device,
        Event,
        Instant,
        LocalTime,
        Measurement,
        Prediction,
        Recording,
        Signal,
    )
    from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo, WorkerContext
    from badc_core.specs import (
        CommandSpec,
        ExporterSpec,
        ReaderSpec,
        RunnerSpec,
        SamplerSpec,
        SchedulerSpec,
        SinkSpec,
        SourceSpec,
    )


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'badc_core' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)

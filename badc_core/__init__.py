"""BADC: run classifiers over field recordings at any scale, and compile what they heard.

The names a plugin needs can be imported from here; each is loaded when it is first used, so that
``import badc_core`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOMES = {
    "hookimpl": "badc_core.hookspecs",
    **dict.fromkeys(
        (
            "Chunk",
            "ChunkResult",
            "Detection",
            "Device",
            "Event",
            "Instant",
            "LocalTime",
            "Measurement",
            "Prediction",
            "Recording",
            "Signal",
        ),
        "badc_core.model",
    ),
    **dict.fromkeys(
        (
            "CommandSpec",
            "ExporterSpec",
            "InputSpec",
            "ReaderSpec",
            "RunnerIdentity",
            "RunnerInfo",
            "RunnerSpec",
            "SamplerSpec",
            "SchedulerSpec",
            "SinkSpec",
            "SourceSpec",
            "WorkerContext",
        ),
        "badc_core.specs",
    ),
    **dict.fromkeys(("BadcError", "RecordingError", "RunnerError"), "badc_core.errors"),
    "option": "badc_core.config",
}

__all__ = ["__version__", *sorted(_HOMES)]

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
    from badc_core.specs import (
        CommandSpec,
        ExporterSpec,
        InputSpec,
        ReaderSpec,
        RunnerIdentity,
        RunnerInfo,
        RunnerSpec,
        SamplerSpec,
        SchedulerSpec,
        SinkSpec,
        SourceSpec,
        WorkerContext,
    )


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'badc_core' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)

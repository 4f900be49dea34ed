"""The stub runner: every chunk gets a result with status ``stub`` and no detections. It reads no samples."""

from __future__ import annotations

from collections.abc import Sequence

from badc_core.model import Prediction, Signal
from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo, WorkerContext

__all__ = ["StubRunner", "identify", "open_runner"]

_ANSWER = Prediction(status="stub")


def identify(options: None) -> RunnerIdentity:
    """Return the stub's identity; it has no version, as in BADC 0.1."""
    return RunnerIdentity("stub")


class StubRunner:
    """Hears nothing."""

    info = RunnerInfo(RunnerIdentity("stub"), InputSpec(kind="nothing", max_batch=128), labels=frozenset())

    def predict(self, batch: Sequence[Signal]) -> list[Prediction]:
        """Return the same answer for every chunk."""
        return [_ANSWER] * len(batch)

    def close(self) -> None:
        """Do nothing."""


def open_runner(options: None, context: WorkerContext) -> StubRunner:
    """Return a stub."""
    return StubRunner()

"""A runner for testing schedulers: hears nothing, takes its time, and notes every chunk it was given."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from badc_core.config import option
from badc_core.model import Prediction, Signal
from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo, WorkerContext

__all__ = ["DeafOptions", "DeafRunner", "open_broken", "open_runner"]


@frozen
class DeafOptions:
    """Options of the deaf runner."""

    log: Path = option(help="file that gets a line for each chunk")
    delay_ms: int = option(0, help="time to take for each chunk")


class DeafRunner:
    """Hears nothing."""

    info = RunnerInfo(RunnerIdentity("kit", "1"), InputSpec(kind="nothing"), labels=frozenset())

    def __init__(self, options: DeafOptions) -> None:
        self._delay_s = options.delay_ms / 1000
        self._log = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def predict(self, batch: Sequence[Signal], /) -> list[Prediction]:
        """Note the chunks, wait, and answer nothing."""
        for signal in batch:
            os.write(self._log, signal.chunk.chunk_id.encode() + b"\n")
            time.sleep(self._delay_s)
        return [Prediction(status="stub") for _ in batch]

    def close(self) -> None:
        """Close the log. Idempotent."""
        if self._log >= 0:
            handle, self._log = self._log, -1
            os.close(handle)


def open_runner(options: DeafOptions, context: WorkerContext) -> DeafRunner:
    """Return a deaf runner."""
    return DeafRunner(options)


def open_broken(options: DeafOptions, context: WorkerContext) -> DeafRunner:
    """Fail, as a runner whose weights are missing does."""
    raise RuntimeError("the kit's broken runner cannot be opened")

"""A plugin in one file: the real HawkEars, which fails with some recordings. For ``BADC_PLUGINS``; see test_odd.py.

What fails is told by the recording's name; all else is answered by the runner ``hawkears``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from badc_core import RunnerSpec, hookimpl
from badc_core.model import Prediction, Signal
from badc_core.protocols import Runner, WorkerContext


@hookimpl
def badc_runners() -> Iterator[RunnerSpec]:
    """Yield the runner."""
    yield RunnerSpec(
        "hawkears-raising",
        "HawkEars, which fails with some recordings",
        open="raising:open_runner",
        options="badc_hawkears.options:HawkEarsOptions",
        identify="badc_hawkears.identity:identify",
        finish="badc_hawkears.finish:finish",
        isolation="process",
    )


def open_runner(options: Any, context: WorkerContext) -> Runner:
    """Open the real one."""
    from badc_hawkears import runner

    return Raising(runner.open_runner(options, context))


class Raising:
    """The real runner, whose networks fail."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.info = real.info

    def predict(self, batch: Sequence[Signal]) -> list[Prediction]:
        """Answer, unless a recording says otherwise."""
        names = {signal.recording.recording_id for signal in batch}
        model = self._real._ensemble.main.models[0]
        said = {"raises": "a bug of HawkEars", "full": "CUDA out of memory. Tried to allocate 2.00 GiB"}
        for name, words in said.items():
            if name in names:
                with mock.patch.object(model, "forward", side_effect=RuntimeError(words)):
                    return self._real.predict(batch)
        happened = Path(os.environ["BADC_TEST_HAPPENED"])
        if "lost" in names and not happened.exists():
            happened.touch()
            with mock.patch.object(model, "forward", side_effect=RuntimeError("CUDA error: the launch failed")):
                return self._real.predict(batch)
        return self._real.predict(batch)

    def close(self) -> None:
        """Close the real one."""
        self._real.close()

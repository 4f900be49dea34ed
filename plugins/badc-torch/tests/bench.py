"""One process with torch for many tests: opens a runner for each request on stdin, and answers on stdout.

A request is a line of JSON: ``options`` of the runner, the ``worker``'s kind of device, ``rate`` and ``sounds``, an
``.npz`` file with one array a chunk; chunks are whole files. The answer: ``answers``, and the ``batch`` that held; or
``error``, ``message``, ``hint`` and ``retry``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from badc_core.model import Chunk, Device, Recording, Signal
from badc_core.protocols import WorkerContext
from badc_core.serde import structure, unstructure
from badc_torch.options import TorchOptions
from badc_torch.runner import open_runner


def _signals(sounds: str, rate: int) -> list[Signal]:
    made = []
    with np.load(sounds) as arrays:
        for name in arrays.files:
            path = Path(f"{name}.wav")
            chunk = Chunk(name, name, path, 0, round(len(arrays[name]) * 1000 / rate))
            made.append(Signal(chunk, Recording(name, path), arrays[name], rate))
    return made


def _hear(request: dict[str, Any], device: Device) -> dict[str, Any]:
    options = structure(request["options"], TorchOptions)
    with contextlib.closing(open_runner(options, WorkerContext(device, "w-0", Path()))) as runner:
        found = runner.predict(_signals(request["sounds"], request["rate"]))
        if request["again"]:
            found = runner.predict(_signals(request["sounds"], request["rate"]))
        return {"answers": [unstructure(one) for one in found], "batch": runner.batch}


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _hear(request, Device(request["worker"]))
        except Exception as error:
            told = {name: getattr(error, name, None) for name in ("message", "hint", "retry")}
            answer = {"error": type(error).__name__, **told, "message": told["message"] or str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

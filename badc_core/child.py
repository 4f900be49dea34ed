"""The process behind a :class:`~badc_core.isolation.RemoteRunner`: opens a runner and answers one batch after another.

Started as ``python -m badc_core.child REQUESTS ANSWERS MEMORY`` (three inherited file descriptors). stdout and stderr
belong to the model. The process ends when its parent does, even while the model is busy.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from badc_core.answers import check_answers
from badc_core.errors import RecordingError, RunnerError
from badc_core.halving import lacks_memory
from badc_core.host import load_object, one_file_plugins
from badc_core.isolation import read_frame, write_frame
from badc_core.model import Chunk, Device, Prediction, Recording, Signal
from badc_core.protocols import Runner, WorkerContext
from badc_core.serde import structure, unstructure

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGHUP):  # of the terminal's group: the parent decides when we end
        signal.signal(number, signal.SIG_IGN)


def _reader(handle: int) -> Any:
    def read(count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            block = os.read(handle, count - len(found))
            if not block:
                break
            found += block
        return bytes(found)

    return read


def _open(hello: Mapping[str, Any]) -> Runner:
    cls = hello["options_class"]
    options = None if cls is None else structure(hello["options"], load_object(cls))
    told = hello["context"]
    context = WorkerContext(
        device=structure(told["device"], Device),
        worker=told["worker"],
        scratch=Path(told["scratch"]),
        timeout_s=told["timeout_s"],
    )
    runner: Runner = load_object(hello["open"])(options, context)
    return runner


def _failure(error: BaseException) -> dict[str, Any]:
    known = error if isinstance(error, RunnerError) else None
    message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
    return {
        "error": {
            "kind": "RecordingError" if isinstance(error, RecordingError) else type(error).__name__,
            "message": message,
            "hint": getattr(error, "hint", None),
            "retry": known.retry if known else True,
            "returncode": known.returncode if known else None,
            "output": known.output if known else "",
            "lacks_memory": lacks_memory(error),
        }
    }


def _signals(message: Mapping[str, Any], memory: int) -> list[Signal]:
    import numpy as np

    shared = mmap.mmap(memory, message["memory"], prot=mmap.PROT_READ) if message["memory"] else None
    signals = []
    for entry in message["batch"]:
        samples = None
        if "shape" in entry:
            assert shared is not None
            count = int(np.prod(entry["shape"]))
            samples = np.frombuffer(shared, np.float32, count, entry["offset"]).reshape(entry["shape"])
        signals.append(
            Signal(
                structure(entry["chunk"], Chunk),
                structure(entry["recording"], Recording),
                samples,
                entry["sample_rate_hz"],
                entry["halo_before"],
                entry["halo_after"],
                None if entry["path"] is None else Path(entry["path"]),
                entry["missing_ms"],
                entry["read_to"],
            )
        )
    return signals


def _answer(prediction: Prediction) -> dict[str, Any]:
    return {
        "detections": [unstructure(found) for found in prediction.detections],
        "status": prediction.status,
        "model_version": prediction.model_version,
        "extra": dict(prediction.extra),
        "runner": prediction.runner,
        "output": prediction.output,
    }


def main(requests: int, answers: int, memory: int) -> None:
    """Serve until told to close or until the parent is gone."""
    _die_with_parent()
    one_file_plugins()
    read = _reader(requests)
    hello = read_frame(read)
    if hello is None:
        return
    try:
        runner = _open(hello)
        info = runner.info
        told = {"info": unstructure(info)}
    except (Exception, SystemExit) as error:
        write_frame(answers, _failure(error))
        return
    write_frame(answers, told)
    try:
        while (message := read_frame(read)) is not None and "close" not in message:
            try:
                signals = _signals(message, memory)
                checked = check_answers(signals, runner.predict(signals), hello["open"], info.labels)
                reply = {"answers": [_answer(one) for one in checked]}
            except (Exception, SystemExit) as error:
                reply = _failure(error)
            write_frame(answers, reply)
    finally:
        with contextlib.suppress(Exception):
            runner.close()
    write_frame(answers, {"closed": True})


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(*map(int, sys.argv[1:4]))

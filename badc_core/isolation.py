"""A runner in a process of its own, of this or another interpreter.

:class:`RemoteRunner` has the same face as any runner, so a worker need not know. Parent and child speak over two
private pipes, in frames of JSON; stdout belongs to the model. Samples travel in a memory that both have mapped. A child
that dies or takes too long is ended with all its descendants and started anew at the next batch.
"""

from __future__ import annotations

import mmap
import os
import selectors
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from badc_core.errors import RecordingError, RunnerError
from badc_core.json_text import dump_json, load_json
from badc_core.model import Detection, Prediction, Signal
from badc_core.processes import how_it_ended, kill_marked, marked_environment, tail
from badc_core.protocols import RunnerInfo, WorkerContext
from badc_core.serde import structure, unstructure

__all__ = ["RemoteRunner", "read_frame", "write_frame"]

_HEADER = struct.Struct("<Q")
_ALIGN = 64


def write_frame(handle: int, entry: Mapping[str, Any]) -> None:
    """Write one message: its length in 8 bytes, little-endian, then JSON."""
    data = dump_json(entry)
    view = memoryview(_HEADER.pack(len(data)) + data)
    while view:
        view = view[os.write(handle, view) :]


def read_frame(read: Callable[[int], bytes]) -> dict[str, Any] | None:
    """Read one message; ``None`` when the other side is gone.

    Parameters
    ----------
    read
        Returns exactly so many bytes, or fewer at the end.
    """
    header = read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    (length,) = _HEADER.unpack(header)
    data = read(length)
    return None if len(data) < length else load_json(data)


class RemoteRunner:
    """A runner that lives in a child process.

    Parameters
    ----------
    name
        Of the runner, for messages.
    open_path, options_class
        Import strings from the runner's spec.
    options
        Its options, as JSON values.
    context
        The worker's; the child sees only its device.
    python
        Interpreter of the child; ``None``: this one. Needs badc-core and the runner's plugin installed.

    Raises
    ------
    RunnerError
        The child cannot be started, or the runner cannot be opened in it.
    """

    def __init__(
        self,
        name: str,
        open_path: str,
        options_class: str | None,
        options: Mapping[str, Any],
        context: WorkerContext,
        python: Path | None = None,
    ) -> None:
        self._name = name
        self._hello = {
            "open": open_path,
            "options_class": options_class,
            "options": dict(options),
            "context": {
                "device": unstructure(context.device),
                "worker": context.worker,
                "scratch": str(context.scratch),
                "timeout_s": context.timeout_s,
            },
        }
        self._python = str(python) if python else sys.executable
        self._context = context
        self._child: _Child | None = None
        self._memory = _SharedMemory(context.scratch)
        try:
            self._info = structure(self._start()["info"], RunnerInfo)
        except BaseException:
            self._end()
            self._memory.close()
            raise

    @property
    def info(self) -> RunnerInfo:
        """What the runner in the child says of itself."""
        return self._info

    def _start(self) -> dict[str, Any]:
        self._child = _Child(self._python, self._memory.handle, _device_environment(self._context), self._context)
        answer = self._ask(self._hello, None)
        if "error" in answer:
            self._end()
            raise _error(f"The runner {self._name!r} cannot be opened", answer)
        return answer

    def predict(self, batch: Sequence[Signal]) -> list[Prediction]:
        """Have the child predict; see :meth:`badc_core.protocols.Runner.predict`.

        Raises
        ------
        RunnerError
            The runner raised, died, or took longer than the limit times the number of chunks.
        """
        if self._child is None:
            self._start()
        signals = self._memory.put(batch)
        limit = self._context.timeout_s
        answer = self._ask(
            {"memory": self._memory.size, "batch": signals}, None if limit is None else limit * max(1, len(batch))
        )
        if "error" in answer:
            if _lost_its_device(answer["error"]) or (len(batch) == 1 and answer["error"]["lacks_memory"]):
                self._end()  # no smaller batch can help; a fresh process may, which has hoarded and broken nothing
            raise _error(f"The runner {self._name!r} failed", answer)
        return [
            Prediction(
                [Detection(**found) for found in one["detections"]],
                one["status"],
                one["model_version"],
                one["extra"],
                one["runner"],
                one["output"],
            )
            for one in answer["answers"]
        ]

    def _ask(self, message: Mapping[str, Any], limit_s: float | None) -> dict[str, Any]:
        assert self._child is not None
        child = self._child
        try:
            write_frame(child.requests, message)
            answer = read_frame(child.reader(limit_s))
        except TimeoutError:
            said = child.said()
            self._end()
            raise RunnerError(
                f"The runner {self._name!r} gave no answer within {limit_s:g} s; it was stopped and starts anew.",
                output=said,
            ) from None
        except BrokenPipeError:
            answer = None
        if answer is None:
            returncode = child.wait()
            said = child.said()
            self._end()
            last = said.strip().rpartition("\n")[2][:200]
            ended = "closed its pipe" if returncode is None else how_it_ended(returncode)
            raise RunnerError(
                f"The process of runner {self._name!r} {ended}.",
                hint=f"Its last words: {last}" if last else None,
                returncode=returncode,
                output=said,
            )
        return answer

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def close(self) -> None:
        """Close the runner and end the child. Idempotent."""
        if self._child is not None:
            with suppress(OSError, TimeoutError):
                write_frame(self._child.requests, {"close": True})
                read_frame(self._child.reader(10.0))
        self._end()
        self._memory.close()


def _lost_its_device(found: Mapping[str, Any]) -> bool:
    """Whether a GPU failed under the process: all that it asks of that GPU from now on fails, too."""
    return any(words in found["message"].lower() for words in ("cuda error", "hip error"))


def _error(what: str, answer: Mapping[str, Any]) -> Exception:
    found = answer["error"]
    if found["kind"] == "RecordingError":
        return RecordingError(found["message"], hint=found["hint"])
    return RunnerError(
        f"{what}: {found['message']}",
        hint=found["hint"],
        retry=found["retry"],
        returncode=found["returncode"],
        output=found["output"],
    )


def _device_environment(context: WorkerContext) -> dict[str, str]:
    """What the child sees of GPUs: its own device, or none."""
    return {"CUDA_VISIBLE_DEVICES": (context.device.visible_as or "") if context.device.kind == "gpu" else ""}


class _Child:
    """The child process with its two pipes."""

    def __init__(self, python: str, memory: int, environment: Mapping[str, str], context: WorkerContext) -> None:
        requests_read, self.requests = os.pipe()
        self._answers, answers_write = os.pipe()
        self._log = tempfile.TemporaryFile(dir=context.scratch)  # noqa: SIM115 - lives as long as the child
        self._mark, env = marked_environment(environment)
        try:
            self._process = subprocess.Popen(
                [python, "-m", "badc_core.child", str(requests_read), str(answers_write), str(memory)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=env,
                pass_fds=(requests_read, answers_write, memory),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self.requests)
            os.close(self._answers)
            self._log.close()
            raise RunnerError(
                f"Cannot start the interpreter {python}: {error.strerror}.",
                hint="Check the option python.",
                retry=False,
            ) from error
        finally:
            os.close(requests_read)
            os.close(answers_write)

    def reader(self, limit_s: float | None) -> Callable[[int], bytes]:
        """Return a function that reads exactly n bytes from the child before the limit; raises TimeoutError."""
        until = None if limit_s is None else time.monotonic() + limit_s

        def read(count: int) -> bytes:
            found = bytearray()
            with selectors.DefaultSelector() as selector:
                selector.register(self._answers, selectors.EVENT_READ)
                while len(found) < count:
                    left = None if until is None else until - time.monotonic()
                    if (left is not None and left <= 0) or not selector.select(left):
                        raise TimeoutError
                    block = os.read(self._answers, count - len(found))
                    if not block:
                        break
                    found += block
            return bytes(found)

        return read

    def said(self) -> str:
        """Return the last of what the child wrote on stdout and stderr."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4000))
        return tail(self._log.read())

    def wait(self) -> int | None:
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        os.close(self.requests)
        os.close(self._answers)
        kill_marked(self._process, self._mark)
        self._log.close()


class _SharedMemory:
    """Memory that parent and child have mapped; it grows when a batch asks for more."""

    def __init__(self, scratch: Path) -> None:
        if hasattr(os, "memfd_create"):
            self.handle = os.memfd_create("badc-samples")
        else:
            with tempfile.NamedTemporaryFile(dir=scratch) as file:
                self.handle = os.dup(file.fileno())
        self.size = 0
        self._map: mmap.mmap | None = None

    def put(self, batch: Sequence[Signal]) -> list[dict[str, Any]]:
        """Copy the samples in, and return the description of each signal."""
        entries, offset, places = [], 0, []
        for signal in batch:
            entry: dict[str, Any] = unstructure_signal(signal)
            if signal.samples is not None:
                entry["offset"], entry["shape"] = offset, list(signal.samples.shape)
                places.append((offset, signal.samples))
                offset += -(-signal.samples.nbytes // _ALIGN) * _ALIGN
            entries.append(entry)
        self._grow(offset)
        for start, samples in places:
            assert self._map is not None
            self._map[start : start + samples.nbytes] = memoryview(_contiguous(samples)).cast("B")
        return entries

    def _grow(self, size: int) -> None:
        if size <= self.size:
            return
        if self._map is not None:
            self._map.close()
        os.ftruncate(self.handle, size)
        self._map = mmap.mmap(self.handle, size)
        self.size = size

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


def _contiguous(samples: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(samples, dtype=np.float32)


def unstructure_signal(signal: Signal) -> dict[str, Any]:
    """Return everything of a signal but its samples, as JSON values."""
    return {
        "chunk": unstructure(signal.chunk),
        "recording": unstructure(signal.recording),
        "sample_rate_hz": signal.sample_rate_hz,
        "halo_before": signal.halo_before,
        "halo_after": signal.halo_after,
        "path": None if signal.path is None else str(signal.path),
        "missing_ms": signal.missing_ms,
        "read_to": signal.read_to,
    }

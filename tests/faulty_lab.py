"""A plugin for tests, in one file: runners that can do everything wrong, and sinks that fail.

Used through ``BADC_PLUGINS=tests/faulty_lab.py``, which reaches child processes too. What the runner ``lab`` hears is
made of the chunk's name, so any two runs hear the same.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from badc_core.config import option
from badc_core.errors import Interrupted
from badc_core.hookspecs import hookimpl
from badc_core.model import Detection, Prediction, Signal
from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo, WorkerContext
from badc_core.specs import RunnerSpec, SinkSpec

PLUGIN = Path(__file__).resolve()


@hookimpl
def badc_runners() -> Iterator[RunnerSpec]:
    """Yield the runner twice: on a thread, and in a process of its own."""
    for name, isolation in (("lab", "thread"), ("lab-apart", "process")):
        yield RunnerSpec(
            name,
            "Misbehaves on request",
            open="faulty_lab:open_lab",
            options="faulty_lab:LabOptions",
            identify="faulty_lab:identify",
            isolation=isolation,  # type: ignore[arg-type]
        )
    yield RunnerSpec("lab-unopenable", "Cannot be opened", open="faulty_lab:open_never")
    yield RunnerSpec("lab-nothing", "Opens nothing", open="faulty_lab:open_nothing")
    yield RunnerSpec("lab-nameless", "Has no name", open="faulty_lab:open_lab", identify="faulty_lab:open_never")
    yield RunnerSpec("lab-swapped", "Loads another model than it says", open="faulty_lab:open_swapped")


@hookimpl
def badc_telemetry_sinks() -> Iterator[SinkSpec]:
    """Yield sinks that fail at once, or with every event."""
    yield SinkSpec("deaf", "Fails with every event", open="faulty_lab:open_deaf_sink")
    yield SinkSpec("shut", "Cannot be opened", open="faulty_lab:open_never")


@attrs.frozen
class LabOptions:
    """What the runner does; only `flavour` changes what it hears."""

    flavour: str = option("plain", help="Another one hears other things")
    log: Path | None = option(None, help="Where to write down every chunk it is given", affects_results=False)
    batch: int = option(4, help="Chunks at once", affects_results=False)
    sleep_ms: int = option(0, help="Time a chunk takes", affects_results=False)
    wants: str = option("nothing", help="Kind of input", affects_results=False)
    wrong: str = option("", help="What it does wrong", affects_results=False)
    at: str = option("", help="Part of the names of the chunks it does it with", affects_results=False)
    times: int = option(0, help="How often, for each chunk; 0: always", affects_results=False)
    most: int = option(0, help="Memory for so many chunks; 0: no limit", affects_results=False)


def identify(options: LabOptions) -> RunnerIdentity:
    """Return the identity; the environment says which weights there are."""
    return RunnerIdentity("lab", "1.0", os.environ.get("LAB_WEIGHTS"))


def heard(chunk_id: str, flavour: str = "plain") -> list[Detection]:
    """Return what the lab hears in a chunk: up to three detections."""
    seed = hashlib.sha256(f"{chunk_id} {flavour}".encode("utf-8", "surrogateescape")).digest()
    return [
        Detection(8 * seed[n], 8 * seed[n] + 500, f"label-{seed[n] % 7}", confidence=seed[n + 8] / 255)
        for n in range(seed[20] % 4)
    ]


class Lab:
    """The runner."""

    def __init__(self, options: LabOptions, context: WorkerContext) -> None:
        self._options = options
        self._context = context
        self._seen: dict[str, int] = {}
        spec = InputSpec(kind=options.wants, sample_rate_hz=8000, max_batch=options.batch)  # type: ignore[arg-type]
        labels = frozenset(f"label-{number}" for number in range(7))
        self.info = RunnerInfo(identify(options), spec, labels)

    def predict(self, batch: Sequence[Signal]) -> Any:
        """Answer, or misbehave."""
        options = self._options
        self._note(batch)
        if options.most and len(batch) > options.most:
            raise MemoryError(f"out of memory with {len(batch)} chunks")
        time.sleep(len(batch) * options.sleep_ms / 1000)
        guilty = [signal for signal in batch if self._misbehaves_with(signal.chunk.chunk_id)]
        answers: Any = [heard(signal.chunk.chunk_id, options.flavour) for signal in batch]
        if guilty and options.wrong in DEEDS:
            DEEDS[options.wrong](self._context)
        elif guilty and options.wrong in LIES:
            for place, signal in enumerate(batch):
                if signal in guilty:
                    answers[place] = LIES[options.wrong]
        elif guilty and options.wrong in NONSENSE:
            return NONSENSE[options.wrong](answers)
        return answers

    def _misbehaves_with(self, chunk_id: str) -> bool:
        if self._options.at not in chunk_id:
            return False
        self._seen[chunk_id] = seen = self._seen.get(chunk_id, 0) + 1
        if self._options.times and self._options.log is not None:  # counts what earlier processes did, too
            seen = read_log(self._options.log).count(chunk_id)
        return not self._options.times or seen <= self._options.times

    def _note(self, batch: Sequence[Signal]) -> None:
        if self._options.log is not None:
            names = "".join(f"{signal.chunk.chunk_id}\n" for signal in batch)
            handle = os.open(self._options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.write(handle, names.encode("utf-8", "surrogateescape"))
            os.close(handle)

    def close(self) -> None:
        """Do nothing."""


def read_log(path: Path) -> list[str]:
    """Return the chunks that runners were given, in order."""
    return path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []


def _raise(context: WorkerContext) -> None:
    raise ValueError("the frobnicator is out of phase")


def _hang(context: WorkerContext) -> None:
    """Sleep with two children, one of which left the session; nobody waits for them."""
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    children = [subprocess.Popen(nap, start_new_session=leaves, **quiet) for leaves in (False, True)]  # type: ignore[call-overload]
    if (told := os.environ.get("LAB_CHILDREN")) is not None:
        Path(told).write_text(" ".join(str(child.pid) for child in children))
    time.sleep(600)


def _chatter(context: WorkerContext) -> None:
    os.write(1, b"model talk on stdout\n" * 100)
    os.write(2, b"model talk on stderr\n" * 100)


def _leak(context: WorkerContext) -> None:
    """Keep 64 MiB more with every batch, in a process that may have 256 MiB more than it had at first."""
    if not _HOARD:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (256 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    _HOARD.append(bytearray(64 << 20))


_HOARD: list[bytearray] = []
DEEDS: dict[str, Callable[[WorkerContext], None]] = {
    "raise": _raise,
    "exit": lambda context: sys.exit("I am out"),
    "hang": _hang,
    "abort": lambda context: os.abort(),
    "die": lambda context: os.kill(os.getpid(), 9),
    "leave": lambda context: os._exit(7),
    "chatter": _chatter,
    "leak": _leak,
}
LIES: dict[str, Any] = {
    "nan": [Detection(0, 100, "label-1", confidence=float("nan"))],
    "too sure": [Detection(0, 100, "label-1", confidence=1.5)],
    "negative time": [Detection(-5, 100, "label-1", confidence=0.5)],
    "past the end": [Detection(0, 10**9, "label-1", confidence=0.5)],
    "unknown label": [Detection(0, 100, "unheard of", confidence=0.5)],
    "strange object": [object()],
    "text": "label-1",
    "none": None,
    "number": 3,
    "extra that is no JSON": Prediction((), extra={"it": object()}),
    "called failed": Prediction((), status="failed"),
}
NONSENSE: dict[str, Callable[[Any], Any]] = {
    "one too few": lambda answers: answers[1:],
    "one too many": lambda answers: [*answers, []],
    "no list": lambda answers: None,
}


def open_lab(options: LabOptions, context: WorkerContext) -> Lab:
    """Return the runner."""
    return Lab(options, context)


def open_never(*args: Any) -> Any:
    """Fail."""
    raise OSError("the lab is closed")


def open_until_stopped(options: object, context: WorkerContext) -> Any:
    """Take long to open, and give up when the run is asked to stop."""
    while not context.stopping():
        time.sleep(0.01)
    raise Interrupted("Stopped while opening.")


def open_nothing(options: None, context: WorkerContext) -> None:
    """Return nothing where a runner is owed."""


class _Swapped(Lab):
    def __init__(self, context: WorkerContext) -> None:
        super().__init__(LabOptions(), context)


def open_swapped(options: None, context: WorkerContext) -> Lab:
    """Return a runner whose identity is not what the spec promises."""
    return _Swapped(context)


class _DeafSink:
    def emit(self, event: object) -> None:
        raise RuntimeError("the sink is deaf")

    def flush(self) -> None:
        raise RuntimeError("the sink is deaf")

    def close(self) -> None:
        raise RuntimeError("the sink is deaf")


def open_deaf_sink(target: str | None, context: object) -> _DeafSink:
    """Return a sink that fails."""
    return _DeafSink()

"""A runner in a process of its own is like any other runner, and can be lost without loss."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from badc_core import isolation
from badc_core.errors import RecordingError, RunnerError
from badc_core.isolation import RemoteRunner
from badc_core.model import Chunk, Detection, Device, LocalTime, Recording, Signal
from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo, WorkerContext

PLUGIN = """
import os, time
import attrs
import numpy as np
from badc_core import Detection, InputSpec, Prediction, RecordingError, RunnerError, RunnerIdentity, RunnerInfo, option

@attrs.frozen
class Options:
    threshold: float = option(0.5, help="")

class Runner:
    def __init__(self, options, context):
        self.options, self.context = options, context
        spec = InputSpec("samples", 8000, max_batch=4)
        self.info = RunnerInfo(RunnerIdentity("remote", "1", "ab"), spec, frozenset({"b", "a"}))
    def predict(self, batch):
        first = batch[0]
        does = first.chunk.notes
        if does == "facts":
            return [Prediction([Detection(0, 1, "a", confidence=self.options.threshold, extra={
                "sum": float(s.samples.sum()), "shape": list(s.samples.shape), "writable": s.samples.flags.writeable,
                "rate": s.sample_rate_hz, "halo": [s.halo_before, s.halo_after, s.read_to], "missing": s.missing_ms,
                "site": s.recording.site, "started": s.recording.started_at.isoformat(), "chunk": s.chunk.chunk_id,
                "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"), "worker": self.context.worker, "pid": os.getpid(),
            })], "mine", "2", {"key": [1]}, "other", "said") for s in batch]
        if does == "recording": raise RecordingError("the file is bad", hint="get another")
        if does == "runner": raise RunnerError("busy", hint="wait", retry=False, returncode=5, output="last words")
        if does == "gpu": raise RuntimeError("CUDA error: unspecified launch failure")
        if does == "memory": raise MemoryError(f"no room for {len(batch)}")
        if does == "value": raise ValueError("odd")
        if does == "die": os.write(2, b"first\\nfatal: no more\\n"); os._exit(9)
        if does == "sleep": time.sleep(600)
        if does == "lie": return [[Detection(0, 1, "c")] for s in batch]
        return [[] for s in batch]
    def close(self): open(self.context.scratch / "closed", "a").write("x")

def open_runner(options, context): return Runner(options, context)
def open_slow(options, context): raise ImportError("no module named torch")
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RemoteRunner]]:
    """Return ``make(**changes)``, which starts a runner whose scratch folder is `tmp_path`."""
    plugin = tmp_path / "remote_lab.py"
    plugin.write_text(PLUGIN)
    monkeypatch.setenv("BADC_PLUGINS", str(plugin))
    made: list[RemoteRunner] = []

    def call(open_path: str = "remote_lab:open_runner", **changes: Any) -> RemoteRunner:
        values = {"device": Device(), "worker": "cpu-0", "scratch": tmp_path, "timeout_s": None, **changes}
        options = {"threshold": 0.25}
        made.append(RemoteRunner("lab", open_path, "remote_lab:Options", options, WorkerContext(**values)))
        return made[-1]

    yield call
    for runner in made:
        runner.close()


def _signal(does: str | None = None, frames: int = 10, number: int = 0, **more: Any) -> Signal:
    started_at = LocalTime(dt.datetime(2025, 5, 3, 4))
    recording = Recording("REC", Path("x.wav"), site="here", started_at=started_at)
    chunk = Chunk(f"c{number}", "REC", Path("x.wav"), 0, 3000, notes=does)
    return Signal(chunk, recording, np.full(frames, number + 1, np.float32), 8000, **more)


def test_what_the_child_is_told_and_tells(make: Callable[..., RemoteRunner]):
    runner = make(worker="cpu-7")
    wanted = InputSpec("samples", 8000, max_batch=4)
    assert runner.info == RunnerInfo(RunnerIdentity("remote", "1", "ab"), wanted, frozenset({"a", "b"}))
    batch = [_signal("facts", 10 + 1000 * n, n, halo_before=2, halo_after=3, missing_ms=4, read_to=9) for n in range(3)]
    answers = runner.predict(batch)
    for number, answer in enumerate(answers):
        assert (answer.status, answer.model_version, answer.extra) == ("mine", "2", {"key": [1]})
        assert (answer.runner, answer.output) == ("other", "said")
        (found,) = answer.detections
        told = dict(found.extra)
        assert (found.label, found.confidence) == ("a", 0.25)
        assert told.pop("pid") != os.getpid()
        assert told == {
            "sum": (10 + 1000 * number) * (number + 1), "shape": [10 + 1000 * number], "writable": False, "rate": 8000,
            "halo": [2, 3, 9], "missing": 4, "site": "here", "started": "2025-05-03T04:00:00.000000",
            "chunk": f"c{number}", "cuda": "", "worker": "cpu-7",
        }  # fmt: skip


def test_it_sees_one_device(make: Callable[..., RemoteRunner]):
    """Set before anything is imported in the child; a CPU worker sees none."""
    (answer,) = make(device=Device("gpu", 1, visible_as="GPU-abc")).predict([_signal("facts")])
    assert answer.detections[0].extra["cuda"] == "GPU-abc"


@pytest.mark.parametrize("samples", [np.zeros((5, 2), np.float32), np.zeros((10, 3), np.float32)[::2], None])
def test_samples_of_any_form(samples: Any, make: Callable[..., RemoteRunner]):
    import attrs

    signal = attrs.evolve(_signal(None), samples=samples)
    assert [list(answer.detections) for answer in make().predict([signal, signal])] == [[], []]


def test_batches_that_grow(make: Callable[..., RemoteRunner]):
    runner = make()
    for frames in (1, 100_000, 10, 1_000_000):
        (answer,) = runner.predict([_signal("facts", frames)])
        assert answer.detections[0].extra["sum"] == frames


@pytest.mark.parametrize(
    ("does", "kind", "said"),
    [
        ("recording", RecordingError, "the file is bad"),
        ("runner", RunnerError, "'lab' failed: busy"),
        ("value", RunnerError, "'lab' failed: ValueError: odd"),
        ("lie", RunnerError, "unknown label"),
    ],
)
def test_errors_come_back_as_they_were(does: str, kind: type[Exception], said: str, make: Callable[..., RemoteRunner]):
    runner = make()
    with pytest.raises(kind, match=said) as caught:
        runner.predict([_signal(does)])
    if does == "runner":
        error = caught.value
        assert isinstance(error, RunnerError)
        assert (error.hint, error.retry, error.returncode, error.output) == ("wait", False, 5, "last words")
    pid = _pid(runner)
    assert _pid(runner) == pid, "an error costs no process"


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_child_that_lost_its_gpu_starts_anew(make: Callable[..., RemoteRunner], chunks: int):
    """What CUDA broke stays broken in that process."""
    runner = make()
    before = _pid(runner)
    with pytest.raises(RunnerError, match="CUDA error: unspecified launch failure") as caught:
        runner.predict([_signal("gpu")] * chunks)
    assert caught.value.retry
    assert _pid(runner) != before


def _pid(runner: RemoteRunner) -> int:
    return int(runner.predict([_signal("facts")])[0].detections[0].extra["pid"])


def test_a_child_without_memory_for_a_single_chunk_starts_anew(make: Callable[..., RemoteRunner]):
    """With more than one, a smaller batch comes next."""
    runner = make()
    before = _pid(runner)
    with pytest.raises(RunnerError, match="no room for 2"):
        runner.predict([_signal("memory"), _signal("memory")])
    assert _pid(runner) == before
    with pytest.raises(RunnerError, match="no room for 1") as caught:
        runner.predict([_signal("memory")])
    assert caught.value.retry
    assert _pid(runner) != before


def test_a_child_that_died_starts_anew(make: Callable[..., RemoteRunner]):
    runner = make()
    before = _pid(runner)
    with pytest.raises(RunnerError, match="ended with status 9") as caught:
        runner.predict([_signal("die")])
    assert caught.value.retry
    assert caught.value.hint is not None
    assert "fatal: no more" in caught.value.hint
    assert _pid(runner) != before


def test_a_child_that_hangs_is_ended(make: Callable[..., RemoteRunner]):
    runner = make(timeout_s=0.4)
    before = _pid(runner)
    began = time.monotonic()
    with pytest.raises(RunnerError, match=r"no answer within 0\.4 s"):
        runner.predict([_signal("sleep")])
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{before}").exists()
    assert _pid(runner) != before


def test_it_is_closed_once(make: Callable[..., RemoteRunner], tmp_path: Path):
    runner = make()
    runner.close()
    runner.close()
    assert (tmp_path / "closed").read_text() == "x"


def test_a_runner_that_cannot_be_opened(make: Callable[..., RemoteRunner]):
    before = len(os.listdir("/proc/self/fd")) if sys.platform.startswith("linux") else 0
    for _ in range(3):
        with pytest.raises(RunnerError, match=r"'lab' cannot be opened: .*no module named torch"):
            make("remote_lab:open_slow")
        with pytest.raises(RunnerError, match="nowhere"):
            make("nowhere:open")
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 1, "handles leak"


def test_the_child_ends_with_its_parent(make: Callable[..., RemoteRunner], tmp_path: Path):
    """Even while the model is busy, and even when the parent is killed."""
    import subprocess

    program = (
        "import sys, os\n"
        "from pathlib import Path\n"
        "from badc_core.isolation import RemoteRunner\n"
        "from badc_core.model import Device\n"
        "from badc_core.protocols import WorkerContext\n"
        "context = WorkerContext(Device(), 'cpu-0', Path(sys.argv[1]))\n"
        "runner = RemoteRunner('lab', 'remote_lab:open_runner', 'remote_lab:Options', {}, context)\n"
        "print(runner._child._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    until = time.monotonic() + 5
    while Path(f"/proc/{done.stdout.strip()}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_frames_of_any_length():
    receive, send = os.pipe()
    entry = {"text": "x" * 30_000, "odd": os.fsdecode(b"\xf6")}
    isolation.write_frame(send, entry)
    os.close(send)
    with os.fdopen(receive, "rb") as file:
        assert isolation.read_frame(file.read) == entry
        assert isolation.read_frame(file.read) is None


def test_a_torn_frame_is_no_frame():
    receive, send = os.pipe()
    isolation.write_frame(send, {"text": "x" * 100})
    os.close(send)
    with os.fdopen(receive, "rb") as file:
        data = file.read()
    for length in (0, 3, 8, 50, len(data) - 1):
        torn = iter([data[:8][:length], data[8:length]])
        assert isolation.read_frame(lambda count, torn=torn: next(torn)) is None


def test_detections_survive_the_way(make: Callable[..., RemoteRunner]):
    (answer,) = make().predict([_signal("facts")])
    assert isinstance(answer.detections[0], Detection)
    assert (answer.detections[0].start_ms, answer.detections[0].end_ms) == (0, 1)

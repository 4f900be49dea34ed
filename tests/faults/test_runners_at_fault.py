"""Runners that raise, hang, die, lie or want too much: the chunk at fault is a `failed` result, the rest is done."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs

from badc_core import engine, worker
from badc_core.errors import ExitCode, RunnerError
from badc_core.host import Host
from badc_core.runs import RunRequest, RunSummary

GUILTY = "REC1_3000_6000"
RUNNERS = ("lab", "lab-apart")


@pytest.fixture
def go(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunSummary]:
    """Return ``go(runner, **options)``, which runs the lab over 12 chunks, one of which it treats wrongly."""
    monkeypatch.setattr(worker, "backoff_s", lambda attempt: 0)
    monkeypatch.syspath_prepend(faulty_lab.PLUGIN.parent)
    monkeypatch.setenv("BADC_PLUGINS", str(faulty_lab.PLUGIN))
    manifest = runs.make_manifest(isolated / "m.csv", 6, 2)

    def call(runner: str = "lab", /, *, request: dict[str, Any] | None = None, **options: Any) -> RunSummary:
        options = {"log": isolated / "log.txt", "at": GUILTY, **options}
        more = {"output_dir": isolated / "out", "telemetry_log": isolated / "log.jsonl", **(request or {})}
        return engine.run(RunRequest(manifest, runner, options, **more), host=Host(extra=[faulty_lab]))

    return call


def _the_rest_is_done(output: Path) -> dict[str, Any]:
    """Check that all but the guilty chunk were done as ever, and return the guilty one's result."""
    found = {entry["chunk_id"]: entry for entry in runs.documents(output)}
    assert len(found) == 12
    guilty = found.pop(GUILTY)
    for chunk_id, entry in found.items():
        assert entry["status"] in ("ok", "no_detections")
        assert [one["label"] for one in entry["detections"]] == [one.label for one in _heard(chunk_id)]
    return guilty


def _heard(chunk_id: str) -> list[Any]:
    return sorted(faulty_lab.heard(chunk_id), key=lambda found: found.start_ms)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [("raise", "the frobnicator is out of phase"), ("exit", "I am out")],
)
def test_a_runner_that_raises(runner: str, wrong: str, said: str, go: Callable[..., RunSummary], isolated: Path):
    summary = go(runner, wrong=wrong)
    assert summary.exit_code is ExitCode.SOME_FAILED
    assert summary.counts.failures == 1
    guilty = _the_rest_is_done(isolated / "out")
    assert guilty["status"] == "failed"
    assert said in guilty["error"]
    assert guilty["meta"]["attempt"] == 3


@pytest.mark.parametrize("wrong", ["abort", "die", "leave"])
def test_a_runner_that_dies(wrong: str, go: Callable[..., RunSummary], isolated: Path):
    """In a process of its own it takes nobody along, and starts anew."""
    summary = go("lab-apart", wrong=wrong, request={"max_retries": 1})
    assert summary.counts.failures == 1
    guilty = _the_rest_is_done(isolated / "out")
    words = {"abort": "SIGABRT", "die": "SIGKILL", "leave": "status 7"}
    assert words[wrong] in guilty["error"]
    assert "'lab-apart'" in guilty["error"]


@pytest.mark.parametrize("wrong", ["raise", "die"])
def test_a_fault_that_passes(wrong: str, go: Callable[..., RunSummary], isolated: Path):
    """The chunk is tried again, and its result is as good as any."""
    summary = go("lab-apart", wrong=wrong, times=2, batch=1)
    assert summary.exit_code is ExitCode.OK
    assert summary.counts.retries == 2
    guilty = _the_rest_is_done(isolated / "out")
    assert (guilty["status"], guilty["meta"]["attempt"]) == ("ok" if guilty["detections"] else "no_detections", 3)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("wrong", [*faulty_lab.LIES, *faulty_lab.NONSENSE])
def test_a_runner_that_lies(runner: str, wrong: str, go: Callable[..., RunSummary], isolated: Path):
    """The answer is refused with the runner's name, at once: the same input gives the same nonsense."""
    if runner == "lab-apart" and wrong not in ("nan", "strange object", "one too few"):
        pytest.skip("checked by the same function in the child")
    summary = go(runner, wrong=wrong)
    assert summary.exit_code is ExitCode.SOME_FAILED
    guilty = _the_rest_is_done(isolated / "out")
    assert guilty["status"] == "failed"
    assert f"'{runner}'" in guilty["error"]
    assert GUILTY in guilty["error"]
    assert guilty["meta"]["attempt"] == 1


@pytest.mark.parametrize("wrong", ["hang"])
def test_a_runner_that_hangs(
    wrong: str, go: Callable[..., RunSummary], isolated: Path, monkeypatch: pytest.MonkeyPatch
):
    """After the limit its process is ended with all that it started, what left the session too, and starts anew."""
    children = isolated / "children.txt"
    monkeypatch.setenv("LAB_CHILDREN", str(children))
    summary = go("lab-apart", wrong=wrong, batch=1, request={"timeout_s": 1.5, "max_retries": 0})
    assert summary.counts.failures == 1
    guilty = _the_rest_is_done(isolated / "out")
    assert "no answer within 1.5 s" in guilty["error"]
    pids = children.read_text().split()
    assert len(pids) == 2
    assert [pid for pid in pids if _alive(pid)] == []


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_runner_that_leaks(go: Callable[..., RunSummary], isolated: Path):
    """Memory runs out again and again; each time its process starts anew, and no chunk is lost."""
    summary = go("lab-apart", wrong="leak", at="", batch=1)
    assert summary.exit_code is ExitCode.OK
    assert 2 <= summary.counts.retries <= 6
    assert len(runs.committed(isolated / "out")) == 12


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_batch_that_is_too_large_is_halved(runner: str, go: Callable[..., RunSummary], isolated: Path):
    """Out of memory with more than two chunks: smaller batches give the same results, without a retry."""
    summary = go(runner, batch=8, most=2)
    assert summary.exit_code is ExitCode.OK
    assert summary.counts.retries == 0
    whole = go(runner, request={"output_dir": isolated / "whole"})
    assert whole.exit_code is ExitCode.OK
    assert runs.aggregate(isolated / "out", isolated / "a.csv") == runs.aggregate(
        isolated / "whole", isolated / "b.csv"
    )


def test_a_runner_that_talks(go: Callable[..., RunSummary], isolated: Path, capfd: pytest.CaptureFixture[str]):
    """What a model writes to stdout and stderr in its process is neither ours nor in the way."""
    assert go("lab-apart", wrong="chatter", at="").exit_code is ExitCode.OK
    assert "model talk" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("runner", "said"),
    [("lab-unopenable", "the lab is closed"), ("lab-nothing", "info"), ("lab-swapped", "plan was made for")],
)
def test_a_runner_that_cannot_be_opened(runner: str, said: str, isolated: Path):
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    with pytest.raises(RunnerError, match=said) as caught:
        engine.run(RunRequest(manifest, runner, output_dir=isolated / "out"), host=Host(extra=[faulty_lab]))
    assert f"'{runner}'" in caught.value.message
    assert runs.documents(isolated / "out") == []


def test_an_interpreter_that_is_not_there(isolated: Path):
    (isolated / "elsewhere.py").write_text(
        "import attrs\n"
        "from badc_core import RunnerSpec, hookimpl, option\n"
        "@attrs.frozen\n"
        "class Options:\n"
        "    python: str = option('/nowhere/python', help='', affects_results=False)\n"
        "@hookimpl\n"
        "def badc_runners():\n"
        "    yield RunnerSpec('elsewhere', 'x', open='faulty_lab:open_nothing', options='elsewhere:Options',\n"
        "                     isolation='process')\n"
    )
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    process = runs.start(
        "infer", "run", manifest, "--runner", "elsewhere", env={"BADC_PLUGINS": str(isolated / "elsewhere.py")}
    )
    _, said = process.communicate()
    assert process.returncode == 1
    assert "/nowhere/python" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("leaves", [False, True], ids=["stays in the session", "leaves the session"])
def test_a_command_that_hangs(leaves: bool, isolated: Path, tmp_path: Path):
    """It is ended with its descendants; the other chunks are done."""
    script = tmp_path / "model.sh"
    script.write_text(
        "#!/bin/sh\n"
        f'case "$2" in *guilty*) {"setsid" if leaves else ""} sleep 600 & echo $! > {tmp_path}/child\n'
        "sleep 600;; esac\n"
    )
    script.chmod(0o755)
    sources = [isolated / name for name in ("a.wav", "guilty.wav", "z.wav")]
    for source in sources:
        source.write_bytes(b"RIFF")
    from badc_core.model import Chunk

    manifest = runs.make_manifest(isolated / "m.csv", [Chunk(path.stem, "REC", path) for path in sources])
    began = time.monotonic()
    process = runs.start(
        "infer", "run", manifest, "--runner-cmd", script, "--timeout", 1, "--max-retries", 0, "--output-dir", "out"
    )
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 3, said
    found = {entry["chunk_id"]: entry for entry in runs.documents(isolated / "out")}
    assert [found[name]["status"] for name in ("a", "guilty", "z")] == ["ok", "failed", "ok"]
    assert "took longer than 1 s" in found["guilty"]["error"]
    assert str(script) in found["guilty"]["error"]
    child = (tmp_path / "child").read_text().strip()
    time.sleep(0.1)
    try:
        assert not _alive(child)
    finally:
        if _alive(child):
            os.kill(int(child), signal.SIGKILL)


def test_a_batch_whose_fault_nobody_knows_is_left_to_do(go: Callable[..., RunSummary], isolated: Path):
    """With --fail-fast the first failure ends the run; chunks that shared a failed batch are not called failed."""
    summary = go(wrong="nan", at="", batch=4, request={"fail_fast": True})
    assert summary.exit_code is ExitCode.SOME_FAILED
    assert {entry["chunk_id"] for entry in runs.documents(isolated / "out")} <= {"REC0_0_3000", "REC0_3000_6000"}
    assert go(at="none at all").exit_code is ExitCode.OK
    assert len(runs.committed(isolated / "out")) == 12

"""kill -9, SIGTERM and SIGINT: the same command again, and every chunk is there exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs

LAYOUTS = ("files", "segments")
CRASH_POINTS = Path(__file__).with_name("crash_points.py")
FOLLOWER_CRASH_POINTS = Path(__file__).with_name("follower_crash_points.py")


def _crash(folder: Path, layout: str, stride: int, kills: int) -> dict[str, Any]:
    paths = os.pathsep.join([str(faulty_lab.PLUGIN.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(CRASH_POINTS), str(folder), layout, str(stride), str(kills)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_killed_at_a_call_of_the_system(layout: str, isolated: Path):
    """At every tenth call that writes: the rest is done, nothing twice, and the aggregate has the same bytes."""
    report = _crash(isolated, layout, 10, 1)
    assert report["wrong"] == {}
    assert report["points"] >= 7


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_killed_at_every_call_of_the_system(layout: str, kills: int, isolated: Path):
    report = _crash(isolated, layout, 1, kills)
    assert report["wrong"] == {}
    assert report["points"] == report["calls"] >= 70


def _follow(folder: Path, stride: int, kills: int) -> dict[str, Any]:
    paths = os.pathsep.join([str(faulty_lab.PLUGIN.parent), os.environ.get("PYTHONPATH", "")])
    plugins = os.pathsep.join(str(faulty_lab.PLUGIN.with_name(name)) for name in ("faulty_lab.py", "yard.py"))
    done = subprocess.run(
        [sys.executable, str(FOLLOWER_CRASH_POINTS), str(folder), str(stride), str(kills)],
        env={**os.environ, "PYTHONPATH": paths, "BADC_PLUGINS": plugins},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kills", [1, 2])
def test_who_follows_a_run_is_killed_at_a_call_of_the_system(kills: int, isolated: Path):
    """Once, and twice in a row: whoever follows it then, the log tells each event exactly once."""
    report = _follow(isolated, 2, kills)
    assert report["wrong"] == {}
    assert report["points"] >= 25


def _finished(output: Path, manifest: Path, log: Path, layout: str, runner: str) -> Any:
    return runs.start(
        "infer", "run", manifest, "--output-dir", output, "--layout", layout, "--runner", runner,
        "-o", f"log={log}", "-o", "sleep_ms=15", "--cpu-workers", 2, "--telemetry-log", output.parent / "log.jsonl",
    )  # fmt: skip


def _kill_until_done(folder: Path, layout: str, runner: str, cycles: int) -> None:
    """Kill a run so often at random moments, then let it end."""
    dice = random.Random(f"{layout} {cycles}")
    each = 35 * cycles  # of two recordings: two workers, at 15 ms a chunk, need longer than all the time they are given
    manifest = runs.make_manifest(folder / "m.csv", each, 2)
    output, log = folder / "out", folder / "log.txt"
    killed = 0
    for cycle in range(cycles + 1):
        before = runs.committed(output)
        ran = faulty_lab.read_log(log)
        process = _finished(output, manifest, log, layout, runner)
        if cycle < cycles:
            _wait_for(lambda ran=ran: len(faulty_lab.read_log(log)) > len(ran), process)
            time.sleep(dice.uniform(0, 0.5))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        said = process.communicate()[1]
        again = faulty_lab.read_log(log)[len(ran) :]
        assert {name for _, name in before}.isdisjoint(again), "a chunk ran again after its commit"
    assert process.returncode == 0, said
    assert killed == cycles
    found = [(entry["recording_id"], entry["chunk_id"]) for entry in runs.documents(output)]
    assert len(found) == len(set(found)) == 2 * each

    whole = folder / "whole"
    undisturbed = _finished(whole, manifest, folder / "other.txt", layout, runner)
    assert undisturbed.wait() == 0, undisturbed.communicate()
    assert runs.aggregate(output, folder / "t.csv") == runs.aggregate(whole, folder / "w.csv")


def _wait_for(ready: Any, process: subprocess.Popen[str], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "waited in vain"
        if process.poll() is not None:
            return
        time.sleep(0.01)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kill_9_at_random_moments(layout: str, isolated: Path):
    _kill_until_done(isolated, layout, "lab", 3)


def test_kill_9_with_a_runner_in_its_own_process(isolated: Path):
    _kill_until_done(isolated, "files", "lab-apart", 2)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["lab", "lab-apart"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kill_9_many_times(layout: str, runner: str, isolated: Path):
    _kill_until_done(isolated, layout, runner, 12)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("runner", ["lab", "lab-apart"])
def test_asked_to_stop(runner: str, number: signal.Signals, isolated: Path):
    """It ends soon with the status that says: run me again. What was in hand is committed, and nothing is a failure."""
    manifest = runs.make_manifest(isolated / "m.csv", 100, 2)
    log, output = isolated / "log.txt", isolated / "out"
    command = ("infer", "run", manifest, "--runner", runner, "-o", f"log={log}", "--output-dir", output)
    process = runs.start(*command, "-o", "sleep_ms=20")
    _wait_for(lambda: faulty_lab.read_log(log), process)
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate()
    assert process.returncode == 75, said
    assert time.monotonic() - began < 5
    assert "Run the same command again" in said
    assert {name for _, name in runs.committed(output)} == set(faulty_lab.read_log(log))
    assert "failed" not in {entry["status"] for entry in runs.documents(output)}
    rest = runs.start(*command)
    said = rest.communicate()
    assert rest.returncode == 0, said
    assert sorted(faulty_lab.read_log(log)) == sorted({name for _, name in runs.committed(output)})


@pytest.mark.parametrize("runner", ["lab", "lab-apart"])
def test_asked_to_stop_while_a_model_hangs(runner: str, isolated: Path):
    """The grace time is shortened here; after it the run leaves, and the chunk in hand is left to do."""
    (isolated / "hurry.py").write_text("from badc_core import engine\nengine.GRACE_S = 0.5\n")
    plugins = os.pathsep.join([str(faulty_lab.PLUGIN), str(isolated / "hurry.py")])
    manifest = runs.make_manifest(isolated / "m.csv", 4, 1)
    log, children = isolated / "log.txt", isolated / "children.txt"
    process = runs.start(
        "infer", "run", manifest, "--runner", runner, "-o", f"log={log}", "-o", "wrong=hang", "--output-dir", "out",
        env={"BADC_PLUGINS": plugins, "LAB_CHILDREN": str(children)},
    )  # fmt: skip
    _wait_for(children.exists, process)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    try:
        assert process.returncode == 75, said
        assert runs.documents(isolated / "out") == []
        if runner == "lab-apart":
            assert not any(map(alive, children.read_text().split()))
    finally:
        for pid in filter(alive, children.read_text().split()):
            os.kill(int(pid), signal.SIGKILL)


def alive(pid: str) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_asked_to_stop_while_waiting_for_another_run(isolated: Path):
    manifest = runs.make_manifest(isolated / "m.csv", 40, 1)
    log = isolated / "log.txt"
    first = runs.start("infer", "run", manifest, "--runner", "lab", "-o", f"log={log}", "-o", "sleep_ms=100")
    _wait_for(lambda: faulty_lab.read_log(log), first)
    second = runs.start("infer", "run", manifest, "--runner", "lab", "--wait", 60)
    time.sleep(1.2)
    second.send_signal(signal.SIGTERM)
    _, said = second.communicate(timeout=10)
    assert second.returncode == 75, said
    assert "waiting" in said
    first.terminate()
    assert first.wait() == 75
    first.communicate()


def test_asked_to_stop_while_a_recording_cannot_be_read(isolated: Path):
    """A reader that hangs, as on a dead network folder, does not keep the process from leaving."""
    (isolated / "stuck.py").write_text(
        "import time\n"
        "from badc_core import ReaderSpec, engine, hookimpl\n"
        "engine.GRACE_S = 0.5\n"
        "@hookimpl\n"
        "def badc_readers():\n"
        "    yield ReaderSpec('stuck', 'Hangs', open='stuck:open_file', suffixes=('.stuck',), export_suffix='.stuck')\n"
        "def open_file(path):\n"
        "    path.with_suffix('.opened').touch()\n"
        "    time.sleep(600)\n"
    )
    source = isolated / "field.stuck"
    source.write_bytes(b"something")
    manifest = runs.make_manifest(isolated / "m.csv", runs.chunks_of(1, 2, source))
    plugins = os.pathsep.join([str(faulty_lab.PLUGIN), str(isolated / "stuck.py")])
    process = runs.start(
        "infer", "run", manifest, "--runner", "lab", "-o", "wants=samples", env={"BADC_PLUGINS": plugins}
    )
    _wait_for(source.with_suffix(".opened").exists, process)
    process.send_signal(signal.SIGTERM)
    try:
        _, said = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"it does not end: {process.communicate()}")
    assert process.returncode == 75, said

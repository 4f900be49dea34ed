"""Several runs over one folder: one works, the others wait, take over from the dead, or say who holds it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs

from badc_core import engine
from badc_core.claims import STALE_AFTER_S
from badc_core.host import Host
from badc_core.runs import RunRequest

LAYOUTS = ("files", "segments")


def _until(ready: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def _claim_of(output: Path) -> Path:
    return output / ".badc" / "claim.json"


def test_a_second_run_says_who_holds_the_folder(isolated: Path, run_badc: Callable[..., Any]):
    manifest = runs.make_manifest(isolated / "m.csv", 20, 1)
    command = ("infer", "run", manifest, "--runner", "lab", "-o", f"log={isolated / 'log.txt'}", "--output-dir", "out")
    first = runs.start(*command, "-o", "sleep_ms=100")
    _until(lambda: bool(faulty_lab.read_log(isolated / "log.txt")))
    second = run_badc(*command, env=runs.lab_environment())
    assert second.code == 4
    assert f"{isolated / 'out'} is in use by run " in second.stderr
    assert f"process {first.pid}" in second.stderr
    assert "--wait" in second.stderr
    assert "Traceback" not in second.stderr
    first.terminate()
    first.communicate()
    run_badc(*command, env=runs.lab_environment()).ok()
    assert Counter(faulty_lab.read_log(isolated / "log.txt")) == Counter(
        name for _, name in runs.committed(isolated / "out")
    )
    assert not _claim_of(isolated / "out").exists()


def test_a_second_run_that_waits(isolated: Path):
    """It begins when the first has ended, and finds nothing left to do."""
    manifest = runs.make_manifest(isolated / "m.csv", 10, 1)
    log = isolated / "log.txt"
    command = ("infer", "run", manifest, "--runner", "lab", "-o", f"log={log}", "--output-dir", "out", "--wait", 60)
    first = runs.start(*command, "-o", "sleep_ms=50")
    _until(lambda: bool(faulty_lab.read_log(log)))
    second = runs.start(*command)
    told, said = second.communicate(timeout=60)
    assert (first.wait(), second.returncode) == (0, 0), said
    first.communicate()
    assert "Nothing to do: all 10 chunks are done" in told
    assert len(faulty_lab.read_log(log)) == 10


def test_the_claim_of_a_dead_process_is_taken_over_at_once(isolated: Path, run_badc: Callable[..., Any]):
    manifest = runs.make_manifest(isolated / "m.csv", 20, 1)
    command = ("infer", "run", manifest, "--runner", "lab", "-o", f"log={isolated / 'log.txt'}", "--output-dir", "out")
    first = runs.start(*command, "-o", "sleep_ms=100")
    _until(lambda: bool(faulty_lab.read_log(isolated / "log.txt")))
    first.kill()
    first.communicate()
    assert _claim_of(isolated / "out").exists()
    run_badc(*command, env=runs.lab_environment()).ok()
    assert len(runs.committed(isolated / "out")) == 20


@pytest.mark.parametrize("age_s", [STALE_AFTER_S / 2, STALE_AFTER_S * 2])
def test_the_claim_of_another_machine(age_s: float, isolated: Path, run_badc: Callable[..., Any]):
    """It holds until it was not touched for a minute by the file system's own clock."""
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    claim = _claim_of(isolated / "out")
    claim.parent.mkdir(parents=True)
    claim.write_text(json.dumps({"run_id": "20260101T000000Z-00", "host": "node17", "pid": 1, "token": "x"}))
    then = time.time() - age_s
    os.utime(claim, (then, then))
    ended = run_badc("infer", "run", manifest, "--output-dir", "out", "--quiet")
    if age_s < STALE_AFTER_S:
        assert ended.code == 4
        assert "node17" in ended.stderr
        assert runs.documents(isolated / "out") == []
    else:
        assert len(runs.documents(isolated / "out")) == 2, ended.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"pid": "none", "host": 3}'])
def test_a_damaged_claim_holds_until_it_is_old(text: str, isolated: Path, cli: Callable[..., Any]):
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    claim = _claim_of(isolated / "out")
    claim.parent.mkdir(parents=True)
    claim.write_text(text)
    assert cli("infer", "run", manifest, "--output-dir", "out", "--quiet").code == 4
    os.utime(claim, (1, 1))
    cli("infer", "run", manifest, "--output-dir", "out", "--quiet").ok()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_worker_wakes_after_a_takeover(layout: str, isolated: Path, run_badc: Callable[..., Any]):
    """Fencing: it was stopped so long that it seemed dead; awake again it commits nothing, and says why."""
    manifest = runs.make_manifest(isolated / "m.csv", 20, 1)
    output, logs = isolated / "out", (isolated / "first.txt", isolated / "second.txt")
    command = ("infer", "run", manifest, "--runner", "lab", "--layout", layout, "--output-dir", output, "--quiet")
    first = runs.start(*command, "-o", f"log={logs[0]}", "-o", "sleep_ms=150", "-o", "batch=1")
    _until(lambda: len(runs.committed(output)) >= 2)
    first.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    os.utime(_claim_of(output), (1, 1))
    _forget_process(_claim_of(output))
    run_badc(*command, "-o", f"log={logs[1]}", env=runs.lab_environment()).ok()
    after = {path: path.read_bytes() for path in output.rglob("*.json*") if ".badc" not in path.parts}
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 4, said
    assert "taken over" in said
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in output.rglob("*.json*") if ".badc" not in path.parts} == after
    assert len(runs.committed(output)) == len(runs.documents(output)) == 20


def _forget_process(claim: Path) -> None:
    """Make a claim look as if another machine had made it, without changing the file that its holder knows."""
    holder = json.loads(claim.read_text())
    with claim.open("r+") as file:
        file.write(json.dumps({**holder, "host": "node17"}))
        file.truncate()
    os.utime(claim, (1, 1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_processes_race_for_few_chunks(layout: str, isolated: Path):
    """Twenty processes, ten chunks, one folder: each chunk has exactly one commit, and was given to a runner once."""
    manifest = runs.make_manifest(isolated / "m.csv", 5, 2)
    log, output = isolated / "log.txt", isolated / "out"
    statuses = _race(manifest, log, output, layout, wait_s=60)
    assert statuses == [0] * 20
    assert Counter(faulty_lab.read_log(log)) == Counter(name for _, name in runs.committed(output))
    assert len(runs.documents(output)) == 10
    assert not _claim_of(output).exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_processes_race_for_a_dead_one_s_folder(layout: str, isolated: Path):
    """One wins the stale claim; the others see who holds it. Whoever comes later has nothing left to do."""
    manifest = runs.make_manifest(isolated / "m.csv", 5, 2)
    log, output = isolated / "log.txt", isolated / "out"
    claim = _claim_of(output)
    claim.parent.mkdir(parents=True)
    claim.write_text(json.dumps({"run_id": "20260101T000000Z-00", "host": "node17", "pid": 1, "token": "x"}))
    os.utime(claim, (1, 1))
    statuses = _race(manifest, log, output, layout, wait_s=0)
    assert 0 in statuses
    assert set(statuses) <= {0, 4}
    assert Counter(faulty_lab.read_log(log)) == Counter(name for _, name in runs.committed(output))
    assert len(runs.documents(output)) == 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_that_a_network_folder_shows_late(layout: str, isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """What a stale listing hides is done again: each chunk still has one result, and the aggregate its bytes."""
    manifest = runs.make_manifest(isolated / "m.csv", 5, 2)
    output = isolated / "out"
    request = RunRequest(manifest, "lab", {}, output, layout, telemetry_log=isolated / "log.jsonl")  # type: ignore[arg-type]
    host = Host(extra=[faulty_lab])
    engine.run(request, host=host)
    whole = runs.aggregate(output, isolated / "a.csv")
    real = os.listdir

    def stale(path: Any = ".") -> list[str]:
        hidden = (".jsonl",) if layout == "segments" else ("_0_3000.json", "_9000_12000.json")
        return [name for name in real(path) if not name.endswith(hidden)]

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", stale)
        again = engine.run(request, host=host)
    assert again.counts.chunks == {"files": 4, "segments": 10}[layout]
    assert len(runs.documents(output)) == 10
    assert runs.aggregate(output, isolated / "b.csv") == whole
    assert engine.run(request, host=host).plan.chunks == 0


_RACER = """
import os, sys, time
import faulty_lab
from badc_core import engine, telemetry
from badc_core.errors import BadcError
from badc_core.host import Host
from pathlib import Path
manifest, log, output, layout, wait_s = sys.argv[1:]
host = Host(extra=[faulty_lab])
telemetry.DISPATCH_S = 0.01
children = []
for number in range(20):
    pid = os.fork()
    if pid:
        children.append(pid)
        continue
    request = engine.RunRequest(
        Path(manifest), "lab", {"log": log, "sleep_ms": "5"}, Path(output), layout, wait_s=float(wait_s),
        telemetry_log=Path(output).parent / f"log-{number}.jsonl",
    )
    try:
        os._exit(engine.run(request, host=host).exit_code)
    except BadcError as error:
        print(error, file=sys.stderr)
        os._exit(error.exit_code)
print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


def _race(manifest: Path, log: Path, output: Path, layout: str, wait_s: float) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", _RACER, str(manifest), str(log), str(output), layout, str(wait_s)],
        env={**os.environ, "PYTHONPATH": str(faulty_lab.PLUGIN.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]

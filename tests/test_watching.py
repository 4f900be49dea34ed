"""``badc watch``: what cannot work is told at once; what was not finished is told at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sounds import noise, write

from badc_core.errors import Interrupted
from badc_core.watching import Watched, Watcher

NOW = ["--source-option", "settle_s=0"]

LAME = """
import attrs
from badc_core import RunnerSpec, hookimpl
from badc_core.config import option
from badc_core.protocols import Readiness

@attrs.frozen
class Options:
    weights: str = option("", help="where they lie")

def check():
    return Readiness(False, "the weights are missing", "pip install weights")

@hookimpl
def badc_runners():
    yield RunnerSpec(
        "lame",
        "Lacks something",
        open="badc_stub.stub:open_runner",
        identify="badc_stub.stub:identify",
        options="lame:Options",
        check="lame:check",
    )
"""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--runner", "stubb"], 1, "Did you mean 'stub'?"),
        (["--runner", "stub", "-o", "x=1"], 2, "The runner 'stub' has no option 'x'."),
        (["--source", "nosuch"], 1, "There is no source named 'nosuch'."),
        (["--source-option", "settle=1"], 2, "Did you mean 'settle_s'?"),
    ],
)
@pytest.mark.parametrize("once", [[], ["--once"]])
def test_what_cannot_work_is_told_once_and_at_once(
    cli, isolated: Path, arguments: list[str], code: int, words: str, once: list[str]
):
    """Without --once the command comes back, too; two recordings do not make two complaints."""
    for name in ("a", "b"):
        write(isolated / f"in/{name}.wav", noise(1))
    done = cli("watch", "in", *arguments, *once)
    assert done.code == code
    assert done.stderr.count("Error: ") == 1
    assert words in done.stderr
    assert done.stdout == ""
    assert os.listdir(isolated) == ["in"]


def test_a_folder_that_is_not_there_is_told(cli, isolated: Path):
    done = cli("watch", "in")
    assert done.code == 1
    assert "in is no folder that could be watched" in done.stderr


def test_a_runner_that_is_not_ready_is_told(run_badc, isolated: Path):
    """It speaks of its defaults only: with an option that may name what is missing, it is tried."""
    write(isolated / "in/a.wav", noise(1))
    (isolated / "lame.py").write_text(LAME)
    env = {"BADC_PLUGINS": "lame.py"}
    done = run_badc("watch", "in", "--runner", "lame", env=env)
    assert done.code == 1
    assert (
        "The runner 'lame' cannot run here: the weights are missing.\nTo mend that: pip install weights" in done.stderr
    )
    assert "Watching" not in done.stderr
    tried = run_badc("watch", "in", "--runner", "lame", "-o", "weights=here", "--once", *NOW, env=env)
    assert "the weights are missing" in tried.stderr
    assert "a.wav: 1 chunk, 1 analysed now, 0 failed" in tried.ok().stdout


def test_one_look(cli, isolated: Path):
    write(isolated / "in/a.wav", noise(1))
    early = cli("watch", "in", "--once", "--source-option", "settle_s=900").ok()
    assert early.stdout == ""
    assert early.stderr.splitlines() == [
        "Looking once at in (source folder) with the runner stub.",
        f"Results go to {isolated / 'artifacts/watch'}.",
        "1 file is not finished yet: empty, or changed within settle_s=900 seconds.",
    ]
    done = cli("watch", "in", "--once", "--output-dir", "out", *NOW).ok()
    assert done.stdout == "in/a.wav: 1 chunk, 1 analysed now, 0 failed\n"
    assert "not finished" not in done.stderr
    assert json.loads((isolated / "out/a/a_0_1000.json").read_text())["status"] == "stub"
    again = cli("watch", "in", "--once", "--output-dir", "out", *NOW).ok()
    assert again.stdout == "in/a.wav: 1 chunk, 0 analysed now, 0 failed\n"


def test_a_damaged_recording_costs_only_itself(cli, isolated: Path):
    (isolated / "in").mkdir()
    (isolated / "in/a.wav").write_bytes(b"no sound")
    write(isolated / "in/b.wav", noise(1))
    done = cli("watch", "in", "--once", *NOW)
    assert done.code == 3
    assert "in/a.wav" in done.stderr
    assert done.stdout == "in/b.wav: 1 chunk, 1 analysed now, 0 failed\n"


def test_a_signal_that_a_run_took_at_its_very_end_is_not_lost(isolated: Path):
    """A run with all its work done ends well, whatever came; the watch must end all the same."""
    for name in ("a", "b"):
        write(isolated / f"in/{name}.wav", noise(1))
    told: list[Watched] = []

    def tell(seen: Watched) -> None:
        told.append(seen)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with pytest.raises(Interrupted):
            Watcher("in", "folder", "stub", isolated / "out", {"settle_s": "0"}).run(tell)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [seen.path.name for seen in told] == ["a.wav"]


def test_a_recording_that_arrives_is_analysed_and_ctrl_c_ends(isolated: Path):
    (isolated / "in").mkdir()
    command = [sys.executable, "-m", "badc_core", "watch", "in", "--interval", "0.1", *NOW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline() == "Watching in (source folder) with the runner stub.\n"
        write(isolated / "new.wav", noise(1)).rename(isolated / "in/new.wav")
        listed = isolated / "artifacts/watch/new/new_0_1000.json"
        until = time.monotonic() + 60
        while not listed.exists() and time.monotonic() < until:
            time.sleep(0.05)
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=60)
    assert listed.exists(), errors
    assert watching.returncode == 0
    assert "Stopped; the same command goes on." in errors
    assert "Traceback" not in errors

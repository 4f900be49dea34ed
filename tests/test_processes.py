"""Processes that end when they should, with everything they started."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from badc_core import processes
from badc_core.processes import how_it_ended, run_command

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_command_to_its_end(tmp_path: Path):
    program = """if True:
        import os, sys
        print(os.environ['X'], os.getcwd(), repr(sys.stdin.read()))
        print('e', file=sys.stderr)
        exit(3)
    """
    ended = run_command(_python(program), env={"X": "y"}, cwd=tmp_path)
    assert ended == processes.Finished(3, f"y {tmp_path} ''\n", "e\n")


def test_a_command_that_a_signal_ended():
    assert run_command(_python("import os; os.abort()")).returncode == -6


@pytest.mark.parametrize(
    ("returncode", "said"),
    [
        (0, "ended with status 0"),
        (3, "ended with status 3"),
        (-9, "was ended by SIGKILL"),
        (-200, "ended with status -200"),
    ],
)
def test_how_a_command_ended_is_said(returncode: int, said: str):
    assert how_it_ended(returncode) == said


def test_a_talkative_command_neither_blocks_nor_fills_memory():
    ended = run_command(_python("import sys; [sys.stdout.write('x' * 1000) for _ in range(5000)]; print('end')"))
    assert ended.stdout.endswith("end\n")
    assert len(ended.stdout) <= 64 * 1024


def test_a_command_that_is_not_there():
    with pytest.raises(OSError, match="No such file"):
        run_command(["/nowhere/at/all"])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@LINUX
def test_a_command_that_takes_too_long_dies_with_its_descendants(tmp_path: Path):
    """One in its session, one that left it, and one whose parent ended."""
    program = (
        "import os, subprocess, sys, time\n"
        "nap = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "plain = subprocess.Popen(nap)\n"
        "left = subprocess.Popen(nap, start_new_session=True)\n"
        "orphan = subprocess.run(['sh', '-c', 'setsid sleep 600 >/dev/null 2>&1 & echo $!'],\n"
        "                        capture_output=True, text=True).stdout\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{plain.pid}} {{left.pid}} {{orphan}}')\n"
        "time.sleep(600)\n"
    )
    began = time.monotonic()
    ended = run_command(_python(program), timeout_s=2)
    assert ended.timed_out
    assert ended.returncode == -9
    assert time.monotonic() - began < 8
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    assert [pid for pid in pids if _alive(pid)] == []


def test_a_command_that_nobody_waits_for_any_more():
    asked = iter([False, True])
    began = time.monotonic()
    ended = run_command(_python("import time; time.sleep(600)"), stopping=lambda: next(asked))
    assert (ended.stopped, ended.timed_out, ended.returncode) == (True, False, -9)
    assert time.monotonic() - began < 8


@LINUX
def test_a_command_that_ends_with_us(tmp_path: Path):
    """Even by ``kill -9``; and otherwise it is as without."""
    program = (
        "import sys\nfrom badc_core.processes import ending_with_us, run_command\n"
        f"run_command(ending_with_us(['sh', '-c', 'echo $$ > {tmp_path / 'pid'}; exec sleep 600']))"
    )
    parent = processes.subprocess.Popen(_python(program))
    until = time.monotonic() + 10
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    assert _alive(pid)
    parent.kill()
    parent.wait(10)
    while _alive(pid):
        assert time.monotonic() < until
        time.sleep(0.02)
    ended = run_command(processes.ending_with_us(["sh", "-c", "echo $X; exit 7"]), env={"X": "y"})
    assert (ended.returncode, ended.stdout) == (7, "y\n")
    gone = run_command(processes.ending_with_us(["/nowhere/at/all"]))
    assert (gone.returncode, gone.stderr) == (1, "/nowhere/at/all: No such file or directory\n")


def test_a_command_that_ends_or_hangs_while_somebody_may_stop_it():
    assert run_command(_python("exit(3)"), timeout_s=60, stopping=lambda: False).returncode == 3
    hung = run_command(_python("import time; time.sleep(600)"), timeout_s=0.5, stopping=lambda: False)
    assert (hung.stopped, hung.timed_out) == (False, True)


@LINUX
def test_everything_marked_is_ended(tmp_path: Path):
    """As the scheduler does when the time to stop is over; nobody else's processes are touched."""
    other = processes.subprocess.Popen(["sleep", "600"], env={**os.environ, processes.MARK: "1-other"})
    results = []
    threads = [threading.Thread(target=lambda: results.append(run_command(["sleep", "600"]))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 5
    while len(processes._find_marked(f"{os.getpid()}-")) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    processes.kill_all_marked()
    for thread in threads:
        thread.join(5)
    assert [ended.returncode for ended in results] == [-9, -9]
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_command_that_leaves_somebody_behind_is_not_waited_for():
    """A descendant that holds the pipes open after the command's own end."""
    began = time.monotonic()
    ended = run_command(["sh", "-c", "sleep 20 & echo done"])
    assert time.monotonic() - began < 10
    assert (ended.returncode, ended.stdout) == (0, "done\n")


def test_the_tail_of_what_was_said():
    assert processes.tail("x" * 600 + "end") == "x" * 497 + "end"
    assert processes.tail(b"caf\xe9") == "caf�"

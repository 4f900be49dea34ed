"""``badc infer monitor``: figures from logs as runs write them, and logs that grow, tear and vanish."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from badc_core.cli.sparkline import ASCII, sparkline, squeezed
from badc_telemetry import following
from badc_telemetry.figures import Figures, Latest
from badc_telemetry.following import LogFollower, Logs
from badc_telemetry.monitor import monitor

BADC = [sys.executable, "-m", "badc_core", "infer", "monitor"]


def record(number: int, status: str = "success", attempt: int = 1, gpu: int | None = 0, **more: Any) -> dict[str, Any]:
    """Return a record, noted in second `number`; ``load=`` and ``memory=`` add GPU figures."""
    details: dict[str, Any] = {"attempt": attempt}
    if "load" in more:
        measured = {"index": gpu, "utilization": more.pop("load"), "memory_total_mb": 80_000}
        details["gpu_metrics"] = {"before": None, "after": {**measured, "memory_used_mb": more.pop("memory", None)}}
    if status == "failure":
        details["stderr"] = "Traceback\nCUDA out of memory\n"
    stamp = f"2026-01-31T08:{number // 60:02}:{number % 60:02}.000000+00:00"
    return {
        "chunk_id": more.pop("chunk", f"R_{number}"),
        "gpu_index": gpu,
        "gpu_name": None if gpu is None else "NVIDIA H100",
        "status": status,
        "timestamp": stamp,
        "finished_at": None if status == "start" else stamp,
        "runtime_s": None if status == "start" else 2.0,
        "details": details,
        **more,
    }


def write(path: Path, *records: dict[str, Any], end: str = "\n", mode: str = "a") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        file.write("\n".join(map(json.dumps, records)) + end)


def chunks(found: Iterator[Any]) -> list[str]:
    return [(item[1] if isinstance(item, tuple) else item)["chunk_id"] for item in found]


@pytest.fixture
def told(cli: Any) -> Callable[..., Any]:
    """Return ``told(*options)``: what the monitor says as JSON."""
    return lambda *options: json.loads(cli("infer", "monitor", "--json", *options).ok().stdout)


# ---------------------------------------------------------------------------------------------- figures


def test_a_chunk_is_counted_as_at_the_end_of_a_run(told: Any, isolated: Path):
    """One success at once, one at its second attempt, one given up after three attempts, one being tried again."""
    write(isolated / "l.jsonl", record(0, "start"), record(1))
    write(isolated / "l.jsonl", record(2, "failure", 1, chunk="b"), record(3, "success", 2, chunk="b"))
    for attempt in (1, 2, 3):
        write(isolated / "l.jsonl", record(4, "start", attempt, chunk="c"), record(4, "failure", attempt, chunk="c"))
    write(isolated / "l.jsonl", record(5, "failure", 1, chunk="d"), record(6, "start", 2, chunk="d"))
    (device,) = told("--log", "l.jsonl")["devices"]
    counts = {key: device[key] for key in ("jobs", "success", "failures", "retries", "failed_attempts")}
    assert counts == {"jobs": 3, "success": 2, "failures": 1, "retries": 3, "failed_attempts": 2}
    assert device["device"] == "gpu-0 NVIDIA H100"
    assert device["last"] == {"status": "start", "chunk_id": "d", "timestamp": "2026-01-31T08:00:06.000000+00:00"}


def test_the_counts_are_those_of_the_run(run_badc: Any, told: Any, isolated: Path):
    """A real run, with chunks that fail for good, against its worker CSV."""
    header = "recording_id,chunk_id,source_path,start_ms,end_ms\n"
    body = "".join(f"R,R_{n},/nowhere/{n}.x,{n},{n + 1}\n" for n in range(4))
    (isolated / "m.csv").write_text(header + body)
    program = "import os, sys; sys.exit('R_2' in str(sys.argv))"
    (isolated / "p.py").write_text(program)
    command = f"{sys.executable} p.py"
    options = ("--runner-cmd", command, "--telemetry-log", "l.jsonl", "--max-retries", 0)
    run_badc("infer", "run", "m.csv", *options)
    (worker,) = (isolated / "l.jsonl.summary.json.workers.csv").read_text().splitlines()[1:]
    name, *counts = worker.split(",")
    (device,) = told("--log", "l.jsonl")["devices"]
    assert [device[key] for key in ("jobs", "success", "failures", "retries", "failed_attempts")] == [
        int(count) for count in counts
    ]
    assert (name, device["device"]) == ("cpu-0", "cpu")


def test_load_memory_and_runtime(told: Any, isolated: Path):
    loads = [10, 50, None, 90]
    write(isolated / "l.jsonl", *(record(n, load=load, memory=1000 * n) for n, load in enumerate(loads)))
    (device,) = told("--log", "l.jsonl")["devices"]
    assert device["utilization_percent"] == {"min": 10, "avg": 50.0, "max": 90}
    assert (device["peak_memory_mib"], device["memory_total_mib"], device["average_runtime_s"]) == (3000, 80_000, 2.0)
    assert device["series"] == {
        "runtime_s": [2.0] * 4,
        "utilization_percent": [10, 50, 90],
        "memory_mib": [0, 1000, 2000, 3000],
    }


def test_a_sparkline_has_the_last_24_samples(told: Any, isolated: Path):
    write(isolated / "l.jsonl", *(record(n, load=n) for n in range(100)))
    (device,) = told("--log", "l.jsonl")["devices"]
    assert device["series"]["utilization_percent"] == list(range(76, 100))


def test_what_makes_no_sense_is_passed_over(told: Any, isolated: Path):
    strange = record(1, runtime_s="long", timestamp=7, gpu_index=[1])
    strange["details"] = {"attempt": "x", "gpu_metrics": {"before": 3, "after": {"utilization": "high"}}}
    write(isolated / "l.jsonl", strange, {"chunk_id": "only"}, {"no": "record"})
    found = told("--log", "l.jsonl")
    assert (found["events"], len(found["devices"])) == (2, 2)
    assert [one["chunk_id"] for one in found["tail"]] == ["R_1", "only"]


def test_what_is_no_number_is_no_figure(cli: Any, told: Any, isolated: Path):
    """Python's own JSON writes NaN."""
    write(isolated / "l.jsonl", record(0, runtime_s=float("nan")), record(1, runtime_s=float("inf")), record(2))
    (device,) = told("--log", "l.jsonl")["devices"]
    assert (device["average_runtime_s"], device["series"]["runtime_s"]) == (2.0, [2.0])
    assert "nan" not in cli("infer", "monitor", "--log", "l.jsonl").ok().stdout
    assert sparkline([float("nan"), 1.0, float("inf")]) == " █ "


def test_machines_are_told_apart(told: Any, isolated: Path):
    """In the gathered log of a run on a cluster, and in the files that its workers write."""
    gathered = [record(n, gpu=gpu) for n, gpu in enumerate((0, 0, None, 1))]
    for entry, worker in zip(gathered, ("n10:gpu-0", "n2:gpu-0", "n2:cpu-0", "n2:gpu-1"), strict=True):
        entry["details"]["worker"] = worker
    write(isolated / "l.jsonl", *gathered, record(9, "start", worker="n3:gpu-0"))
    names = [device["device"] for device in told("--log", "l.jsonl")["devices"]]
    nvidia = [f"{place} NVIDIA H100" for place in ("n2:gpu-0", "n2:gpu-1", "n3:gpu-0", "n10:gpu-0")]
    assert names == ["n2:cpu", *nvidia]


def test_an_event_fits_into_a_line(cli: Any, isolated: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    chunk = "BC07_20260131_081502_chunk_0_60000"
    write(isolated / "l.jsonl", record(0, "start", gpu=None, chunk=chunk), record(1, gpu=None, chunk=chunk))
    said = cli("infer", "monitor", "--log", "l.jsonl").ok().stdout.partition("Latest events")[2]
    assert said.count(chunk) == 2


# ------------------------------------------------------------------------------------------------- logs


@pytest.mark.parametrize("others", [False, True])
def test_logs_that_are_elsewhere(cli: Any, isolated: Path, others: bool):
    """In a fresh clone of a dataset."""
    (isolated / "logs").mkdir()
    (isolated / "logs/a.jsonl").symlink_to("../.git/annex/objects/aa/bb/MD5E-s1--0.jsonl/MD5E-s1--0.jsonl")
    if others:
        write(isolated / "logs/b.jsonl", record(0))
    done = cli("infer", "monitor", "--log", "logs")
    assert (done.code, "datalad get logs/a.jsonl" in done.stderr) == (0 if others else 1, True)
    assert ("1 event in 1 log" in done.stdout) is others


def test_the_logs_of_an_array_are_one_run(told: Any, isolated: Path):
    """Three tasks on two devices, one of which tries again what another could not do."""
    for task in range(3):
        write(isolated / f"logs/{task}.jsonl", record(task, gpu=task % 2), record(10 + task, gpu=task % 2))
    write(isolated / "logs/1.jsonl", record(5, "failure", chunk="x", gpu=1))
    write(isolated / "logs/2.jsonl", record(6, "success", 2, chunk="x", gpu=0))
    one_by_one = [part for task in range(3) for part in ("--log", f"logs/{task}.jsonl")]
    found = told(*one_by_one, "--tail", 3)
    assert found == told("--log", "logs", "--tail", 3)
    assert found["logs"] == 3
    assert [(d["device"], d["jobs"], d["failures"], d["retries"]) for d in found["devices"]] == [
        ("gpu-0 NVIDIA H100", 5, 0, 1),
        ("gpu-1 NVIDIA H100", 2, 0, 0),
    ]
    assert [one["chunk_id"] for one in found["tail"]] == ["R_10", "R_11", "R_12"]
    apart = told("--log", "logs", "--per-log")["devices"]
    assert [d["device"] for d in apart] == [f"gpu-{n % 2} NVIDIA H100 {n}.jsonl" for n in (0, 2, 1)]


def test_ten_gpus_are_in_order(told: Any, isolated: Path):
    write(isolated / "l.jsonl", *(record(n, gpu=n) for n in (10, 2, 0)), record(3, gpu=None))
    names = [device["device"].split()[0] for device in told("--log", "l.jsonl")["devices"]]
    assert names == ["cpu", "gpu-0", "gpu-2", "gpu-10"]


def test_tail_and_the_log_that_is_looked_for(told: Any, isolated: Path):
    write(isolated / "data/telemetry/infer/log.jsonl", *(record(n) for n in range(20)))
    assert [len(told(*options)["tail"]) for options in ([], ["--tail", 3], ["--tail", 0])] == [15, 3, 0]


def test_a_log_that_is_not_there(cli: Any, isolated: Path):
    done = cli("infer", "monitor", "--log", "no.jsonl", "--once")
    assert (done.code, "There is no log no.jsonl." in done.stderr) == (1, True)
    (isolated / "empty").mkdir()
    assert "no log in the folder empty" in cli("infer", "monitor", "--log", "empty").stderr
    (isolated / "gone.jsonl").symlink_to(".git/annex/objects/xx/yy/MD5E-s1--0.jsonl")
    assert "datalad get" in cli("infer", "monitor", "--log", "gone.jsonl").stderr
    assert cli("infer", "monitor", "--interval", 0).code == 2
    assert cli("infer", "monitor", "--tail", -1).code == 2


def test_for_people(cli: Any, isolated: Path):
    records = [record(n, load=30 * n, memory=1000 * n) for n in range(4)]
    write(isolated / "l.jsonl", *records, record(4, "failure", 2, chunk="[b]x[/b]\x1b[2J"))
    shown = cli("infer", "monitor", "--log", "l.jsonl").ok().stdout
    assert "5 events in 1 log" in shown
    for word in ("gpu-0", "0/45/90", "3,000", "[b]x[/b]?[2J", "CUDA out of memory", "▁▃▅▇"):
        assert word in shown, word
    assert "\x1b" not in shown


def test_no_option_is_left_out_here():
    """A new option needs a test."""
    tested = Path(__file__).read_text()
    options = [option for option in monitor.params if isinstance(option, click.Option)]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    assert {name for name in names if f'"{name}"' not in tested} == set()


# ---------------------------------------------------------------------------------------------- following


def test_a_growing_log_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parsed: list[bytes] = []
    original = following.parse_line
    monkeypatch.setattr(following, "parse_line", lambda line: (parsed.append(line), original(line))[1])
    follower = LogFollower(tmp_path / "l.jsonl")
    with pytest.raises(FileNotFoundError):
        list(follower.poll())
    write(follower.path, record(0), record(1))
    assert chunks(follower.poll()) == ["R_0", "R_1"]
    assert chunks(follower.poll()) == []
    seen = len(parsed)
    write(follower.path, record(2))
    assert chunks(follower.poll()) == ["R_2"]
    assert len(parsed) - seen <= 2  # the line and nothing behind it
    assert follower.replaced == 0


def test_a_torn_line_waits_and_a_broken_one_is_passed_over(tmp_path: Path):
    follower = LogFollower(tmp_path / "l.jsonl")
    text = json.dumps(record(1))
    write(follower.path, record(0), end="\n" + text[:20])
    assert chunks(follower.poll()) == ["R_0"]
    with follower.path.open("a") as file:
        file.write(text[20:])
    assert chunks(follower.poll()) == []
    with follower.path.open("a") as file:
        file.write("\n" + text[:30])
    assert chunks(follower.poll()) == ["R_1"]
    write(follower.path, record(9), end="\n", mode="a")  # a killed run's line goes on with another's: no record
    write(follower.path, record(2))
    assert chunks(follower.poll()) == ["R_2"]


@pytest.mark.parametrize("rest", [0, 1, 3])
def test_a_log_that_is_cut_off_and_written_anew(tmp_path: Path, rest: int):
    """However long the new content is: shorter, as long, or longer than what was read."""
    follower = LogFollower(tmp_path / "l.jsonl")
    write(follower.path, record(10), record(11))
    assert len(chunks(follower.poll())) == 2
    follower.path.write_text("")
    write(follower.path, *(record(20 + n) for n in range(rest)), end="\n" if rest else "")
    assert chunks(follower.poll()) == [f"R_{20 + n}" for n in range(rest)]
    assert follower.replaced == 1
    write(follower.path, record(30))
    assert chunks(follower.poll()) == ["R_30"]


def test_a_log_that_is_moved_away_for_a_new_one(tmp_path: Path):
    logs = Logs([tmp_path / "l.jsonl"])
    write(tmp_path / "l.jsonl", record(0))
    assert chunks(logs.poll()) == ["R_0"]
    (tmp_path / "l.jsonl").rename(tmp_path / "l.jsonl.1")
    assert chunks(logs.poll()) == []
    write(tmp_path / "l.jsonl", record(1))
    assert chunks(logs.poll()) == ["R_1"]
    assert logs.replaced == 1


def test_a_log_that_is_replaced_by_its_copy_is_read_on(tmp_path: Path):
    """What happens to a log that DataLad saved, when a run goes on with it."""
    follower = LogFollower(tmp_path / "l.jsonl")
    write(follower.path, record(0))
    assert chunks(follower.poll()) == ["R_0"]
    shutil.copy(follower.path, tmp_path / "copy")
    (tmp_path / "copy").replace(follower.path)
    write(follower.path, record(1))
    assert chunks(follower.poll()) == ["R_1"]
    assert follower.replaced == 0


def test_lines_longer_than_a_block_and_blocks_that_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "l.jsonl"
    write(path, *(record(n) for n in range(7)))
    path.write_text(path.read_text() + "x" * 5000 + "\n")
    write(path, record(7))
    for block in (600, 601, 777, 4096):
        monkeypatch.setattr(following, "_BLOCK", block)
        assert chunks(LogFollower(path).poll()) == [f"R_{n}" for n in range(8)]


def test_logs_that_appear_in_a_folder(tmp_path: Path):
    logs = Logs([tmp_path])
    assert (chunks(logs.poll()), logs.missing()) == ([], [tmp_path])
    write(tmp_path / "a.jsonl", record(0))
    assert chunks(logs.poll()) == ["R_0"]
    write(tmp_path / "b.jsonl", record(1))
    write(tmp_path / "b.txt", record(2))
    assert (chunks(logs.poll()), logs.count) == (["R_1"], 2)


WRITER = """
import json, sys, time
with open(sys.argv[1], "ab", buffering=0) as log:
    for number in range(int(sys.argv[2])):
        record = {"chunk_id": f"R_{number}", "status": "success", "timestamp": f"{number:06}"}
        line = json.dumps(record).encode() + b"\\n"
        log.write(line[:9])
        time.sleep(0.002)
        log.write(line[9:])
"""


def _follow(*options: str, cwd: Path) -> subprocess.Popen[str]:
    command = [*BADC, "--follow", "--interval", "0.1", *options]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_following_a_process_that_writes(isolated: Path):
    """The log is not there at first, its lines come in halves, and every one of them is told once."""
    monitor = _follow("--log", "l.jsonl", "--tail", "1000", cwd=isolated)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(monitor.stdout or ()), daemon=True)
    reader.start()
    subprocess.run([sys.executable, "-c", WRITER, "l.jsonl", "200"], cwd=isolated, check=True)
    until = time.monotonic() + 60
    while len(lines) < 200 and time.monotonic() < until:
        time.sleep(0.05)
    monitor.send_signal(signal.SIGINT)
    assert monitor.wait(30) == 0
    reader.join(10)
    table = next(number for number, line in enumerate(lines) if line.startswith("200 events in 1 log"))
    told = [line.split()[3] for line in lines[:table]]
    assert told == [f"R_{number}" for number in range(200)]


def test_following_as_json(isolated: Path):
    write(isolated / "l.jsonl", record(0))
    monitor = _follow("--json", "--log", "l.jsonl", cwd=isolated)
    assert monitor.stdout is not None
    assert json.loads(monitor.stdout.readline())["events"] == 1
    write(isolated / "l.jsonl", record(1), record(2))
    assert json.loads(monitor.stdout.readline())["devices"][0]["jobs"] == 3
    monitor.send_signal(signal.SIGINT)
    assert monitor.wait(30) == 0


def test_following_on_a_terminal(isolated: Path):
    """The tables are drawn again in their place."""
    import pty

    write(isolated / "l.jsonl", record(0))
    ours, theirs = pty.openpty()
    command = [*BADC, "--follow", "--interval", "0.1", "--log", "l.jsonl"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    monitor = subprocess.Popen(command, cwd=isolated, stdout=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    seen = b""
    try:
        while b"1 event in" not in seen:
            seen += os.read(ours, 65536)
        write(isolated / "l.jsonl", record(1))
        while b"2 events in" not in seen:
            seen += os.read(ours, 65536)
    finally:
        monitor.send_signal(signal.SIGINT)
        assert monitor.wait(30) == 0
        os.close(ours)


# ----------------------------------------------------------------------------------------------- small parts


def test_latest():
    latest = Latest(2)
    for time_, value in (("2", "b"), ("1", "a"), ("3", "c"), ("0", "z"), ("3", "d")):
        latest.add(time_, value)
    assert list(latest) == ["c", "d"]


def test_figures_hold_nothing_of_what_is_done():
    figures = Figures()
    for number in range(1000):
        figures.take({"chunk_id": str(number), "gpu_index": None, "gpu_name": None, "status": "success",
                      "timestamp": "", "finished_at": None, "runtime_s": 1, "details": {}}, Path("l"))  # fmt: skip
    assert len(figures._failing) == 0
    assert len(figures.latest) == 15


def test_sparkline():
    assert sparkline([0, 1, 2, None, 7]) == "▁▂▃ █"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([50, 100, 200], highest=100, letters=ASCII) == "=##"
    assert sparkline(list(range(1000)), 8) == "▁▂▃▄▅▆▇█"
    assert squeezed([None, None, 4, 6], 2) == [None, 5.0]

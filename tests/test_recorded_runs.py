"""``badc infer run`` on this machine, in a real DataLad dataset: recorded by default, otherwise as without a record.

Runs that go on by themselves are in test_run_record.py, orchestrate commands in test_datalad_orchestrate.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from datalad_tools import commits, identify, kept, making, needs_tools, objects, shell, tool, unsaved
from sounds import noise, write

from badc_core import annex, datalad

RECORD = "[DATALAD RUNCMD] badc infer all {x}"
TABLE = "manifests/all {x}.csv"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a dataset with a recording, which is a link into the store of git-annex, and a manifest of four chunks."""
    with making(tmp_path_factory.mktemp("datalad") / "set") as root:
        write(root / "audio/it's {b}.wav", noise(4))
        tool(*runs.BADC, "chunk", "manifest", "audio", "--chunk-duration", 1, "--output", TABLE, at=root)
        for path in (root / "manifests").iterdir():
            path.write_text(path.read_text().replace(f"{root}/", ""))  # so that it holds for copies, too
    return root


@pytest.fixture
def dataset(template: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a dataset of its own for a test, in a folder whose name needs quoting; it is the working folder."""
    identify(monkeypatch)
    root = Path(shutil.copytree(template, isolated / "my {set}", symlinks=True))
    monkeypatch.chdir(root)
    return root


def words(*more: object) -> tuple[object, ...]:
    return ("infer", "run", TABLE, *more)


def slow(seconds: float) -> tuple[str, str]:
    """Return a runner that takes so long for each chunk."""
    return ("--runner-cmd", f"sh -c 'sleep {seconds}' --")


def head(dataset: Path) -> str:
    return tool("git", "rev-parse", "HEAD", at=dataset).strip()


def record_of_head(dataset: Path) -> dict[str, Any]:
    """Return what the last commit's message tells DataLad."""
    text = tool("git", "log", "-1", "--format=%B", at=dataset)
    found: dict[str, Any] = json.loads(text[text.index("{\n") : text.rindex("}") + 1])
    return found


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


# ---------------------------------------------------------------------------------------------- recorded


@needs_tools
def test_a_run_is_recorded_with_all_that_it_made(cli: Any, dataset: Path):
    """In one commit, locked, and nothing of others; where nothing is left to do there is no further one."""
    (dataset / "notes.txt").write_text("not saved yet")
    before, inputs = commits(dataset), objects(dataset)
    done = cli(*words()).ok()
    assert "4 chunks in" in done.stdout
    assert f"Recorded   {head(dataset)}" in done.stdout
    assert "4/4 chunks" in done.stderr
    assert commits(dataset) == [RECORD, *before]
    assert unsaved(dataset) == "?? notes.txt\n"
    assert kept(inputs, dataset)
    made = tool("git", "show", "-z", "--format=", "--name-only", at=dataset).rstrip("\0").split("\0")
    assert [path.split("/")[1] for path in made] == ["infer"] * 4 + ["telemetry"] * 3
    assert all(annex.is_link(dataset / path) for path in made)
    again = cli(*words("--quiet")).ok()
    assert ("Nothing to do" in again.stdout, again.stderr) == (True, "")
    assert commits(dataset) == [RECORD, *before]


@needs_tools
def test_programs_are_told_the_same(cli: Any, dataset: Path):
    """JSON on stdout and nothing else; the exit status of failed chunks; neither flag is in the record."""
    done = cli(*words("--runner-cmd", "false", "--max-retries", 0, "--json", "--quiet"))
    told = json.loads(done.stdout)
    assert (done.code, done.stderr) == (3, "")
    assert (told["failed"], told["exit_code"], told["unrecorded"]) == (4, 3, None)
    assert told["commit"] == head(dataset)
    recorded = record_of_head(dataset)
    assert recorded["exit"] == 3
    assert "--json" not in recorded["cmd"]
    assert "--quiet" not in recorded["cmd"]
    assert recorded["cmd"].endswith("--no-record-datalad")
    assert unsaved(dataset) == ""


@needs_tools
@pytest.mark.parametrize("options", [["--dry-run"], ["--show-config"], ["--print-datalad-run"], ["--detach"]])
def test_what_runs_nothing_records_nothing(cli: Any, dataset: Path, options: list[str]):
    before = head(dataset)
    assert cli(*words(*options)).code == (2 if options == ["--detach"] else 0)
    assert (head(dataset), unsaved(dataset)) == (before, "")


@needs_tools
def test_a_run_from_a_file(cli: Any, dataset: Path):
    (dataset / "night.toml").write_text(f'[runner]\nmanifest = "{TABLE}"\n')
    before = head(dataset)
    assert "Recorded" not in cli("infer", "run-config", "night.toml", "--no-record-datalad").ok().stdout
    assert head(dataset) == before
    shutil.rmtree(dataset / "artifacts")
    assert f"Recorded   {head(dataset)}" not in cli("infer", "run-config", "night.toml").ok().stdout
    assert commits(dataset)[0] == RECORD


@needs_tools
@pytest.mark.slow
def test_the_record_can_be_run_again(cli: Any, dataset: Path, isolated: Path):
    """DataLad takes it for one of its own: over nothing, then over what is there, and never a record in a record."""
    cli(*words("--output-dir", "found/{here}", "--fail-fast", "--json")).ok()
    made = head(dataset)
    before = runs.aggregate(dataset / "found/{here}", isolated / "before.csv")
    tool("git", "rm", "-rq", "found", at=dataset)
    tool("git", "commit", "-qm", "away with them", at=dataset)
    for _ in range(2):
        number = len(commits(dataset))
        tool("datalad", "rerun", made, at=dataset)
        assert runs.aggregate(dataset / "found/{here}", isolated / "after.csv") == before
        assert unsaved(dataset) == ""
        assert len(commits(dataset)) <= number + 1
    tool("git", "annex", "fsck", "--quiet", at=dataset)


# ------------------------------------------------------------------------------------------ not recorded


def _elsewhere(dataset: Path) -> None:
    """Have a chunk's recording lie outside of the dataset."""
    table, other = dataset / TABLE, dataset.parent / "more.wav"
    text = table.read_text()
    table.unlink()
    write(other, noise(1))
    lines = text.splitlines()
    table.write_text("\n".join([*lines[:-1], lines[-1].replace("audio/it's {b}.wav", str(other))]) + "\n")


@needs_tools
@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("variable", 2, "BADC_DISABLE_DATALAD"),
        ("output elsewhere", 2, "are not in one DataLad dataset"),
        ("chunk elsewhere", 1, "are not all in one dataset"),
        ("no repository", 2, "no Git repository"),
        ("shared files", 2, "--layout files"),
    ],
)
def test_where_no_record_can_be_the_run_just_runs(
    cli: Any, dataset: Path, monkeypatch: pytest.MonkeyPatch, how: str, code: int, said: str
):
    """Without a word; unless a record was asked for, when nothing is done."""
    options = {
        "output elsewhere": ["--output-dir", "../out"],
        "shared files": ["--share", "--layout", "segments"],
    }.get(how, [])
    before = head(dataset)
    if how == "variable":
        monkeypatch.setenv("BADC_DISABLE_DATALAD", "")
    elif how == "chunk elsewhere":
        _elsewhere(dataset)
    elif how == "no repository":
        (dataset / ".git").rename(dataset / "git")
        for path in ("audio/it's {b}.wav", TABLE, TABLE.replace(".csv", ".recordings.csv")):
            target = dataset / str((dataset / path).readlink()).replace("../.git", "git")
            (dataset / path).unlink()
            shutil.copy(target, dataset / path)
    refused = cli(*words(*options, "--record-datalad"))
    assert refused.code == code
    assert said in refused.stderr
    assert runs.documents(dataset / "artifacts") == runs.documents(dataset.parent / "out") == []
    done = cli(*words(*options, "--quiet")).ok()
    assert ("4 chunks in" in done.stdout, "ecorded" in done.stdout, done.stderr) == (True, False, "")
    if how == "no repository":
        (dataset / "git").rename(dataset / ".git")
    assert head(dataset) == before


@needs_tools
def test_a_log_elsewhere_goes_into_no_record(cli: Any, dataset: Path):
    """So the run is not recorded, unless that is asked for: then without its log."""
    before, elsewhere = head(dataset), ("--telemetry-log", "../log.jsonl")
    assert "ecorded" not in cli(*words(*elsewhere, "--output-dir", "one")).ok().stdout
    assert head(dataset) == before
    cli(*words(*elsewhere, "--output-dir", "two", "--record-datalad")).ok()
    assert commits(dataset)[0] == RECORD
    assert record_of_head(dataset)["outputs"] == ["two/it's [z-|]b[|-~]/*"]


@needs_tools
def test_a_run_without_a_record_when_none_is_wanted(cli: Any, dataset: Path):
    before = head(dataset)
    cli(*words("--no-record-datalad")).ok()
    assert head(dataset) == before


# ------------------------------------------------------------------------------------- within `datalad run`


@needs_tools
@pytest.mark.slow
def test_records_of_earlier_versions_can_be_run_again(dataset: Path):
    """Their commands do not say that they make no record of their own; the one around them makes it."""
    log = "artifacts/telemetry/l.jsonl"
    outputs = ["artifacts/infer", log, f"{log}.summary.json", f"{log}.summary.json.workers.csv"]
    command = ["badc", "infer", "run", "manifests/all {{x}}.csv", "--telemetry-log", log]
    tool(*datalad.run_argv("badc infer old", [TABLE], outputs, command), at=dataset)
    made, number = head(dataset), len(commits(dataset))
    tool("git", "rm", "-rq", "artifacts", at=dataset)
    tool("git", "commit", "-qm", "away with them", at=dataset)
    shutil.rmtree(dataset / "artifacts/infer/.badc")  # a folder with nothing else is "unknown to git"
    tool("datalad", "rerun", made, at=dataset)
    assert commits(dataset)[0] == "[DATALAD RUNCMD] badc infer old"
    assert len(commits(dataset)) == number + 2
    assert len(runs.committed(dataset / "artifacts/infer")) == 4
    assert unsaved(dataset) == ""


@pytest.mark.parametrize("proc", [True, False])
def test_who_called_is_found_out(isolated: Path, proc: bool):
    """Through whatever lies between, from the system's own list or from ``ps``."""
    if not proc and shutil.which("ps") is None:
        pytest.skip("there is no ps")
    look = "from pathlib import Path; from badc_core import datalad\n"
    look += "" if proc else "datalad._PROC = Path('/nowhere')\n"
    (isolated / "look.py").write_text(look + "print(datalad.within_run())")
    (isolated / "datalad").write_text(f'#!/bin/sh\nsh -c "{sys.executable} look.py; true"; true\n')
    (isolated / "datalad").chmod(0o755)
    for command, wanted in (
        ("./datalad -l info rerun x", "True"),
        ("./datalad status", "False"),
        ("sh datalad", "False"),
    ):
        assert shell(command, isolated).strip() == wanted, command


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ("/venv/bin/python /venv/bin/datalad run -m x -- badc infer run m.csv", True),
        ("datalad -d . containers-run -n x badc infer run m.csv", True),
        ("python -m datalad rerun HEAD~1", True),
        ("datalad foreach-dataset badc infer run m.csv", False),
        ("bash datalad", False),
        ("python run.py datalad.csv", False),
    ],
)
def test_which_commands_record(argv: str, wanted: bool):
    assert datalad._records(argv.split()) is wanted


# --------------------------------------------------------------------------------------------- troubles


@needs_tools
def test_what_cannot_be_saved_now_is_saved_later(cli: Any, dataset: Path):
    """Somebody works in the repository: the run is complete, says so, and what to do."""
    lock = dataset / ".git/index.lock"
    lock.touch()
    before = commits(dataset)
    done = cli(*words("--json"))
    told = json.loads(done.stdout)
    assert (done.code, told["exit_code"], told["done"], told["commit"]) == (1, 0, 4, None)
    assert "index.lock" in told["unrecorded"]
    assert cli("jobs", "record", told["run_folder"]).code == 1
    lock.unlink()
    cli("jobs", "record", told["run_folder"]).ok()
    cli("jobs", "record", told["run_folder"]).ok()
    assert commits(dataset) == [RECORD, *before]
    assert unsaved(dataset) == ""


@needs_tools
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_recorded_when_it_is_done(dataset: Path, cli: Any, number: int):
    """What it did stays, is not recorded alone, and is in the record of the run that does the rest."""
    before = commits(dataset)
    log = ("--telemetry-log", "log.jsonl")
    process = runs.start(*words(*log, *slow(0.5)), cwd=dataset)
    until(lambda: runs.committed(dataset / "artifacts/infer"))
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 75, complaint
    assert commits(dataset) == before
    done = runs.committed(dataset / "artifacts/infer")
    assert 0 < len(done) < 4
    (folder,) = (dataset / "artifacts/infer/.badc").glob("*/record.json")
    refused = cli("jobs", "record", folder.parent)
    assert (refused.code, "does the rest" in refused.stderr) == (1, True)
    assert f"{len(done)} of 4 were done before" in cli(*words(*log, *slow(0.5))).ok().stdout
    assert commits(dataset) == [RECORD, *before]
    assert unsaved(dataset) == ""


@needs_tools
def test_a_run_waits_for_its_turn_to_be_saved_or_is_stopped(dataset: Path):
    """Another run is being recorded in this clone: this one waits; it can be stopped, and tells what it did not do."""
    handle = os.open(dataset / ".git/badc-record.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    before = commits(dataset)
    process = runs.start(*words("--json", "--quiet"), cwd=dataset)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=5)
    assert len(runs.committed(dataset / "artifacts/infer")) == 4
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    told = json.loads(said)
    assert "another run was being recorded" in told["unrecorded"]
    os.close(handle)
    tool(*runs.BADC, "jobs", "record", told["run_folder"], at=dataset)
    assert commits(dataset) == [RECORD, *before]


@needs_tools
def test_runs_at_the_same_time_lose_nothing(dataset: Path):
    """Each has its record, with its own results and no other's."""
    before = len(commits(dataset))
    started = [
        runs.start(*words("--output-dir", f"out/{n}", "--telemetry-log", f"log{n}.jsonl"), cwd=dataset)
        for n in range(3)
    ]
    for process in started:
        said, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, said + complaint
    assert len(commits(dataset)) == before + 3
    for n in range(3):
        text = tool("git", "show", "--format=", "--name-only", f"HEAD~{n}", at=dataset).replace('"', "")
        (number,) = {line.split("/")[1] for line in text.splitlines() if line.startswith("out/")}
        assert text.count("out/") == 4
        assert text.count(f"log{number}.jsonl") == text.count("log") == 3
    assert unsaved(dataset) == ""


@needs_tools
def test_a_log_that_another_run_writes_to_is_saved_by_that_one(dataset: Path):
    """Stored by git-annex while it grows, it would be damaged there."""
    shared = ("--telemetry-log", "log.jsonl")
    slower = runs.start(*words(*shared, "--output-dir", "out/1", *slow(3)), cwd=dataset)
    until(lambda: (dataset / "log.jsonl").exists())
    tool(*runs.BADC, *words(*shared, "--output-dir", "out/0"), at=dataset)
    assert not annex.is_link(dataset / "log.jsonl")
    assert slower.poll() is None
    said, complaint = slower.communicate(timeout=120)
    assert slower.returncode == 0, said + complaint
    assert annex.is_link(dataset / "log.jsonl")
    assert unsaved(dataset) == ""
    tool("git", "annex", "fsck", "--quiet", at=dataset)

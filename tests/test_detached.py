"""Runs that go on by themselves: followed, left, taken up again, cancelled, and how their workers work."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import faulty_lab
import pytest
import runs
import yard
from runs import until
from yard import RUN

from badc_core import follower, following, layout, passing_on
from badc_core.errors import ExitCode, HeldError, Interrupted, PluginError, RunnerError, StoreError, UsageError
from badc_core.host import Host
from badc_core.plan import read_plan, read_shards, read_tasks
from badc_core.run_folders import find_run, in_flight, measured_speed, note_ended, settled_shards
from badc_core.runs import RunSummary
from badc_core.task import pieces, work_shard

pytest_plugins = ["detached"]


@pytest.fixture
def run_folder(go: Callable[..., RunSummary], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return ``run_folder(**request)``, which plans a run whose shards nobody does."""

    def call(**request: Any) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(yard, "_start", lambda folder, shard: None)
            summary = go(detach=True, **request)
        assert summary.folder is not None
        return summary.folder

    return call


# --------------------------------------------------------------------------------------------- following


def test_it_ends_as_a_run_here_does(go: Callable[..., RunSummary], isolated: Path):
    summary = go()
    assert summary.exit_code is ExitCode.OK
    assert (summary.planned.total, summary.counts.chunks, summary.counts.audio_ms) == (6, 6, 18_000)
    assert {name: one.jobs for name, one in summary.counts.workers.items()} == {"yard:cpu-0": 6}
    assert [(report.worker, report.chunks) for report in summary.reports] == [("yard:cpu-0", 6)]
    assert summary.plan.shards == 3
    told = [json.loads(line) for line in (isolated / "log.jsonl").read_text().splitlines()]
    assert [entry["status"] for entry in told].count("success") == 6
    assert len(json.loads(summary.summary_path.read_text())["jobs"]) == 6
    assert not in_flight(summary.folder)
    assert measured_speed(isolated / "out", summary.plan.fingerprint) > 0
    local = go(scheduler="local", output_dir=isolated / "local")
    assert local.counts.chunks == 6
    tables = [runs.aggregate(isolated / name, isolated / f"{name}.csv") for name in ("out", "local")]
    assert tables[0] == tables[1]
    assert go().planned.done == 6


def test_another_run_is_waited_for(go: Callable[..., RunSummary], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "ASK_EVERY_S", 0.2)
    go(detach=True, options={"sleep_ms": 200})
    with pytest.raises(HeldError):
        go(scheduler="local", wait_s=0.1)
    assert go(scheduler="local", wait_s=60).planned.done == 6


@pytest.mark.parametrize("layout", ["files", "segments"])
def test_a_worker_that_dies_is_tried_again_and_nothing_counts_twice(
    layout: str, go: Callable[..., RunSummary], isolated: Path
):
    options = {"wrong": "die", "at": "REC1_3000_", "times": 1, "log": isolated / "given.txt", "batch": 1}
    summary = go(options=options, scheduler_options={"chunks": "6"}, layout=layout)
    assert summary.counts.chunks == 6
    assert len(runs.documents(isolated / "out")) == 6
    assert runs.committed(isolated / "out") == {(chunk.recording_id, chunk.chunk_id) for chunk in runs.chunks_of(2, 3)}
    given = faulty_lab.read_log(isolated / "given.txt")
    assert given.count("REC1_3000_6000") == 2
    assert given.count("REC0_0_3000") <= 2


def test_shards_that_fail_for_good_are_said(go: Callable[..., RunSummary], isolated: Path):
    with pytest.raises(RunnerError, match="2 chunks left undone: 1 of 3 shards") as caught:
        go(options={"wrong": "die", "at": "REC0_0_"})
    assert "badc jobs resume" in caught.value.hint
    assert len(runs.committed(isolated / "out")) == 4


def test_chunks_that_fail_are_results_and_no_failed_shard(go: Callable[..., RunSummary]):
    summary = go(options={"wrong": "raise", "at": "REC0_0_"}, max_retries=0)
    assert summary.exit_code is ExitCode.SOME_FAILED
    assert (summary.counts.chunks, summary.counts.failures) == (6, 1)
    assert "out of phase" in next(iter(summary.counts.errors))


def test_the_first_failure_ends_all_when_asked_to(go: Callable[..., RunSummary]):
    summary = go(options={"wrong": "raise", "at": "REC0_0_", "batch": 1}, max_retries=0, fail_fast=True)
    assert summary.exit_code is ExitCode.SOME_FAILED
    assert summary.counts.failures == 1


def test_detach_is_for_what_goes_on(go: Callable[..., RunSummary]):
    with pytest.raises(UsageError, match="--detach"):
        go(scheduler="local", detach=True)


def test_detached_then_resumed(go: Callable[..., RunSummary], host: Host, isolated: Path):
    summary = go(detach=True)
    assert summary.detached
    assert in_flight(summary.folder)
    assert find_run("last", isolated / "out") == find_run(summary.folder.name[:12], isolated / "out") == summary.folder
    again = following.resume(summary.folder, host=host)
    assert again.counts.chunks == 6
    lines = (isolated / "log.jsonl").read_text().splitlines()
    assert following.resume(summary.folder, host=host).counts.chunks == 6
    assert (isolated / "log.jsonl").read_text().splitlines() == lines  # told once, however often it is followed
    with pytest.raises(UsageError, match="no run 'nobody'"):
        find_run("nobody", isolated / "out")


def test_events_that_got_lost_are_no_lost_results(go: Callable[..., RunSummary], host: Host, monkeypatch: Any):
    summary = go(detach=True)
    until(lambda: len(settled_shards(summary.folder)[0]) == 3)
    for path in (summary.folder / "events").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setattr(follower, "LAG_S", 0.1)
    again = following.resume(summary.folder, host=host)
    assert again.counts.chunks == 6
    assert again.counts.workers["unknown"].jobs == 3


def test_ctrl_c_leaves_it_running_and_says_how_to_look(start: Callable[..., Any], isolated: Path):
    runs.make_manifest(isolated / "m.csv", 3, 2)
    process = start(*RUN, "-o", "sleep_ms=2500", "-o", "batch=1")
    until(lambda: runs.committed(isolated / "out"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.RESUME, out + err
    for word in ("status", "resume", "cancel"):
        assert f"badc jobs {word} 2" in err
    refused = start(*RUN)
    _, err = refused.communicate(timeout=30)
    assert refused.returncode == ExitCode.HELD
    assert "goes on by itself" in err
    resumed = start("jobs", "resume", "--output-dir", "out")
    out, err = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, err
    assert "6 chunks in" in out


def test_a_killed_command_is_taken_up_again(start: Callable[..., Any], isolated: Path):
    runs.make_manifest(isolated / "m.csv", 3, 2)
    process = start(*RUN, "-o", "sleep_ms=300")
    until(lambda: runs.committed(isolated / "out"))
    process.kill()
    process.communicate()
    resumed = start("jobs", "resume", "last", "--output-dir", "out")
    out, err = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, err
    assert "6 chunks in" in out
    assert len(runs.committed(isolated / "out")) == 6


# --------------------------------------------------------------------------------------------- badc jobs


def test_jobs(go: Callable[..., RunSummary], cli: Callable[..., Any], isolated: Path):
    assert "No runs" in cli("jobs", "list", "--output-dir", "out").ok().stdout
    summary = go(detach=True, options={"sleep_ms": 400, "batch": 1}, scheduler_options={"chunks": "3"})
    here = ("--output-dir", "out")
    assert (
        f"{summary.folder.name}  yard  lab  6 chunks in 2 shards: 2 running" in cli("jobs", "list", *here).ok().stdout
    )
    assert "running: in the yard" in cli("jobs", "status", *here).ok().stdout
    until(lambda: runs.committed(isolated / "out"))
    said = cli("jobs", "cancel", summary.folder.name, *here).ok().stdout
    assert "2 failed" in said  # this is how the yard calls it
    assert 0 < len(runs.committed(isolated / "out")) < 6
    assert "Asked to stop" in cli("jobs", "logs", *here, "--shard", 0).ok().stdout
    shown = json.loads(cli("jobs", "status", *here, "--json").ok().stdout)
    assert shown["ended"]
    assert set(shown["shards"]) == {"0", "1"}
    assert go().counts.chunks == 6 - len(runs.committed(isolated / "out")) or runs.committed(isolated / "out")
    assert len(runs.committed(isolated / "out")) == 6


def test_jobs_of_a_run_here(go: Callable[..., RunSummary], cli: Callable[..., Any]):
    summary = go(scheduler="local")
    assert "No runs" in cli("jobs", "list", "--output-dir", "out").stdout
    assert "is no run that goes on by itself" in cli("jobs", "status", summary.folder).stderr


def test_a_run_of_which_nobody_can_say_anything_holds_its_folder(
    run_folder: Callable[..., Path], go: Callable[..., RunSummary], host: Host
):
    folder = run_folder()
    request = json.loads((folder / "request.json").read_text())
    (folder / "request.json").write_text(json.dumps({**request, "scheduler": "gone"}))
    with pytest.raises(HeldError, match="nobody can say"):
        go()
    with pytest.raises(PluginError):
        following.stop_for_good(folder, host)
    following.stop_for_good(folder, host, forget=True)
    assert go().counts.chunks == 6


# ------------------------------------------------------------------------------------------------ worker


def test_a_worker_does_its_shard_once(run_folder: Callable[..., Path], host: Host, isolated: Path):
    folder = run_folder()
    assert work_shard(folder, 1, host=host) == ExitCode.OK
    assert settled_shards(folder)[0] == {1}
    assert len(runs.committed(isolated / "out")) == 2
    events = list((folder / "events").iterdir())
    assert work_shard(folder, 1, host=host) == ExitCode.OK
    assert list((folder / "events").iterdir()) == events
    with pytest.raises(StoreError, match="no shard 9"):
        work_shard(folder, 9, host=host)


def test_a_worker_has_as_many_slots_as_it_is_given(
    run_folder: Callable[..., Path], host: Host, monkeypatch: pytest.MonkeyPatch
):
    folder = run_folder(cpu_workers=1, scheduler_options={"chunks": "6"}, options={"sleep_ms": 50, "batch": 1})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    assert work_shard(folder, 0, place="n7", host=host) == ExitCode.OK
    text = next((folder / "events").iterdir()).read_text()
    for label in ("n7:gpu-0", "n7:gpu-1", "n7:cpu-0"):
        assert label in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"badc-core": "', '"badc-core": "9.', "made with badc-core 9."),
        ('"batch": 4', '"batch": 4, "colour": "red"', "options of the runner 'lab' are others here"),
        ('"faulty_lab:LabOptions"', '"faulty_lab:Missing"', "has no 'Missing'"),
        ('"model": "lab"', '"model": "other"', "but the plan was made for"),
    ],
)
def test_a_worker_checks_the_plan(
    old: str, new: str, said: str, run_folder: Callable[..., Path], host: Host, isolated: Path
):
    folder = run_folder()
    plan = folder / "plan.json"
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new))
    with pytest.raises((PluginError, RunnerError), match=said):
        work_shard(folder, 0, life="first", host=host)
    assert said.split("'")[0].strip() in (folder / "shards" / "000000.first.error.json").read_text()
    assert not runs.committed(isolated / "out")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_a_worker_after_its_batch(
    number: int, run_folder: Callable[..., Path], host: Host, start: Callable[..., Any], isolated: Path
):
    folder = run_folder(scheduler_options={"chunks": "6"}, options={"sleep_ms": 400, "batch": 1})
    process = start("worker", folder, "--shard", 0)
    until(lambda: runs.committed(isolated / "out"))
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.RESUME, err
    first = runs.committed(isolated / "out")
    assert 0 < len(first) < 6
    assert not settled_shards(folder)[0]
    assert work_shard(folder, 0, host=host) == ExitCode.OK
    assert len(runs.committed(isolated / "out")) == 6
    lines = [json.loads(line) for path in (folder / "events").iterdir() for line in path.read_text().splitlines()]
    assert sorted(entry["line"] for entry in lines if entry["final"]) == list(range(6))


def test_results_of_a_worker_that_could_not_say_so_are_told_by_the_next(
    run_folder: Callable[..., Path], host: Host, isolated: Path
):
    folder = run_folder(scheduler_options={"chunks": "6"})
    work_shard(folder, 0, life="a", host=host)
    (folder / "shards" / "000000.done.json").unlink()
    events = folder / "events" / "000000.jsonl"
    events.write_text("".join(line for line in events.read_text().splitlines(keepends=True)[:8]))
    before = {path: path.stat().st_mtime_ns for path in (isolated / "out").glob("REC*/*.json")}
    work_shard(folder, 0, life="b", host=host)
    assert {path: path.stat().st_mtime_ns for path in (isolated / "out").glob("REC*/*.json")} == before
    lines = [json.loads(line) for path in (folder / "events").iterdir() for line in path.read_text().splitlines()]
    assert sorted(entry["line"] for entry in lines if entry["final"]) == list(range(6))


def test_a_straggler_commits_nothing_after_the_run_is_over(
    run_folder: Callable[..., Path], host: Host, isolated: Path, start: Callable[..., Any]
):
    folder = run_folder(scheduler_options={"chunks": "6"}, options={"sleep_ms": 600, "batch": 1})
    process = start("worker", folder, "--shard", 0)
    until(lambda: runs.committed(isolated / "out"))
    note_ended(folder, "cancelled")
    _, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.HELD, err
    assert len(runs.committed(isolated / "out")) < 6
    assert work_shard(folder, 0, host=host) == ExitCode.OK  # a late one does nothing


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_pieces_hold_exactly_what_is_left(workers: int, run_folder: Callable[..., Path]):
    folder = run_folder(scheduler_options={"chunks": "6"})
    plan = read_plan(folder)
    shard = next(iter(read_shards(folder)))
    tasks = read_tasks(folder, plan, shard)
    for left in ([True] * 6, [False] * 6, [True, False, True, True, False, True]):
        cut = pieces(folder, shard, tasks, left, workers)
        assert [piece.index for piece in cut] == list(range(len(cut)))
        done = [task.chunk.chunk_id for piece in cut for task in read_tasks(folder, plan, piece)]
        assert done == [task.chunk.chunk_id for task, wanted in zip(tasks, left, strict=True) if wanted]
        assert sum(piece.audio_ms for piece in cut) == 3000 * sum(left)


def test_stopped_while_following(go: Callable[..., RunSummary], host: Host, monkeypatch: pytest.MonkeyPatch):
    """The same, told by the exception."""
    summary = go(detach=True, options={"sleep_ms": 500})
    import threading

    stop = threading.Event()
    stop.set()
    from badc_core.run_folders import ask

    with passing_on.followed_alone(summary.folder) as held, pytest.raises(Interrupted, match="go on without this"):
        follower.follow(summary.folder, *ask(summary.folder, host), lambda progress: None, host, stop, held)


def test_all_output_folders_of_a_run_are_held(
    run_folder: Callable[..., Path], go: Callable[..., RunSummary], isolated: Path
):
    """A run over two datasets has its folder in one; the other knows."""
    chunks = []
    for name in ("one", "two"):
        (isolated / name / ".datalad").mkdir(parents=True)
        chunks += runs.chunks_of(1, 2, isolated / name / f"{name}.raw")
    renamed = [attrs.evolve(chunk, recording_id=chunk.source_path.stem) for chunk in chunks]
    runs.make_manifest(isolated / "both.csv", renamed)
    runs.make_manifest(isolated / "second.csv", renamed[2:])
    default = {"output_dir": layout.DEFAULT_OUTPUT}
    folder = run_folder(manifest=isolated / "both.csv", **default)
    assert folder.is_relative_to(isolated / "one")
    with pytest.raises(HeldError, match=f"two/artifacts/infer is in use by run {folder.name}"):
        go(manifest=isolated / "second.csv", scheduler="local", **default)
    note_ended(folder, "cancelled")
    assert go(manifest=isolated / "second.csv", scheduler="local", **default).counts.chunks == 2

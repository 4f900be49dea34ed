"""Runs that go on by themselves, and what comes between: other runs, lost connections, results that went away."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs
from runs import settled, until
from yard import RUN

from badc_core import claims, follower, following, run_folders, task
from badc_core.errors import ExitCode, HeldError, MixedResultsError, RunnerError
from badc_core.host import Host
from badc_core.run_folders import in_flight, read_ended, settled_shards
from badc_core.runs import RunSummary

pytest_plugins = ["detached"]

Go = Callable[..., RunSummary]
SLOW = {"sleep_ms": 800, "batch": 1}


def all_once(isolated: Path) -> bool:
    """Whether the log calls every chunk done, each exactly once."""
    return settled(isolated / "log.jsonl") == {chunk.chunk_id: 1 for chunk in runs.chunks_of(2, 3)}


def whole(folder: Path, shards: int = 3) -> None:
    """Wait until so many shards are done."""
    until(lambda: len(settled_shards(folder)[0]) == shards)


def cancelled(go: Go, isolated: Path, host: Host, **request: Any) -> Path:
    """Return the folder of a run that was cancelled with some of its chunks done."""
    folder = go(detach=True, options={**SLOW, **request}, scheduler_options={"chunks": "3"}).folder
    assert folder is not None
    until(lambda: runs.committed(isolated / "out"))
    following.stop_for_good(folder, host)
    assert 0 < len(runs.committed(isolated / "out")) < 6
    return folder


# ------------------------------------------------------------------------------------------ several runs


def test_models_are_not_mixed_by_taking_up_an_old_run(go: Go, host: Host, isolated: Path):
    folder = cancelled(go, isolated, host)
    assert go(scheduler="local", options={"flavour": "other"}, replace=True).counts.chunks == 6
    with pytest.raises(MixedResultsError, match="another runner, model or options made") as caught:
        following.resume(folder, host=host)
    assert "--replace" in str(caught.value.hint)
    assert read_ended(folder)["how"] == "cancelled"
    assert len({entry["fingerprint"] for entry in runs.documents(isolated / "out")}) == 1


def test_what_shall_be_replaced_is_no_hindrance(go: Go, host: Host, isolated: Path):
    go(scheduler="local", options={"flavour": "other"})
    folder = go(detach=True, options=SLOW, replace=True).folder
    until(lambda: any(path.stat().st_size for path in (folder / "events").glob("*.jsonl")))
    following.stop_for_good(folder, host)
    assert following.resume(folder, host=host).counts.chunks == 6
    assert len({entry["fingerprint"] for entry in runs.documents(isolated / "out")}) == 1


def test_a_run_is_not_taken_up_beside_another(go: Go, host: Host, isolated: Path):
    first = cancelled(go, isolated, host)
    second = go(detach=True, options=SLOW).folder
    with pytest.raises(HeldError, match=f"in use by run {second.name}"):
        following.resume(first, host=host, detach=True)
    assert not in_flight(first)
    following.resume(second, host=host)


def test_what_another_run_did_is_not_done_again(go: Go, host: Host, isolated: Path):
    given = isolated / "given.txt"
    folder = cancelled(go, isolated, host, log=given)
    go(options={"log": given}, telemetry_log=isolated / "other.jsonl")
    before = faulty_lab.read_log(given)
    assert following.resume(folder, host=host).counts.chunks == 6
    assert faulty_lab.read_log(given) == before
    assert all_once(isolated)


# --------------------------------------------------------------------------- ended while nobody followed


def test_the_same_command_gathers_what_nobody_followed(go: Go, isolated: Path):
    folder = go(detach=True).folder
    whole(folder)
    summary = go()
    assert (summary.planned.done, summary.counts.chunks) == (6, 0)
    (one,) = summary.gathered
    assert (one.folder, one.chunks, one.done, one.complete) == (folder, 6, 6, True)
    assert read_ended(folder)["how"] == "complete"
    assert read_ended(folder)["speed"] > 0
    assert all_once(isolated)
    assert (isolated / "log.jsonl.tasks.json").exists()
    assert len(json.loads((isolated / "log.jsonl.summary.json").read_text())["jobs"]) == 6
    assert go().gathered == ()


def test_the_command_says_that_it_gathered(go: Go, start: Callable[..., Any]):
    folder = go(detach=True).folder
    whole(folder)
    out, err = start(*RUN).communicate(timeout=60)
    assert f"The run {folder.name} had ended while nobody followed it, and was gathered first" in out, err
    assert "6 of its 6 chunks are done" in out
    assert "all 6 chunks are done" in out


def test_a_run_that_ended_badly_is_gathered_before_the_rest_is_done(go: Go, isolated: Path):
    folder = go(detach=True, options={"wrong": "die", "at": "REC0_0_"}).folder
    whole(folder, 2)
    until(lambda: (folder / "yard/0.pids").exists())
    summary = until(lambda: _unless_held(go))
    (one,) = summary.gathered
    assert (one.complete, one.done) == (False, 4)
    assert read_ended(folder)["how"] == "left"
    assert summary.counts.chunks == 2
    assert all_once(isolated)


def _unless_held(go: Go) -> RunSummary | None:
    try:
        return go()
    except HeldError:
        return None


def test_cancelling_gathers_what_was_done(go: Go, host: Host, isolated: Path):
    folder = cancelled(go, isolated, host)
    done = {name for _, name in runs.committed(isolated / "out")}
    assert settled(isolated / "log.jsonl") == dict.fromkeys(done, 1)
    assert read_ended(folder)["how"] == "cancelled"
    assert go().counts.chunks == 6 - len(done)
    assert all_once(isolated)


def test_nothing_is_cancelled_of_a_run_that_has_ended(go: Go, cli: Callable[..., Any], host: Host, isolated: Path):
    here = ("--output-dir", "out")
    folder = go().folder
    before = (folder / "ended.json").read_bytes()
    assert "has ended already (complete); nothing was changed" in cli("jobs", "cancel", *here).ok().stdout
    assert (folder / "ended.json").read_bytes() == before
    assert "6 chunks in 3 shards: complete" in cli("jobs", "list", *here).ok().stdout
    assert "Ended    complete" in cli("jobs", "status", *here).ok().stdout
    shutil.rmtree(isolated / "out")
    folder = go(detach=True).folder
    whole(folder)
    assert "3 done; to be gathered by badc jobs resume" in cli("jobs", "list", *here).ok().stdout
    assert "had come to its end, and was gathered" in cli("jobs", "cancel", *here).ok().stdout
    assert read_ended(folder)["how"] == "complete"
    shutil.rmtree(isolated / "out")
    folder = cancelled(go, isolated, host)
    before = (folder / "ended.json").read_bytes()
    assert "has ended already (cancelled); nothing was changed" in cli("jobs", "cancel", *here).ok().stdout
    assert (folder / "ended.json").read_bytes() == before
    assert ": cancelled" in cli("jobs", "list", *here).ok().stdout


# ------------------------------------------------------------------------------------------ who follows


def test_a_lost_connection_is_as_ctrl_c(go: Go, start: Callable[..., Any], isolated: Path):
    process = start(*RUN, "-o", "sleep_ms=2500", "-o", "batch=1")
    until(lambda: settled(isolated / "log.jsonl"))
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.RESUME, out + err
    assert "The jobs go on without this command" in err
    out, err = start("jobs", "resume", "--output-dir", "out").communicate(timeout=60)
    assert "6 chunks in" in out, err
    assert all_once(isolated)


def test_a_hangup_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch):
    from badc_core.stopping import signals_caught

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_caught(lambda number: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_who_was_asleep_notices_that_another_follows(
    go: Go, host: Host, start: Callable[..., Any], isolated: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped while it follows, taken for dead, and awake again while the other still follows."""
    process = start(*RUN, "-o", "sleep_ms=2500", "-o", "batch=1", "-s", "chunks=3")
    until(lambda: settled(isolated / "log.jsonl"))
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(claims, "STALE_AFTER_S", 2.0)
    time.sleep(2.2)
    (folder,) = run_folders.run_folders(isolated / "out")
    awake = []

    def wake(progress: Any) -> None:
        if not awake:
            process.send_signal(signal.SIGCONT)
            awake.append(process.communicate(timeout=20))

    monkeypatch.setattr(claims, "TOUCH_EVERY_S", 0.5)
    assert following.resume(folder, wake, host).counts.chunks == 6
    assert process.returncode == ExitCode.HELD, awake
    assert "taken over by" in awake[0][1]
    assert all_once(isolated)
    assert len(json.loads((isolated / "log.jsonl.summary.json").read_text())["jobs"]) == 6


def test_a_run_is_followed_by_one_and_others_may_wait(go: Go, start: Callable[..., Any], isolated: Path):
    first = start(*RUN, "-o", "sleep_ms=1500", "-o", "batch=1")
    until(lambda: runs.committed(isolated / "out"))
    _, err = start("jobs", "resume", "--output-dir", "out").communicate(timeout=30)
    assert "is in use by" in err
    assert "--wait SECONDS" in err
    out, err = start("jobs", "resume", "--output-dir", "out", "--wait", 60).communicate(timeout=60)
    assert "6 chunks in" in out, err
    assert first.wait(timeout=30) == 0
    assert all_once(isolated)


def test_hints_can_be_copied(start: Callable[..., Any], go: Go, isolated: Path):
    where = isolated / "Anna's out"
    words = [where if word == "out" else word for word in RUN]
    out, err = start(*words, "--detach").communicate(timeout=30)
    commands = [shlex.split(line.partition(":")[2]) for line in out.splitlines() if "badc jobs" in line]
    assert [command[2] for command in commands] == ["status", "resume", "cancel"], err
    for command in commands:
        process = start(*command[1:])
        assert process.communicate(timeout=60)
        assert process.returncode == 0
    go(detach=True, options={"wrong": "die", "at": "REC0_0_"})
    _, err = start("jobs", "resume", "--output-dir", "out").communicate(timeout=60)
    assert f"badc jobs logs {next((isolated / 'out/.badc').glob('2*')).name} --output-dir {isolated / 'out'}" in err


def test_hints_name_no_folder_where_none_is_needed(go: Go, start: Callable[..., Any], isolated: Path):
    words = [word for word in RUN if word not in ("--output-dir", "out")]
    out, err = start(*words, "--detach").communicate(timeout=30)
    assert "badc jobs status 2" in out, err
    assert "--output-dir" not in out
    assert start("jobs", "resume").wait(timeout=60) == 0


# ---------------------------------------------------------------------------------------- only results count


@pytest.mark.parametrize("layout", ["files", "segments"])
def test_results_that_went_away_are_made_again(layout: str, go: Go, host: Host, isolated: Path):
    folder = go(layout=layout).folder
    wanted = runs.committed(isolated / "out")
    if layout == "files":
        for name in ("REC0_0_3000", "REC1_3000_6000"):
            (isolated / "out" / name[:4] / f"{name}.json").unlink()
    else:
        segment = next((isolated / "out/_segments").iterdir())
        segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:1]))
    assert len(runs.committed(isolated / "out")) < 6
    following.resume(folder, host=host)
    assert runs.committed(isolated / "out") == wanted
    assert all_once(isolated)


def test_a_run_without_all_its_results_is_not_complete(
    go: Go, host: Host, isolated: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = go(detach=True).folder
    whole(folder)
    (isolated / "out/REC0/REC0_0_3000.json").unlink()
    monkeypatch.setattr(follower, "LAG_S", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(following, "_look_again", lambda folder, plan, stop: None)
        with pytest.raises(RunnerError, match="1 chunks left undone: their results are missing"):
            following.resume(folder, host=host)
    assert in_flight(folder)
    assert following.resume(folder, host=host).counts.chunks == 6
    assert len(runs.committed(isolated / "out")) == 6
    assert all_once(isolated)


def test_a_worker_says_what_is_so(go: Go, cli: Callable[..., Any], host: Host, isolated: Path):
    folder = cancelled(go, isolated, host)
    ended = cli("worker", folder, "--shard", 99)
    assert ended.code == ExitCode.ERROR
    assert "has no shard 99" in ended.stderr
    left = next(index for index in range(2) if index not in settled_shards(folder)[0])
    said = cli("worker", folder, "--shard", left).ok().stdout
    assert f"has ended (cancelled), shard {left} undone" in said
    go()
    folder = go(output_dir=isolated / "two").folder
    assert task.work_shard(folder, 0, host=host) == ExitCode.OK
    assert "Shard 0 is done." in cli("worker", folder, "--shard", 0).ok().stdout

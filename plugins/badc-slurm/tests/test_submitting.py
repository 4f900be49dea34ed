"""Submitting with commands that only pretend: once each, whatever becomes of the process, and no more than is taken."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import runs
from attrs import evolve
from slurm_shards import scheduler, shards, states

from badc_core.errors import ExitCode
from badc_core.model import Device, Event
from badc_core.plan import write_plan
from badc_core.relay import EventFile
from badc_core.run_folders import note_done
from badc_core.scheduling import Run, Submission
from badc_slurm.client import SlurmError
from badc_slurm.environment import clean
from badc_slurm.script import withdrawn_path


def test_handed_over_again_it_is_not_submitted_again(slurm: Any, run: Run):
    scheduler().submit(run, shards())
    scheduler().submit(run, shards())
    assert slurm.calls("sbatch") == 1


def test_an_answer_that_times_out_is_looked_up(slurm: Any, run: Run):
    slurm.fail(
        "sbatch", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", taken=True
    )
    one = scheduler()
    submission = one.submit(run, shards())
    assert slurm.calls("sbatch") == 1
    assert states(one, submission) == "wwwwww"


def test_a_submission_of_which_nobody_knows_is_found_by_the_next_process(slurm: Any, run: Run):
    slurm.fail("sbatch", "sbatch: error: Unable to contact slurm controller", taken=True)
    squeue = slurm.home / "bin" / "squeue"
    works = squeue.read_text()
    squeue.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(SlurmError, match="squeue says: status 1"):
        scheduler().submit(run, shards())
    squeue.write_text(works)
    one = scheduler()
    submission = one.submit(run, shards())
    assert slurm.calls("sbatch") == 1
    assert states(one, submission) == "wwwwww"


def test_a_refusal_is_said_and_can_be_mended(slurm: Any, run: Run):
    slurm.fail("sbatch", "sbatch: error: invalid partition specified: gqu")
    with pytest.raises(SlurmError, match="invalid partition"):
        scheduler().submit(run, shards())
    assert slurm.jobs == {}
    scheduler().submit(run, shards())
    assert list(slurm.jobs) == ["100"]


def test_a_refused_run_does_not_hold_its_folder(slurm: Any, cli: Callable[..., Any], isolated: Path):
    runs.make_manifest(isolated / "m.csv", 3, 2)
    command = ("infer", "run", "m.csv", "--output-dir", "out", "--scheduler", "slurm", "--detach")
    slurm.fail("sbatch", "sbatch: error: invalid partition specified: gqu")
    assert "invalid partition" in cli(*command).stderr
    assert ": cancelled" in cli("jobs", "list", "--output-dir", "out").ok().stdout
    cli(*command).ok()
    assert len(slurm.jobs) == 1
    refused = cli(*command)
    assert refused.code == ExitCode.HELD
    assert "1 of 1 shards to go" in refused.stderr


def test_arrays_are_as_large_as_the_cluster_takes_them(slurm: Any, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUB_MAX_ARRAY", "4")
    one = scheduler(throttle=3)
    submission = one.submit(run, shards())
    assert [job["options"]["array"] for job in slurm.jobs.values()] == ["0-3%3", "0-1%3"]
    assert [job["after"] for job in slurm.jobs.values()] == ["", "afterany:100"]
    slurm.set("101", "RUNNING|n1|None", 1)
    assert states(one, submission) == "wwwwwr"
    slurm.set("100", "TIMEOUT|n1|TimeLimit")
    slurm.set("101", "RUNNING|n1|None", 4)
    states(one, submission)
    assert one.retry(submission) == 4
    assert slurm.jobs["102"]["after"] == "afterany:101"  # the first array is over


def test_what_a_limit_of_jobs_keeps_out_waits_and_is_handed_over_later(
    slurm: Any, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STUB_MAX_ARRAY", "4")
    one = scheduler()
    first_call = one._client.submit
    taken: list[str] = []

    def limited(*words: Any, **more: Any) -> str:
        if taken:
            raise SlurmError("sbatch says: Job violates accounting/QOS policy")
        taken.append(first_call(*words, **more))
        return taken[-1]

    with monkeypatch.context() as patch:
        patch.setattr(one._client, "submit", limited)
        submission = one.submit(run, shards())
    assert one.states(submission)[5].detail == ("not handed over yet: sbatch says: Job violates accounting/QOS policy")
    assert states(one, submission) == "wwwwww"
    asked = slurm.calls("squeue")
    assert one.retry(submission) == 2
    assert slurm.calls("squeue") == asked  # states were told a moment ago
    assert one.states(submission)[5].detail == "Priority"


def test_a_full_queue_is_not_waited_for(
    slurm: Any, run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """What fits is submitted; the rest when tasks have ended; nobody calls the run ended."""
    monkeypatch.setenv("STUB_ROOM", "4")
    one = scheduler()
    began = time.monotonic()
    submission = one.submit(run, shards())
    assert time.monotonic() - began < 5  # sbatch would wait for two minutes
    assert [job["options"]["array"] for job in slurm.jobs.values()] == ["0-2", "3"]
    assert one.states(submission)[5].detail == "not handed over yet: the queue is full"
    assert "waiting=2" in capfd.readouterr().err
    asked = slurm.calls("sbatch")
    assert one.retry(submission) == 0
    assert slurm.calls("sbatch") == asked  # nothing has ended
    slurm.set("100", "COMPLETED|n1|None", 1)
    note_done(run.folder, 1)
    states(one, submission)
    assert one.retry(submission) == 1
    assert states(one, submission) == "wdwwww"
    assert [job["options"]["array"] for job in slurm.jobs.values()] == ["0-2", "3", "4"]
    assert capfd.readouterr().err == ""  # it was said


def test_nothing_fits_into_a_queue_that_is_full(slurm: Any, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STUB_ROOM", "0")
    one = scheduler()
    submission = one.submit(run, shards(1))
    assert slurm.jobs == {}
    assert one.states(submission)[0].detail == "not handed over yet: the queue is full"
    monkeypatch.setenv("STUB_ROOM", "9")
    assert scheduler().retry(submission, everything=True) == 6
    assert list(slurm.jobs) == ["100"]


def test_who_asks_to_stop_need_not_wait_for_sbatch(slurm: Any, run: Run):
    sbatch = slurm.home / "bin" / "sbatch"
    sbatch.write_text("#!/bin/sh\nexec sleep 60\n")
    threading.Timer(0.5, run.stop.set).start()
    began = time.monotonic()
    submission = scheduler().submit(run, shards())
    assert time.monotonic() - began < 5
    assert "not handed over yet" in scheduler().states(submission)[5].detail


# -------------------------------------------------------------------------------- killed while sbatch works

SLOW = """#!/bin/sh
sleep 2
exec '{sbatch}' "$@"
"""


@pytest.fixture
def killed(slurm: Any, run: Run) -> Iterator[None]:
    """Kill a process that submits the run while sbatch, which is slow, is at work."""
    path = slurm.home / "bin" / "sbatch"
    real = path.rename(slurm.home / "sbatch")
    path.write_text(SLOW.format(sbatch=slurm.home / "fast" / "sbatch"))
    path.chmod(0o755)
    (slurm.home / "fast").mkdir()
    real.rename(slurm.home / "fast" / "sbatch")
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            scheduler().submit(run, shards())
        os._exit(0)
    until = time.monotonic() + 20
    journal = run.folder / "slurm" / "journal.jsonl"
    while time.monotonic() < until and not (journal.exists() and '"sending"' in journal.read_text()):
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert slurm.jobs == {}
    yield
    path.unlink()


@pytest.mark.usefixtures("killed")
def test_a_submission_in_flight_is_waited_for(slurm: Any, run: Run):
    one = scheduler()
    submission = one.submit(run, shards())
    assert list(slurm.jobs) == ["100"]
    assert states(one, submission) == "wwwwww"


@pytest.mark.usefixtures("killed")
def test_one_from_another_machine_that_comes_too_late_is_cancelled_and_does_nothing(
    slurm: Any, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("socket.gethostname", lambda: "login2")
    (slurm.home / "bin" / "sbatch").write_text((slurm.home / "fast" / "sbatch").read_text())
    one = scheduler()
    submission = one.submit(run, shards())
    assert withdrawn_path(run.folder, "badc-RUN-0").exists()
    assert [job["name"] for job in slurm.jobs.values()] == ["badc-RUN-1"]
    until = time.monotonic() + 20
    while len(slurm.jobs) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert states(one, submission) == "wwwwww"
    one.retry(submission)
    assert {job["name"]: set(job["tasks"].values()) for job in slurm.jobs.values()} == {
        "badc-RUN-0": {"CANCELLED||None"}, "badc-RUN-1": {"PENDING||Priority"},
    }  # fmt: skip
    assert states(one, submission) == "wwwwww"


@pytest.mark.usefixtures("killed")
def test_what_is_in_flight_is_cancelled_too(slurm: Any, run: Run):
    one = scheduler()
    one.cancel(Submission("slurm", 6, {"folder": str(run.folder)}))
    assert withdrawn_path(run.folder, "badc-RUN-0").exists()
    time.sleep(2.5)
    assert slurm.jobs == {}  # its process was ended before it had sent anything


# ------------------------------------------------------------------------------------ what goes on, goes on


def events(run: Run, shard: int, *lines: int, life: str = "") -> None:
    """Write what a worker tells of chunks that it settled."""
    sink = EventFile(run.folder, shard, life, "n1", {("R", f"c{line}"): line for line in lines})
    for line in lines:
        sink.emit(Event(f"c{line}", "R", "success", "cpu-0", "t", Device(), "t", 1.0, 60_000, True, {"attempt": 1}))
    sink.close()


def test_lives_that_advance_do_not_touch_the_budget(slurm: Any, run: Run):
    write_plan(run.folder, evolve(run.plan, shards=1, chunks=10))
    one = scheduler(retries=0)
    submission = one.submit(run, shards(1))
    submission = evolve(submission, shards=1)
    for life in range(4):
        events(run, 0, life, life=f"{100 + life}_0.0")
        slurm.set(str(100 + life), "FAILED|n1|NonZeroExitCode")
        states(one, submission)
        assert one.retry(submission) == 1, life
    slurm.set("104", "FAILED|n1|NonZeroExitCode")  # and nothing was done
    log = run.folder / "logs" / "000000.log"
    log.parent.mkdir()
    log.write_text("== shard 0, task 104_0.0 on n1, x\n== shard 0, task 104_0.0 ended with status 75\n")
    assert "raise time=" in one.states(submission)[0].detail
    assert one.retry(submission) == 0
    assert scheduler(retries=1).retry(submission) == 0  # as it was asked for first


def test_what_a_stopped_task_did_is_said(slurm: Any, run: Run):
    write_plan(run.folder, evolve(run.plan, chunks=10))
    one = scheduler()
    submission = one.submit(run, shards())
    events(run, 3, 0, 1, 2)
    slurm.set("100", "TIMEOUT|n1|TimeLimit", 3)
    assert "Its time was over after 3 chunks more." in one.states(submission)[3].detail


# --------------------------------------------------------------------------------- what the environment says


def test_only_harmless_words_of_the_environment_reach_slurm(slurm: Any, run: Run, monkeypatch: pytest.MonkeyPatch):
    names = "SBATCH_JOB_NAME SBATCH_ARRAY_INX SLURM_RESTART_COUNT SLURM_JOB_ID SQUEUE_PARTITION SBATCH_ACCOUNT"
    for name in f"{names} SBATCH_PARTITION SBATCH_RESERVATION SLURM_CONF SBATCH_MEM_PER_CPU".split():
        monkeypatch.setenv(name, "1")
    one = scheduler(partition="gpu", mem="4G", sbatch=("--reservation=birds",))
    one.submit(run, shards())
    assert set(slurm.jobs["100"]["environment"]) == {"SLURM_CONF", "SBATCH_ACCOUNT", "SLURM_TIME_FORMAT"}
    kept = clean({"SBATCH_PARTITION": "low", "SBATCH_MEM_PER_CPU": "2G", "SQUEUE_USERS": "x", "SLURM_JWT": "t"})
    assert {"SBATCH_PARTITION", "SBATCH_MEM_PER_CPU", "SLURM_JWT"} < set(kept)
    assert "SQUEUE_USERS" not in kept


def test_the_follower_hands_over_what_was_kept_out(slurm: Any, run: Run, monkeypatch: pytest.MonkeyPatch):
    """Whoever waits for the rest to be done would wait for ever."""
    from badc_core.follower import _Outcome

    one = scheduler()
    submission = Submission("slurm", 6, {"folder": str(run.folder)})
    assert _Outcome(one.states(submission)).unsettled

"""Submitting, asking and trying again, with commands that only pretend: what no real cluster does at will."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from slurm_shards import scheduler, shards, states

from badc_core.run_folders import note_done, note_error
from badc_core.scheduling import Run, Submission
from badc_slurm.client import SlurmError
from badc_slurm.judging import SETTLE_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return ``clock(seconds)``, which moves on what the scheduler takes for the time."""
    import badc_slurm.scheduler as module

    class Time:
        now_s = 1000.0

        def monotonic(self) -> float:
            return self.now_s

    found = Time()
    monkeypatch.setattr(module, "time", found)

    def move(seconds: float) -> None:
        found.now_s += seconds

    return move


def test_one_array_one_question(slurm: Any, run: Run):
    one = scheduler(partition="gpu")
    submission = one.submit(run, shards())
    assert list(slurm.jobs) == ["100"]
    assert slurm.jobs["100"]["options"]["partition"] == "gpu"
    asked = slurm.calls("squeue")
    assert states(one, submission) == "wwwwww"
    assert slurm.calls("squeue") == asked + 1
    assert slurm.calls("sacct") == 0
    slurm.set("100", "RUNNING|n1|None", 0, 1)
    note_done(run.folder, 1)
    assert states(one, submission) == "rdwwww"
    assert states(scheduler(), Submission("slurm", 6, {"folder": str(run.folder)})) == "rdwwww"


def test_a_shard_is_tried_again_within_its_budget(slurm: Any, run: Run):
    one = scheduler(retries=2)
    submission = one.submit(run, shards())
    for attempt in range(3):
        job_id = str(100 + attempt)
        slurm.set(job_id, "TIMEOUT|n1|TimeLimit", 3)
        assert states(one, submission) == "wwwfww"
        assert one.retry(submission) == (1 if attempt < 2 else 0)
    assert [job["options"]["array"] for job in slurm.jobs.values()] == ["0-5", "3", "3"]
    assert scheduler().retry(submission, everything=True) == 1


def test_a_task_that_slurm_holds_after_a_failed_launch_is_replaced(slurm: Any, run: Run):
    """Nobody would let it go; seen on a real cluster whose nodes were busy."""
    one = scheduler(retries=1)
    submission = one.submit(run, shards())
    slurm.set("100", "PENDING||launch failed requeued held", 3)
    assert states(one, submission) == "wwwfww"
    assert one.retry(submission) == 1
    assert slurm.jobs["100"]["tasks"]["3"].startswith("CANCELLED")
    assert slurm.jobs["101"]["options"]["array"] == "3"
    assert states(one, submission) == "wwwwww"
    slurm.set("101", "PENDING||launch failed requeued held", 3)
    assert one.states(submission)[3].detail.startswith("LAUNCH_FAILED")
    assert one.retry(submission) == 0


def test_memory_is_raised_for_who_ran_out_of_it(slurm: Any, run: Run):
    one = scheduler(mem="8G", raise_mem=1.5)
    submission = one.submit(run, shards())
    slurm.set("100", "OUT_OF_MEMORY|n1|OutOfMemory", 1, 2)
    slurm.set("100", "TIMEOUT|n1|TimeLimit", 4)
    assert one.retry(submission) == 3
    assert {(job["options"]["array"], job["options"]["mem"]) for job in slurm.jobs.values()} == {
        ("0-5", "8G"), ("1-2", "12G"), ("4", "8G"),
    }  # fmt: skip
    again = next(job_id for job_id, job in slurm.jobs.items() if job["options"]["mem"] == "12G")
    slurm.set(again, "OUT_OF_MEMORY|n1|OutOfMemory", 1)
    one.retry(submission)
    assert slurm.jobs["103"]["options"]["mem"] == "18G"


def test_slurms_own_words_say_that_it_was_memory(slurm: Any, run: Run):
    """As a cluster without cgroups does, whose word for the end is FAILED."""
    one = scheduler(mem="50M", raise_mem=2)
    submission = one.submit(run, shards())
    slurm.set("100", "FAILED|n1|JobLaunchFailure", 1, 2)
    (run.folder / "slurm" / "badc-RUN-0.out").write_text(
        "slurmstepd-n1: error: StepId=91001.batch exceeded memory limit (162971648 > 52428800), being killed\n"
        "slurmstepd-n1: error: *** JOB 910022 ON n1 CANCELLED AT 2026-11-21T18:51:45 ***\n"
    )
    found = one.states(submission)
    assert found[1].detail.startswith("OUT_OF_MEMORY on n1\nslurmstepd-n1: error: StepId=91001.batch exceeded")
    assert found[2].detail == "FAILED on n1"
    assert one.retry(submission) == 1
    assert slurm.jobs["101"]["options"]["mem"] == "100M"


def test_slurms_own_second_try_is_waited_for(slurm: Any, run: Run, clock: Callable[[float], None]):
    one = scheduler()
    submission = one.submit(run, shards())
    slurm.set("100", "NODE_FAIL|n1|None", 0)
    assert (states(one, submission), one.retry(submission)) == ("uwwwww", 0)
    slurm.set("100", "PENDING||BeginTime", 0)
    clock(SETTLE_S + 1)
    assert states(one, submission) == "wwwwww"
    slurm.set("100", "NODE_FAIL|n1|None", 0)
    states(one, submission)
    clock(SETTLE_S + 1)
    assert (states(one, submission), one.retry(submission)) == ("fwwwww", 1)


def age(run: Run, seconds: float) -> None:
    """Have everything in a run folder written so long ago."""
    for path in run.folder.rglob("*"):
        at = path.stat().st_mtime - seconds
        os.utime(path, (at, at))


def test_a_task_that_vanishes_is_lost_after_a_while(slurm: Any, run: Run):
    one = scheduler(lost_s=60)
    submission = one.submit(run, shards())
    slurm.forget("100", 0, 5)
    note_done(run.folder, 5)
    assert (states(one, submission), one.retry(submission)) == ("uwwwwd", 0)
    assert slurm.calls("sacct") == 1  # there is no accounting, which need not be asked again
    age(run, 61)
    assert states(scheduler(lost_s=60), submission) == "fwwwwd"  # whoever asks
    assert (states(one, submission), one.retry(submission)) == ("fwwwwd", 1)


@pytest.mark.parametrize("sign", ["logs/000000.log", "events/000000.jsonl", "shards/000000.100_0.0.error.json"])
def test_a_sign_of_life_keeps_a_task_from_being_lost(slurm: Any, run: Run, sign: str):
    one = scheduler(lost_s=60)
    submission = one.submit(run, shards())
    slurm.forget("100", 0, 1)
    age(run, 100)
    path = run.folder / sign
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    assert states(one, submission) == "ufwwww"


def test_a_lost_task_s_last_words_are_shown(slurm: Any, run: Run):
    one = scheduler()
    submission = one.submit(run, shards())
    slurm.forget("100", 0)
    log = run.folder / "logs" / "000000.log"
    log.parent.mkdir()
    log.write_text("== shard 0, task 100_0.0 on n2, 2026-01-01T00:00:00Z\nno such module\n")
    age(run, 100)
    assert one.states(submission)[0].detail == "LOST: SLURM does not know its task any longer\nno such module"


def test_a_person_need_not_wait_for_that(slurm: Any, run: Run):
    one = scheduler()
    submission = one.submit(run, shards())
    slurm.forget("100", 0)
    assert one.retry(submission, everything=True) == 1


def test_accounting_tells_what_the_queue_forgot(slurm: Any, run: Run):
    (slurm.home / "sacct.txt").write_text("100_0|OUT_OF_MEMORY|n1\n100_1|CANCELLED by 0|n1\n100|COMPLETED|n1\n")
    one = scheduler()
    submission = one.submit(run, shards())
    slurm.forget("100", 0, 1, 2)
    assert states(one, submission) == "fcuwww"


def test_a_silent_controller_is_no_news(slurm: Any, run: Run, clock: Callable[[float], None]):
    one = scheduler()
    submission = one.submit(run, shards())
    note_done(run.folder, 0)
    slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 4)
    assert states(one, submission) == "duuuuu"
    clock(1000)
    assert (states(one, submission), one.retry(submission)) == ("duuuuu", 0)
    slurm.fail("squeue", "", 0)
    assert states(one, submission) == "dwwwww"


def test_why_a_shard_failed(slurm: Any, run: Run):
    one = scheduler()
    submission = one.submit(run, shards())
    slurm.set("100", "FAILED|n2|NonZeroExitCode", 0, 1, 2)
    note_error(run.folder, 0, "100_0.0", SlurmError("the weights are missing"))
    log = run.folder / "logs" / "000001.log"
    log.parent.mkdir()
    log.write_text("== shard 1, task 100_1.0 on n2\nTraceback\nno such module\n")
    found = one.states(submission)
    assert found[0].detail == "FAILED on n2\nthe weights are missing"
    assert found[1].detail == "FAILED on n2\nTraceback\nno such module"
    assert found[2].detail == "FAILED on n2"
    assert one.log(submission, 1) == log
    assert one.log(submission, 2) is None


def test_cancelled_stays_cancelled_even_when_slurm_forgets_it(slurm: Any, run: Run):
    one = scheduler()
    submission = one.submit(run, shards())
    note_done(run.folder, 0)
    one.cancel(submission)
    assert states(one, submission) == "dccccc"
    slurm.forget("100", *range(6))
    assert (states(one, submission), one.retry(submission)) == ("dccccc", 0)
    assert scheduler().retry(submission, everything=True) == 5


@pytest.mark.parametrize(
    ("options", "speed", "cpu_workers", "minutes"),
    [
        ({}, None, 0, 30 * 20),
        ({}, 100.0, 0, 30 * 100),
        ({"speed": 50}, 100.0, 0, 30 * 50),
        ({"gpus": 4, "shard_minutes": 15}, 100.0, 0, 15 * 400),
        ({}, 10.0, 3, 30 * 30),
        ({"time": "0:20:00"}, 100.0, 0, 14 * 100),  # well within the limit
        ({"time": "0"}, 100.0, 0, 30 * 100),  # no limit
        ({"time": "UNLIMITED"}, 100.0, 0, 30 * 100),
    ],
)
def test_shards_by_length_of_recording(options: Any, speed: float | None, cpu_workers: int, minutes: float):
    assert scheduler(**options).shard_size(speed, cpu_workers).audio_ms == pytest.approx(minutes * 60_000)


def test_without_slurm_it_says_where_to_go(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="There is no scontrol here"):
        scheduler().submit(run, shards())


def test_options_from_a_file(slurm: Any, cli: Callable[..., Any], isolated: Path):
    runs.make_manifest(isolated / "m.csv", 3, 2)
    (isolated / "badc.toml").write_text(
        '[scheduler.slurm]\npartition = "gpu"\ntime = "4:00:00"\nsetup = ["module load x"]\n'
    )
    shown = cli("infer", "run", "m.csv", "--scheduler", "slurm", "-s", "partition=fast", "--dry-run").ok().stdout
    assert "#SBATCH --partition=fast\n" in shown
    assert "#SBATCH --time=4:00:00\n" in shown
    assert "\nmodule load x\n" in shown
    assert "Shard 0      6 chunks" in shown
    assert not (slurm.home / "calls.txt").exists()


def test_ten_thousand_tasks(slurm: Any, cli: Callable[..., Any], isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """Submitted in 5 s, and a status in 1 s: our share, by the processor's clock; SLURM's own is 0.2 s for a status."""
    monkeypatch.setenv("STUB_MAX_ARRAY", "20000")
    runs.make_manifest(isolated / "m.csv", 100, 100)
    options = ("--output-dir", "out", "--scheduler", "slurm", "-s", "shard_chunks=1", "--detach", "--quiet")
    began = time.process_time()
    cli("infer", "run", "m.csv", *options).ok()
    submitted_s = time.process_time() - began
    slurm.set("100", "FAILED|n1|NonZeroExitCode", *range(4000, 5000))
    folder = next((isolated / "out/.badc").glob("*/plan.json")).parent
    note_done(folder, 0)
    for shard in range(1, 4000):
        (folder / f"shards/{shard:06d}.done.json").write_text("{}")  # as note_done does it, but not synced
    began = time.process_time()
    said = cli("jobs", "status", "--output-dir", "out").ok().stdout
    asked_s = time.process_time() - began
    assert ("1,000 failed" in said, "4,000 done" in said) == (True, True), said
    assert submitted_s < 5
    assert asked_s < 1

"""What a real SLURM sets limits to: time, tasks at a time, jobs in its queue, what it remembers; what we say to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from badc_core.errors import ExitCode
from badc_slurm.client import Client
from badc_slurm.rehearsal import ACCOUNTING, missing

pytestmark = pytest.mark.slow


def test_two_hundred_shards_at_most_eight_at_a_time(field: Any):
    field.manifest(200)
    process = field.run("-s", "throttle=8", "-s", "cpus=2", shard_chunks=2)
    most = field.most_at_once(process)
    said = field.end(process)
    assert 1 < most <= 8
    assert "400 chunks in" in said
    assert "n4:cpu-0" in said
    assert len(list((field.run_folder / "shards").glob("*.done.json"))) == 200
    field.check()


def test_a_signal_before_the_time_limit_puts_one_task_back(field: Any):
    field.manifest(20, 1)
    process = field.run(sleep_ms=400, shard_chunks=10)
    field.until_committed(4)
    before = field.committed()
    field.cluster.ask("scancel", "-b", "-s", "USR1", f"{field.job}_1")
    field.until(lambda: "task " in field.logs() and f"{field.job}_1.1 on" in field.logs(), "a second life")
    field.end(process)
    assert before < 20
    assert f"{field.job}_0.1" not in field.logs()
    assert field.jobs == 1
    field.check()


def test_a_real_time_limit(field: Any):
    """The limit is a minute, the work of one task takes longer."""
    field.manifest(30, 1)
    process = field.run("-s", "time=1", "-s", "warn_s=20", sleep_ms=3000, shard_chunks=30)
    field.end(process, patience_s=290)
    assert ".1 on n" in field.logs()
    field.check()


def test_an_answer_that_got_lost_is_looked_up_not_asked_for_again(field: Any):
    """Killed after sbatch took the job, before its id was written down."""
    field.manifest(8)
    field.end(field.run("--detach", sleep_ms=100))
    folder = field.run_folder
    journal = folder / "slurm" / "journal.jsonl"
    kept = [line for line in journal.read_text().splitlines(keepends=True) if '"submitted"' not in line]
    journal.write_text("".join(kept))
    (folder / "submission.json").unlink()
    field.badc("jobs", "resume", "--output-dir", field.out)
    names = field.cluster.ask("squeue", "-h", "-t", "all", "-o", "%F", f"--name=badc-{folder.name}-0").split()
    assert set(names) == {field.job}
    assert field.jobs == 1
    field.check()


def test_large_arrays_are_split(make_field: Callable[..., Any]):
    """And tasks that SLURM forgets two seconds after their end, without accounting, are no matter.

    Never are there more at a time than throttle says, over all arrays, those of second tries included.
    """
    field = make_field(nodes=2, max_array=4, extra=["MinJobAge=2"])
    field.manifest(4, 5)
    options = ("-s", "lost_s=5", "-s", "throttle=3")
    process = field.run(*options, shard_chunks=2, sleep_ms=300, wrong="die", at="_0_", times=1, log=field.log)
    assert field.most_at_once(process) in (2, 3)
    field.end(process)
    scripts = [
        (field.run_folder / f"slurm/badc-{field.run_folder.name}-{number}.sh").read_text() for number in (0, 1, 2)
    ]
    assert ["%3" in text for text in scripts] == [True] * 3
    assert ["--dependency" in text for text in scripts] == [False, True, True]
    assert field.jobs >= 4
    field.check()
    assert Client().named("badc-nobody") is None


def test_a_slow_task_is_handed_over_as_long_as_it_advances(field: Any):
    """Every life is stopped before the work is done, and none may be put back; only what does nothing is a failure."""
    field.manifest(16, 1)
    process = field.run("-s", "requeue=0", "-s", "retries=0", sleep_ms=700, shard_chunks=16)
    for life in range(2):
        field.until_committed(4 * life + 2)
        field.until(lambda life=life: field.jobs == life + 1, "handed over again")
        field.until(lambda: field.running(), "it runs")
        field.until_committed(field.committed() + 2)
        field.cluster.ask("scancel", "-b", "-s", "USR1", f"{field.job}_0")
    field.end(process)
    assert field.jobs == 3
    field.check()


def test_a_time_limit_too_short_for_a_single_chunk_is_said(field: Any):
    field.manifest(2, 1)
    process = field.run("-s", "retries=0", "-s", "setup=echo ready; sleep 3")
    for life in range(2):
        field.until(lambda life=life: f"_0.{life} on" in field.logs(), f"life {life}")
        field.cluster.ask("scancel", "-b", "-s", "USR1", f"{field.job}_0")
    field.end(process, ExitCode.ERROR)
    assert "not put back" in field.logs()
    assert "raise time=" in field.badc("jobs", "status", "--output-dir", field.out)
    field.badc("jobs", "resume", "--output-dir", field.out)
    field.check()


def test_words_of_the_environment_change_nothing(field: Any):
    """A shell in a job, or set up for other work."""
    field.manifest(8)
    words = {"SBATCH_JOB_NAME": "foo", "SQUEUE_PARTITION": "low", "SBATCH_ARRAY_INX": "0", "SLURM_RESTART_COUNT": "5"}
    words |= {"SBATCH_PARTITION": "low", "SCANCEL_STATE": "PENDING", "SQUEUE_STATES": "PENDING", "SLURM_JOB_ID": "1"}
    process = field.run("-s", "lost_s=3", "-s", "partition=main", sleep_ms=400, environment=words)
    field.until_committed()
    names = ("-h", "-t", "all", f"--name=badc-{field.run_folder.name}-0")
    assert set(field.cluster.ask("squeue", *names, "-o", "%P").split()) == {"main"}
    field.end(process)
    assert field.jobs == 1
    field.check()


def test_a_full_queue(make_field: Callable[..., Any]):
    """The cluster takes nine jobs; the run has twenty shards."""
    field = make_field(nodes=1, cpus=2, extra=["MaxJobCount=10", "MinJobAge=2"])
    field.manifest(10)
    said = field.end(field.run("--detach", shard_chunks=1, sleep_ms=300))
    assert "waiting=11" in said
    seen = field.badc("jobs", "status", "--output-dir", field.out)
    assert "x not handed over yet: the queue is full" in seen
    field.badc("jobs", "resume", "--output-dir", field.out)
    field.check()


def test_killed_while_sbatch_is_at_work(field: Any):
    """Whoever takes the run up waits for it; nothing is submitted twice."""
    field.manifest(8)
    slow = field.folder / "bin" / "sbatch"
    slow.parent.mkdir()
    real = shutil.which("sbatch", path=field.environment()["PATH"])
    slow.write_text(f'#!/bin/sh\nsleep 4\nexec {real} "$@"\n')
    slow.chmod(0o755)
    process = field.run(environment={"PATH": f"{slow.parent}:{field.environment()['PATH']}"})
    field.until(lambda: '"sending"' in (field.run_folder / "slurm/journal.jsonl").read_text(), "sbatch is called")
    process.kill()
    process.communicate()
    field.badc("jobs", "resume", "--output-dir", field.out)
    assert set(field.cluster.ask("squeue", "-h", "-t", "all", "-o", "%F").split()) >= {field.job}
    assert field.jobs == 1
    names = f"--name=badc-{field.run_folder.name}-0,badc-{field.run_folder.name}-1"
    assert set(field.cluster.ask("squeue", "-h", "-t", "all", names, "-o", "%F").split()) == {field.job}
    field.check()


def test_a_failure_that_slurm_forgot(make_field: Callable[..., Any]):
    """There is no accounting; the run folder knows that it is over, and why."""
    field = make_field(nodes=1, extra=["MinJobAge=2"])
    field.manifest(8)
    field.end(field.run("--detach", "-s", "lost_s=4", wrong="die", at="REC1_0_"))
    names = ("-h", "-t", "all", f"--name=badc-{field.run_folder.name}-0")
    field.until(lambda: not field.cluster.ask("squeue", *names), "the queue forgets")
    field.until(lambda: "LOST" in field.badc("jobs", "status", "--output-dir", field.out), "it is lost", 30)
    assert "ended with status 137" in field.badc("jobs", "logs", "--output-dir", field.out)
    field.end(field.run())  # nothing holds the folder
    field.check()


def test_with_accounting(make_field: Callable[..., Any]):
    """The queue forgets tasks after seconds; accounting says how they ended."""
    absent = missing(accounting=True)
    if absent:
        pytest.skip(f"{', '.join(absent)} are not installed here: apt-get install {ACCOUNTING}")
    field = make_field(nodes=2, accounting=True, extra=["MinJobAge=2"])
    field.manifest(8)
    field.end(field.run("--detach", wrong="die", at="REC1_0_"))
    field.until(lambda: len(field.badc("jobs", "status", "--output-dir", field.out).split("done")) > 1, "some done")
    names = ("-h", "-t", "all", f"--name=badc-{field.run_folder.name}-0")
    field.until(lambda: not field.cluster.ask("squeue", *names), "the queue forgets")
    seen = field.badc("jobs", "status", "--output-dir", field.out)
    assert "1 failed, 3 done" in seen
    assert "failed: FAILED on n" in seen
    field.badc("jobs", "resume", "--output-dir", field.out, status=ExitCode.ERROR)
    field.end(field.run())
    field.check()

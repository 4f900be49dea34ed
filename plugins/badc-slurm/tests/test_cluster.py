"""Runs on a real SLURM with four emulated nodes, and what can happen to them there.

After each: every chunk exactly once, and the table made of the results has the bytes of a local run's.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs

import badc_core
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


def test_a_task_that_fails_once_is_tried_again(field: Any):
    field.manifest(8)
    field.end(field.run(wrong="die", at="REC1_0_", times=1, log=field.log))
    assert field.jobs == 2
    field.check()


def test_what_fails_always_is_said_and_done_later(field: Any):
    field.manifest(8)
    said = field.end(field.run("-s", "retries=1", wrong="die", at="REC1_0_", log=field.log), ExitCode.ERROR)
    assert "1 of 4 shards did not come to their end" in said
    assert "badc jobs resume" in said
    assert "failed: FAILED on n" in field.badc("jobs", "status", "--output-dir", field.out)
    assert "ended with status 137" in field.badc("jobs", "logs", "--output-dir", field.out)
    field.end(field.run())  # the same command, mended: what a local run would do, too
    field.check()


def test_nothing_is_tried_again_where_nothing_works(field: Any):
    field.manifest(8)
    said = field.end(field.run(wrong="die"), ExitCode.ERROR)
    assert "4 of 4 shards did not come to their end" in said
    assert field.jobs == 1


def test_ctrl_c_leaves_the_jobs_running(field: Any):
    field.manifest(10)
    process = field.run(sleep_ms=1500)
    field.until_committed()
    field.interrupt(process)
    said = field.end(process, ExitCode.RESUME)
    run_id = field.run_folder.name
    assert "The jobs go on without this command" in said
    assert f"badc jobs cancel {run_id}" in said
    assert field.running()
    said = field.badc("jobs", "resume", run_id, "--output-dir", field.out)
    assert "20 chunks in" in said
    assert field.jobs == 1
    field.check()


def test_a_killed_login_and_its_resume(field: Any):
    """Once and again, while its log grows; then its connection is lost."""
    field.manifest(20)
    process = field.run(sleep_ms=2500, shard_chunks=10)
    for number in (8, 16):
        field.until(lambda number=number: len(runs.settled(field.folder / "log.jsonl")) >= number, f"{number} told")
        process.kill()
        process.communicate()
        process = field.start("jobs", "resume", "--output-dir", field.out)
    field.until(lambda: len(runs.settled(field.folder / "log.jsonl")) >= 24, "24 told")
    process.send_signal(signal.SIGHUP)
    assert "The jobs go on without this command" in field.end(process, ExitCode.RESUME)
    field.badc("jobs", "resume", "--output-dir", field.out)
    assert field.jobs == 1
    field.check()


def test_the_same_command_gathers_what_nobody_followed(field: Any):
    field.manifest(10)
    field.end(field.run("--detach"))
    field.until(lambda: "to be gathered" in field.badc("jobs", "list", "--output-dir", field.out), "its end")
    said = field.end(field.run())
    assert "had ended while nobody followed it, and was gathered first: 20 of its 20 chunks are done" in said
    assert "complete" in field.badc("jobs", "list", "--output-dir", field.out)
    field.check()


def test_an_old_run_is_not_taken_up_beside_or_over_another(field: Any):
    field.manifest(10)
    field.end(field.run("--detach", sleep_ms=1500))
    old = field.run_folder.name
    field.until_committed()
    resume = ("jobs", "resume", old, "--output-dir", field.out, "--detach")
    field.badc("jobs", "cancel", "--output-dir", field.out)
    field.end(field.run("--detach", sleep_ms=1500))
    assert f"in use by run {field.run_folder.name}" in field.badc(*resume, status=ExitCode.HELD)
    field.badc("jobs", "cancel", "--output-dir", field.out)
    other = ("infer", "run", "m.csv", "--runner", "lab", "-o", "flavour=other", "--output-dir", field.out)
    field.badc(*other, "--replace")
    assert "--replace" in field.badc(*resume, status=ExitCode.ERROR)
    assert not field.running()


def test_results_that_went_away_are_made_again(field: Any):
    field.manifest(10)
    field.end(field.run())
    for path in sorted(field.out.glob("REC0/*.json"))[:3]:
        path.unlink()
    field.badc("jobs", "resume", "--output-dir", field.out)
    field.check()


def test_detached_then_looked_at_from_anywhere(field: Any):
    field.manifest(10)
    said = field.end(field.run("--detach", sleep_ms=200))
    assert "goes on by itself" in said
    listed = json.loads(field.badc("jobs", "list", "--output-dir", field.out, "--json"))
    assert [entry["scheduler"] for entry in listed] == ["slurm"]
    seen = json.loads(field.badc("jobs", "status", "--output-dir", field.out, "--json"))
    assert len(seen["shards"]) == 5
    field.badc("jobs", "resume", "--output-dir", field.out)
    assert "20 chunks in 5 shards: complete" in field.badc("jobs", "list", "--output-dir", field.out)
    field.check()


def test_two_runs_at_once(field: Any):
    """Into one folder: the second is refused. Into two: they do not know of each other."""
    field.manifest(6)
    first = field.run(sleep_ms=3000)
    field.until_committed()
    elsewhere = field.run(output=field.folder / "other")
    assert "in use by" in field.end(field.run(), ExitCode.HELD)
    field.interrupt(first)
    field.end(first, ExitCode.RESUME)
    assert "goes on by itself" in field.end(field.run(), ExitCode.HELD)
    local = field.start("infer", "run", "m.csv", "--runner", "lab", "--output-dir", field.out)
    assert "badc jobs resume" in field.end(local, ExitCode.HELD)
    field.end(elsewhere)
    field.badc("jobs", "resume", "--output-dir", field.out)
    field.check()
    field.check(field.folder / "other")


def test_one_task_cancelled_by_hand_stays_so_until_somebody_says_otherwise(field: Any):
    field.manifest(8)
    process = field.run(sleep_ms=1500)
    field.until_committed()
    field.cluster.ask("scancel", f"{field.job}_1")
    said = field.end(process, ExitCode.ERROR)
    assert "1 of 4 shards did not come to their end (1 x by scancel)" in said
    assert "cancelled: by scancel" in field.badc("jobs", "status", "--output-dir", field.out)
    field.badc("jobs", "resume", "--output-dir", field.out)
    assert field.jobs == 2
    field.check()


def test_a_run_is_cancelled_and_done_by_the_same_command(field: Any):
    field.manifest(10)
    field.end(field.run("--detach", sleep_ms=2000))
    field.until_committed()
    said = field.badc("jobs", "cancel", "--output-dir", field.out)
    assert "cancelled" in said
    field.until(lambda: not field.running(), "nothing runs")
    done = field.committed()
    assert 0 < done < 20
    assert f"{done} of 20 were done before" in field.end(field.run())
    field.check()
    assert len(list((field.out / ".badc").glob("*/plan.json"))) == 2


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


def test_preemption(field: Any):
    field.manifest(16)
    process = field.run("-s", "partition=low", "-s", "cpus=4", sleep_ms=2000, shard_chunks=8)
    field.until_committed(2)
    wrap = ["--wrap", "sleep 3", "-p", "main", "-N4", "--exclusive", "-o", "/dev/null"]
    assert "Submitted" in field.cluster.ask("sbatch", *wrap)
    field.end(process)
    assert ".1 on n" in field.logs()
    assert field.jobs == 1
    field.check()


def test_a_node_that_goes_down(field: Any):
    field.manifest(16)
    process = field.run(sleep_ms=1000, shard_chunks=8)
    field.until_committed(2)
    node = field.running()[0].split()[1]
    field.cluster.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    field.cluster.ask("scontrol", "update", f"nodename={node}", "state=resume")
    field.end(process)
    assert ".1 on n" in field.logs()
    field.check()


def test_a_killed_node_daemon(field: Any):
    """Its task goes on, unseen, while SLURM starts it anew elsewhere: still every chunk counts once."""
    field.manifest(40)
    process = field.run(sleep_ms=1000, shard_chunks=40)
    field.until_committed(2)
    node = field.running()[0].split()[1]
    field.cluster.end(f"slurmd-{node}", signal.SIGKILL)
    field.until(lambda: ".1 on n" in field.logs(), "the task is begun again", 120)
    field.cluster.start_node(node)
    field.end(process, patience_s=280)
    field.check()


def test_a_killed_controller(field: Any):
    field.manifest(10)
    process = field.run("-s", "patience_s=5", sleep_ms=700)
    field.until_committed(2)
    field.cluster.end("slurmctld", signal.SIGKILL)
    time.sleep(8)
    field.cluster.start_controller()
    field.end(process)
    field.check()


def test_out_of_memory(field: Any):
    """No worker can live in 20 MB; with ten times as much they can."""
    field.manifest(6)
    field.end(field.run("-s", "mem=20", "-s", "raise_mem=10", sleep_ms=1500))
    scripts = "".join(path.read_text() for path in (field.run_folder / "slurm").glob("*.sh"))
    assert "--mem=20\n" in scripts
    assert "--mem=200\n" in scripts
    field.check()


def test_gpus_by_number(field: Any):
    """Two tasks share a node of two GPUs; a task of two GPUs runs two workers, each on its own."""
    field.manifest(20)
    show = 'setup=echo "GPUs $CUDA_VISIBLE_DEVICES"'
    field.end(field.run("-s", "gpus=1", "-s", "sbatch=--nodelist=n1", "-s", show, sleep_ms=150, shard_chunks=10))
    seen = [_environment_of(field, index) for index in range(4)]
    assert set(seen) == {"0", "1"}
    field.check()
    other = field.run("-s", "gpus=2", "-s", "sbatch=--nodelist=n2", output=field.folder / "two", sleep_ms=100)
    said = field.end(other)
    assert "n2:gpu-0" in said
    assert "n2:gpu-1" in said
    field.check(field.folder / "two")


def test_a_task_of_four_gpus_has_four_workers(make_field: Callable[..., Any]):
    field = make_field(nodes=1, gpus=4)
    field.manifest(20)
    said = field.end(field.run("-s", "gpus=4", sleep_ms=150, shard_chunks=40))
    assert {f"n1:gpu-{number}" for number in range(4)} == set(re.findall(r"n1:gpu-\d", said))
    field.check()


def _environment_of(field: Any, shard: int) -> str:
    text = (field.run_folder / "logs" / f"{shard:06d}.log").read_text()
    return text.partition("GPUs ")[2].partition("\n")[0]


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


def test_another_version_on_the_node_is_refused(field: Any):
    field.manifest(8)
    field.end(field.run("--detach", "-s", "setup=sleep 4"))
    plan = field.run_folder / "plan.json"
    plan.write_text(plan.read_text().replace('"badc-core": "', '"badc-core": "9.'))
    said = field.badc("jobs", "resume", "--output-dir", field.out, status=ExitCode.ERROR)
    assert "did not come to their end" in said
    assert "The plan was made with badc-core 9." in field.badc("jobs", "status", "--output-dir", field.out)


def test_in_a_container(field: Any, tmp_path: Path):
    """With Charliecloud, whose image is a plain folder; this system's programs are bound into it."""
    if shutil.which("ch-run") is None:
        pytest.skip("ch-run is not installed here: apt-get install charliecloud-runtime")
    image = tmp_path / "image with blank"
    repository = Path(badc_core.__file__).parents[1]
    bound = dict.fromkeys([Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), repository])
    for folder in [*bound, field.folder, *map(Path, ("/etc", "/dev", "/proc", "/sys", "/tmp", "/home", "/root"))]:
        (image / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64"):
        if not (image / name).exists():
            (image / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (image / "etc" / name).touch()
    field.manifest(8)
    options = ["-s", f"container={image}", "-s", "container_run=ch-run", "-s", "gpus=2"]
    options += [part for folder in bound for part in ("-s", f"bind={folder}")]
    said = field.end(field.run(*options, "-s", "setup=export USER=somebody", shard_chunks=8))
    assert "gpu-1" in said
    assert "ch-run" in next((field.run_folder / "slurm").glob("*.sh")).read_text()
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


def test_a_rehearsal_with_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if missing():
        pytest.skip("SLURM is not installed here")
    with tempfile.TemporaryDirectory(prefix="badc-") as root:
        monkeypatch.setenv("BADC_REHEARSAL", root)
        words = [sys.executable, "-m", "badc_slurm.rehearsal"]
        try:
            said = subprocess.run([*words, "start"], capture_output=True, text=True, check=True).stdout
            script = f"{said}\nsinfo -h -p main -o '%D %t'"
            assert (
                subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout == "4 idle\n"
            )
        finally:
            subprocess.run([*words, "stop"], check=True)
        assert subprocess.run(["bash", "-c", script], capture_output=True, check=False).returncode != 0

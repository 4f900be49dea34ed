"""The array script: what it says, with names of every kind, and that a shell reads it as it is meant."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from snapshots import check_snapshot

from badc_core.config import fill
from badc_core.errors import UsageError
from badc_core.plan import Plan
from badc_core.protocols import RunnerIdentity
from badc_core.scheduling import Run
from badc_slurm.journal import Part
from badc_slurm.options import SlurmOptions
from badc_slurm.scheduler import SlurmScheduler
from badc_slurm.script import Place, array_script, badc_command, withdrawn_path

NASTY = {
    "plain": "/scratch/anna/out",
    "blank": "/scratch/my data/out",
    "apostrophe": "/scratch/Anna's/out",
    "quotes": '/scratch/"a" `b` $(touch /tmp/never) $HOME/out',
    "newline": "/scratch/a\nb/out",
    "percent": "/scratch/100%/%A_%a/out",
    "backslash": "/scratch/a\\b/out",
    "unicode": "/scratch/Größe 鳥/out",
    "dash": "/scratch/-rf/--/out",
    "glob": "/scratch/*[a]?/out",
}
SNAPSHOTS = Path(__file__).parent / "snapshots"


def script(
    folder: str = NASTY["plain"], *, shards: tuple[int, ...] = (0, 1, 2), offset: int = 0, **options: Any
) -> str:
    chosen = fill(SlurmOptions, options, "scheduler 'slurm'")
    assert chosen is not None
    place = Place(Path(folder) / ".badc" / "RUN", Path(folder).parent, badc_command(chosen, "/venv/bin/python"))
    return array_script(chosen, place, Part("badc-RUN-0", offset, shards), [Path(folder)])


def run_part(text: str) -> str:
    """Return the script up to where its log is opened: only variables."""
    return text.partition("mkdir -p")[0]


@pytest.mark.parametrize("name", NASTY)
def test_scripts_are_as_they_were(name: str):
    if name == "plain":
        check_snapshot(SNAPSHOTS / "plain.sh", script())
    else:
        check_snapshot(SNAPSHOTS / f"{name}.diff", script(NASTY[name]), script())


ALL = {
    "partition": "gpu", "account": "st-anna-1", "qos": "high", "constraint": "a100", "time": "4:00:00",
    "gpus": "v100:4", "cpus": 6, "mem": "16G", "throttle": 20, "nice": 100, "exclude": "n[1-3]", "requeue": 2,
    "warn_s": 300,
    "sbatch": ("--reservation=birds",), "setup": ("module load cuda", "source ~/venv/bin/activate"),
}  # fmt: skip


def test_all_options_at_once():
    lines = script(shards=(7, 8, 9, 12), offset=5, **ALL).splitlines()
    assert [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")] == [
        "--job-name=badc-RUN-0", "--array=2-4,7%20", "--output=/dev/null", "--open-mode=append", "--signal=B:USR1@300",
        "--account=st-anna-1", "--partition=gpu", "--qos=high", "--constraint=a100", "--gres=gpu:v100:4",
        "--time=4:00:00", "--cpus-per-task=6", "--mem=16G", "--exclude=n[1-3]", "--nice=100", "--requeue",
        "--reservation=birds",
    ]  # fmt: skip
    assert "shard=$((5 + SLURM_ARRAY_TASK_ID))" in lines
    assert lines.index("module load cuda") < lines.index("set -euo pipefail")  # modules do not bear strict mode


@pytest.mark.parametrize("name", NASTY)
def test_a_shell_reads_the_names_as_they_are(name: str):
    text = run_part(script(NASTY[name])) + 'printf "%s\\0" "$folder" "$workdir" "$shard" "$task" "$life"'
    said = subprocess.run(
        ["bash", "-c", text],
        capture_output=True,
        text=True,
        check=True,
        env={
            "SLURM_ARRAY_JOB_ID": "5",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_RESTART_COUNT": "1",
            "PATH": "/usr/bin:/bin",
        },
    ).stdout.split("\0")
    folder = Path(NASTY[name])
    assert said[:5] == [str(folder / ".badc" / "RUN"), str(folder.parent), "3", "5_3", "5_3.1"]


SCRIPTS = [*(script(folder) for folder in NASTY.values()), script(NASTY["quotes"], **{**ALL, "setup": ()})]
SCRIPTS += [script(NASTY["blank"], container="/i m/badc.sif", gpus="1")]
SCRIPTS += [script(NASTY["blank"], container="/i m/badc", container_run="ch-run", bind=("/data set",))]


@pytest.mark.parametrize("text", SCRIPTS, ids=range(len(SCRIPTS)))
def test_shellcheck_has_no_complaint(text: str, tmp_path: Path):
    path = tmp_path / "array.sh"
    path.write_text(text)
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_containers():
    text = script(NASTY["apostrophe"], container="/images/badc.sif", gpus="2", bind=("/data",))
    assert (
        """apptainer exec --nv --bind '/scratch/Anna'"'"'s/out' --bind '/scratch/Anna'"'"'s' --bind /data """
        """--pwd '/scratch/Anna'"'"'s' /images/badc.sif badc worker "$folder" --shard"""
    ) in text
    assert "--nv" not in script(container="/images/badc.sif")
    text = script(container="/images/badc", container_run="ch-run")
    assert '"--set-env=CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES" --bind /scratch/anna/out:/scratch/anna/out' in text
    assert "/images/badc -- badc worker" in text
    assert "env -i /images/badc badc worker" in script(container="/images/badc", container_run="env -i")


def test_another_way_to_call_badc():
    assert "/venv/bin/python -m badc_core worker" in script()
    assert "'/opt/my badc/bin/badc' worker" in script(command="'/opt/my badc/bin/badc'")


def test_a_task_without_gpus_sees_none():
    """Whatever the login shell had in its environment, which SLURM passes on."""
    assert "export CUDA_VISIBLE_DEVICES='' #" in script()
    assert 'export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES-}"' in script(gpus="1")
    assert "SLURM gave this task no GPU" in script(gpus="1")
    assert "no GPU" not in script()


@pytest.mark.parametrize(("time", "warn"), [("1", 30), ("0:40", 20), ("10", 120), ("4:00:00", 120), (None, 120)])
def test_the_warning_comes_within_the_limit(time: str | None, warn: int):
    assert f"--signal=B:USR1@{warn}\n" in script(time=time)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("partition", "a b"), ("account", "a'b"), ("mem", "8G\n#SBATCH --uid=0"), ("gpus", "1 # none"),
        ("sbatch", "reservation"), ("sbatch", "--a\n--b"), ("time", "soon"), ("time", "1:2:3:4"), ("throttle", "-1"),
        ("shard_minutes", "0"), ("gpus", "many"),
    ],
)  # fmt: skip
def test_what_cannot_stand_there_is_refused(option: str, value: str):
    with pytest.raises(UsageError, match=option):
        fill(SlurmOptions, {option: value}, "scheduler 'slurm'")


def test_rendering_splits_and_keeps_the_throttle_over_all_arrays():
    plan = Plan("RUN", "", Path("m"), "", "lab", {}, RunnerIdentity("lab"), "f", "", "thread", None, (Path("/o"),),
                "files", shards=25)  # fmt: skip
    files = SlurmScheduler(SlurmOptions(max_array=10, throttle=7)).render(Run(Path("/o/.badc/RUN"), plan, ()))
    assert list(files) == ["badc-RUN-0.sh", "badc-RUN-1.sh", "badc-RUN-2.sh"]
    arrays = [line for text in files.values() for line in text.splitlines() if "--array" in line]
    assert arrays == ["#SBATCH --array=0-9%7", "#SBATCH --array=0-9%7", "#SBATCH --array=0-4%7"]
    assert ["--dependency" in text for text in files.values()] == [False, True, True]
    assert "shard=$((20 + SLURM_ARRAY_TASK_ID))" in files["badc-RUN-2.sh"]


# ------------------------------------------------------------------------------------------ signals, run for real


def _lives(tmp_path: Path, worker: str, *, restart: int = 0, signal_after: str = "", **options: Any) -> tuple[int, str]:
    """Run a script as a task; return its exit status, and what it logged."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    for name, text in (("worker", worker), ("scontrol", "echo put back; (sleep 0.3; kill $PPID) &")):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    text = script(str(tmp_path / "out"), command=str(tmp_path / "bin/worker"), **options)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0",
                   "SLURM_RESTART_COUNT": str(restart), "SLURMD_NODENAME": "n1"}  # fmt: skip
    (tmp_path / "task.sh").write_text(text)
    log = tmp_path / "out/.badc/RUN/logs/000000.log"
    (tmp_path / "out").mkdir(exist_ok=True)
    process = subprocess.Popen(["bash", str(tmp_path / "task.sh")], env=environment, start_new_session=True)
    if signal_after:
        until = time.monotonic() + 20
        while time.monotonic() < until and not (log.exists() and signal_after in log.read_text()):
            time.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
    status = process.wait(30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return status, log.read_text() if log.exists() else ""


def test_a_warning_during_setup_puts_the_task_back_and_begins_nothing(tmp_path: Path):
    _, log = _lives(tmp_path, "echo began", setup=("echo setting up", "sleep 1"), signal_after="setting up")
    assert ("put back\n" in log, "began" in log) == (True, False)


_LONG = "echo began\nfor i in {1..100}; do sleep 0.1; done"


def test_a_worker_hears_the_warning(tmp_path: Path):
    _, log = _lives(tmp_path, f"trap 'echo heard; exit 75' USR1\n{_LONG}", signal_after="began")
    assert ("heard\n" in log, "put back\n" in log) == (True, True)


@pytest.mark.parametrize("gained", [False, True])
def test_a_second_life_that_did_nothing_is_not_put_back(gained: bool, tmp_path: Path):
    events = tmp_path / "out/.badc/RUN/events"
    events.mkdir(parents=True)
    if gained:
        (events / "000000.7_0.1.jsonl").write_text('{"status":"success","final":true}\n')
    _, log = _lives(tmp_path, f"trap 'exit 75' USR1\n{_LONG}", restart=1, signal_after="began")
    assert ("\nput back\n" in log, "not put back" in log) == (gained, not gained)


def test_an_array_whose_shards_were_handed_over_again_does_nothing(tmp_path: Path):
    folder = tmp_path / "out/.badc/RUN"
    (folder / "slurm").mkdir(parents=True)
    withdrawn_path(folder, "badc-RUN-0").touch()
    assert _lives(tmp_path, "echo began") == (0, "")

"""``badc infer orchestrate --slurm-script``: what the script says, and what comes of it when a shell runs it.

A task needs of SLURM only its number, so that most of this needs no cluster.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from datasets import cut_recordings, install_lab, results
from snapshots import check_snapshot
from sounds import noise, write

from badc_core.array_scripts import HandBundle, array_of_jobs
from badc_core.config import fill
from badc_core.infer_jobs import InferJob
from badc_slurm.by_hand import hand_script
from badc_slurm.options import SlurmOptions

SNAPSHOTS = Path(__file__).parent / "snapshots"

NASTY = {
    "plain": "REC1",
    "blank": "site 1  REC",
    "apostrophe": "Anna's REC",
    "quotes": '"a" `b` $(touch never) $HOME ${x}',
    "newline": "a\nb",
    "percent": "100%_%A_%a",
    "backslash": "a\\nb",
    "unicode": "Größe 鳥",
    "dash": "-rf",
    "glob": "*[a]?{b,c}",
    "log": "$LOG_DIR",
}

FLAGS = ["--scheduler", "local", "-o", "label=it's", "-o", "path=/a b/$c"]


def job(dataset: Path, name: str) -> InferJob:
    out, status = dataset / "out", dataset / f"chunks/{name}/.chunk_status.json"
    log = Path("/logs") / f"{name}.jsonl"
    manifest = dataset / f"manifests/{name}.csv"
    return InferJob(name, manifest, out, out / name, log, False, (), None, 0, "completed", status)


def text_of(names: list[str], dataset: Path = Path("/data/Anna's set"), **more: Any) -> str:
    options = fill(SlurmOptions, more.pop("options", {}), "scheduler 'slurm'")
    assert options is not None
    array = array_of_jobs("badc-infer", [job(dataset, name) for name in names], dataset, FLAGS, **more)
    return hand_script(options, array, ("/venv/bin/python", "-m", "badc_core"))


FULL: dict[str, Any] = {
    "log_dir": Path("/data/Anna's set/lo gs"),
    "trust_summaries": True,
    "bundle": HandBundle(Path("/data/Anna's set/tables"), 30),
    "options": {"setup": ("module load cuda",), "gpus": "1", "time": "1:00:00", "throttle": 5},
}

TEXTS = {
    **{f"hand-{name}": text_of([value]) for name, value in NASTY.items()},
    "hand-all": text_of(list(NASTY.values()), **FULL),
    "hand-rerun": text_of(["REC1", "REC2"], again=False, check_chunks=False),
    "hand-container": text_of(["REC1"], options={"container": "/i m/badc.sif", "gres": "gpu"}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_scripts_are_as_they_were(name: str):
    if name == "hand-plain":
        check_snapshot(SNAPSHOTS / "hand-plain.sh", TEXTS[name])
    else:
        check_snapshot(SNAPSHOTS / f"{name}.diff", TEXTS[name], TEXTS["hand-plain"])


@pytest.mark.parametrize("name", TEXTS)
def test_shellcheck_has_no_complaint(name: str, tmp_path: Path):
    path = tmp_path / "array.sh"
    path.write_text(TEXTS[name])
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# ------------------------------------------------------------------------------------------ what is written

ALL = [
    *("--sockeye-job-name", "survey-1"), *("--sockeye-account", "st-anna-1"), *("--sockeye-partition", "gpu"),
    *("--sockeye-gres", "gpu:v100:2"), *("--sockeye-time", "4:00:00"), *("--sockeye-cpus-per-task", "6"),
    *("--sockeye-mem", "16G"),
]  # fmt: skip
HEADER = [
    "--job-name=survey-1", "--account=st-anna-1", "--partition=gpu", "--gres=gpu:v100:2", "--time=4:00:00",
    "--cpus-per-task=6", "--mem=16G", "--array=1-3", "--signal=B:USR1@120", "--open-mode=append", "--requeue",
]  # fmt: skip


@pytest.fixture
def dataset(isolated: Path, cli: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three recordings in chunk files of three seconds."""
    return cut_recordings(isolated / "my set", cli, monkeypatch)


@pytest.fixture
def written(dataset: Path, isolated: Path, cli: Any) -> Callable[..., Path]:
    """Return ``written(*options)``, a script for that dataset."""

    def call(*options: object, flag: str = "--slurm-script", runner: str = "--stub-runner") -> Path:
        said = cli("infer", "orchestrate", dataset, runner, flag, "array.sh", *options).ok().stdout
        assert "an array of 3 tasks. To submit it: sbatch array.sh" in said
        return isolated / "array.sh"

    return call


def header(script: Path) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]


def task(script: Path, number: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one task, as SLURM would."""
    return subprocess.run(
        ["bash", str(script)],
        env={**runs.lab_environment(), "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(number), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def noted(isolated: Path) -> Callable[[], list[list[str]]]:
    """Return ``noted()``: how the program ``isolated/note`` was called, which may stand for ``badc``."""
    program, log = isolated / "note", isolated / "noted"
    program.write_text(f'#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done >>{log}\nprintf "\\n\\0" >>{log}\n')
    program.chmod(0o755)

    def read() -> list[list[str]]:
        calls = log.read_text().split("\0\n\0")[:-1] if log.exists() else []
        log.unlink(missing_ok=True)
        return [call.split("\0") for call in calls]

    return read


@pytest.mark.parametrize("flag", ["--slurm-script", "--sockeye-script"])
def test_the_words_of_badc_0_1_stand_above_the_script(flag: str, written: Callable[..., Path]):
    assert header(written(*ALL, flag=flag)) == HEADER


def test_options_of_the_scheduler_and_its_table_hold_too(written: Callable[..., Path], isolated: Path):
    (isolated / "badc.toml").write_text('[scheduler.slurm]\naccount = "st-anna-1"\nmem = "1G"\n')
    script = written("-s", "throttle=2", "-s", "gpus=1", "-s", "sbatch=--reservation=x", "--sockeye-mem", "8G")
    assert header(script) == [
        "--job-name=badc-infer", "--account=st-anna-1", "--gres=gpu:1", "--mem=8G", "--array=1-3%2",
        "--signal=B:USR1@120", "--open-mode=append", "--requeue", "--reservation=x",
    ]  # fmt: skip
    assert f"--config {isolated}/badc.toml infer run" in script.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sockeye-job-name", "a b"], "'a b'"), (["--sockeye-account", "a b"], "account"),
        (["--sockeye-time", "soon"], "time"), (["--sockeye-mem", "8G\n#SBATCH --uid=0"], "mem"),
        (["--sockeye-cpus-per-task", "0"], "cpus"), (["-s", "thrott=1"], "throttle"),
    ],
)  # fmt: skip
def test_what_cannot_stand_there_is_refused(options: list[str], said: str, dataset: Path, cli: Any, isolated: Path):
    done = cli("infer", "orchestrate", dataset, "--stub-runner", "--slurm-script", "x.sh", *options)
    assert (done.code, said in done.stderr) == (2, True), done.stderr
    assert not (isolated / "x.sh").exists()


def test_what_is_said_of_no_script_is_refused(dataset: Path, cli: Any):
    done = cli("infer", "orchestrate", dataset, "--sockeye-bundle")
    assert (done.code, "goes with --slurm-script" in done.stderr) == (2, True)


def test_every_word_reaches_badc_as_it_is(
    written: Callable[..., Path], dataset: Path, isolated: Path, noted: Callable[[], list[list[str]]]
):
    """Names with blanks, quotes and more, and a model's options."""
    label = 'it\'s $HOME "so"\n`x`'
    words = ["-o", f"flavour={label}", "--max-gpus", 2, "--cpu-workers", 3, "-s", f"command={isolated}/note"]
    bundle = ["--sockeye-bundle", "--sockeye-bundle-aggregate-dir", "ta ble", "--sockeye-bundle-bucket-minutes", 30]
    script = written("--runner", "lab", *words, *bundle, "--sockeye-log-dir", "lo gs", runner="--no-bundle")
    (dataset / "ta ble").mkdir()
    for number, name in enumerate(["a", "b c", "q\"u, o'te%"], 1):
        (dataset / "ta ble" / f"{name}.parquet").touch()
        assert task(script, number).returncode == 0
        run, aggregate, reports = noted()
        assert run == [
            "infer", "run", f"--output-dir={dataset}/artifacts/infer", f"--telemetry-log=lo gs/{name}.jsonl",
            "--scheduler", "local", "--layout", "files", "--no-record-datalad", "--runner", "lab",
            "-o", f"flavour={label}",
            "--max-gpus", "2", "--cpu-workers", "3", "--wait", "120", "--share", "--", f"manifests/{name}.csv",
        ]  # fmt: skip
        assert aggregate == [
            "infer", "aggregate", f"--manifest=manifests/{name}.csv", f"--output=ta ble/{name}_summary.csv",
            f"--parquet=ta ble/{name}.parquet", "--", f"{dataset}/artifacts/infer/{name}",
        ]  # fmt: skip
        assert reports == [
            "report", "bundle", f"--parquet=ta ble/{name}.parquet", "--output-dir=ta ble", f"--run-prefix={name}",
            "--bucket-minutes=30",
        ]  # fmt: skip
    assert (dataset / "lo gs").is_dir()


def test_hawkears_is_asked_in_its_own_words(dataset: Path, isolated: Path, cli: Any, noted: Any):
    pytest.importorskip("badc_hawkears")
    words = ["--hawkears-arg", "--min_score", "--hawkears-arg", "0.5", "-s", f"command={isolated}/note"]
    cli("infer", "orchestrate", dataset, "--slurm-script", "array.sh", "--sockeye-no-bundle", *words).ok()
    assert task(isolated / "array.sh", 1).returncode == 0
    assert shlex.join(noted()[0]).endswith(
        "--use-hawkears --hawkears-arg --min_score --hawkears-arg 0.5 --wait 120 --share -- manifests/a.csv"
    )


@pytest.mark.parametrize(
    ("options", "anew", "trusted"),
    [
        ([], False, False), (["--rerun-all"], True, False), (["--sockeye-rerun-all"], True, False),
        (["--resume-completed"], False, True), (["--sockeye-resume-completed"], False, True),
        (["--rerun-all", "--sockeye-resume-completed"], False, True), (["--include-existing"], True, False),
    ],
)  # fmt: skip
def test_resuming(
    options: list[str], anew: bool, trusted: bool, written: Any, dataset: Path, noted: Any, isolated: Path
):
    """What is done anew is not put back into the queue at the time limit: it would begin anew, and never end."""
    script = written("-s", f"command={isolated}/note", *options)
    assert ("--no-requeue" in header(script), "scontrol" in script.read_text()) == (anew, not anew)
    summary = "artifacts/telemetry/infer/a.jsonl.summary.json"
    for there in (False, True):
        if there:
            (dataset / summary).parent.mkdir(parents=True)
            (dataset / summary).touch()
        assert task(script, 1).returncode == 0
        words = noted()[0]
        assert ("--no-resume" in words) is anew
        assert (f"--resume-summary={summary}" in words) is (trusted and there)


# ------------------------------------------------------------------------------------------ what comes of it


@pytest.mark.parametrize(("state", "code"), [("completed", 0), (None, 2), ("in_progress", 3), ("failed", 3)])
def test_chunk_files_must_be_complete(
    state: str | None, code: int, written: Callable[..., Path], dataset: Path, noted: Any, isolated: Path
):
    """When the task begins, whatever they were when the script was written."""
    script = written("-s", f"command={isolated}/note")
    status = dataset / "artifacts/chunks/b c/.chunk_status.json"
    content = json.loads(status.read_text())
    if state is None:
        status.unlink()
    else:
        error = 'no "status": "completed" here'
        status.write_text(json.dumps({**content, "status": state, "error": error}, separators=(",", ":")))
    done = task(script, 2)
    assert done.returncode == code
    assert bool(noted()) is (code == 0)
    assert ("b c" in done.stderr) is (code != 0)
    assert task(script, 1).returncode == 0


def test_what_is_there_is_analysed_where_that_is_allowed(written: Any, dataset: Path, noted: Any, isolated: Path):
    (dataset / "artifacts/chunks/b c/.chunk_status.json").unlink()
    script = written("-s", f"command={isolated}/note", "--allow-partial-chunks")
    assert task(script, 2).returncode == 0
    assert noted()


def test_slices_need_no_chunk_files(isolated: Path, cli: Any, monkeypatch: pytest.MonkeyPatch):
    install_lab(monkeypatch)
    write(isolated / "set/audio/a.wav", noise(6))
    cli("chunk", "manifest", isolated / "set/audio", "--chunk-duration", 3, "--output", "set/manifests/a.csv").ok()
    cli("infer", "orchestrate", "set", "--stub-runner", "--slurm-script", "array.sh").ok()
    assert task(isolated / "array.sh", 1).returncode == 0
    assert len(results(isolated / "set")) == 2


def test_a_datalad_dataset_may_lie_elsewhere(isolated: Path, cli: Any, monkeypatch: pytest.MonkeyPatch):
    """Where the cluster sees it under another name, the line DATASET= is changed, and nothing else."""
    install_lab(monkeypatch)
    (isolated / "set/.datalad").mkdir(parents=True)
    write(isolated / "set/audio/a.wav", noise(6))
    cli("chunk", "run", "set/audio/a.wav", "--status", "--chunk-duration", 3).ok()
    cli("infer", "orchestrate", "set", "--stub-runner", "--slurm-script", "array.sh").ok()
    shutil.copytree(isolated / "set", isolated / "there")
    script = isolated / "array.sh"
    script.write_text(script.read_text().replace(f"DATASET={isolated}/set\n", f"DATASET={isolated}/there\n"))
    assert task(script, 1).returncode == 0
    assert (len(results(isolated / "there")), results(isolated / "set")) == (2, [])
    assert str(isolated / "set") not in next((isolated / "there").glob("artifacts/infer/a/*.json")).read_text()


def test_the_same_folders_and_tables_as_a_local_run(
    written: Callable[..., Path], dataset: Path, isolated: Path, cli: Any
):
    """All tasks at once, into one output folder; then again, when nothing is left to do."""
    here = isolated / "local"
    shutil.copytree(dataset, here / "my set", symlinks=True)
    options = ("--runner", "lab")
    script = written(*options, "--sockeye-bundle", runner="--no-bundle")
    environment = {**runs.lab_environment(), "SLURM_ARRAY_JOB_ID": "7"}
    started = [
        subprocess.Popen(["bash", str(script)], env={**environment, "SLURM_ARRAY_TASK_ID": str(number)}, cwd="/")
        for number in (1, 2, 3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    cli("infer", "orchestrate", here / "my set", *options, "--apply", "--bundle").ok()
    assert len(results(dataset)) == 9

    def files(root: Path) -> set[str]:
        found = (path.relative_to(root) for path in (root / "artifacts").rglob("*") if ".badc" not in path.parts)
        return {str(path) for path in found}

    assert files(dataset) == files(here / "my set")
    for table in sorted((dataset / "artifacts/aggregate").rglob("*_duckdb_exports/*.csv")):
        assert table.read_bytes() == (here / "my set" / table.relative_to(dataset)).read_bytes()
    report = dataset / "artifacts/aggregate/a_duckdb_exports/timeline.csv"
    bundle = (*options, "--slurm-script", "again.sh", "--sockeye-bundle")
    assert "Nothing to analyse" in cli("infer", "orchestrate", dataset, *bundle).ok().stdout
    report.unlink()
    assert "array of 1 task" in cli("infer", "orchestrate", dataset, *bundle).ok().stdout  # a report is missing
    done = task(script, 1)
    assert report.exists()
    assert (done.returncode, "all 3 chunks are done" in done.stdout) == (0, True), done.stdout


def test_the_whole_array_may_be_cut_by_hand(written: Callable[..., Path], noted: Any, isolated: Path):
    script = written("-s", f"command={isolated}/note")
    assert task(script, 1, BADC_OFFSET="2").returncode == 0
    assert noted()[0][-1] == "manifests/q\"u, o'te%.csv"
    assert task(script, 4).returncode != 0
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert "submit this script with sbatch" in done.stderr


@pytest.mark.parametrize(("signal", "again"), [("USR1", True), ("TERM", False)])
def test_a_task_is_put_back_at_its_time_limit_only(signal: str, again: bool, written: Any, isolated: Path):
    """That one task, by its index; also when the end of the work is a matter of seconds."""
    program = isolated / "slow"
    program.write_text('#!/bin/bash\ntrap "exit 75" TERM\ntouch begun\nwhile :; do sleep 0.05; done\n')
    scontrol = isolated / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/bash\necho "$@" >{isolated}/asked\nexit 1\n')
    program.chmod(0o755)
    scontrol.chmod(0o755)
    script = written("-s", f"command={program}")
    environment = {**os.environ, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    environment["PATH"] = f"{scontrol.parent}:{environment['PATH']}"
    process = subprocess.Popen(["bash", str(script)], env=environment)
    try:
        until = time.monotonic() + 20
        while not (isolated / "my set/begun").exists() and time.monotonic() < until:
            time.sleep(0.02)
        subprocess.run(["kill", f"-{signal}", str(process.pid)], check=True)
        assert process.wait(20) == 75
    finally:
        process.kill()
    assert (isolated / "asked").exists() is again
    if again:
        assert (isolated / "asked").read_text() == "requeue 7_2\n"


@pytest.mark.slow
def test_on_a_real_cluster(field: Any):
    """Eight recordings; one task is warned of its time limit in the middle of its work, and goes on."""
    dataset = field.folder / "set"
    (dataset / "manifests").mkdir(parents=True)
    chunks = runs.chunks_of(8, 10)
    for number in range(8):
        of_it = [chunk for chunk in chunks if chunk.recording_id == f"REC{number}"]
        runs.make_manifest(dataset / f"manifests/n {number}.csv", of_it)
    script = field.folder / "array 1.sh"
    options = ["--runner", "lab", "-o", "batch=1", "--output-dir", field.out]
    slow = ["-o", "sleep_ms=500", "-s", "sbatch=--output=/dev/null"]
    field.badc("infer", "orchestrate", dataset, *options, *slow, "--slurm-script", script)
    command = ["sbatch", "--parsable", str(script)]
    submitted = subprocess.run(command, env=field.environment(), capture_output=True, text=True, check=True)
    job = submitted.stdout.strip()
    first = field.out / "REC0"
    field.until(lambda: any(first.glob("*.json")), "the first task has begun")
    field.cluster.ask("scancel", "-b", "-s", "USR1", f"{job}_1")
    field.until(lambda: not field.cluster.ask("squeue", "-h", "-t", "PD,R,CG", "-j", job), "all ended", 240)
    documents = runs.documents(field.out)
    names = [(entry["recording_id"], entry["chunk_id"]) for entry in documents]
    assert len(names) == len(set(names)) == 80
    assert not list((field.out / ".badc").glob("claim*"))
    # The warned task had two lives, each a run of its own.
    assert len(list((field.out / ".badc").glob("*/plan.json"))) == 9
    local = field.folder / "local"
    field.badc("infer", "orchestrate", dataset, *options, "--output-dir", local, "--apply")
    tables = [runs.aggregate(folder, field.folder / f"{folder.name}.csv") for folder in (field.out, local)]
    assert tables[0] == tables[1]

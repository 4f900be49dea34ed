"""``badc infer orchestrate`` as users type it.

``badc pipeline run`` is in test_cli_pipeline.py; recording with ``datalad run`` in test_datalad_orchestrate.py.
"""

from __future__ import annotations

import csv
import json
import shlex
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
from datasets import NAMES, install_lab, make_recordings, plan_of, results, untested

from badc_core import engine
from badc_core.chunk_status import STATUS_FILE
from badc_core.cli import infer_orchestrate
from badc_core.runs import RunRequest
from badc_core.summary_form import summary_path

PLAN_KEYS = ["recording_id", "manifest_path", "output_dir", "recording_output_dir", "telemetry_log", "use_hawkears"]
PLAN_KEYS += ["hawkears_args", "max_gpus", "cpu_workers", "chunk_status", "chunk_status_path"]


@pytest.fixture
def lab(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_lab(monkeypatch)


@pytest.fixture
def recordings(isolated: Path) -> Path:
    return make_recordings(isolated / "my set")


@pytest.fixture
def dataset(recordings: Path, cli: Any, lab: None) -> Path:
    """The same, cut into chunk files of three seconds."""
    cli("chunk", "orchestrate", recordings, "--apply", "--chunk-duration", 3).ok()
    return recordings


@pytest.fixture
def orchestrate(cli: Any, dataset: Path) -> Callable[..., Any]:
    """Return ``orchestrate(*options)`` over that dataset."""
    return lambda *options: cli("infer", "orchestrate", dataset, *options)


@pytest.fixture
def asked(orchestrate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[RunRequest]]:
    """Return ``asked(*options)``, the runs that the options ask for; none is run."""

    def call(*options: object) -> list[RunRequest]:
        seen: list[RunRequest] = []

        def note(request: RunRequest, progress: Any) -> Any:
            seen.append(request)
            raise engine.StoreError("not run")

        with monkeypatch.context() as patch:
            patch.setattr(engine, "run", note)
            patch.setattr(infer_orchestrate, "check_work", lambda work: None)
            assert orchestrate("--apply", *options).code == 3
        return seen

    return call


# -------------------------------------------------------------------------------------------------- plans


def test_only_a_plan_unless_told(orchestrate: Callable[..., Any], dataset: Path, isolated: Path):
    """The defaults of BADC 0.1: HawkEars, and everything in its place in the dataset."""
    done = orchestrate("--plan-only", "--plan-csv", "p.csv", "--plan-json", "p.json").ok()
    assert "3 manifests to analyse" in done.stdout
    assert "add --apply" in done.stdout
    assert not (dataset / "artifacts/infer").exists()
    plan = plan_of(isolated / "p.json")
    assert [list(row) for row in plan] == [PLAN_KEYS] * 3
    assert [row["recording_id"] for row in plan] == NAMES
    assert plan[1] == {
        "recording_id": "b c",
        "manifest_path": str(dataset / "manifests/b c.csv"),
        "output_dir": str(dataset / "artifacts/infer"),
        "recording_output_dir": str(dataset / "artifacts/infer/b c"),
        "telemetry_log": str(dataset / "artifacts/telemetry/infer/b c.jsonl"),
        "use_hawkears": True,
        "hawkears_args": [],
        "max_gpus": None,
        "cpu_workers": 0,
        "chunk_status": "completed",
        "chunk_status_path": str(dataset / "artifacts/chunks/b c" / STATUS_FILE),
    }


def test_a_plan_as_csv(orchestrate: Callable[..., Any], isolated: Path):
    options = ("--hawkears-arg", "--x", "--hawkears-arg", 'a,"b"', "--max-gpus", 2, "--cpu-workers", 3)
    orchestrate("--plan-csv", "p.csv", *options).ok()
    orchestrate("--plan-csv", "stub.csv", "--stub-runner").ok()
    with (isolated / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == PLAN_KEYS
    assert [row["recording_id"] for row in rows] == NAMES
    assert json.loads(rows[0]["hawkears_args"]) == ["--x", 'a,"b"']
    assert [rows[0][key] for key in ("use_hawkears", "max_gpus", "cpu_workers")] == ["true", "2", "3"]
    line = (isolated / "stub.csv").read_text().splitlines()[1]
    assert ",false,[],,0,completed," in line


@pytest.mark.parametrize("name", ["plan.json", "plan.csv"])
@pytest.mark.parametrize("kind", ["chunk", "infer"])
def test_manifests_of_a_saved_plan(cli: Any, orchestrate: Any, dataset: Path, isolated: Path, name: str, kind: str):
    """Of a chunk plan or an inference plan, JSON or CSV; manifests that are gone are named."""
    options = ("--include-existing",) if kind == "chunk" else ()
    cli(kind, "orchestrate", dataset, *options, f"--plan-{name[5:]}", name, "--limit", 2).ok()
    (dataset / "manifests/a.csv").unlink()
    done = orchestrate("--chunk-plan", name, "--plan-json", "p.json").ok()
    assert [row["recording_id"] for row in plan_of(isolated / "p.json")] == ["b c"]
    assert f"{name} names {dataset}/manifests/a.csv, which is not there" in done.stderr


def test_plans_of_others(orchestrate: Callable[..., Any], dataset: Path, isolated: Path):
    """Rows without a manifest are passed over, the other key is known, and names count from here or the dataset."""
    rows = [{}, {"manifest": "manifests/b c.csv"}, 3, {"manifest_path": "", "manifest": "manifests/a.csv"}]
    (isolated / "x.JSON").write_text(json.dumps(rows))
    orchestrate("--chunk-plan", "x.JSON", "--plan-json", "p.json").ok()
    assert [row["recording_id"] for row in plan_of(isolated / "p.json")] == ["b c", "a"]
    for text in ("{", "{}"):
        (isolated / "bad.json").write_text(text)
        assert "bad.json is no plan" in orchestrate("--chunk-plan", "bad.json").stderr
    assert "Cannot read the plan no.json" in orchestrate("--chunk-plan", "no.json").stderr


def test_manifests_are_looked_for_at_any_depth(orchestrate: Callable[..., Any], dataset: Path, isolated: Path):
    (dataset / "manifests/deep/er").mkdir(parents=True)
    (dataset / "manifests/a.csv").rename(dataset / "manifests/deep/er/a.csv")
    orchestrate("--plan-json", "p.json").ok()
    assert sorted(row["recording_id"] for row in plan_of(isolated / "p.json")) == NAMES
    orchestrate("--plan-json", "p.json", "--pattern", "b*.csv").ok()
    assert [row["recording_id"] for row in plan_of(isolated / "p.json")] == ["b c"]
    orchestrate("--plan-json", "p.json", "--manifest-dir", "manifests/deep").ok()
    assert [row["recording_id"] for row in plan_of(isolated / "p.json")] == ["a"]
    shutil.copy(dataset / "manifests/deep/er/a.csv", dataset / "manifests/a.csv")
    done = orchestrate()
    assert (done.code, "have one name" in done.stderr) == (1, True)


def test_what_is_not_there(cli: Any, orchestrate: Callable[..., Any], dataset: Path, isolated: Path):
    assert "There is no folder" in cli("infer", "orchestrate", "nowhere").stderr
    assert "data/datalad/bogus" in cli("infer", "orchestrate").stderr
    done = orchestrate("--manifest-dir", "none")
    assert (done.code, "badc chunk orchestrate" in done.stderr) == (1, True)
    assert "Nothing to analyse" in orchestrate("--pattern", "x*").ok().stdout


def test_a_manifest_that_cannot_be_read_costs_only_itself(orchestrate: Callable[..., Any], dataset: Path):
    (dataset / "manifests/a.csv").write_text("nonsense\n")
    done = orchestrate("--stub-runner", "--apply")
    assert done.code == 3
    assert "a.csv, line 1" in done.stderr
    assert {name.split("/")[0] for name in results(dataset)} == set(NAMES[1:])


# ------------------------------------------------------------------------------------------- chunk status


@pytest.mark.parametrize("status", ["failed", "in_progress", None])
def test_chunks_that_are_not_complete_are_refused(orchestrate: Callable[..., Any], dataset: Path, status: str | None):
    file = dataset / "artifacts/chunks/a" / STATUS_FILE
    if status is None:
        file.unlink()
    else:
        file.write_text(json.dumps({"status": status}))
    for options in ([], ["--require-complete-chunks"]):
        done = orchestrate("--stub-runner", "--apply", *options, "--plan-json", "p.json")
        assert done.code == 1
        assert str(file) in done.stderr
        assert "--allow-partial-chunks" in done.stderr
        words = shlex.split(done.stderr.splitlines()[-1].partition(": badc ")[2])
    assert (words[:3], "--include-existing" in words) == (["chunk", "orchestrate", str(dataset)], status is None)
    assert results(dataset) == []
    assert not Path("p.json").exists()
    done = orchestrate("--stub-runner", "--apply", "--allow-partial-chunks").ok()
    assert f"Warning: a: {'whether' if status is None else 'its'} " in done.stderr
    assert len(results(dataset)) == 9


def test_status_files_may_lie_elsewhere(orchestrate: Callable[..., Any], dataset: Path):
    shutil.copytree(dataset / "artifacts/chunks", dataset / "other")
    shutil.rmtree(dataset / "artifacts/chunks")
    assert orchestrate().code == 1
    orchestrate("--chunks-dir", "other").ok()


def test_slices_need_no_chunk_files(cli: Any, recordings: Path, lab: None, isolated: Path):
    source = recordings / "audio/sub/a.wav"
    cli("chunk", "manifest", source, "--chunk-duration", 3, "--output", recordings / "manifests/a.csv").ok()
    options = ("--stub-runner", "--apply", "--plan-json", "p.json")
    assert "chunks: slices" in cli("infer", "orchestrate", recordings, *options).ok().stdout
    assert plan_of(isolated / "p.json")[0]["chunk_status_path"] is None
    assert results(recordings) == ["a/a_0_3000", "a/a_3000_6000", "a/a_6000_9000"]


# --------------------------------------------------------------------------------------------------- work


def test_apply(orchestrate: Callable[..., Any], dataset: Path):
    """The same layout as single runs; running again does nothing, and a recording half done goes on."""
    done = orchestrate("--stub-runner", "--apply").ok()
    assert "[2/3] b c: 3 chunks in" in done.stdout
    assert results(dataset)[:2] == ["a/a_chunk_0_3000", "a/a_chunk_3000_6000"]
    assert len(results(dataset)) == 9
    assert summary_path(dataset / "artifacts/telemetry/infer/b c.jsonl").exists()
    said = orchestrate("--stub-runner", "--apply").ok().stdout
    assert ("Nothing to analyse" in said, "--include-existing" in said) == (True, True)
    (dataset / "artifacts/infer/a/a_chunk_0_3000.json").unlink()
    assert "[1/1] a: 1 chunk in" in orchestrate("--stub-runner", "--apply", "--skip-existing").ok().stdout


def test_what_exists(orchestrate: Callable[..., Any], dataset: Path):
    """--include-existing does everything anew, as in BADC 0.1, unless told to go on."""
    orchestrate("--stub-runner", "--apply").ok()
    kept = dataset / "artifacts/infer/a/a_chunk_0_3000.json"
    before = kept.stat().st_mtime_ns
    again = ("--stub-runner", "--apply", "--include-existing", "--limit", 1)
    assert "[1/1] a: 0 chunks in" in orchestrate(*again, "--resume-completed").ok().stdout
    assert kept.stat().st_mtime_ns == before
    assert "[1/1] a: 3 chunks in" in orchestrate(*again).ok().stdout
    assert kept.stat().st_mtime_ns > before
    assert "[1/1] a: 3 chunks in" in orchestrate(*again, "--rerun-all").ok().stdout


def test_results_that_failed_or_are_damaged_do_not_count_as_done(orchestrate: Callable[..., Any], dataset: Path):
    orchestrate("--stub-runner", "--apply").ok()
    failed = dataset / "artifacts/infer/a/a_chunk_0_3000.json"
    failed.write_text(json.dumps({**json.loads(failed.read_text()), "status": "failed"}))
    (dataset / "artifacts/infer/b c/b c_chunk_0_3000.json").write_text("{")
    done = orchestrate("--stub-runner", "--apply").ok()
    assert "[1/2] a: 1 chunk in" in done.stdout
    assert "[2/2] b c: 1 chunk in" in done.stdout


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], {"runner": "hawkears", "options": {}, "resume": True, "resume_summary": None, "scheduler": "local"}),
        (["--use-hawkears", "--hawkears-arg", "--x"], {"runner": "hawkears", "options": {"args": ["--x"]}}),
        (["--stub-runner"], {"runner": "stub"}),
        (
            ["--runner", "lab", "-o", "batch=2", "--option", "flavour=x"],
            {"runner": "lab", "options": {"batch": "2", "flavour": "x"}},
        ),
        (["--max-gpus", "0", "--cpu-workers", "2"], {"max_gpus": 0, "cpu_workers": 2}),
        (["--scheduler", "local", "-s", "a=b", "--scheduler-option", "c=d"], {"scheduler": "local"}),
        (["-s", "a=b", "--scheduler-option", "c=d"], {"scheduler_options": {"a": "b", "c": "d"}}),
        (["--include-existing"], {"resume": False}),
        (["--include-existing", "--resume-completed"], {"resume": True}),
        (["--rerun-all"], {"resume": False}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_option_asks_for_its_own(
    options: list[str], wanted: dict[str, Any], asked: Callable[..., list[RunRequest]], dataset: Path
):
    requests = asked(*options)
    assert [request.manifest.stem for request in requests] == NAMES  # one that fails does not stop the others
    assert {name: getattr(requests[0], name) for name in wanted} == wanted
    assert requests[0].output_dir == dataset / "artifacts/infer"
    assert requests[0].telemetry_log == dataset / "artifacts/telemetry/infer/a.jsonl"


def test_places(asked: Callable[..., list[RunRequest]], dataset: Path, isolated: Path):
    """Relative folders count from the dataset, absolute ones are taken as they are."""
    (request, *_) = asked("--output-dir", "o", "--telemetry-dir", isolated / "t")
    assert (request.output_dir, request.telemetry_log) == (dataset / "o", isolated / "t/infer/a.jsonl")


def test_the_summary_of_0_1_is_believed_when_resuming(asked: Any, orchestrate: Any, dataset: Path):
    summary = summary_path(dataset / "artifacts/telemetry/infer/b c.jsonl")
    summary.parent.mkdir(parents=True)
    summary.write_text('{"jobs": {}}')
    assert [request.resume_summary for request in asked("--resume-completed")] == [None, summary, None]
    assert [request.resume_summary for request in asked()] == [None, None, None]


def test_failures_do_not_stop_the_rest(orchestrate: Callable[..., Any], dataset: Path):
    wrong = ("--runner", "lab", "-o", "wrong=raise", "-o", "at=b c")
    done = orchestrate("--apply", *wrong)
    assert done.code == 3
    assert "Problem: b c: 3 chunks failed" in done.stderr
    assert len(results(dataset)) == 9
    assert "[1/1] b c: 3 chunks" in orchestrate("--apply", "--runner", "lab").ok().stdout


@pytest.mark.parametrize(
    "options",
    [("--runner", "lab", "-o", "nonsense=1"), ("--stub-runner", "-s", "nonsense=1")],
    ids=["runner", "scheduler"],
)
def test_a_wrong_option_is_said_once_and_before_anything_is_done(
    options: tuple[str, ...], orchestrate: Callable[..., Any], dataset: Path
):
    done = orchestrate("--apply", *options)
    assert (done.code, done.stderr.count("nonsense"), results(dataset)) == (2, 1, [])


def test_results_of_another_runner_are_told(orchestrate: Callable[..., Any], dataset: Path):
    """They count as done, as in BADC 0.1; but nobody shall think that they are of the runner asked for."""
    orchestrate("--stub-runner", "--apply").ok()
    assert "with results of" not in orchestrate("--stub-runner", "--apply").ok().stderr
    said = orchestrate("--runner", "lab", "--apply").ok().stderr
    assert "3 manifests counted as done, with results of stub, not of lab." in said
    assert "--include-existing" in said
    assert "[3/3]" in orchestrate("--runner", "lab", "--apply", "--include-existing").ok().stdout


def test_runners_that_contradict_each_other(orchestrate: Callable[..., Any]):
    assert orchestrate("--runner", "lab", "--use-hawkears").code == 2
    assert orchestrate("--stub-runner", "--hawkears-arg", "--x").code == 2


def test_stopped_by_a_signal(dataset: Path):
    """Exit status 75, and the same command goes on."""
    options = ["infer", "orchestrate", dataset, "--apply", "--runner", "lab", "-o", "sleep_ms=300", "-o", "batch=1"]
    process = runs.start(*options)
    until = time.monotonic() + 60
    while not results(dataset):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert 0 < len(results(dataset)) < 9
    process = runs.start(*options[:-4])
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(results(dataset)) == 9


# ------------------------------------------------------------------------------------------------- datalad


def test_commands_for_a_shell(orchestrate: Callable[..., Any], dataset: Path):
    """Only commands on stdout; each can be split, and is complete."""
    assert orchestrate("--print-datalad-run").code == 1
    (dataset / ".datalad").mkdir()
    done = orchestrate("--print-datalad-run", "--hawkears-arg", "--x y", "--no-record-datalad").ok()
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert [line[:3] for line in lines] == [["cd", str(dataset), "&&"]] * 3
    inner = lines[1][lines[1].index("--", 10) + 1 :]
    assert inner[:4] == ["badc", "infer", "run", "manifests/b c.csv"]
    assert inner[4:] == [
        "--use-hawkears",
        "--hawkears-arg",
        "--x y",
        "--telemetry-log",
        "artifacts/telemetry/infer/b c.jsonl",
        "--output-dir",
        "{dspath}/artifacts/infer",
        "--no-record-datalad",
    ]
    assert "3 manifests to analyse" in done.stderr
    assert results(dataset) == []
    done = orchestrate("--print-datalad-run", "--pattern", "none").ok()
    assert (done.stdout, "Nothing to analyse" in done.stderr) == ("", True)


@pytest.mark.parametrize("how", ["option", "variable", "no dataset"])
def test_without_records(orchestrate: Any, dataset: Path, how: str, monkeypatch: pytest.MonkeyPatch):
    """The folder only looks like a dataset, so that a record would fail."""
    if how != "no dataset":
        for name in (".datalad", ".git"):
            (dataset / name).mkdir()
    if how == "variable":
        monkeypatch.setenv("BADC_DISABLE_DATALAD", "")
    extra = ["--no-record-datalad"] if how == "option" else []
    orchestrate("--stub-runner", "--apply", *extra).ok()
    assert len(results(dataset)) == 9


# -------------------------------------------------------------------------------------------------- common


def test_no_option_is_left_out_here():
    """A new option needs a test."""
    assert untested(infer_orchestrate.orchestrate) == set()


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from badc_core.cli import main; main([*sys.argv[1:], '--help']); "
        "sys.exit(1 if {'duckdb', 'pyarrow', 'numpy', 'rich', 'cattrs'} & set(sys.modules) else 0)"
    )
    for words in (["infer", "orchestrate"], ["pipeline", "run"]):
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "--bundle" in done.stdout) == (0, True), words

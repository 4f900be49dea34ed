"""``badc infer run`` as users type it: every option does what it says, and the exit status tells how it ended.

``--print-datalad-run`` is in test_provenance.py, ``run-config`` in test_run_config.py, ``aggregate`` with its plugin,
``--timeout`` and ``--wait`` in tests/faults, where something hangs or somebody else is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import faulty_lab
import pytest
import runs

from badc_core import host, worker
from badc_core.cli import infer
from badc_core.runs import RunRequest


@pytest.fixture
def infer_run(isolated: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return ``infer_run(*options)``, which runs over two recordings with three chunks each; the lab is installed."""
    made = host.Host(extra=[faulty_lab])
    monkeypatch.setattr(host, "default_host", lambda: made)
    monkeypatch.setattr("badc_core.engine.default_host", lambda: made)
    monkeypatch.setattr(worker, "backoff_s", lambda attempt: 0)
    runs.make_manifest(isolated / "m.csv", 3, 2)
    return lambda *options: cli("infer", "run", "m.csv", *options)


@pytest.fixture
def asked(infer_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunRequest]:
    """Return ``asked(*options)``, the request that the options make."""

    def call(*options: object) -> RunRequest:
        seen: list[RunRequest] = []
        monkeypatch.setattr(infer, "execute", lambda request, **more: seen.append(request) or 0)
        infer_run(*options).ok()
        return seen[0]

    return call


# ------------------------------------------------------------------------------------------- what is asked


def test_without_options(asked: Callable[..., RunRequest]):
    """The defaults of BADC 0.1: stub runner, artifacts/infer, two retries, all GPUs."""
    assert asked() == RunRequest(Path("m.csv"))
    assert (RunRequest(Path("m.csv")).runner, RunRequest(Path("m.csv")).max_retries) == ("stub", 2)
    assert RunRequest(Path("m.csv")).output_dir == Path("artifacts/infer")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--runner", "lab"], {"runner": "lab"}),
        (
            ["--runner", "lab", "-o", "batch=2", "--option", "flavour=a=b"],
            {"options": {"batch": "2", "flavour": "a=b"}},
        ),
        (["--runner-cmd", "model 'a b'"], {"runner": "command", "options": {"command": "model 'a b'"}}),
        (["--stub-runner"], {"runner": "stub"}),
        (["--stub-runner", "--runner", "stub"], {"runner": "stub"}),
        (["--output-dir", "some where"], {"output_dir": Path("some where")}),
        (["--layout", "segments"], {"layout": "segments"}),
        (["--max-gpus", "0"], {"max_gpus": 0}),
        (["--cpu-workers", "3"], {"cpu_workers": 3}),
        (["--max-retries", "0"], {"max_retries": 0}),
        (["--timeout", "1.5"], {"timeout_s": 1.5}),
        (["--fail-fast"], {"fail_fast": True}),
        (["--scheduler", "local", "-s", "a=b"], {"scheduler": "local", "scheduler_options": {"a": "b"}}),
        (["--scheduler-option", "a=b"], {"scheduler_options": {"a": "b"}}),
        (["--telemetry", "deaf", "--telemetry", "jsonl=x y"], {"telemetry": ("deaf", "jsonl=x y")}),
        (["--telemetry-log", "l.jsonl"], {"telemetry_log": Path("l.jsonl")}),
        (["--no-resume"], {"resume": False}),
        (["--resume"], {"resume": True}),
        (["--resume-summary", "s.json"], {"resume_summary": Path("s.json")}),
        (["--replace"], {"replace": True}),
        (["--wait", "60"], {"wait_s": 60.0}),
        (["--share"], {"share": True}),
        (["--no-record-datalad"], {"record": False}),
        (["--detach"], {"detach": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_option_asks_for_its_own(options: list[str], wanted: dict[str, Any], asked: Callable[..., RunRequest]):
    request = asked(*options)
    assert {name: getattr(request, name) for name in wanted} == wanted


def test_no_option_is_left_out_here():
    """A new option needs a test, above or below."""
    here = Path(__file__).parent
    tested = "".join((here / f"test_{name}.py").read_text() for name in ("cli_infer", "provenance", "run_record"))
    names = {name for option in infer.run.params if isinstance(option, click.Option) for name in option.opts}
    assert {name for name in names if f'"{name}"' not in tested} == set()


@pytest.mark.parametrize("name", ["badc.toml", "other.toml"])
def test_options_from_a_file_give_way_to_those_typed(
    name: str, asked: Callable[..., RunRequest], isolated: Path, cli: Any
):
    (isolated / name).write_text(
        '[infer.run]\ncpu_workers = 4\nmax_retries = 7\n[runner.lab]\nflavour = "strong"\nbatch = 3\n'
    )
    flags = () if name == "badc.toml" else ("--config", name)
    seen: list[RunRequest] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(infer, "execute", lambda request, **more: seen.append(request) or 0)
        cli(*flags, "infer", "run", "m.csv", "--runner", "lab", "--max-retries", 1, "-o", "batch=2").ok()
    assert (seen[0].cpu_workers, seen[0].max_retries) == (4, 1)
    assert seen[0].options == {"flavour": "strong", "batch": "2"}


def test_show_config(infer_run: Callable[..., Any], isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """Each value with where it came from, and nothing is run."""
    (isolated / "badc.toml").write_text("[infer.run]\ncpu_workers = 4\n")
    monkeypatch.setenv("BADC_INFER_RUN_TIMEOUT", "30")
    told = infer_run("--show-config", "--max-retries", 5).ok().stdout
    lines = ["cpu_workers = 4  (TOML)", "timeout = 30.0  (environment)", "max_retries = 5  (flag)"]
    assert {*lines, "fail_fast = False  (default)"} <= set(told.splitlines())
    assert not (isolated / "artifacts").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-gpus", "-1"], "--max-gpus"),
        (["--cpu-workers", "many"], "--cpu-workers"),
        (["--max-retries", "-1"], "--max-retries"),
        (["--timeout", "0"], "--timeout"),
        (["--wait", "-1"], "--wait"),
        (["--layout", "heap"], "--layout"),
        (["-o", "batch"], "batch"),
        (["-o", "no_such=1", "--runner", "lab"], "no_such"),
        (["-o", "batch=x", "--runner", "lab"], "batch"),
        (["-s", "x"], "-s"),
        (["-s", "no_such=1"], "no_such"),
        (["--runner-cmd", "x", "--use-hawkears"], "--runner-cmd and --use-hawkears"),
        (["--runner", "lab", "--runner-cmd", "x"], "--runner and --runner-cmd"),
        (["--runner", "lab", "--stub-runner"], "--runner and"),
        (["--hawkears-arg", "--x"], "--use-hawkears"),
        (["--no-such-option"], "--no-such-option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_understood(options: list[str], said: str, infer_run: Callable[..., Any], isolated: Path):
    """Exit code 2, the option by name on stderr, and nothing is run."""
    ended = infer_run(*options)
    assert (ended.code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert runs.documents(isolated / "artifacts") == []


def test_hawkears_says_which_plugin_it_needs(infer_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    bare = host.Host(installed=False)
    monkeypatch.setattr(host, "default_host", lambda: bare)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("badc_core.cli.cli._complete", False)
        ended = infer_run("--use-hawkears", "--hawkears-arg", "--x", "--hawkears-arg", "1")
    assert ended.code == 1
    assert "badc-hawkears" in ended.stderr


@pytest.mark.parametrize("options", [["--runner", "lob"], ["--scheduler", "lokal"], ["--telemetry", "jsonk"]])
def test_a_misspelt_name(options: list[str], infer_run: Callable[..., Any]):
    ended = infer_run(*options)
    assert ended.code == 1
    assert options[1] in ended.stderr
    assert {"lob": "lab", "lokal": "local", "jsonk": "jsonl"}[options[1]] in ended.stderr


def test_no_manifest(cli: Callable[..., Any]):
    ended = cli("infer", "run", "gone.csv")
    assert ended.code == 1
    assert "gone.csv" in ended.stderr
    assert cli("infer", "run").code == 2


# ---------------------------------------------------------------------------------------------- how it ends


def test_a_run_for_people(infer_run: Callable[..., Any], isolated: Path):
    """The table of workers and where everything lies on stdout, progress on stderr."""
    ended = infer_run("--output-dir", "out", "--cpu-workers", 2, "--telemetry-log", "log.jsonl").ok()
    for head in ("worker", "jobs", "failures", "retries", "failed attempts"):
        assert head in ended.stdout
    assert "6 chunks in " in ended.stdout
    for place in (isolated / "out", "log.jsonl", isolated / "out" / ".badc"):
        assert str(place) in ended.stdout
    assert "6/6 chunks" in ended.stderr
    assert "audio-s/s" in ended.stderr
    again = infer_run("--output-dir", "out", "--quiet").ok()
    assert "Nothing to do: all 6 chunks are done." in again.stdout
    assert again.stderr == ""


@pytest.mark.parametrize("layout", ["files", "segments"])
def test_a_run_for_programs(layout: str, infer_run: Callable[..., Any], isolated: Path):
    """One JSON object on stdout, whatever else is said."""
    options = ("--runner", "lab", "--output-dir", "out", "--layout", layout, "--json")
    told = json.loads(infer_run(*options).ok().stdout)
    assert (told["total"], told["done"], told["done_before"], told["failed"], told["exit_code"]) == (6, 6, 0, 0, 0)
    assert told["output"] == [str(isolated / "out")]
    assert {"run_id", "fingerprint", "runner", "workers", "telemetry_log", "summary"} <= set(told)
    assert Path(told["summary"]).is_file()
    assert (isolated / "out" / "_segments").is_dir() is (layout == "segments")
    again = json.loads(infer_run(*options).ok().stdout)
    assert (again["done"], again["done_before"]) == (0, 6)
    anew = json.loads(infer_run(*options, "--no-resume").ok().stdout)
    assert (anew["done"], anew["done_before"]) == (6, 0)


def test_what_would_be_done(infer_run: Callable[..., Any], isolated: Path):
    options = ("--runner", "lab", "--output-dir", "out", "--cpu-workers", 2, "--dry-run")
    told = infer_run(*options).ok().stdout
    assert "m.csv: 6 chunks, 0 done" in told
    assert "cpu-0, cpu-1" in told
    told = json.loads(infer_run(*options, "--json").ok().stdout)
    assert (told["total"], told["done"], told["chunks"], told["audio_ms"]) == (6, 0, 6, 18_000)
    assert sorted(path.name for path in isolated.iterdir()) == ["m.csv"]
    infer_run("--runner", "lab", "--output-dir", "out").ok()
    assert json.loads(infer_run(*options, "--json").ok().stdout)["chunks"] == 0


def test_some_failed(infer_run: Callable[..., Any], isolated: Path):
    """Exit code 3; the next run does what failed, and only that."""
    wrong = ("-o", "wrong=raise", "-o", "at=REC0_0")
    options = ("--runner", "lab", "--output-dir", "out", "--json")
    ended = infer_run(*options, *wrong, "--max-retries", 1)
    told = json.loads(ended.stdout)
    assert (ended.code, told["exit_code"], told["done"], told["failed"]) == (3, 3, 6, 1)
    (one,) = told["workers"].values()
    assert (one["failure"], one["retries"], one["failed_retries"]) == (1, 1, 1)
    text = infer_run("--runner", "lab", "--output-dir", "out", *wrong, "--max-retries", 0)
    assert text.code == 3
    assert "failed" in text.stdout
    assert json.loads(infer_run(*options).ok().stdout)["done"] == 1


def test_fail_fast(infer_run: Callable[..., Any], isolated: Path):
    runs.make_manifest(isolated / "m.csv", 50, 1)
    wrong = ("-o", "wrong=raise", "-o", "at=REC0_3000_", "-o", "batch=1", "--max-retries", 0)
    ended = infer_run("--runner", "lab", "--output-dir", "out", *wrong, "--fail-fast", "--json")
    assert ended.code == 3
    assert json.loads(ended.stdout)["failed"] == 1
    assert json.loads(ended.stdout)["done"] < 50
    infer_run("--runner", "lab", "--output-dir", "out").ok()
    assert len(runs.committed(isolated / "out")) == 50


def test_a_summary_of_badc_0_1_is_believed_where_a_result_is_there(infer_run: Callable[..., Any], isolated: Path):
    for chunk in runs.chunks_of(2, 3)[:2]:
        path = isolated / "out" / chunk.recording_id / f"{chunk.chunk_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"chunk_id": chunk.chunk_id, "recording_id": "REC0", "status": "ok"}))
    options = ("--output-dir", "out", "--json")
    refused = infer_run(*options)
    assert refused.code == 1
    assert "--resume-summary" in refused.stderr
    jobs = {chunk.chunk_id: {"status": "success"} for chunk in runs.chunks_of(2, 3)[:3]}
    (isolated / "old.json").write_text(json.dumps({"jobs": jobs}))
    told = json.loads(infer_run(*options, "--resume-summary", "old.json").ok().stdout)
    assert (told["done"], told["done_before"]) == (4, 2)
    assert "gone.json" in infer_run(*options, "--resume-summary", "gone.json").stderr
    (isolated / "torn.json").write_text('{"jobs": {')
    torn = infer_run(*options, "--resume-summary", "torn.json")
    assert torn.code == 1
    assert "torn.json" in torn.stderr


def test_a_command_per_chunk(infer_run: Callable[..., Any], isolated: Path):
    """--runner-cmd gets --input and --output; what it does wrong is in the result."""
    sound = isolated / "a b.wav"
    sound.write_bytes(b"RIFF")
    runs.make_manifest(isolated / "m.csv", [runs.Chunk("c", "REC", sound)])
    program = isolated / "model.py"
    program.write_text("import json, sys; json.dump(sys.argv[1:], open('seen', 'w'))")
    infer_run("--runner-cmd", f"{sys.executable} {program}", "--output-dir", "out", "--timeout", 60).ok()
    (entry,) = runs.documents(isolated / "out")
    assert (entry["status"], entry["detections"]) == ("ok", [])
    assert ["--input", str(sound), "--output"] == json.loads((isolated / "seen").read_text())[:3]
    wrong = infer_run("--runner-cmd", "false", "--output-dir", "other", "--max-retries", 0, "--json")
    assert wrong.code == 3
    (entry,) = runs.documents(isolated / "other")
    assert "false" in entry["error"]


def test_results_of_other_options_are_not_mixed(infer_run: Callable[..., Any], isolated: Path):
    infer_run("--runner", "lab", "--output-dir", "out").ok()
    other = ("--runner", "lab", "-o", "flavour=strong", "--output-dir", "out", "--json")
    refused = infer_run(*other)
    assert (refused.code, refused.stdout) == (1, "")
    assert "--replace" in refused.stderr
    assert json.loads(infer_run(*other, "--replace").ok().stdout)["done"] == 6
    assert len(runs.documents(isolated / "out")) == 6

"""``badc pipeline run`` as users type it: from recordings to reports, again and again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs
from datasets import NAMES, install_lab, make_recordings, plan_of, results, untested
from sounds import noise, write

from badc_core import engine
from badc_core.cli import pipeline
from badc_core.runs import RunRequest


@pytest.fixture
def lab(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_lab(monkeypatch)


@pytest.fixture
def recordings(isolated: Path) -> Path:
    return make_recordings(isolated / "my set")


@pytest.fixture
def pipe(cli: Any, recordings: Path, lab: None) -> Callable[..., Any]:
    """Return ``pipe(*options)``, the pipeline over recordings that are not cut yet."""
    return lambda *options: cli("pipeline", "run", recordings, "--chunk-duration", 3, *options)


def test_pipeline(pipe: Callable[..., Any], recordings: Path):
    """From recordings to reports; what is done is not done again."""
    done = pipe().ok()
    assert "3 recordings cut, 0 failed." in done.stdout
    assert len(results(recordings)) == 9
    assert [row["recording_id"] for row in plan_of(recordings / "plans/pipeline_chunks.json")] == NAMES
    folder = recordings / "artifacts/aggregate"
    assert json.loads((folder / "a_parquet_report/summary.json").read_text())["bucket_minutes"] == 30
    assert (folder / "aggregate_summary/label_summary.csv").exists()
    again = pipe("--no-bundle").ok()
    assert "Nothing to cut" in again.stdout
    assert "[3/3]" in again.stdout
    assert again.stdout.count("0 chunks in") == 3


def test_pipeline_takes_up_new_recordings_and_forgets_no_old_ones(pipe: Callable[..., Any], recordings: Path):
    """A run that was stopped after cutting is not forgotten when the next one finds new recordings."""
    pipe("--no-bundle").ok()
    shutil.rmtree(recordings / "artifacts/infer")
    write(recordings / "audio/new.wav", noise(3))
    pipe("--no-bundle").ok()
    assert len(results(recordings)) == 10
    assert len(plan_of(recordings / "plans/pipeline_chunks.json")) == 4


def test_pipeline_goes_on_without_what_cannot_be_cut(pipe: Callable[..., Any], recordings: Path):
    (recordings / "audio/sub/a.wav").write_bytes(b"nonsense" * 20)
    done = pipe("--no-bundle")
    assert done.code == 3
    assert "a.wav is unreadable" in done.stderr
    assert len(results(recordings)) == 6
    write(recordings / "audio/sub/a.wav", noise(9))
    pipe("--no-bundle").ok()
    assert len(results(recordings)) == 9


def test_pipeline_options_of_cutting(pipe: Callable[..., Any], recordings: Path):
    options = ("--chunk-overlap", 0.5, "--chunk-limit", 1, "--chunk-pattern", "b*.wav", "--chunk-workers", 2)
    places = ("--chunk-plan", "p.json", "--chunks-dir", "ch", "--manifest-dir", "ma", "--output-dir", "re")
    pipe("--no-bundle", *options, *places, "--telemetry-dir", "te").ok()
    assert sorted(path.name for path in recordings.iterdir()) == ["audio", "ch", "ma", "p.json", "re", "te"]
    assert results(recordings, "re")[:2] == ["b c/b c_chunk_0_3000", "b c/b c_chunk_2500_5500"]
    assert "Nothing to cut" in pipe("--chunk-skip-existing", *options, *places, "--no-bundle").ok().stdout
    assert "1 recording cut" in pipe("--chunk-include-existing", *options, *places, "--no-bundle").ok().stdout


def test_pipeline_options_of_analysing(pipe: Callable[..., Any], recordings: Path, monkeypatch: pytest.MonkeyPatch):
    pipe("--no-bundle").ok()
    assert "0 recordings to analyse" in pipe("--infer-skip-existing", "--no-bundle").ok().stdout
    assert pipe("--infer-include-existing", "--rerun-all", "--no-bundle").ok().stdout.count(": 3 chunks in") == 3
    assert pipe("--resume-completed", "--no-bundle").ok().stdout.count(": 0 chunks in") == 3
    seen: list[RunRequest] = []

    def note(request: RunRequest, progress: Any) -> Any:
        seen.append(request)
        raise engine.StoreError("not run")

    monkeypatch.setattr(engine, "run", note)
    monkeypatch.setattr(pipeline, "check_work", lambda work: None)
    options = ("--use-hawkears", "--hawkears-arg", "--x", "--max-gpus", 1, "--cpu-workers", 2, "-s", "a=b")
    assert pipe("--no-bundle", *options, "--no-record-datalad").code == 3
    assert pipe("--no-bundle", "--runner", "lab", "-o", "batch=1", "--record-datalad").code == 3
    assert pipe("--no-bundle", "--stub-runner", "--scheduler", "local", "--chunk-no-record-datalad").code == 3
    assert (seen[0].runner, seen[0].options, seen[0].max_gpus, seen[0].cpu_workers) == (
        "hawkears",
        {"args": ["--x"]},
        1,
        2,
    )
    assert seen[0].scheduler_options == {"a": "b"}
    assert (seen[3].runner, seen[3].options, seen[6].scheduler) == ("lab", {"batch": "1"}, "local")


def test_a_wrong_option_is_said_before_anything_is_cut(pipe: Callable[..., Any], recordings: Path):
    done = pipe("--runner", "lab", "-o", "nonsense=1")
    assert (done.code, done.stderr.count("nonsense"), (recordings / "manifests").exists()) == (2, 1, False)


def test_pipeline_reports(pipe: Callable[..., Any], recordings: Path):
    options = ("--runner", "lab", "--bundle", "--bundle-aggregate-dir", "tables", "--bundle-bucket-minutes", 5)
    pipe(*options, "--bundle-rollup", "--bundle-rollup-limit", 1, "--bundle-rollup-export-dir", "rolled").ok()
    assert json.loads((recordings / "tables/a_parquet_report/summary.json").read_text())["bucket_minutes"] == 5
    assert len((recordings / "rolled/recording_summary.csv").read_text().splitlines()) == 2
    shutil.rmtree(recordings / "rolled")
    pipe(*options, "--bundle-no-rollup").ok()
    assert not (recordings / "tables/aggregate_summary").exists()


def test_pipeline_without_recordings_or_plan(cli: Any, recordings: Path, pipe: Callable[..., Any]):
    assert "data/datalad/bogus" in cli("pipeline", "run").stderr
    shutil.rmtree(recordings / "audio/sub")
    done = pipe()
    assert (done.code, "there is no plan" in done.stderr) == (1, True)
    (recordings / "plans").mkdir()
    (recordings / "plans/pipeline_chunks.json").write_text("{torn")
    write(recordings / "audio/new.wav", noise(3))
    done = pipe()
    assert (done.code, "is no plan" in done.stderr) == (1, True)
    assert (recordings / "plans/pipeline_chunks.json").read_text() == "{torn"


def test_pipeline_in_a_dataset_that_cannot_record(pipe: Callable[..., Any], recordings: Path):
    """--chunk-record-datalad is asked for on its own, and follows --record-datalad otherwise."""
    pytest.importorskip("datalad")
    (recordings / ".datalad").mkdir()
    assert "`datalad run` ended" in pipe("--chunk-record-datalad", "--no-record-datalad", "--no-bundle").stderr
    pipe("--no-record-datalad", "--no-bundle").ok()
    assert len(results(recordings)) == 9


@pytest.mark.slow
def test_killed_at_any_moment_the_pipeline_comes_to_the_same_end(recordings: Path):
    """Kill -9 again and again: in the end, every chunk has one result, and the tables are those of one quiet run."""
    command = [*runs.BADC, "pipeline", "run", "--chunk-duration", "3", "--runner", "lab"]
    quiet = recordings.parent / "quiet"
    shutil.copytree(recordings, quiet)
    for delay in (0.6, 1.0, 1.4, 1.8, None):
        process = subprocess.Popen(
            [*command, str(recordings)],
            env=runs.lab_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, said = process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert process.returncode == 0, said
    subprocess.run([*command, str(quiet)], env=runs.lab_environment(), stdout=subprocess.DEVNULL, check=True)
    assert results(recordings) == results(quiet)
    for name in NAMES:
        made = [root / f"artifacts/aggregate/{name}_quicklook/chunks.csv" for root in (recordings, quiet)]
        assert made[0].read_bytes() == made[1].read_bytes()


def test_no_option_is_left_out_here():
    """A new option needs a test."""
    assert untested(pipeline.run) == set()

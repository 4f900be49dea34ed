"""``badc infer orchestrate`` and ``badc pipeline run`` in a real DataLad dataset: each run is recorded."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import runs
from datalad_tools import commits, identify, making, needs_tools, tool
from sounds import noise, write

from badc_core import annex, manifest

pytestmark = needs_tools
NAMES = ["a", """it's {b} [c] $HOME"""]


def results(dataset: Path) -> list[Path]:
    return sorted((dataset / "artifacts/infer").glob("[!.]*/*.json"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a dataset with two recordings, which are links into the store of git-annex, and cut them."""
    with making(tmp_path_factory.mktemp("datalad") / "set") as root:
        for number, name in enumerate(NAMES):
            write(root / f"audio/{name}.wav", noise(2, seed=number))
        tool(*runs.BADC, "chunk", "orchestrate", root, "--apply", "--no-record-datalad", "--chunk-duration", 1, at=root)
    return root


@pytest.fixture
def dataset(template: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a dataset of its own for a test, in a folder whose name needs quoting."""
    identify(monkeypatch)
    return Path(shutil.copytree(template, isolated / "my {set}", symlinks=True))


def test_the_pipeline_is_recorded_step_by_step(cli: Any, dataset: Path):
    """A record per recording and step; what they made is saved, and what is saved is not done again."""
    write(dataset / "audio/new.wav", noise(1))
    tool("datalad", "save", "-m", "another", at=dataset)
    options = ("--chunk-duration", 1, "--no-bundle")
    cli("pipeline", "run", dataset, *options).ok()
    recorded = [text for text in commits(dataset) if text.startswith("[DATALAD RUNCMD]")]
    assert recorded == ["[DATALAD RUNCMD] badc infer new", "[DATALAD RUNCMD] badc chunk new"]
    assert [path.name for path in results(dataset)] == ["new_chunk_0_1000.json"]
    assert all(annex.is_link(path) for path in results(dataset))
    assert tool("git", "status", "--porcelain", "--", "artifacts", "manifests", at=dataset) == ""
    before = commits(dataset)
    assert "[1/1] new: 0 chunks in" in cli("pipeline", "run", dataset, *options).ok().stdout
    assert commits(dataset) == before


def test_a_clone_works_on_its_own_files(cli: Any, dataset: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """Whether or not the original is still there, and wherever one stands."""
    clone = isolated / "clone"
    tool("datalad", "clone", dataset, clone, at=isolated)
    tool("datalad", "get", ".", at=clone)
    monkeypatch.chdir(dataset)
    cli("infer", "run", clone / "manifests/a.csv", "--runner", "stub").ok()
    assert (len(results(clone)), results(dataset)) == (2, [])
    dataset.rename(isolated / "gone")
    monkeypatch.chdir(isolated)
    cli("infer", "run", clone / f"manifests/{NAMES[1]}.csv", "--runner", "stub").ok()
    assert len(results(clone)) == 4


def test_the_pipeline_goes_on_in_a_clone(cli: Any, dataset: Path, isolated: Path):
    options = ("--chunk-duration", 1, "--no-bundle")
    write(dataset / "audio/new.wav", noise(1))
    tool("datalad", "save", "-m", "another", at=dataset)
    cli("pipeline", "run", dataset, *options).ok()
    tool("datalad", "save", "-m", "the plan", at=dataset)
    clone = isolated / "clone"
    tool("datalad", "clone", dataset, clone, at=isolated)
    tool("datalad", "get", ".", at=clone)
    before = commits(dataset)
    dataset.rename(isolated / "gone")
    done = cli("pipeline", "run", clone, *options, "--rerun-all").ok()
    assert "1 recording to analyse" in done.stdout
    assert commits(clone)[0] == "[DATALAD RUNCMD] badc infer new"
    assert commits(isolated / "gone") == before


def test_locked_manifests_keep_their_names(cli: Any, dataset: Path):
    """What links point to has meaningless names; none of them gets into results, logs or plans."""
    assert annex.is_link(dataset / "manifests/a.csv")
    cli("infer", "orchestrate", dataset, "--stub-runner", "--apply", "--bundle").ok()
    assert {path.parent.name for path in results(dataset)} == set(NAMES)
    assert (dataset / "artifacts/telemetry/infer/a.jsonl").exists()
    assert (dataset / "artifacts/aggregate/a.parquet").exists()
    chunk = next(manifest.read(dataset / "manifests/a.csv"))
    assert chunk.recording_id == "a"


def test_a_run_that_cannot_be_recorded_costs_only_itself(cli: Any, dataset: Path):
    """Somebody works in the repository: the run is done, nothing is lost, and it is told."""
    lock = dataset / ".git/index.lock"
    lock.touch()
    done = cli("infer", "orchestrate", dataset, "--stub-runner", "--apply")
    assert done.code == 3
    assert [f"{name} is done, but not recorded" in done.stderr for name in NAMES] == [True, True]
    assert len(results(dataset)) == 4
    lock.unlink()
    for folder in [line.partition("badc jobs record ")[2] for line in done.stderr.splitlines()]:
        if folder:
            cli("jobs", "record", *shlex.split(folder)).ok()
    assert commits(dataset)[:2] == [f"[DATALAD RUNCMD] badc infer {name}" for name in reversed(NAMES)]
    assert tool("git", "status", "--porcelain", at=dataset) == ""


def test_printed_commands_do_what_they_say(cli: Any, dataset: Path, isolated: Path):
    script = cli("infer", "orchestrate", dataset, "--stub-runner", "--print-datalad-run").ok().stdout
    tool("sh", "-c", script, at=isolated)  # the manifests name chunk files of the dataset that this is a copy of
    assert len(results(dataset)) == 4
    assert commits(dataset)[0] == f"[DATALAD RUNCMD] badc infer {NAMES[1]}"

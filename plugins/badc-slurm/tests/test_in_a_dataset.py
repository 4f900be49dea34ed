"""On a real cluster and in a real DataLad dataset: annexed recordings, one record, the facts of each task beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import runs
from datalad_tools import commits, identify, kept, needs_tools, objects, tool, unsaved
from sounds import noise, write

from badc_core import annex

pytestmark = [needs_tools, pytest.mark.slow]


@pytest.fixture
def dataset(field: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the field a dataset with two recordings, which are links, and a manifest of eight chunks."""
    identify(monkeypatch)
    root: Path = field.folder
    tool("datalad", "create", "--force", root, at=root)
    for number, name in enumerate(("a", "it's b")):
        write(root / f"audio/{name}.wav", noise(4, seed=number))
    field.badc("chunk", "manifest", "audio", "--chunk-duration", 1, "--output", "m.csv")
    field.chunks = 8
    field.out = root / "artifacts/infer"
    tool("datalad", "save", "-m", "recordings", at=root)
    assert annex.is_link(root / "audio/a.wav")
    return root


def test_an_array_is_one_record(field: Any, dataset: Path):
    before, inputs = commits(dataset), objects(dataset)
    command = ["infer", "run", "m.csv", "--runner-cmd", "true", "--scheduler", "slurm", "-s", "shard_chunks=2"]
    said = field.badc(*command, "-s", "command=" + " ".join(runs.BADC), "--telemetry-log", "log.jsonl")
    assert "Recorded   " in said
    assert commits(dataset) == ["[DATALAD RUNCMD] badc infer m", *before]
    assert unsaved(dataset) == ""
    results = sorted(field.out.glob("[!.]*/*.json"))
    assert len(results) == 8
    assert all(annex.is_link(path) for path in (*results, dataset / "log.jsonl"))
    assert kept(inputs, dataset)
    facts = json.loads((dataset / "log.jsonl.tasks.json").read_text())
    assert [shard["chunks"] for shard in facts["shards"]] == [2, 2, 2, 2]
    assert all(re.fullmatch(rf"{field.job}_\d+\.0", shard["task"]) for shard in facts["shards"])
    assert {shard["node"] for shard in facts["shards"]} <= {"n1", "n2", "n3", "n4"}
    local = dataset.parent / "local"
    field.badc("infer", "run", "m.csv", "--runner-cmd", "true", "--output-dir", local)
    assert runs.aggregate(field.out, dataset.parent / "a.csv") == runs.aggregate(local, dataset.parent / "b.csv")
    tool("git", "annex", "fsck", "--quiet", at=dataset)


def test_a_dataset_goes_to_the_cluster_at_once(field: Any, dataset: Path):
    """Each recording as a run of its own, side by side; a record for each, and the tables of a local run."""
    for number in (1, 2):
        write(dataset / f"audio/long {number}.wav", noise(12, seed=number))
    field.badc("chunk", "orchestrate", ".", "--apply", "--chunk-duration", 3, "--pattern", "long*.wav")
    slurm = ("--scheduler", "slurm", "-s", "command=" + " ".join(runs.BADC), "-s", "shard_chunks=2")
    lab = ("--runner", "lab", "-o", "batch=1", "-o", "sleep_ms=1500")
    process = field.start("infer", "orchestrate", ".", "--apply", "--bundle", *lab, *slurm)
    field.until(lambda: len({task.partition("_")[0] for task in field.running()}) == 2, "tasks of two runs at once")
    told = field.end(process)
    assert "2 runs under way" in told
    assert told.count("4 chunks in") == told.count(", recorded") == 2
    assert sorted(commits(dataset)[:2]) == [f"[DATALAD RUNCMD] badc infer long {n}" for n in (1, 2)]
    assert len(list((dataset / "artifacts/infer").glob("[!.]*/*.json"))) == 8
    local = dataset.parent / "local"
    orchestrate = ("infer", "orchestrate", ".", "--apply", "--bundle", *lab[:2])
    field.badc(*orchestrate, "--output-dir", local, "--bundle-aggregate-dir", local / "tables")
    tables = sorted((dataset / "artifacts/aggregate").glob("*_duckdb_exports/*.csv"))
    assert len(tables) == 6
    for table in tables:
        other = local / "tables" / table.relative_to(dataset / "artifacts/aggregate")
        assert table.read_bytes() == other.read_bytes()
    assert "Nothing to analyse" in field.badc("infer", "orchestrate", ".", "--apply", "--bundle", *lab, *slurm)

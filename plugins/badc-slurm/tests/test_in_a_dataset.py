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

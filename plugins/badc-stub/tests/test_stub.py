"""The stub hears nothing, and says so as BADC 0.1 did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import runs

from badc_core.model import Device
from badc_core.protocols import WorkerContext
from badc_stub.stub import open_runner


def test_every_chunk_gets_an_answer(tmp_path: Path):
    runner = open_runner(None, WorkerContext(Device(), "cpu-0", tmp_path))
    assert runner.info.input.kind == "nothing"
    assert [answer.status for answer in runner.predict([None] * 3)] == ["stub"] * 3  # type: ignore[list-item]
    runner.close()
    runner.close()


def test_its_results_have_the_form_of_badc_0_1(isolated: Path, cli: Callable[..., Any]):
    runs.make_manifest(isolated / "m.csv", 2, 1)
    cli("infer", "run", "m.csv", "--quiet").ok()
    for entry in runs.documents(isolated / "artifacts" / "infer"):
        assert (entry["status"], entry["runner"], entry["detections"]) == ("stub", "stub", [])
        assert entry["meta"]["attempt"] == 1
        assert "model_version" not in entry

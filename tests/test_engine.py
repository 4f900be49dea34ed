"""One run, from manifest to summary: what is planned, where it lies, what is told, how it ends."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import faulty_lab
import pytest
import runs

from badc_core import RunnerSpec, SchedulerSpec, engine, hookimpl, preparing
from badc_core.errors import ExitCode, ManifestError, MixedResultsError, PluginError, RunnerError, UsageError
from badc_core.host import Host
from badc_core.model import Chunk
from badc_core.plan import read_plan
from badc_core.runs import Progress, RunRequest, RunSummary
from badc_core.scheduling import ShardState, Submission


@pytest.fixture
def go(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunSummary]:
    """Return ``go(**request)``, which runs the lab over a manifest of two recordings with three chunks each."""
    monkeypatch.setattr("badc_core.worker.backoff_s", lambda attempt: 0)
    runs.make_manifest(isolated / "m.csv", 3, 2)

    def call(*plugins: Any, on_progress: Any = lambda progress: None, **request: Any) -> RunSummary:
        values = {"manifest": isolated / "m.csv", "runner": "lab", "output_dir": isolated / "out", **request}
        return engine.run(RunRequest(**values), on_progress, Host(extra=[faulty_lab, *plugins]))

    return call


def test_a_run_and_where_everything_lies(go: Callable[..., RunSummary], isolated: Path):
    seen: list[Progress] = []
    summary = go(on_progress=seen.append)
    assert summary.exit_code is ExitCode.OK
    assert (summary.planned.total, summary.planned.done, summary.counts.chunks) == (6, 0, 6)
    assert summary.folder == isolated / "out" / ".badc" / summary.plan.run_id
    assert read_plan(summary.folder) == summary.plan
    assert {path.name for path in summary.folder.iterdir()} == {
        "plan.json", "chunks.jsonl", "shards.jsonl", "submission.json",
    }  # fmt: skip
    assert summary.plan.bases == (isolated / "out",)
    assert summary.plan.manifest == isolated / "m.csv"
    assert summary.plan.audio_ms == summary.counts.audio_ms == 18_000
    assert {"badc-core", "python", "faulty_lab"} <= set(summary.plan.versions)
    assert summary.telemetry_log.parent == isolated / "data" / "telemetry" / "infer"
    told = json.loads(summary.summary_path.read_text())
    assert len(told["jobs"]) == 6
    assert told["workers"]["cpu-0"]["success"] == 6
    assert [report.worker for report in summary.reports] == ["cpu-0"]
    assert seen[-1].counts.chunks == seen[-1].total == 6
    assert not (isolated / "out" / ".badc" / "claim.json").exists()


def test_the_same_again_does_nothing(go: Callable[..., RunSummary]):
    first = go()
    again = go()
    assert again.folder is None
    assert [path.name for path in first.folder.parent.iterdir() if path.is_dir()] == [first.folder.name]
    assert (again.planned.done, again.counts.chunks, again.plan.chunks) == (6, 0, 0)
    assert again.plan.fingerprint == first.plan.fingerprint
    assert again.plan.run_id > first.plan.run_id


def test_runs_of_one_second_have_logs_of_their_own(
    go: Callable[..., RunSummary], isolated: Path, monkeypatch: pytest.MonkeyPatch
):
    ids = iter(["20260101T000000Z-1", "20260101T000000Z-2"])
    monkeypatch.setattr("badc_core.preparing._new_run_id", lambda: next(ids))
    logs = [go(output_dir=isolated / name).telemetry_log for name in ("a", "b")]
    assert [log.name for log in logs] == ["m_20260101T000000Z.jsonl", "m_20260101T000000Z_2.jsonl"]
    assert len(set(map(Path.read_bytes, logs))) == 2


def test_a_further_log_is_a_further_one(go: Callable[..., RunSummary], isolated: Path):
    summary = go(telemetry=(f"jsonl={isolated / 'more.jsonl'}",), telemetry_log=isolated / "log.jsonl")
    assert summary.telemetry_log == isolated / "log.jsonl"
    assert (isolated / "more.jsonl").read_bytes() == (isolated / "log.jsonl").read_bytes() != b""


@pytest.mark.parametrize("given", ["jsonl", "jsonl={log}"])
def test_the_log_itself_is_not_written_twice(given: str, go: Callable[..., RunSummary], isolated: Path):
    log = isolated / "log.jsonl"
    go(telemetry=(given.format(log=log),), telemetry_log=log)
    assert len(log.read_bytes().splitlines()) == 12


def test_failures_of_another_runner_are_made_anew(go: Callable[..., RunSummary]):
    """Nothing is mixed: a chunk that failed has no result yet."""
    assert go(options={"wrong": "raise", "flavour": "strong"}, max_retries=0).counts.failures == 6
    again = go()
    assert (again.planned.failed_before, again.counts.chunks, again.counts.failures) == (6, 6, 0)


def test_why_chunks_failed_is_counted(go: Callable[..., RunSummary]):
    errors = go(options={"wrong": "raise", "at": "REC0"}, max_retries=0).counts.errors
    assert list(errors.values()) == [3]
    assert "frobnicator" in next(iter(errors))


def test_a_log_that_was_asked_for_is_told_of_what_was_done_before(go: Callable[..., RunSummary], isolated: Path):
    go()
    again = go(telemetry_log=isolated / "new.jsonl")
    assert len(json.loads(again.summary_path.read_text())["jobs"]) == 6
    before = again.summary_path.stat().st_mtime_ns
    assert go(telemetry_log=isolated / "new.jsonl").summary_path.stat().st_mtime_ns == before


def test_run_ids_sort_by_time():
    made = [preparing._new_run_id() for _ in range(50)]
    assert made == sorted(made)
    assert len(set(made)) == 50


def test_several_workers_share_the_work(go: Callable[..., RunSummary], isolated: Path):
    runs.make_manifest(isolated / "m.csv", 40, 2)
    log = isolated / "log.txt"
    summary = go(cpu_workers=3, options={"log": log, "sleep_ms": 2, "batch": 1})
    assert set(summary.counts.workers) == {"cpu-0", "cpu-1", "cpu-2"}
    assert sorted(faulty_lab.read_log(log)) == sorted(name for _, name in runs.committed(isolated / "out"))
    assert summary.counts.chunks == 80


def test_a_worker_that_cannot_begin_leaves_its_share_to_the_others(
    go: Callable[..., RunSummary], isolated: Path, capsys: pytest.CaptureFixture[str]
):
    """The log tells of it; the run is none the worse."""
    runs.make_manifest(isolated / "m.csv", 20, 2)

    class Half:
        @hookimpl
        def badc_runners(self):
            yield RunnerSpec("half", "Opens once", open="half_lab:open_runner")

    module = types.ModuleType("half_lab")
    opened: list[int] = []

    def open_runner(options: None, context: Any) -> Any:
        opened.append(1)
        if context.worker == "cpu-0":
            raise OSError("no room on this device")
        lab = faulty_lab.Lab(faulty_lab.LabOptions(batch=1, sleep_ms=1), context)
        lab.info = attrs.evolve(lab.info, identity=attrs.evolve(lab.info.identity, model="half", version=None))
        return lab

    module.open_runner = open_runner  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "half_lab", module)
        summary = go(Half(), runner="half", cpu_workers=2)
    assert summary.exit_code is ExitCode.OK
    assert "no room on this device" in capsys.readouterr().err
    assert len(opened) == 2
    assert len(runs.committed(isolated / "out")) == 40


def test_results_go_to_the_dataset_of_each_chunk(isolated: Path, go: Callable[..., RunSummary]):
    from badc_core.layout import DEFAULT_OUTPUT

    chunks = []
    for name in ("one", "two"):
        (isolated / name / ".datalad").mkdir(parents=True)
        chunks.append(Chunk(name, name, isolated / name / "audio" / "x.wav", 0, 3000))
    chunks.append(Chunk("none", "none", isolated / "x.wav", 0, 3000))
    runs.make_manifest(isolated / "m.csv", chunks)
    summary = go(output_dir=DEFAULT_OUTPUT)
    wanted = [isolated / "one", isolated / "two", isolated]
    assert list(summary.plan.bases) == [place / DEFAULT_OUTPUT for place in wanted]
    for place, name in zip(wanted, ("one", "two", "none"), strict=True):
        assert (place / DEFAULT_OUTPUT / name / f"{name}.json").is_file()
        assert not (place / DEFAULT_OUTPUT / ".badc" / "claim.json").exists()
    assert summary.telemetry_log.parent == isolated / "one" / "artifacts" / "telemetry"


def test_fail_fast_stops_at_the_first_failure(go: Callable[..., RunSummary], isolated: Path):
    runs.make_manifest(isolated / "m.csv", 50, 1)
    summary = go(options={"wrong": "raise", "batch": 1, "at": "REC0_3000_"}, max_retries=0, fail_fast=True)
    assert summary.exit_code is ExitCode.SOME_FAILED
    assert summary.counts.failures == 1
    assert summary.counts.chunks < 50


def test_a_preview_writes_nothing(go: Callable[..., RunSummary], isolated: Path):
    request = RunRequest(isolated / "m.csv", "lab", output_dir=isolated / "out", cpu_workers=2)
    found = engine.preview(request, Host(extra=[faulty_lab]))
    assert (found.plan.chunks, found.planned.total, found.devices) == (6, 6, ("cpu-0", "cpu-1"))
    assert not (isolated / "out").exists()
    go()
    left = isolated / "out" / "REC0" / ".badc-tmp-x"
    left.touch()
    before = sorted(isolated.rglob("*"))
    again = engine.preview(request, Host(extra=[faulty_lab]))
    assert (again.plan.chunks, again.planned.done) == (0, 6)
    assert sorted(isolated.rglob("*")) == before


def test_a_summary_s_word_for_results_of_badc_0_1(go: Callable[..., RunSummary], isolated: Path):
    """Results without a fingerprint count as done when the summary of their run says so; without, it refuses."""
    for chunk in runs.chunks_of(2, 3)[:2]:
        path = isolated / "out" / chunk.recording_id / f"{chunk.chunk_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"chunk_id": chunk.chunk_id, "recording_id": "REC0", "status": "ok"}))
    with pytest.raises(MixedResultsError, match=r"as BADC 0\.1 wrote them") as caught:
        go()
    assert "--resume-summary" in str(caught.value.hint)
    summary = isolated / "old.summary.json"
    jobs = {chunk.chunk_id: {"status": "success"} for chunk in runs.chunks_of(2, 3)[:3]}
    summary.write_text(json.dumps({"jobs": jobs}))
    ended = go(resume_summary=summary)
    assert (ended.planned.done, ended.planned.unconfirmed, ended.counts.chunks) == (2, 1, 4)


def test_everything_anew(go: Callable[..., RunSummary], isolated: Path):
    go()
    again = go(resume=False)
    assert again.counts.chunks == 6
    assert {entry["meta"]["run"] for entry in runs.documents(isolated / "out")} == {again.plan.run_id}


def test_who_where_and_when_go_along(go: Callable[..., RunSummary], isolated: Path):
    from badc_core import manifest
    from badc_core.model import Recording
    from badc_core.serde import parse_start_time

    started_at = parse_start_time("2025-05-03T04:00:00-07:00")
    recording = Recording("REC0", Path("/x.wav"), started_at=started_at, study_area="area", site="here", latitude=49.5)
    manifest.write_recordings(isolated / "m.csv", [recording])
    go()
    (entry,) = [entry for entry in runs.documents(isolated / "out") if entry["chunk_id"] == "REC0_0_3000"]
    assert entry["recording"] == {
        "started_at": "2025-05-03T11:00:00.000000+00:00", "study_area": "area", "site": "here", "latitude": 49.5,
    }  # fmt: skip


# --------------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("request_", "kind", "said"),
    [
        ({"runner": "lob"}, PluginError, "no runner named 'lob'"),
        ({"scheduler": "lokal"}, PluginError, "no scheduler named 'lokal'"),
        ({"options": {"bach": 1}}, UsageError, "no option 'bach'"),
        ({"options": {"batch": "many"}}, UsageError, "'batch'"),
        ({"runner": "lab-nameless"}, PluginError, "'lab-nameless' cannot be used: OSError: the lab is closed"),
        ({"manifest": Path("gone.csv")}, ManifestError, "gone.csv"),
        ({"telemetry": ("nowhere",)}, PluginError, "no sink named 'nowhere'"),
        ({"resume_summary": Path("gone.json")}, ManifestError, "gone.json"),
    ],
)
def test_what_cannot_be_is_said_first(
    request_: dict[str, Any], kind: type[Exception], said: str, go: Callable[..., RunSummary], isolated: Path
):
    with pytest.raises(kind, match=said):
        go(**request_)
    assert runs.documents(isolated / "out") == []
    assert not [path for path in (isolated / "out").rglob("*") if path.is_file() or path.parent.name == ".badc"]
    assert not (isolated / "data").exists()


def test_an_empty_manifest(go: Callable[..., RunSummary], isolated: Path):
    runs.make_manifest(isolated / "m.csv", [])
    with pytest.raises(ManifestError, match="lists no chunks"):
        go()


class _Attic:
    """A scheduler that takes work and does not do all of it."""

    def __init__(self, final: ShardState) -> None:
        self._final = final
        self._asked = 0

    def render(self, run: Any) -> dict[str, str]:
        return {"attic.sh": "#!/bin/sh\n"}

    def submit(self, run: Any, shards: Any) -> Submission:
        self._shards = len(list(shards))
        return Submission("attic", self._shards, {"job": 17})

    def states(self, submission: Submission) -> dict[int, ShardState]:
        self._asked += 1
        state = ShardState("unknown" if self._asked < 3 else "running") if self._asked < 5 else self._final
        return dict.fromkeys(range(self._shards), state)

    def cancel(self, submission: Submission) -> None:
        pass


@pytest.mark.parametrize(
    ("final", "said"),
    [
        (ShardState("done"), "6 chunks left undone"),
        (ShardState("cancelled"), "6 chunks left undone"),
        (ShardState("failed", error=RunnerError("the roof fell in")), "the roof fell in"),
    ],
)
def test_only_committed_results_count(final: ShardState, said: str, go: Callable[..., RunSummary]):
    """Whatever a scheduler says of its shards."""

    class Plugin:
        @hookimpl
        def badc_schedulers(self):
            yield SchedulerSpec("attic", "Upstairs", open="attic_lab:open_scheduler")

    module = types.ModuleType("attic_lab")
    module.open_scheduler = lambda options: _Attic(final)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "attic_lab", module)
        with pytest.raises(RunnerError, match=said):
            go(Plugin(), scheduler="attic")

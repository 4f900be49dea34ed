"""Cutting: windows cover a recording without a gap; chunk files, status files, plans and estimates."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sounds import RATE, cut_off, noise, write

from badc_core import chunk_jobs, chunk_plans, manifest, probe
from badc_core.chunk_status import STATUS_FILE, ChunkStatus, Job, needs_work, read_status
from badc_core.chunking import iter_chunk_metadata, virtual_chunks, windows
from badc_core.errors import RecordingError, StoreError, UsageError
from badc_core.model import Device, Recording
from badc_core.opening import open_signal
from badc_core.protocols import SignalInfo
from badc_core.recordings import RecordingRules


def spans(*args: object) -> list[tuple[int, int]]:
    return [(window.start_ms, window.end_ms) for window in windows(*args)]


# --------------------------------------------------------------------------------------------- windows


def test_windows_of_the_format_description():
    """10 s, 4-s chunks, 1 s overlap; 0.1 made 9-10 as well, which lies inside 6-10."""
    assert spans(480_000, 48_000, 4, 1) == [(0, 4000), (3000, 7000), (6000, 10_000)]
    assert {window.overlap_ms for window in windows(480_000, 48_000, 4, 1)} == {1000}


@pytest.mark.parametrize(
    ("seconds", "duration", "overlap", "expected"),
    [
        (150, 60, 0, [(0, 60_000), (60_000, 120_000), (120_000, 150_000)]),
        (120, 60, 0, [(0, 60_000), (60_000, 120_000)]),
        (118, 60, 2, [(0, 60_000), (58_000, 118_000)]),
        (5, 60, 10, [(0, 5000)]),
        (10, 4, 4, [(0, 4000), (4000, 8000), (8000, 10_000)]),
        (10, 4, 9, [(0, 4000), (4000, 8000), (8000, 10_000)]),
        (0, 4, 0, []),
    ],
)
def test_windows(seconds: int, duration: float, overlap: float, expected: list[tuple[int, int]]):
    assert spans(seconds * 48_000, 48_000, duration, overlap) == expected


def test_windows_are_exact_where_binary_fractions_are_not():
    assert math.floor(2.3 * 44_100) == 101_429
    assert next(iter(windows(10**6, 44_100, 2.3))).end_frame == 101_430


def test_tenth_of_a_frame_is_one_frame():
    assert spans(3, 100, 0.001, 0) == [(0, 10), (10, 20), (20, 30)]


@pytest.mark.parametrize(
    ("duration", "overlap"),
    [(0, 0), (-1, 0), (math.nan, 0), (math.inf, 0), (1, -1), (1, math.nan), (1e-5, 0), (1, 0.9999)],
)
def test_lengths_that_cannot_be(duration: float, overlap: float):
    with pytest.raises(UsageError):
        list(windows(480_000, 48_000, duration, overlap))


@given(
    frames=st.integers(0, 500_000),
    rate=st.integers(1, 200_000),
    duration=st.floats(0.001, 1000),
    overlap=st.floats(0, 1000),
)
def test_windows_cover_everything_without_gap_or_repetition(frames: int, rate: int, duration: float, overlap: float):
    step_s = duration - overlap if overlap < duration else duration
    assume(frames / rate / max(step_s, 0.001) < 2000)
    try:
        made = list(windows(frames, rate, duration, overlap))
    except UsageError:
        assert step_s < 0.001 + 2 / rate
        return
    longest = max(math.floor(duration * rate) + 1, 1)
    assert bool(made) == bool(frames)
    if made:
        assert (made[0].start_frame, made[-1].end_frame) == (0, frames)
    for window in made:
        assert 0 < window.end_frame - window.start_frame <= longest
        assert window.start_ms == window.start_frame * 1000 // rate
        assert window.end_ms == window.end_frame * 1000 // rate
    for before, after in itertools.pairwise(made):
        assert before.start_frame < after.start_frame <= before.end_frame
        assert after.end_frame > before.end_frame
    ids = {(window.start_ms, window.end_ms) for window in made}
    assert len(ids) == len(made)


def test_virtual_chunks_are_slices_of_the_recording():
    recording = Recording("REC1", Path("/data/a.flac"))
    made = list(virtual_chunks(recording, SignalInfo(48_000, 1, 480_000), 4, 1))
    assert [chunk.chunk_id for chunk in made] == ["REC1_0_4000", "REC1_3000_7000", "REC1_6000_10000"]
    assert all(chunk.source_path == recording.path for chunk in made)
    assert all(chunk.offset_ms == chunk.start_ms for chunk in made)
    assert {chunk.sha256 for chunk in made} == {None}


# ----------------------------------------------------------------------------------------- chunk files


def test_chunk_is_written_before_it_is_yielded(tmp_path: Path):
    path = write(tmp_path / "REC1.flac", noise(10))
    seen = []
    for chunk in iter_chunk_metadata(path, 4, 1, tmp_path / "chunks"):
        assert chunk.sha256 == hashlib.sha256(chunk.source_path.read_bytes()).hexdigest()
        seen.append(chunk)
        assert len(list((tmp_path / "chunks").iterdir())) == len(seen)
    assert [chunk.source_path.name for chunk in seen] == [
        "REC1_chunk_0_4000.wav",
        "REC1_chunk_3000_7000.wav",
        "REC1_chunk_6000_10000.wav",
    ]
    file = open_signal(seen[1].source_path)
    assert np.array_equal(file.read(0, 10**6), noise(10)[3 * RATE : 7 * RATE])
    file.close()


def test_dry_run_lays_out_the_same_windows_and_writes_nothing(tmp_path: Path):
    path = write(tmp_path / "REC1.wav", noise(10))
    dry = list(iter_chunk_metadata(path, 4, 1, tmp_path / "chunks", dry_run=True))
    assert not (tmp_path / "chunks").exists()
    wet = list(iter_chunk_metadata(path, 4, 1, tmp_path / "chunks"))
    assert [(c.chunk_id, c.source_path, c.start_ms, c.end_ms) for c in dry] == [
        (c.chunk_id, c.source_path, c.start_ms, c.end_ms) for c in wet
    ]
    assert {c.notes for c in dry} == {manifest.DRY_RUN}


def test_default_folder_is_named_after_the_link(isolated: Path):
    key = write(isolated / ".git/annex/objects/x/SHA256-s1--ab.wav", noise(1))
    (isolated / "site 1.wav").symlink_to(key)
    made = list(iter_chunk_metadata(isolated / "site 1.wav", 1))
    assert made[0].source_path == isolated / "artifacts/chunks/site 1/site 1_chunk_0_1000.wav"


def test_cut_off_recording_gives_what_there_is(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(10))
    there_ms = (cut_off(path, 0.55) - 44) // 2 * 1000 // RATE
    problems: list[str] = []
    made = list(iter_chunk_metadata(path, 2, 0, tmp_path / "chunks", on_problem=problems.append))
    assert [chunk.start_ms for chunk in made] == [0, 2000, 4000]
    assert [chunk.notes is None for chunk in made] == [True, True, False]
    assert made[-1].notes == f"{6000 - there_ms} of 2000 ms cannot be read"
    assert [problem.split(":")[0] for problem in problems] == [
        "a_chunk_4000_6000",
        "a_chunk_6000_8000",
        "a_chunk_8000_10000",
    ]
    assert len(list((tmp_path / "chunks").iterdir())) == 3


# ------------------------------------------------------------------------------------------------ jobs


def job(folder: Path, name: str = "a") -> Job:
    return Job(name, folder / f"{name}.wav", folder / "manifests" / f"{name}.csv", folder / "chunks" / name, 1.0, 0.0)


def test_cut_writes_files_manifest_and_recordings(tmp_path: Path):
    write(tmp_path / "a.wav", noise(3.5))
    assert chunk_jobs.cut(job(tmp_path), RecordingRules()) == 4
    rows = list(manifest.read(job(tmp_path).manifest_path))
    assert [row.end_ms for row in rows] == [1000, 2000, 3000, 3500]
    assert all(row.source_path.exists() and row.offset_ms is None for row in rows)
    described = manifest.read_recordings(job(tmp_path).manifest_path)["a"]
    assert (described.sample_rate_hz, described.duration_ms) == (RATE, 3500)


def test_dry_cut_writes_only_manifests(tmp_path: Path):
    write(tmp_path / "a.wav", noise(2))
    assert chunk_jobs.cut(job(tmp_path), RecordingRules(), dry_run=True) == 2
    assert "DRY_RUN" in job(tmp_path).manifest_path.read_text()
    assert not (tmp_path / "chunks").exists()


def test_cut_that_cannot_write_leaves_no_manifest(tmp_path: Path):
    write(tmp_path / "a.wav", noise(2))
    (tmp_path / "chunks").write_text("in the way")
    with pytest.raises(StoreError):
        chunk_jobs.cut(job(tmp_path), RecordingRules())
    assert not job(tmp_path).manifest_path.exists()


@pytest.mark.parametrize("workers", [1, 3])
def test_one_failed_job_does_not_stop_the_others(tmp_path: Path, workers: int):
    for name in "abcd":
        write(tmp_path / f"{name}.wav", noise(2))
    (tmp_path / "b.wav").write_bytes(b"")
    told = []
    jobs = [job(tmp_path, name) for name in "abcd"]

    def work(one: Job) -> int:
        return chunk_jobs.with_status(one, lambda one: chunk_jobs.cut(one, RecordingRules()))

    outcomes = chunk_jobs.run_jobs(jobs, work, workers=workers, tell=told.append)
    assert [outcome.rows for outcome in outcomes] == [2, 0, 2, 2]
    assert "b.wav is empty" in outcomes[1].error
    assert sorted(told, key=lambda o: o.job.recording_id) == outcomes
    assert [read_status(one.chunk_output_dir) for one in jobs] == ["completed", "failed", "completed", "completed"]
    assert [needs_work(one) for one in jobs] == [False, True, False, False]


def test_defect_in_one_job_does_not_stop_the_others(tmp_path: Path):
    def work(one: Job) -> int:
        return 1 // (one.recording_id != "a")

    outcomes = chunk_jobs.run_jobs([job(tmp_path, "a"), job(tmp_path, "b")], work)
    assert [outcome.error for outcome in outcomes] == ["ZeroDivisionError: integer division or modulo by zero", None]


def test_status_file_has_the_keys_of_its_time(tmp_path: Path):
    status = ChunkStatus(job(tmp_path))
    always = ["recording_id", "audio_path", "chunk_output_dir", "manifest_path", "chunk_duration", "overlap", "status"]
    always += ["started_at", "updated_at"]
    path = tmp_path / "chunks/a" / STATUS_FILE
    status.begin()
    begun = json.loads(path.read_text())
    assert list(begun) == always
    assert begun["status"] == "in_progress"
    status.complete(7)
    done = json.loads(path.read_text())
    assert list(done) == [*always, "completed_at", "duration_s", "manifest_rows"]
    assert (done["status"], done["manifest_rows"], done["started_at"]) == ("completed", 7, begun["started_at"])
    status.fail("disk full")
    assert json.loads(path.read_text())["error"] == "disk full"
    assert path.read_text().startswith('{\n  "recording_id": "a",\n')


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": 3}', "{}", "\xff"])
def test_status_that_cannot_be_read_counts_as_none(tmp_path: Path, content: str):
    (tmp_path / STATUS_FILE).write_text(content, "latin-1")
    assert read_status(tmp_path) is None


@pytest.mark.parametrize(
    ("has_manifest", "status", "expected"),
    [
        *((False, None, True), (False, "completed", True), (True, None, False), (True, "completed", False)),
        *((True, "failed", True), (True, "in_progress", True)),
    ],
)
def test_what_needs_work(tmp_path: Path, has_manifest: bool, status: str | None, expected: bool):
    one = job(tmp_path)
    if has_manifest:
        one.manifest_path.parent.mkdir()
        one.manifest_path.touch()
    if status:
        one.chunk_output_dir.mkdir(parents=True)
        (one.chunk_output_dir / STATUS_FILE).write_text(json.dumps({"status": status}))
    assert needs_work(one) is expected


def test_plan_is_quoted_only_where_it_must_be(tmp_path: Path):
    jobs = [Job("a", Path("/d/a.wav"), Path("/d/m/a.csv"), Path("/d/c/a"), 60.0, 0.5)]
    jobs.append(Job('b, "c"\nd', Path("/d/b.wav"), Path("/d/m/b.csv"), Path("/d/c/b"), 60.0, 0.0))
    chunk_plans.write_plan_csv(tmp_path / "plan.csv", jobs)
    chunk_plans.write_plan_json(tmp_path / "plan.json", jobs)
    text = (tmp_path / "plan.csv").read_text()
    assert text.splitlines()[:2] == [
        "recording_id,audio_path,manifest_path,chunk_output_dir,chunk_duration,overlap",
        "a,/d/a.wav,/d/m/a.csv,/d/c/a,60.0,0.5",
    ]
    with (tmp_path / "plan.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["recording_id"] == 'b, "c"\nd'
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert [entry["recording_id"] for entry in plan] == [row["recording_id"] for row in rows]
    assert plan[0]["chunk_duration"] == 60.0


def test_plan_of_a_dataset_without_recordings_folder(tmp_path: Path):
    with pytest.raises(RecordingError, match=r"There is no folder .*audio"):
        chunk_jobs.plan_dataset(
            tmp_path, pattern="*", chunk_duration=1, overlap=0, manifest_dir=Path("m"), chunks_dir=Path("c")
        )


def test_braces_are_doubled_for_datalad(tmp_path: Path):
    (tmp_path / ".datalad").mkdir()
    one = Job("{a}", tmp_path / "audio/{a}.wav", tmp_path / "m/{a}.csv", tmp_path / "c/{a}", 60.0, 0.25)
    argv = chunk_jobs.datalad_argv(tmp_path, one)
    command = argv[argv.index("--") + 1 :]
    assert command == [
        *("badc", "chunk", "run", "--status", "--chunk-duration", "60", "--overlap", "0.25"),
        *("--recording-id", "{{a}}", "--output-dir", "c/{{a}}", "--manifest", "m/{{a}}.csv", "--", "audio/{{a}}.wav"),
    ]


# ----------------------------------------------------------------------------------------------- probe


def test_estimate_is_that_of_the_format_description():
    info = SignalInfo(48_000, 1, 48_000, bits_per_sample=16)
    assert probe.estimate_mib(info, 60) == pytest.approx(48_000 * 2 * 4 * 60 * 1.35 / 2**20)


@pytest.mark.parametrize(("memory", "limit"), [(None, 4096), (10_000, 8000), (1, 1)])
def test_limit(memory: int | None, limit: float):
    assert probe.memory_limit_mib(Device("gpu", memory_total_mib=memory)) == limit
    assert probe.memory_limit_mib(None) == 4096


@given(st.floats(0.01, 10_000), st.floats(1, 100), st.floats(1, 5000), st.floats(0.1, 50))
def test_search_ends_close_below_the_limit(limit: float, initial: float, longest: float, tolerance: float):
    found = probe.search(lambda seconds: seconds, limit, initial, longest, tolerance)
    best = min(limit, longest)
    assert found.duration_s <= best
    assert best - found.duration_s <= tolerance
    assert [a for a in found.attempts if a.duration_s == found.duration_s and a.fits]
    assert len(found.attempts) < 40


def test_search_where_nothing_fits():
    found = probe.search(lambda seconds: 5.0, 4.0, 60, 600, 5)
    assert found.duration_s == 0
    assert found.attempts[-1].reason == "needs 5.0 MiB, but the limit is 4.0 MiB"

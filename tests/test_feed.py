"""Reading ahead: how many files at once, how many chunks in hand, and that memory bounds both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import runs

from badc_core import plan, signals
from badc_core.errors import RecordingError
from badc_core.feed import Feed
from badc_core.model import Chunk, Recording, Signal
from badc_core.plan import Plan, Shard, ShardSize, Task
from badc_core.protocols import InputSpec, RunnerIdentity


def feed_of(folder: Path, wanted: InputSpec, chunks: list[Chunk], workers: int = 1) -> Feed:
    """Return a feed over a plan of `chunks`."""
    tasks = ((Task(chunk, Recording(chunk.recording_id, chunk.source_path), folder), 0) for chunk in chunks)
    count, audio_ms, shards = plan.write_chunks(folder, tasks, ShardSize(chunks=1000))
    made = Plan(
        run_id="20250101T000000Z-00", created_at="", manifest=folder / "m.csv", manifest_sha256="", runner="lab",
        options={}, identity=RunnerIdentity("lab"), fingerprint="f", open="lab:open", isolation="thread",
        options_class=None, bases=(folder,), layout="files", chunks=count, audio_ms=audio_ms, shards=shards,
    )  # fmt: skip
    return Feed(folder, made, wanted, _shards(folder), folder, threading.Event(), workers)


def _shards(folder: Path) -> Iterator[Shard]:
    yield from plan.read_shards(folder)


@pytest.mark.parametrize("readers", [1, 3, 8])
def test_as_many_are_read_at_once_as_the_runner_asks(readers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither fewer nor more."""
    together, most, inside = threading.Barrier(readers), 0, 0
    lock = threading.Lock()

    def read(self: object, chunk: Chunk, recording: Recording) -> Signal:
        nonlocal most, inside
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait(20)  # for the others: breaks when there are fewer
        with lock:
            inside -= 1
        return Signal(chunk, recording)

    monkeypatch.setattr(signals.SignalReader, "read", read)
    wanted = InputSpec(sample_rate_hz=8000, max_batch=8, readers=readers)
    with feed_of(tmp_path, wanted, runs.chunks_of(1, 24)) as feed:
        batches = [feed.next_batch() for _ in range(3)]
        assert [job.error for batch in batches for job in batch] == [None] * 24
    assert most == readers


@pytest.mark.parametrize("kind", ["samples", "checked", "nothing"])
@pytest.mark.parametrize(("chunks", "batch"), [(24, 6), (25, 7), (2, 1), (1000, 64)])
def test_a_batch_leaves_work_for_the_others(chunks: int, batch: int, kind: str, tmp_path: Path, monkeypatch):
    """Of a short run, with four workers."""
    monkeypatch.setattr(signals.SignalReader, "read", lambda self, chunk, recording: Signal(chunk, recording))
    wanted = InputSpec(kind=kind, sample_rate_hz=8000, max_batch=64)  # type: ignore[arg-type]
    with feed_of(tmp_path, wanted, runs.chunks_of(1, chunks), workers=4) as feed:
        assert len(feed.next_batch()) == batch


@pytest.mark.parametrize(("length_s", "batch"), [(30, 64), (600, 7), (7200, 1)])
def test_a_batch_of_long_chunks_is_smaller(length_s: int, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No more than 512 MiB of samples travel at once: 64 chunks of half a minute, with 12 s on both sides, do."""
    read = threading.Semaphore(0)

    def gone(self: object, chunk: Chunk, recording: Recording) -> Signal:
        read.release()
        raise RecordingError("gone")

    monkeypatch.setattr(signals.SignalReader, "read", gone)
    length_ms, source = 1000 * length_s, Path("/nowhere/field.wav")
    chunks = [
        Chunk(f"REC_{start}", "REC", source, start, start + length_ms, 0, start)
        for start in range(0, 200 * length_ms, length_ms)
    ]
    wanted = InputSpec(sample_rate_hz=28_000, halo_ms=12_250, max_batch=64)
    with feed_of(tmp_path, wanted, chunks) as feed:
        found = feed.next_batch()
    ahead = 0
    while read.acquire(blocking=False):
        ahead += 1
    assert len(found) == batch
    assert ahead <= 2 * batch + 4

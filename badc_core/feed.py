"""Chunks on their way to the runner: taken from shards, read ahead by threads, handed over in batches.

Order is kept: batches follow the plan. A chunk that failed comes again when its time has come.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define

from badc_core.errors import RecordingError
from badc_core.model import Signal
from badc_core.plan import Plan, Shard, Task, read_tasks
from badc_core.protocols import InputSpec

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from badc_core.signals import SignalReader

__all__ = ["Feed", "Job", "OpenShard"]

_AHEAD_BYTES = 256 * 2**20
_BATCH_BYTES = 512 * 2**20
_READERS = 4


@define
class OpenShard:
    """A shard some of whose chunks are not settled yet."""

    index: int
    left: int


@define
class Job:
    """One chunk on its way.

    Parameters
    ----------
    task
        What to do.
    shard
        Where it belongs.
    attempt
        From 1.
    signal
        What was read.
    error
        Why it could not be read.
    reading
        Done when `signal` or `error` is there.
    """

    task: Task
    shard: OpenShard
    attempt: int = 1
    signal: Signal | None = None
    error: Exception | None = None
    reading: Future[None] | None = None


class Feed:
    """Reads ahead and makes batches.

    Parameters
    ----------
    folder, plan
        The run.
    wanted
        What the runner asks for.
    shards
        Where work comes from.
    scratch
        For temporary chunk files.
    stop
        When set, no further batch is given.
    workers
        How many share the run.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        wanted: InputSpec,
        shards: Iterator[Shard],
        scratch: Path,
        stop: threading.Event,
        workers: int = 1,
    ) -> None:
        self._wanted = wanted
        self._stop = stop
        self._reader: SignalReader | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._readers = 0
        if wanted.kind != "nothing":
            from concurrent.futures import ThreadPoolExecutor

            from badc_core.signals import SignalReader

            self._reader = SignalReader(wanted, scratch)
            self._readers = wanted.readers or min(_READERS, os.cpu_count() or 1)
            self._pool = ThreadPoolExecutor(self._readers, thread_name_prefix="badc-read")
        self._jobs = self._from_shards(folder, plan, shards)
        self._ahead: deque[Job] = deque()
        self._later: list[tuple[float, int, Job]] = []
        self._count = itertools.count()
        # Of a short run, one worker must not take so much ahead that the others stand idle at the end.
        self._most = max(1, min(wanted.max_batch, -(-plan.chunks // workers)))
        self._share = max(self._most, plan.chunks // (2 * workers))
        self._batch = self._most
        self._room = 2 * self._most + self._readers
        self.waiting_s = 0.0

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._reader is not None:
            self._reader.close()

    def _from_shards(self, folder: Path, plan: Plan, shards: Iterator[Shard]) -> Iterator[Job]:
        for shard in shards:
            tasks = read_tasks(folder, plan, shard)
            opened = OpenShard(shard.index, len(tasks))
            for task in tasks:
                yield Job(task, opened)

    def next_batch(self) -> list[Job]:
        """Return the next chunks, read, or with the error that reading met; empty: there is nothing left to do."""
        if self._pool is None:
            return self._batch_without_reading()
        batch: list[Job] = []
        while len(batch) < self._batch and not self._stop.is_set():
            self._read_ahead()
            if not self._ahead:
                if batch or not self._wait_for_retry():
                    break
                continue
            job = self._ahead.popleft()
            assert job.reading is not None
            began = time.monotonic()
            job.reading.result()
            self.waiting_s += time.monotonic() - began
            job.reading = None
            batch.append(job)
        return [] if self._stop.is_set() else batch

    def _batch_without_reading(self) -> list[Job]:
        while not self._stop.is_set():
            batch: list[Job] = []
            while len(batch) < self._most and (job := self._next()) is not None:
                job.signal = Signal(job.task.chunk, job.task.recording)
                batch.append(job)
            if batch or not self._wait_for_retry():
                return batch
        return []

    def _next(self) -> Job | None:
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[2]
        return next(self._jobs, None)

    def _read_ahead(self) -> None:
        assert self._pool is not None
        while len(self._ahead) < self._room and (job := self._next()) is not None:
            self._batch, self._room = self._sizes(job)
            job.reading = self._pool.submit(self._read, job)
            self._ahead.append(job)

    def _sizes(self, job: Job) -> tuple[int, int]:
        """Return how many chunks like this one make a batch, and how many may be read ahead, so that memory holds them.

        Ahead are two batches and what the readers have in hand, while they fit into memory; one batch at least.
        """
        if self._wanted.kind == "checked":  # nothing is kept in memory
            return self._most, min(self._share, 2 * self._most + self._readers)
        length_s = ((job.task.chunk.duration_ms or 60_000) + 2 * self._wanted.halo_ms) / 1000
        rate = self._wanted.sample_rate_hz or job.task.recording.sample_rate_hz or 48_000
        chunk_bytes = max(1.0, length_s) * rate * 4
        batch = max(1, min(self._most, int(_BATCH_BYTES / chunk_bytes)))
        most = min(self._share, 2 * batch + self._readers)
        return batch, max(batch, min(most, int(_AHEAD_BYTES / chunk_bytes)))

    def _read(self, job: Job) -> None:
        assert self._reader is not None
        task = job.task
        try:
            if task.source_size is not None:
                _check_unchanged(task)
            job.signal = self._reader.read(task.chunk, task.recording)
        except Exception as error:
            job.error = error

    def _wait_for_retry(self) -> bool:
        """Wait until the next failed chunk is due; ``False`` when there is none, or when asked to stop."""
        if not self._later:
            return False
        due = self._later[0][0]
        return not self._stop.wait(max(0.0, due - time.monotonic()))

    def again(self, job: Job, delay_s: float) -> None:
        """Have a chunk tried again after a while; its samples are read anew."""
        self.release(job)
        job.signal, job.error, job.attempt = None, None, job.attempt + 1
        heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._count), job))

    def release(self, job: Job) -> None:
        """Give back what was made for a chunk; any thread."""
        if job.signal is not None:
            if job.signal.path is not None and self._reader is not None:
                with contextlib.suppress(OSError):
                    self._reader.release(job.signal)
            job.signal = None


def _check_unchanged(task: Task) -> None:
    path = task.chunk.source_path
    try:
        now = path.stat()
    except OSError:
        return  # the reader says it better
    if now.st_size != task.source_size or task.source_mtime_ns not in (None, now.st_mtime_ns):
        # The size alone would not tell: a recorder's files often have one length.
        how = "it was written anew"
        if now.st_size != task.source_size:
            how = f"it had {task.source_size} bytes, now {now.st_size}"
        raise RecordingError(
            f"{path} changed since the plan was made: {how}.",
            hint="Run the same command again when nobody writes to it any more.",
        )

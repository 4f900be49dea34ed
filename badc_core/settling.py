"""The end of a chunk's way through a worker: its result is committed, then reported, by a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from attrs import define

from badc_core import clocks
from badc_core.committing import Committed, ResultWriter, open_writer
from badc_core.feed import Job
from badc_core.model import ChunkResult, Device, Event
from badc_core.scheduling import Run

__all__ = ["Committer", "Settled"]

COMMIT_AFTER_S = 0.2
COMMIT_AT_MOST = 256


@define
class Settled:
    """A chunk that needs no further attempt."""

    job: Job
    result: ChunkResult
    event: Event


class Committer:
    """A thread that commits results in batches, and reports each only when it is on disk.

    Parameters
    ----------
    run, device
        Whose results.
    settled
        Told of finished shards.
    """

    def __init__(self, run: Run, device: Device, settled: Callable[[int], None]) -> None:
        self._run = run
        self._writer: ResultWriter = open_writer(run.plan.layout, run.plan.run_id, device.label)
        self._settled = settled
        self._queue: queue.Queue[list[Settled] | None] = queue.Queue(maxsize=16)
        self._thread = threading.Thread(target=self._loop, name=f"badc-commit-{device.label}", daemon=True)
        self._error: BaseException | None = None
        self.chunks = 0

    def __enter__(self) -> Committer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._queue.put(None)
        self._thread.join()
        self._writer.close()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise what went wrong while committing, if anything."""
        if self._error is not None:
            raise self._error

    def put(self, settled: list[Settled]) -> None:
        """Hand results over; waits when the disk does not keep up."""
        self.check()
        self._queue.put(settled)

    def _loop(self) -> None:
        ended = False
        while not ended:
            first = self._queue.get()
            if first is None:
                return
            batch = list(first)
            until = time.monotonic() + COMMIT_AFTER_S
            while len(batch) < COMMIT_AT_MOST:
                try:
                    more = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                batch += more
            if self._error is None:
                try:
                    self._commit(batch)
                except BaseException as error:
                    self._error = error  # the worker raises it; what comes now is not committed

    def _commit(self, batch: list[Settled]) -> None:
        self._run.verify()
        places: list[Committed] = self._writer.commit([(one.job.task.base, one.result) for one in batch])
        self.chunks += len(batch)
        moment = clocks.now()
        emit = self._run.emit
        for one, place in zip(batch, places, strict=True):
            event = one.event
            event.timestamp = moment
            if event.status == "success":
                event.details["output"] = str(place.path)  # type: ignore[index]
            emit(event)
            shard = one.job.shard
            shard.left -= 1
            if shard.left == 0:
                self._settled(shard.index)

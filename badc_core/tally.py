"""Counting what workers did: the figures of progress displays, of the run summary and of the table at a run's end."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from badc_core.model import Event

__all__ = ["Counts", "Tally", "WorkerCounts"]

_MOST_ERRORS = 20


@frozen
class WorkerCounts:
    """What one worker did in this run.

    Parameters
    ----------
    success, failure
        Chunks settled, by how they ended.
    retries
        Further attempts made: attempts after a chunk's first.
    failed_retries
        How many of `retries` failed. A chunk that succeeds at its second attempt counts 1 retry and no failed one; a
        chunk given up after three attempts counts 2 retries and 2 failed ones.
    """

    success: int = 0
    failure: int = 0
    retries: int = 0
    failed_retries: int = 0

    @property
    def jobs(self) -> int:
        """Chunks settled."""
        return self.success + self.failure


@frozen
class Counts:
    """What a run did so far; a value, which does not change.

    Parameters
    ----------
    workers
        By label, sorted.
    audio_ms
        Length of the chunks settled.
    errors
        Why chunks were settled as failed, and how many of each; of very many reasons the first ones.
    """

    workers: Mapping[str, WorkerCounts] = field(factory=dict)
    audio_ms: int = 0
    errors: Mapping[str, int] = field(factory=dict)

    @property
    def chunks(self) -> int:
        """Chunks settled, failed ones included."""
        return sum(worker.jobs for worker in self.workers.values())

    @property
    def failures(self) -> int:
        """Chunks settled as failed."""
        return sum(worker.failure for worker in self.workers.values())

    @property
    def retries(self) -> int:
        """Further attempts made."""
        return sum(worker.retries for worker in self.workers.values())


class Tally:
    """Counts events. One thread feeds it, any thread may ask.

    Examples
    --------
    >>> from badc_core import Device, Event
    >>> tally = Tally()
    >>> tally.take([Event("c", "r", "success", "cpu-0", "", Device(), audio_ms=3000, final=True)])
    >>> tally.snapshot().chunks
    1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[str, list[int]] = {}
        self._audio_ms = 0
        self._errors: dict[str, int] = {}

    def take(self, events: Iterable[Event]) -> None:
        """Count some events; an attempt counts when it ends, a chunk when it is settled (:attr:`Event.final`)."""
        with self._lock:
            for event in events:
                status = event.status
                if status == "start":
                    continue
                row = self._workers.get(event.worker)
                if row is None:
                    row = self._workers[event.worker] = [0, 0, 0, 0]
                failed = status == "failure"
                if event.details.get("attempt", 1) > 1:
                    row[2] += 1
                    row[3] += failed
                if event.final:
                    row[failed] += 1
                    self._audio_ms += event.audio_ms
                    if failed:
                        self._note(str(event.details.get("error", "")))

    def _note(self, error: str) -> None:
        if error in self._errors or len(self._errors) < _MOST_ERRORS:
            self._errors[error] = self._errors.get(error, 0) + 1

    def snapshot(self) -> Counts:
        """Return the counts as they are now."""
        with self._lock:
            workers = {name: WorkerCounts(*row) for name, row in sorted(self._workers.items())}
            return Counts(workers, self._audio_ms, dict(self._errors))

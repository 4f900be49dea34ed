"""The local scheduler: one thread per device slot, all taking shards from one queue.

The thread runs :func:`badc_core.worker.work`; a runner that must own its process gets one there. A slot that fails
takes no further shard and leaves the rest to the others; a fault of the store ends them all.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping

from badc_core.errors import StoreError
from badc_core.log import get_logger
from badc_core.model import Device
from badc_core.plan import Shard
from badc_core.processes import kill_all_marked
from badc_core.scheduling import Run, ShardState, Submission
from badc_core.worker import work

__all__ = ["LocalScheduler", "open_scheduler"]

_log = get_logger("local")
_ids = itertools.count(1)
_WAITING = ShardState("waiting")
_DONE = ShardState("done")
_CANCELLED = ShardState("cancelled")
_CLOSING_S = 15.0
"""How long workers whose work is done may take to close their runners."""


class _Pool:
    """The threads of one submission, and where its shards stand."""

    def __init__(self, run: Run, shards: Iterable[Shard]) -> None:
        self._run = run
        self._shards = iter(shards)
        self._lock = threading.Lock()
        self._states: dict[int, ShardState] = dict.fromkeys(range(run.plan.shards), _WAITING)
        self._hands: dict[str, set[int]] = {device.label: set() for device in run.devices}
        self._running = {device.label: ShardState("running", device.label) for device in run.devices}
        self._alive = len(run.devices)
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._slot, args=(device,), name=f"badc-{device.label}", daemon=True)
            for device in run.devices
        ]
        for thread in self._threads:
            thread.start()

    def _take(self, label: str) -> Iterator[Shard]:
        while not self._run.stop.is_set():
            with self._lock:
                shard = next(self._shards, None)
                if shard is None:
                    return
                self._hands[label].add(shard.index)
                self._states[shard.index] = self._running[label]
            yield shard

    def _slot(self, device: Device) -> None:
        label = device.label

        def settled(index: int) -> None:
            with self._lock:
                self._states[index] = _DONE
                self._hands[label].discard(index)

        failure: BaseException | None = None
        try:
            work(self._run, device, self._take(label), settled)
        except BaseException as error:
            failure = error
            if isinstance(error, StoreError):
                self._run.stop.set()
        with self._lock:
            self._error = self._error or failure
            left = _CANCELLED if failure is None else ShardState("failed", label, failure)
            for index in self._hands[label]:
                self._states[index] = left
            self._hands[label].clear()
            self._alive -= 1
            alone = not self._alive
            if alone:
                self._end()
        if failure is not None and not alone:  # else the run ends, and says so itself
            _log.warning("a worker ended, the others go on", worker=label, error=str(failure).partition("\n")[0])

    def _end(self) -> None:
        """Settle what nobody took; called with the lock, by the last thread."""
        rest = _CANCELLED if self._error is None else ShardState("failed", "", self._error)
        for index, state in self._states.items():
            if state is _WAITING:
                self._states[index] = rest

    def states(self) -> dict[int, ShardState]:
        with self._lock:
            found = dict(self._states)
        if all(state.state not in ("waiting", "running") for state in found.values()):
            for thread in self._threads:  # the last thing they do is to end their runners' processes, and to report
                thread.join(_CLOSING_S / len(self._threads))
        return found

    def cancel(self) -> None:
        self._run.stop.set()
        kill_all_marked()
        for thread in self._threads:
            thread.join(2.0)
        with self._lock:
            for index, state in self._states.items():
                if state.state in ("waiting", "running"):
                    self._states[index] = _CANCELLED


class LocalScheduler:
    """Runs shards on this machine, in this process's threads and their children."""

    def __init__(self) -> None:
        self._pools: dict[int, _Pool] = {}

    def render(self, run: Run) -> Mapping[str, str]:
        """Return nothing: no file is written to run here."""
        return {}

    def submit(self, run: Run, shards: Iterable[Shard]) -> Submission:
        """Start a thread per device slot."""
        number = next(_ids)
        self._pools[number] = _Pool(run, shards)
        labels = [device.label for device in run.devices]
        return Submission("local", run.plan.shards, {"number": number, "workers": labels})

    def states(self, submission: Submission) -> Mapping[int, ShardState]:
        """Say where every shard stands."""
        pool = self._pools.get(int(submission.details["number"]))
        if pool is None:  # of another process, whose threads ended with it
            return dict.fromkeys(range(submission.shards), ShardState("unknown"))
        return pool.states()

    def cancel(self, submission: Submission) -> None:
        """Stop taking shards, and end the processes that runners started."""
        pool = self._pools.get(int(submission.details["number"]))
        if pool is not None:
            pool.cancel()


def open_scheduler(options: None) -> LocalScheduler:
    """Return a local scheduler."""
    return LocalScheduler()

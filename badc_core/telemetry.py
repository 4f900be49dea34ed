"""The telemetry hub: events from workers to sinks and listeners, measurements from samplers to workers.

Telemetry observes. Nothing a sink or a sampler does can stop, slow or fail a run::

    workers ──emit──► inbox ──► dispatcher ──┬──► queue ──► listeners     all events, in batches; one thread
                                             ├──► queue ──► sink          bounded; a thread for each sink
                                             └──► queue ──► sink
    samplers ──► latest measurement per device                            one thread

Threads of their own cost little and mean that a log on a hanging network folder holds up nothing but itself, and that
no event is dropped before a sink because the run summary is just being written.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from badc_core.log import get_logger
from badc_core.model import Event, Measurement
from badc_core.protocols import Sampler, Sink
from badc_core.tally import Counts, Tally, WorkerCounts

__all__ = ["Counts", "Hub", "Listener", "Tally", "WorkerCounts"]

Listener = Callable[[Sequence[Event]], None]

DISPATCH_S = 0.2
"""How often events leave the inbox."""

HEARTBEAT_S = 1.0
"""How often listeners are called when nothing happens, and how long a sink may go unflushed."""

SINK_QUEUE = 100_000
"""Events that may wait for one sink before further ones are dropped."""

PATIENCE_S = 10.0
"""How long :meth:`Hub.close` and :meth:`Hub.flush` wait for a sink or sampler that does not answer."""

_log = get_logger(__name__)
_PLUGIN_FAULTS = (Exception, SystemExit)


# ------------------------------------------------------------------------------------------------- sinks


class _Lane:
    """The way to one sink: a bounded queue of batches, and the thread that empties it."""

    def __init__(self, name: str, sink: Sink, limit: int) -> None:
        self.name = name
        self._sink = sink
        self._limit = limit
        self._queue: queue.SimpleQueue[Sequence[Event] | Callable[[], None]] = queue.SimpleQueue()
        # Every count has one writer: the dispatcher those of the first line, the lane's thread the others.
        self._offered = self._refused = 0
        self._handled = self._lost = 0
        self._muted = False
        self._unflushed = False
        self._flushed_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"badc-sink-{name}", daemon=True)

    @property
    def dropped(self) -> int:
        """Events the sink never got."""
        return self._refused + self._lost

    def start(self) -> None:
        self._thread.start()

    def offer(self, events: Sequence[Event]) -> None:
        """Queue events as far as there is room; never waits."""
        room = 0 if self._muted else max(0, self._limit - (self._offered - self._handled))
        if len(events) > room:
            self._refused += len(events) - room
            events = events[:room]
        if events:
            self._offered += len(events)
            self._queue.put(events)

    def flush(self, patience_s: float) -> None:
        done = threading.Event()

        def mark() -> None:
            self._flush()
            done.set()

        self._queue.put(mark)
        done.wait(patience_s)

    def ask_to_close(self) -> None:
        self._queue.put(self._ended.set)

    def join(self, until: float) -> None:
        """Wait for the sink's end until a moment of the monotonic clock, then count as lost what it still owes."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            waiting = self._offered - self._handled
            self._refused += waiting
            self._muted = True
            _log.warning("a telemetry sink does not answer; its last events are lost", sink=self.name, events=waiting)
        elif self._refused and not self._muted:
            _log.warning("a telemetry sink was too slow; events were dropped", sink=self.name, events=self.dropped)

    def _run(self) -> None:
        while not self._ended.is_set():
            due = self._flushed_at + HEARTBEAT_S
            try:
                item = self._queue.get(timeout=max(0.0, due - time.monotonic()) if self._unflushed else None)
            except queue.Empty:
                self._flush()
                continue
            if callable(item):
                item()
            else:
                self._emit(item)
                if time.monotonic() >= due:
                    self._flush()
        self._guarded(self._sink.close)

    def _emit(self, events: Sequence[Event]) -> None:
        emit = self._sink.emit
        for event in events:
            if self._muted:
                self._lost += 1
            else:
                self._unflushed = True
                try:
                    emit(event)
                except _PLUGIN_FAULTS as error:
                    self._lost += 1
                    self._mute(error)
            self._handled += 1

    def _flush(self) -> None:
        self._unflushed = False
        self._flushed_at = time.monotonic()
        if not self._muted:
            self._guarded(self._sink.flush)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except _PLUGIN_FAULTS as error:
            self._mute(error)

    def _mute(self, error: BaseException) -> None:
        if not self._muted:
            self._muted = True
            _log.warning("a telemetry sink failed and is muted; the run goes on", sink=self.name, error=_said(error))


# --------------------------------------------------------------------------------------------- listeners


class _Audience:
    """The listeners, the thread that calls them, and the batches they were not told of yet."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._complained: set[int] = set()
        self._queue: queue.SimpleQueue[Sequence[Event] | Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="badc-listeners", daemon=True)
        self.start = self._thread.start
        self.offer = self._queue.put

    def flush(self) -> None:
        done = threading.Event()
        self._queue.put(done.set)
        while not done.wait(0.5) and self._thread.is_alive():
            pass

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        item: Sequence[Event] | Callable[[], None] | None = ()
        while item is not None:
            if callable(item):
                item()
            else:
                self._tell(item)
            try:
                item = self._queue.get(timeout=HEARTBEAT_S)
            except queue.Empty:
                item = ()

    def _tell(self, events: Sequence[Event]) -> None:
        for number, listener in enumerate(self._listeners):
            try:
                listener(events)
            except _PLUGIN_FAULTS as error:
                if number not in self._complained:
                    self._complained.add(number)
                    name = getattr(listener, "__qualname__", type(listener).__name__)
                    _log.warning("a listener to telemetry failed; the run goes on", listener=name, error=_said(error))


# ---------------------------------------------------------------------------------------------- samplers


class _Watch:
    """One sampler and what it saw last."""

    def __init__(self, name: str, sampler: Sampler) -> None:
        self.name = name
        self.sampler = sampler
        self.seen: Mapping[int, Measurement] = {}
        self.muted = False

    def look(self) -> None:
        if self.muted:
            return
        try:
            self.seen = {measurement.device_index: measurement for measurement in self.sampler.sample()}
        except _PLUGIN_FAULTS as error:
            self.muted = True
            self.seen = {}  # an old figure that looks new would be a lie
            _log.warning(
                "a telemetry sampler failed and is muted; the run goes on", sampler=self.name, error=_said(error)
            )

    def close(self) -> None:
        try:
            self.sampler.close()
        except _PLUGIN_FAULTS as error:
            _log.warning("a telemetry sampler could not be closed", sampler=self.name, error=_said(error))


# --------------------------------------------------------------------------------------------------- hub


class Hub:
    """Takes events from any thread and brings them to sinks and listeners; keeps the last measurement of each device.

    A context manager. It owns the sinks and samplers it was given, and closes them.

    Parameters
    ----------
    sinks
        Name and sink. Each gets events one by one, in order, from a thread of its own. At most `sink_queue` events wait
        for a sink; further ones are dropped and counted. One that raises is muted and reported once.
    samplers
        Name and sampler, all looked at by one thread. One that raises is muted and reported once.
    interval_s
        Between two looks.
    listeners
        Called with batches, one call at a time, by a thread of the hub; never lossy. Called with an empty batch at the
        start, and about once a second when nothing happens, so that they can do what is due. One that raises is
        reported once and goes on to be called.
    sink_queue
        Room in front of each sink.
    """

    def __init__(
        self,
        sinks: Sequence[tuple[str, Sink]] = (),
        samplers: Sequence[tuple[str, Sampler]] = (),
        *,
        interval_s: float = 1.0,
        listeners: Sequence[Listener] = (),
        sink_queue: int = SINK_QUEUE,
    ) -> None:
        self._inbox: deque[Event] = deque()
        self._tally = Tally()
        self._audience = _Audience(listeners)
        self._lanes = [_Lane(name, sink, sink_queue) for name, sink in sinks]
        self._watches = [_Watch(name, sampler) for name, sampler in samplers]
        self._interval_s = interval_s
        self._dispatching = threading.Lock()
        self._stop = threading.Event()
        self._closed = False
        self._threads = [threading.Thread(target=self._dispatcher, name="badc-telemetry", daemon=True)]
        if self._watches:
            self._threads.append(threading.Thread(target=self._looker, name="badc-sampler", daemon=True))
        self._started = False

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the threads; done by ``with``."""
        if self._started or self._closed:
            return
        self._started = True
        self._audience.start()
        for lane in self._lanes:
            lane.start()
        for thread in self._threads:
            thread.start()

    def emit(self, event: Event) -> None:
        """Take one event; any thread, well under a microsecond, never waits, never raises. In vain after `close`."""
        self._inbox.append(event)

    def latest(self, device_index: int) -> Measurement | None:
        """Return the last measurement of a device; ``None`` when there is none, or its sampler was muted."""
        for watch in self._watches:
            found = watch.seen.get(device_index)
            if found is not None:
                return found
        return None

    @property
    def counts(self) -> Counts:
        """What the run did up to a moment ago."""
        return self._tally.snapshot()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Per sink, the events it never got: it was too slow, or muted."""
        return {lane.name: lane.dropped for lane in self._lanes}

    def flush(self) -> None:
        """Hand over all events emitted so far, and flush the sinks; waits some seconds at most for a slow sink."""
        if not self._started or self._closed:
            return
        self._dispatch()
        self._audience.flush()
        for lane in self._lanes:
            lane.flush(PATIENCE_S)

    def close(self) -> None:
        """Hand over everything, then close sinks and samplers. Idempotent."""
        if self._closed:
            return
        self.start()
        self._closed = True
        self._stop.set()
        until = time.monotonic() + PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._dispatch()
        for lane in self._lanes:
            lane.ask_to_close()
        self._audience.close()  # it may take its time
        until = time.monotonic() + PATIENCE_S
        for lane in self._lanes:
            lane.join(until)
        if len(self._threads) == 1 or not self._threads[1].is_alive():
            for watch in self._watches:
                watch.close()

    def _dispatcher(self) -> None:
        while not self._stop.wait(DISPATCH_S):
            self._dispatch()

    def _dispatch(self) -> None:
        with self._dispatching:
            inbox = self._inbox
            events = [inbox.popleft() for _ in range(len(inbox))]
            if not events:
                return
            self._tally.take(events)
            self._audience.offer(events)
            for lane in self._lanes:
                lane.offer(events)

    def _looker(self) -> None:
        while True:
            for watch in self._watches:
                watch.look()
            if self._stop.wait(self._interval_s):
                return


def _said(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

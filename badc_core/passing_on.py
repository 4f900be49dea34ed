"""What a follower passes on to the log, each event once, whatever ends the follower.

Now and then ``followed.json`` notes how far the workers' events were passed on, and how long the log was then: first
the log is safe on disk, then the note. A follower that takes up a run looks into the log for what was written since
that note, and goes on behind it: the log itself says what it holds. Nothing is written by who follows no longer.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from badc_core.atomic import write_bytes
from badc_core.claims import Claim, claim, kept_alive
from badc_core.errors import HeldError, StoreError
from badc_core.host import Host
from badc_core.json_text import dump_json, load_json
from badc_core.log import get_logger
from badc_core.model import Event
from badc_core.plan import Plan
from badc_core.protocols import Sink
from badc_core.relay import Relay, event_key
from badc_core.run_folders import Asked
from badc_core.sinks import open_sinks
from badc_core.summary import SummaryWriter
from badc_core.tally import Tally
from badc_core.telemetry import Hub
from badc_core.telemetry_log import parse_line

__all__ = ["FOLLOWED_FILE", "PassingOn", "followed_alone"]

FOLLOWED_FILE = "followed.json"
_LOG_SINK = "jsonl"
_AT_ONCE = 1000
_log = get_logger("following")


@contextlib.contextmanager
def followed_alone(folder: Path, wait_s: float = 0.0, stopping: Callable[[], bool] = lambda: False) -> Iterator[Claim]:
    """Be the only one who follows or gathers a run while the block runs.

    Parameters
    ----------
    folder
        The run folder.
    wait_s, stopping
        How long to wait for another who does; whether to give that up.

    Raises
    ------
    HeldError
        Another process does.
    """
    held: list[Claim] = []
    with kept_alive(held):
        held.append(claim(folder, folder.name, wait_s=wait_s, stopping=stopping))
        try:
            yield held[0]
        finally:
            held[0].release()


class _Gate:
    """A sink that gets events only from who still follows the run; see :class:`~badc_core.protocols.Sink`."""

    def __init__(self, sink: Sink, held: Claim) -> None:
        self._sink = sink
        self._held = held
        self._waiting: list[Event] = []
        self.passed = 0

    def emit(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        try:
            self._held.verify()
        except HeldError:
            self._waiting.clear()  # they are the other's to tell
            return
        except StoreError:
            return  # nobody can say; asked again later
        events, self._waiting = self._waiting, []
        for event in events:
            self._sink.emit(event)
        self._sink.flush()
        self.passed += len(events)

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._sink.close()


class PassingOn:
    """Passes events of a run's workers on: to the log and other sinks, to the run summary, and to the counts.

    A context manager.

    Parameters
    ----------
    folder
        The run folder.
    plan, asked
        What is to be done, and where its log lies.
    host
        Knows the sinks.
    held
        Says that the run is ours to follow.
    """

    def __init__(self, folder: Path, plan: Plan, asked: Asked, host: Host, held: Claim) -> None:
        self.relay = Relay(folder, plan.chunks)
        self.tally = Tally()
        self._folder = folder
        self._log_path = asked.telemetry_log
        self._held = held
        self._emitted = 0
        self._summary = SummaryWriter(self._log_path, folder / "jobs.jsonl")
        opened = open_sinks(host, plan.run_id, self._log_path, asked.telemetry)
        self._gates = [(name, _Gate(sink, held)) for name, sink in opened]
        self._hub = Hub(self._gates, listeners=[self.tally.take, self._summarise])

    def __enter__(self) -> PassingOn:
        try:
            self._go_on()
        except BaseException:
            self._hub.close()
            raise
        self._hub.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._hub.close()
        with contextlib.suppress(StoreError, OSError):
            self._held.verify()
            self._summary.close()
            self._note()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Per sink, the events it never got."""
        return self._hub.dropped

    def take(self) -> bool:
        """Pass on what workers told since the last look; return whether there was anything."""
        news = False
        for events in self.relay.read():
            news = news or bool(events)
            for event in events:
                self._hub.emit(event)
            self._emitted += len(events)
        return news

    def flush(self) -> None:
        """Have counts, summary and sinks know all that was taken."""
        self._hub.flush()

    def save(self) -> None:
        """Note how far all this got; a disk that takes no note costs nothing but time, when the run is taken up."""
        self._hub.flush()
        self._held.verify()
        with contextlib.suppress(StoreError, OSError):
            self._note()

    def _summarise(self, events: Sequence[Event]) -> None:
        try:
            self._held.verify()
        except HeldError:
            return  # another process writes it by now
        except StoreError:
            pass
        self._summary.take(events)

    def _note(self) -> None:
        """Write ``followed.json``, unless the log has not got everything: then the last note stays true."""
        passed = [gate.passed for name, gate in self._gates if name == _LOG_SINK]
        if not passed or min(passed) != self._emitted:
            return
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(self._log_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._write(self.relay.positions())

    def _write(self, positions: Mapping[str, int]) -> None:
        note = {"log_bytes": _size(self._log_path), "bytes": positions}
        write_bytes(self._folder / FOLLOWED_FILE, dump_json(note) + b"\n")

    def _go_on(self) -> None:
        """Find out what an earlier follower passed on, and count that without telling the log again."""
        try:
            note = load_json((self._folder / FOLLOWED_FILE).read_bytes())
            known = {str(name): int(at) for name, at in note["bytes"].items()}
            log_bytes = int(note["log_bytes"])
        except FileNotFoundError:
            self._write({})  # from here on the log tells
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("what was followed before cannot be read; the log is asked", error=str(error))
            known, log_bytes = {}, 0
        if log_bytes > _size(self._log_path):
            known, log_bytes = {}, 0  # another log: what it lacks is told again
        known = self.relay.positions_in(_keys(self._log_path, log_bytes), known)
        for events in self.relay.read(known):
            self.tally.take(events)
            self._summary.take(events)
        self._write(known)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _keys(log: Path, start: int) -> Counter[int]:
    """Return what a log tells from a place on, as :func:`badc_core.relay.event_key` names it."""
    found: Counter[int] = Counter()
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(start)
        for line in file:
            entry = parse_line(line) if line.endswith(b"\n") else None
            if entry is not None:
                found[event_key(entry)] += 1
    return found

"""The run summary, written while a run goes on, and on every way out.

Entries are collected in a spool in the run folder. The summary, always a whole file, is made of the spool and of the
summary that was there before, by copying lines: so memory grows by some bytes for each entry, not by the entry.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from badc_core.atomic import replacing, temporary_name, write_text
from badc_core.errors import BadcError, ManifestError
from badc_core.log import get_logger
from badc_core.model import Event
from badc_core.spool import KeySet, Spool
from badc_core.summary_form import (
    DONE,
    STATUS,
    is_ours,
    job_key,
    lines,
    parse,
    read_done,
    summary_path,
    workers_csv,
    write_end,
    write_head,
)
from badc_core.tally import Counts, Tally
from badc_core.telemetry_log import OUTPUT_LIMIT, dumps

__all__ = ["SummaryWriter", "job_key", "read_done", "summary_path", "workers_csv"]

FIRST_INTERVAL_S = 10.0
"""Shortest time between two writes while a run goes on."""

SHARE = 0.05
"""Of the run's time that writing summaries may take."""

_log = get_logger(__name__)


def _success(event: Event, trouble: tuple[Any, Any], attempts: int) -> dict[str, Any]:
    return {
        "status": "success",
        "attempts": attempts,
        "retries": attempts - 1,
        "output": event.details.get("output"),
        "worker": event.worker,
        "recording_id": event.recording_id,
        "last_backoff_s": trouble[0],
        "last_error": trouble[1],
        "finished_at": event.finished_at,
        "runtime_s": event.runtime_s,
    }


def _failure(event: Event, trouble: tuple[Any, Any], attempts: int) -> dict[str, Any]:
    return {
        "status": "failure",
        "error": event.details.get("error") or trouble[1],
        "attempts": attempts,
        "worker": event.worker,
        "recording_id": event.recording_id,
        "last_backoff_s": trouble[0],
        "last_error": trouble[1],
        "finished_at": event.finished_at,
        "runtime_s": event.runtime_s,
    }


def _trouble(event: Event) -> tuple[Any, str | None]:
    """Return backoff and error text of a failed attempt."""
    details = event.details
    text = details.get("stderr") or details.get("error")
    return details.get("backoff_s"), None if text is None else str(text)[-OUTPUT_LIMIT:]


class SummaryWriter:
    """Keeps the summary of one run; any thread.

    Parameters
    ----------
    log_path
        The telemetry log; names the summary.
    spool
        A file in the run folder that no other writer uses. What a killed run left in it is taken over.

    Raises
    ------
    StoreError
        The spool cannot be made.
    """

    def __init__(self, log_path: Path, spool: Path) -> None:
        self.path = summary_path(log_path)
        self.csv_path = self.path.with_name(self.path.name + ".workers.csv")
        self._log_path = log_path
        self._lock = threading.RLock()
        self._tally = Tally()
        self._troubles: dict[tuple[str, str], tuple[Any, str | None]] = {}
        self._keys = KeySet()
        self._repeated: set[bytes] = set()
        self._earlier_done: KeySet | None = None
        self._due = 0.0
        self._complained = self._closed = False
        self._adopt()
        self._spool = Spool(spool)
        for line in self._spool.recover():
            self._note(line.partition(STATUS)[0])

    # ---- what happened

    def take(self, events: Sequence[Event]) -> None:
        """Take events, and write the summary when it is due; a listener of the hub. Never raises for a full disk."""
        with self._lock:
            self._tally.take(events)
            for event in events:
                if event.status != "start":
                    self._take(event)
            self._spool.save()
            if time.monotonic() >= self._due:
                self._write_when_due()

    def _take(self, event: Event) -> None:
        failed = event.status == "failure"
        trouble = _trouble(event) if failed else (None, None)
        if not event.final:
            if failed:
                self._troubles[event.recording_id, event.chunk_id] = trouble
            return
        if self._troubles and not failed:
            trouble = self._troubles.get((event.recording_id, event.chunk_id), trouble)
        if self._troubles:
            self._troubles.pop((event.recording_id, event.chunk_id), None)
        entry = (_failure if failed else _success)(event, trouble, event.details.get("attempt", 1))
        self._add(job_key(event.recording_id, event.chunk_id), entry)

    def skipped(self, chunk_id: str, recording_id: str, output: str | Path | None) -> None:
        """Note a chunk that was not done again because an earlier run did it; what the summary says of it is kept.

        Parameters
        ----------
        chunk_id, recording_id
            Which chunk.
        output
            Where its result lies.
        """
        with self._lock:
            if self._earlier_done is None:
                self._earlier_done = self._read_earlier_done()
            key = job_key(recording_id, chunk_id)
            if dumps(key)[:-1] in self._earlier_done:
                return
            place = None if output is None else str(output)
            self._add(key, {"status": "success", "output": place, "recording_id": recording_id})

    def _add(self, key: str, entry: Mapping[str, Any]) -> None:
        line = dumps({key: entry})[1:-1]
        self._note(line[: line.index(STATUS)])
        self._spool.add(line)

    def _note(self, name: bytes) -> None:
        if not self._keys.add(name):
            self._repeated.add(name)

    # ---- what was there before

    def _adopt(self) -> None:
        """Bring an earlier summary into our form; one that cannot be read is put aside, not thrown away."""
        try:
            with self.path.open("rb") as file:
                if is_ours(file):
                    return
            jobs = parse(self.path)
        except FileNotFoundError:
            return
        except ManifestError as error:
            self._put_aside(error.message)
            return
        except OSError as error:
            raise ManifestError(f"Cannot read the summary {self.path}: {error.strerror or error}.") from error
        with replacing(self.path, "wb") as out:
            write_head(out, self._log_path, Counts())
            begin = out.tell()
            for key, entry in jobs.items():
                if isinstance(entry, dict):
                    recording = entry.get("recording_id")
                    if isinstance(recording, str) and "/" not in key:
                        key = job_key(recording, key)
                    out.write(dumps(key) + b":" + dumps({"status": entry.get("status"), **entry}) + b",\n")
            write_end(out, some=out.tell() > begin)

    def _put_aside(self, why: str) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{temporary_name().rpartition('.badc-tmp-')[2]}")
        self.path.replace(aside)
        _log.warning("the earlier summary cannot be read and was put aside", summary=str(aside), error=why)

    def _earlier(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield name (the key in JSON, without its last quote) and line of the entries that our file holds now."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            if not is_ours(file):
                return
            for line in lines(file):
                name, status, _ = line.partition(STATUS)
                if status:
                    yield name, line

    def _read_earlier_done(self) -> KeySet:
        done = KeySet()
        for name, line in self._earlier():
            if line.startswith(DONE, len(name) + len(STATUS)):
                done.add(name)
        return done

    # ---- the file

    def _write_when_due(self) -> None:
        began = time.monotonic()
        try:
            self.write()
        except (BadcError, OSError) as error:
            if not self._complained:
                self._complained = True
                _log.warning("the run summary cannot be written now; tried again later", error=str(error))
        ended = time.monotonic()
        self._due = ended + max(FIRST_INTERVAL_S, (ended - began) / SHARE)

    def write(self) -> None:
        """Write summary and worker CSV as they stand now.

        Raises
        ------
        StoreError
            The system refused; the files that were there are untouched.
        """
        with self._lock:
            counts = self._tally.snapshot()
            with replacing(self.path, "wb") as out:
                write_head(out, self._log_path, counts)
                begin = out.tell()
                for name, line in self._earlier():
                    if name not in self._keys:
                        out.write(line + b",\n")
                self._write_own(out)
                write_end(out, some=out.tell() > begin)
            write_text(self.csv_path, workers_csv(counts))

    def _write_own(self, out: IO[bytes]) -> None:
        if not self._repeated:
            self._spool.copy(out)
            return
        last: dict[bytes, bytes] = {}
        for line in self._spool.lines():
            name = line.partition(STATUS)[0]
            if name in self._repeated:
                last[name] = line
            else:
                out.write(line + b",\n")
        out.writelines(line + b",\n" for line in last.values())

    def close(self) -> None:
        """Write a last time and remove the spool. Idempotent.

        Raises
        ------
        StoreError
            The system refused; the spool stays, and a later writer takes it over.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            written = False
            try:
                self._spool.save()
                self.write()
                written = True
            finally:
                self._spool.close(remove=written)

"""The run summary: which chunk ended how, beside the telemetry log, for people and for ``--resume-summary``.

``<log>.summary.json`` keeps the form of BADC 0.1 (``docs/reference/formats/telemetry.md``). It is always a whole file: entries
are collected in a spool, and the summary is made of the spool and of the summary that was there before, by copying. One
entry a line makes that possible without parsing, so memory does not grow with the entries but for some bytes each.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import threading
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from badc_core.atomic import replacing, temporary_name, write_text
from badc_core.errors import BadcError, ManifestError
from badc_core.log import get_logger
from badc_core.model import Event
from badc_core.telemetry import Counts, Tally
from badc_core.telemetry_log import OUTPUT_LIMIT, dumps, loads

__all__ = ["SummaryWriter", "job_key", "read_done", "summary_path", "workers_csv"]

FIRST_INTERVAL_S = 10.0
"""Shortest time between two writes while a run goes on."""

SHARE = 0.05
"""Of the run's time that writing summaries may take."""

_JOBS = b'"jobs":{\n'
_END = b"\n}}\n"
_STATUS = b'":{"status":'
_DONE = b'"success"'
_BATCH = 1000
_log = get_logger(__name__)


def summary_path(log_path: Path) -> Path:
    """Return where the summary of a log lies."""
    return log_path.with_name(log_path.name + ".summary.json")


def job_key(recording_id: str, chunk_id: str) -> str:
    """Return the key of a chunk: its id, with the recording's before it where the id does not begin with that.

    Ids hold no ``/``, so the two cannot be mistaken, and equal ids in two recordings stay apart.
    """
    if chunk_id.startswith(recording_id) and chunk_id[len(recording_id) : len(recording_id) + 1] in ("", "_"):
        return chunk_id
    return f"{recording_id}/{chunk_id}"


def workers_csv(counts: Counts) -> str:
    """Return the worker CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["worker", "jobs", "success", "failure", "retries", "failed_retries"])
    for name, worker in counts.workers.items():
        writer.writerow([name, worker.jobs, worker.success, worker.failure, worker.retries, worker.failed_retries])
    return text.getvalue()


# ------------------------------------------------------------------------------------------------ reading


def _is_ours(file: IO[bytes]) -> bool:
    """Whether a file is a whole summary with an entry a line; leaves it before the first."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(_END)))
    if file.read() != _END:
        return False
    file.seek(0)
    file.readline()
    file.readline()
    return file.readline(len(_JOBS)) == _JOBS


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the entries of our own form, ``"key":{…}``, from where the file stands to its end."""
    for line in file:
        line = line.rstrip(b",\n")
        if line == b"}}":
            return
        if line:
            yield line


def _parse(path: Path) -> dict[str, Any]:
    """Return the jobs of a summary of any form, all at once."""
    hint = "Name another summary, or leave it out: results that are there are found without it."
    try:
        found = loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise ManifestError(f"Cannot read the summary {path}: {error.strerror or error}.", hint=hint) from error
    except ValueError as error:
        raise ManifestError(f"{path} is torn or no JSON: {error}.", hint=hint) from error
    jobs = found.get("jobs", {}) if isinstance(found, dict) else None
    if not isinstance(jobs, dict):
        raise ManifestError(f"{path} is no run summary: it holds no object of jobs.", hint=hint)
    return jobs


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        if _is_ours(file):
            try:
                for line in _lines(file):
                    yield from loads(b"{" + line + b"}").items()
                return
            except ValueError:
                pass  # somebody edited it: what was said already is said again, which does no harm
    yield from _parse(path).items()


def read_done(path: Path) -> Iterator[tuple[str | None, str]]:
    """Yield the chunks that a summary calls done, for ``--resume-summary``.

    Parameters
    ----------
    path
        A summary of ours, streamed, or of BADC 0.1 in any formatting.

    Yields
    ------
    tuple
        Recording id, or ``None`` where the entry does not tell: then any chunk of that id is done; and chunk id.

    Raises
    ------
    ManifestError
        It is not there, torn, or no summary.
    """
    try:
        for key, entry in _entries(path):
            if not isinstance(entry, dict) or entry.get("status") != "success":
                continue
            recording, slash, chunk = key.rpartition("/")
            named = entry.get("recording_id")
            if isinstance(named, str) and named:
                yield named, chunk if recording == named else key
            else:
                yield (recording if slash else None), chunk
    except OSError as error:
        raise ManifestError(f"Cannot read the summary {path}: {error.strerror or error}.") from error


# ------------------------------------------------------------------------------------------------ writing


class _Keys:
    """A set of texts at some 16 bytes each: it keeps their 64-bit hashes, in open addressing.

    A million keys make a wrong "seen already" once in a hundred million runs; callers take care that it does no harm.
    """

    def __init__(self) -> None:
        self._table = array("q", bytes(8 * 1024))
        self._free = 512

    def __contains__(self, key: bytes) -> bool:
        table, mask = self._table, len(self._table) - 1
        wanted = hash(key) or 1
        at = wanted & mask
        while found := table[at]:
            if found == wanted:
                return True
            at = (at + 1) & mask
        return False

    def add(self, key: bytes) -> bool:
        """Add a key and return whether it is new."""
        table, mask = self._table, len(self._table) - 1
        wanted = hash(key) or 1
        at = wanted & mask
        while found := table[at]:
            if found == wanted:
                return False
            at = (at + 1) & mask
        table[at] = wanted
        self._free -= 1
        if not self._free:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._table
        self._table = table = array("q", bytes(16 * len(old)))
        self._free = len(old) // 2
        mask = len(table) - 1
        for value in old:
            if value:
                at = value & mask
                while table[at]:
                    at = (at + 1) & mask
                table[at] = value


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


class _Spool:
    """Lines of this run on disk, in order; what the disk does not take waits in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._good = 0
        self._waiting: list[bytes] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b", buffering=0)

    def recover(self) -> Iterator[bytes]:
        """Yield the lines that a killed run left; a torn last one is dropped."""
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b",\n"):
                    return
                self._good += len(line)
                yield line[:-2]

    def add(self, line: bytes) -> None:
        self._waiting.append(line)
        if len(self._waiting) >= _BATCH:
            self.save()

    def save(self) -> None:
        """Append what waits; a full disk leaves it waiting."""
        if not self._waiting:
            return
        data = memoryview(b",\n".join([*self._waiting, b""]))
        with contextlib.suppress(OSError):
            self._file.seek(self._good)
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
            self._good += done
            self._waiting.clear()

    def lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            at = 0
            while at < self._good:
                line = file.readline()
                at += len(line)
                yield line[:-2]
        yield from self._waiting

    def copy(self, out: IO[bytes]) -> None:
        """Write all lines to `out`, each with its comma and line end."""
        with self._path.open("rb") as file:
            left = self._good
            while left and (block := file.read(min(1 << 20, left))):
                out.write(block)
                left -= len(block)
        out.writelines(line + b",\n" for line in self._waiting)

    def close(self, *, remove: bool) -> None:
        self._file.close()
        if remove:
            self._path.unlink(missing_ok=True)


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
    OSError
        The spool cannot be made.
    """

    def __init__(self, log_path: Path, spool: Path) -> None:
        self.path = summary_path(log_path)
        self.csv_path = self.path.with_name(self.path.name + ".workers.csv")
        self._log_path = log_path
        self._lock = threading.RLock()
        self._tally = Tally()
        self._troubles: dict[tuple[str, str], tuple[Any, str | None]] = {}
        self._keys = _Keys()
        self._repeated: set[bytes] = set()
        self._earlier_done: _Keys | None = None
        self._due = 0.0
        self._complained = self._closed = False
        self._adopt()
        self._spool = _Spool(spool)
        for line in self._spool.recover():
            self._note(line.partition(_STATUS)[0])

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
        name = dumps(key)
        self._note(name[:-1])
        self._spool.add(name + b":" + dumps(entry))

    def _note(self, name: bytes) -> None:
        if not self._keys.add(name):
            self._repeated.add(name)

    # ---- what was there before

    def _adopt(self) -> None:
        """Bring an earlier summary into our form; one that cannot be read is put aside, not thrown away."""
        try:
            with self.path.open("rb") as file:
                if _is_ours(file):
                    return
            jobs = _parse(self.path)
        except FileNotFoundError:
            return
        except ManifestError as error:
            self._put_aside(str(error))
            return
        with replacing(self.path, "wb") as out:
            self._write_head(out)
            for key, entry in jobs.items():
                if isinstance(entry, dict):
                    out.write(dumps(key) + b":" + dumps({"status": entry.get("status"), **entry}) + b",\n")
            self._write_end(out, bool(jobs))

    def _put_aside(self, why: str) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{temporary_name().rpartition('.badc-tmp-')[2]}")
        self.path.replace(aside)
        _log.warning("the earlier summary cannot be read and was put aside", summary=str(aside), error=why)

    def _earlier(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the name of each entry that the file at our path holds (its key without the last quote), and its line."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            if not _is_ours(file):
                return
            for line in _lines(file):
                name, status, _ = line.partition(_STATUS)
                if status:
                    yield name, line

    def _read_earlier_done(self) -> _Keys:
        done = _Keys()
        for name, line in self._earlier():
            if line.startswith(_DONE, len(name) + len(_STATUS)) and name not in self._keys:
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
                self._write_head(out, counts)
                begin = out.tell()
                for name, line in self._earlier():
                    if name not in self._keys:
                        out.write(line + b",\n")
                self._write_own(out)
                self._write_end(out, out.tell() > begin)
            write_text(self.csv_path, workers_csv(counts))

    def _write_head(self, out: IO[bytes], counts: Counts | None = None) -> None:
        workers = {
            name: {
                "success": worker.success,
                "failure": worker.failure,
                "retries": worker.retries,
                "failed_retries": worker.failed_retries,
            }
            for name, worker in (counts.workers if counts is not None else {}).items()
        }
        out.write(
            b'{"telemetry_log":' + dumps(str(self._log_path)) + b',\n"workers":' + dumps(workers) + b",\n" + _JOBS
        )

    def _write_own(self, out: IO[bytes]) -> None:
        if not self._repeated:
            self._spool.copy(out)
            return
        last: dict[bytes, bytes] = {}
        for line in self._spool.lines():
            name = line.partition(_STATUS)[0]
            if name in self._repeated:
                last[name] = line
            else:
                out.write(line + b",\n")
        out.writelines(line + b",\n" for line in last.values())

    def _write_end(self, out: IO[bytes], some: bool) -> None:
        if some:
            out.seek(-2, os.SEEK_CUR)  # the comma and line end of the last entry
        out.write(_END)

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

"""The form of the run summary: names, keys, lines, and how it is read.

``<log>.summary.json`` keeps the form of BADC 0.1, told in ``docs/reference/formats/telemetry.md``. Ours has one entry a
line, so that it can be read, copied and merged line by line; a summary in any other formatting is parsed whole.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from badc_core.errors import ManifestError
from badc_core.tally import Counts
from badc_core.telemetry_log import dumps, loads

__all__ = ["DONE", "STATUS", "is_ours", "job_key", "lines", "parse", "read_done", "summary_path", "workers_csv"]
__all__ += ["write_end", "write_head"]

STATUS = b'":{"status":'
"""What follows the key's text in every line. No key can hold it: its quotes would be escaped."""

DONE = b'"success"'
"""What follows :data:`STATUS` when the chunk is done."""

_JOBS = b'"jobs":{\n'
_END = b"\n}}\n"


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


def is_ours(file: IO[bytes]) -> bool:
    """Whether a file is a whole summary with an entry a line; leaves it before the first."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(_END)))
    if file.read() != _END:
        return False
    file.seek(0)
    file.readline()
    file.readline()
    return file.readline(len(_JOBS)) == _JOBS


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the entries of our own form, ``"key":{…}``, from where the file stands to its end."""
    for line in file:
        line = line.rstrip(b",\n")
        if line == b"}}":
            return
        if line:
            yield line


def parse(path: Path) -> dict[str, Any]:
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
        if is_ours(file):
            try:
                for line in lines(file):
                    yield from loads(b"{" + line + b"}").items()
                return
            except ValueError:
                pass  # somebody edited it: what was said already is said again, which does no harm
    yield from parse(path).items()


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


def write_head(out: IO[bytes], log_path: Path, counts: Counts) -> None:
    """Write what comes before the entries; each is then written with a comma and a line end."""
    workers = {
        name: {
            "success": worker.success,
            "failure": worker.failure,
            "retries": worker.retries,
            "failed_retries": worker.failed_retries,
        }
        for name, worker in counts.workers.items()
    }
    out.write(b'{"telemetry_log":' + dumps(str(log_path)) + b',\n"workers":' + dumps(workers) + b",\n" + _JOBS)


def write_end(out: IO[bytes], *, some: bool) -> None:
    """Write what comes after the entries.

    Parameters
    ----------
    out
        Stands behind the comma and line end of the last entry.
    some
        Whether there was an entry.
    """
    if some:
        out.seek(-2, os.SEEK_CUR)
    out.write(_END)

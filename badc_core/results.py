"""Result documents, and finding them again: the truth about what is done.

Two layouts. ``files``: one JSON file per chunk, ``<output>/<recording_id>/<chunk_id>.json``. ``segments``: one
append-only file of JSON lines per worker, ``<output>/_segments/<run id>.<worker>.<host>-<pid>.jsonl``. A torn last line
of a segment is dropped, and its chunk runs again. Committing is in :mod:`badc_core.committing`, what is done already in
:mod:`badc_core.resuming`; ``docs/explanation/results-that-survive.md`` tells why it is so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from badc_core import annex, layout
from badc_core.errors import StoreError
from badc_core.json_text import load_json
from badc_core.model import Chunk, ChunkResult, Detection, Recording

__all__ = [
    "Layout",
    "Problem",
    "StoredResult",
    "detection_entry",
    "digest",
    "document",
    "part",
    "read_lines",
    "read_result",
    "read_segment",
    "recording_facts",
    "same_window",
    "scan",
    "segment_files",
]

Layout = Literal["files", "segments"]
CHUNK_STATUS = ".chunk_status.json"
"""Lies beside chunk files, and looks like a result to who scans a folder that holds both."""

_AWAY = "its content is not on this machine; `datalad get` fetches it"
_NOTHING: Mapping[str, Any] = {}


def recording_facts(recording: Recording) -> dict[str, Any]:
    """Return what a result says of its recording: who, where and when; unknown things are left out."""
    facts = {
        "started_at": None if recording.started_at is None else recording.started_at.isoformat(),
        "study_area": recording.study_area,
        "site": recording.site,
        "device": recording.device,
        "latitude": recording.latitude,
        "longitude": recording.longitude,
    }
    return {key: value for key, value in facts.items() if value is not None}


def detection_entry(found: Detection) -> dict[str, Any]:
    """Return the JSON object of one detection."""
    entry: dict[str, Any] = {
        **found.extra,
        "timestamp_ms": found.start_ms,
        "end_ms": found.end_ms,
        "label_code": found.label_code,
        "label_name": found.label_name,
        "label": found.label,
        "confidence": found.confidence,
    }
    if found.low_hz is not None:
        entry["low_hz"] = found.low_hz
    if found.high_hz is not None:
        entry["high_hz"] = found.high_hz
    return entry


def document(result: ChunkResult, run_id: str, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON object of a result; see ``docs/reference/formats/results.md``.

    Parameters
    ----------
    result
        What became of the chunk.
    run_id
        The run that found it.
    facts
        :func:`recording_facts` of its recording, where the caller has them already.
    """
    chunk = result.chunk
    entry: dict[str, Any] = {
        **result.extra,
        "chunk_id": chunk.chunk_id,
        "recording_id": chunk.recording_id,
        "source_path": str(chunk.source_path),
        "status": result.status,
        "detections": [detection_entry(found) for found in result.detections],
        "chunk": {
            "start_ms": chunk.start_ms,
            "end_ms": chunk.end_ms,
            "overlap_ms": chunk.overlap_ms,
            "sha256": chunk.sha256,
            "notes": chunk.notes,
            "offset_ms": chunk.offset_ms,
        },
        "runner": result.runner,
        "meta": {"attempt": result.attempts, "runtime_s": result.runtime_s, "run": run_id},
    }
    root = layout.dataset_of_source(str(chunk.source_path))
    if root is not None:
        entry["dataset_root"] = root
    if result.model_version is not None:
        entry["model_version"] = result.model_version
    if result.error is not None:
        entry["error"] = result.error
    if result.missing_ms:
        entry["missing_ms"] = result.missing_ms
    if result.finisher is not None:
        entry["finisher"] = result.finisher
    entry["recording"] = recording_facts(result.recording) if facts is None else facts
    entry["fingerprint"] = result.fingerprint
    return entry


def part(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object inside a result; empty where there is none, or something else."""
    found = entry.get(key)
    return found if isinstance(found, dict) else _NOTHING


def same_window(entry: Mapping[str, Any], chunk: Chunk) -> bool:
    """Whether a result is about the same slice, and about the same content where both tell it."""
    window = part(entry, "chunk")
    if not window:
        return False
    known = window.get("sha256")
    return (
        window.get("start_ms") == chunk.start_ms
        and window.get("end_ms") == chunk.end_ms
        and window.get("offset_ms") == chunk.offset_ms
        and (known is None or chunk.sha256 is None or known == chunk.sha256)
    )


def digest(text: str) -> int:
    """Return a number that stands for a text in sets of millions: 122 bits of Python's keyed hash, of this process.

    Ten times quicker than a cryptographic digest; among a billion texts, two alike are met once in 10^19 runs.
    """
    return hash(text) << 61 ^ hash(text + "\n")


@frozen
class StoredResult:
    """One committed result.

    Parameters
    ----------
    document
        Its JSON object, as written by us or by BADC 0.1.
    path
        The file that holds it.
    line
        Its line in a segment, from 1.
    """

    document: dict[str, Any]
    path: Path
    line: int | None = None


@frozen
class Problem:
    """Something below an output folder that looks like a result and is none.

    Parameters
    ----------
    path
        The file.
    line
        The line of a segment; ``None`` for the whole file.
    reason
        What is wrong, in a few words.
    torn
        It is the last line of a segment, which a killed run left unfinished: nothing was lost that counted.
    kept
        Nothing was left out for it: results stand as they are, where they should have become something else.
    """

    path: Path
    line: int | None
    reason: str
    torn: bool = False
    kept: bool = False

    def __str__(self) -> str:
        place = f"{self.path}" if self.line is None else f"{self.path}, line {self.line}"
        return f"{place}: {self.reason}"


def ignore(problem: Problem) -> None:
    """Say nothing about a problem."""


def scan(folder: Path, on_problem: Callable[[Problem], None] = ignore) -> Iterator[StoredResult]:
    """Yield every committed result below a folder, in both layouts, each chunk of an output folder once.

    Where a chunk has several results in one output folder, the latest run's counts; but a failure does not count where
    the same work was done well.

    Parameters
    ----------
    folder
        An output folder, or one that holds several.
    on_problem
        Told of every file or line that cannot be used.

    Raises
    ------
    StoreError
        There is no such folder.
    """
    if not folder.is_dir():
        raise StoreError(f"There is no folder {folder}.", hint="Give the output folder of `badc infer run`.")
    for base, has_segments in _walk_bases(folder, on_problem):
        if has_segments:
            yield from _scan_mixed(base, on_problem)
        else:
            yield from _scan_files(base, on_problem, recurse=False)


def _walk_bases(folder: Path, on_problem: Callable[[Problem], None]) -> Iterator[tuple[Path, bool]]:
    """Yield every folder that may hold results, and whether it has segments; what lies below such a one is its own."""

    def unreadable(error: OSError) -> None:
        on_problem(Problem(Path(error.filename), None, f"cannot be read: {error.strerror}"))

    for where, folders, _ in os.walk(folder, onerror=unreadable):
        has_segments = layout.SEGMENTS_FOLDER in folders
        keep = [] if has_segments else [name for name in folders if name != layout.STATE_FOLDER]
        folders[:] = sorted(keep)
        yield Path(where), has_segments


def _scan_files(base: Path, on_problem: Callable[[Problem], None], *, recurse: bool) -> Iterator[StoredResult]:
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return  # reported by the walk
    prefix = f"{base}{os.sep}"
    for name in names:
        if name.endswith(".json") and name != CHUNK_STATUS:
            stored = read_result(Path(prefix + name), on_problem)
            if stored is not None:
                yield stored
        elif recurse and name not in (layout.STATE_FOLDER, layout.SEGMENTS_FOLDER):
            inner = Path(prefix + name)
            if inner.is_dir():
                yield from _scan_files(inner, on_problem, recurse=True)


def read_result(path: Path, on_problem: Callable[[Problem], None]) -> StoredResult | None:
    """Read one result file; ``None`` when it is none, which is reported."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(handle, 1 << 16)
            while len(data) % (1 << 16) == 0 and (more := os.read(handle, 1 << 20)):
                data += more
        finally:
            os.close(handle)
    except OSError as error:
        on_problem(_unreadable(path, error))
        return None
    entry = _parse(data, path, None, on_problem)
    return None if entry is None else StoredResult(entry, path)


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(path, None, _AWAY if annex.content_missing(path) else f"cannot be read: {error.strerror}")


def _parse(data: bytes, path: Path, line: int | None, on_problem: Callable[[Problem], None]) -> dict[str, Any] | None:
    try:
        entry = load_json(data)
    except ValueError:
        torn = "is not valid JSON; a torn write or a damaged disk"
        away = annex.content_missing(path) and _AWAY
        on_problem(Problem(path, line, away or (torn if data.strip() else "is empty")))
        return None
    if not isinstance(entry, dict):
        on_problem(Problem(path, line, "is no JSON object"))
        return None
    if not ("status" in entry or "detections" in entry or "chunk_id" in entry):
        on_problem(Problem(path, line, "is no result"))
        return None
    return entry


def segment_files(base: Path) -> list[Path]:
    """Return the segments of an output folder, oldest run first.

    Raises
    ------
    StoreError
        Their folder cannot be read.
    """
    folder = base / layout.SEGMENTS_FOLDER
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"Cannot look into {folder}: {error.strerror or error}.", hint="Mend that.") from error
    return [folder / name for name in sorted(names) if name.endswith(".jsonl")]


def read_lines(path: Path, on_problem: Callable[[Problem], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers and result documents of one segment; what cannot be read is reported, a torn last line too."""
    try:
        file = path.open("rb")
    except OSError as error:
        on_problem(_unreadable(path, error))
        return
    with file:
        for number, data in enumerate(file, 1):
            if not data.endswith(b"\n"):
                on_problem(Problem(path, number, "is a torn last line; its chunk runs again", torn=True))
                return
            entry = _parse(data, path, number, on_problem)
            if entry is not None:
                yield number, entry


def read_segment(path: Path, on_problem: Callable[[Problem], None]) -> Iterator[StoredResult]:
    """Yield the results of one segment; see :func:`read_lines`."""
    return (StoredResult(entry, path, number) for number, entry in read_lines(path, on_problem))


def _scan_mixed(base: Path, on_problem: Callable[[Problem], None]) -> Iterator[StoredResult]:
    """Yield the results of an output folder that has segments: latest run first, so that the first one seen counts."""
    runs: dict[str, list[Path]] = {}
    try:
        segments = segment_files(base)
    except StoreError as error:
        on_problem(Problem(base / layout.SEGMENTS_FOLDER, None, error.message))
        segments = []
    for path in segments:
        runs.setdefault(path.name.partition(".")[0], []).append(path)
    for stored in _scan_files(base, on_problem, recurse=True):
        runs.setdefault(str(part(stored.document, "meta").get("run", "")), []).append(stored.path)
    unique = len(runs) == 1 and all(len(paths) == 1 for paths in runs.values())
    seen: set[int] = set()
    failed: dict[int, StoredResult] = {}
    for run_id in sorted(runs, reverse=True):
        failed_here = []
        for path in runs[run_id]:
            for stored in _read_any(path, on_problem):
                if stored.document.get("status") == "failed":
                    failed_here.append(stored)
                elif unique:
                    yield stored
                elif (key := _key(stored)) not in seen:
                    seen.add(key)
                    later = failed.pop(key, None)
                    yield stored if later is None or _same_work(later, stored) else later
        for stored in failed_here:
            if (key := _key(stored)) not in seen:
                failed.setdefault(key, stored)
    yield from failed.values()


def _read_any(path: Path, on_problem: Callable[[Problem], None]) -> Iterator[StoredResult]:
    if path.suffix == ".jsonl":
        yield from read_segment(path, on_problem)
    elif (stored := read_result(path, on_problem)) is not None:
        yield stored


def _key(stored: StoredResult) -> int:
    return digest(f"{stored.document.get('recording_id')}\0{stored.document.get('chunk_id')}")


def _same_work(one: StoredResult, other: StoredResult) -> bool:
    return one.document.get("fingerprint") == other.document.get("fingerprint")

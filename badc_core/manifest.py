"""Manifests: which chunks are to be analysed, one CSV row each; streamed in and out.

The format is described in ``docs/reference/formats/manifest.md``. A manifest may hold millions of rows, so nothing
here keeps more than one of them. The table of recordings beside it is :mod:`badc_core.recordings_table`, whose
functions can be had from here, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from badc_core.csvfile import Table, field, whole_number, writing
from badc_core.errors import ManifestError
from badc_core.layout import check_id, dataset_root, resolve_source, source_name
from badc_core.model import Chunk
from badc_core.recordings_table import (
    RECORDING_COLUMNS,
    RecordingLookup,
    is_recordings_file,
    read_recordings,
    recordings_path,
    write_recordings,
)

__all__ = [
    "COLUMNS",
    "DRY_RUN",
    "RECORDING_COLUMNS",
    "TODO_HASH",
    "RecordingLookup",
    "is_recordings_file",
    "read",
    "read_recordings",
    "read_resolved",
    "recordings_path",
    "resolve_source",
    "write",
    "write_recordings",
]

COLUMNS = (
    "recording_id",
    "chunk_id",
    "source_path",
    "start_ms",
    "end_ms",
    "overlap_ms",
    "sha256",
    "notes",
    "offset_ms",
)
"""Of a manifest, in the order in which they are written. All but the last are BADC 0.1's."""

TODO_HASH = "TODO_HASH"
"""In column ``sha256``: not computed. A chunk's ``sha256=None`` is written so, and so is read an empty field."""

DRY_RUN = "DRY_RUN"
"""In column ``sha256``: the chunk file was not written. Kept in memory as (the beginning of) the chunk's notes."""

_NEW_IN_0_2 = 1
_REQUIRED = 3
_OLD_COLUMNS = COLUMNS[:-_NEW_IN_0_2]
_TAIL = len(_OLD_COLUMNS) - _REQUIRED
_MOST_PIECES = 64
_CACHED_PATHS = 1024


def read(path: Path) -> Iterator[Chunk]:
    """Yield the chunks of a manifest in the order of its rows.

    Columns go by their names in the header; unknown ones are ignored, and only the first three of :data:`COLUMNS` must
    be there. A number that is empty or cannot be read becomes ``None``, except `offset_ms`, where that would mean
    another piece of the file. The file is opened at the first ``next``. Whether ids occur twice is not looked at here.

    Parameters
    ----------
    path
        The manifest: CSV, UTF-8 with or without a byte-order mark.

    Raises
    ------
    ManifestError
        With the path and the line: no such file, no such column, a row with too few or too many fields that cannot be
        put right, an id that cannot name a file, a slice without a length.
    """
    table = Table(path, COLUMNS, _REQUIRED, mend=_mended)
    paths: dict[str, Path] = {}
    last_id = None
    start_ms: int | None
    end_ms: int | None
    overlap_ms: int | None
    for recording_id, chunk_id, source, start, end, overlap, digest, notes, offset in table:
        try:
            if recording_id != last_id:
                last_id = check_id(recording_id, "recording_id")
            check_id(chunk_id, "chunk_id")
        except ManifestError as error:
            raise table.error(error.message, hint=error.hint) from None
        source_path = paths.get(source)
        if source_path is None:
            if len(paths) >= _CACHED_PATHS:
                paths.clear()
            source_path = paths[source] = _source(source, table)
        try:
            start_ms, end_ms, overlap_ms = int(start), int(end), int(overlap)  # nearly always, and without a call
        except ValueError:
            start_ms, end_ms, overlap_ms = whole_number(start), whole_number(end), whole_number(overlap)
        yield Chunk(
            chunk_id,
            last_id,  # one string for all rows of a recording: a list of a million chunks then takes half the memory
            source_path,
            start_ms,
            end_ms,
            overlap_ms,
            _offset(offset, start_ms, end_ms, table) if offset else None,
            *_digest_and_notes(digest, notes),
        )


def read_resolved(path: Path) -> Iterator[Chunk]:
    """Yield the chunks of a manifest as :func:`read` does, each with the file that its source means.

    Parameters
    ----------
    path
        The manifest.
    """
    last: tuple[Path | None, Path] = None, path
    for chunk in read(path):
        # Rows of one source share the very Path object.
        if chunk.source_path is not last[0]:
            last = chunk.source_path, resolve_source(chunk.source_path, path)
        yield chunk if last[1] == chunk.source_path else attrs.evolve(chunk, source_path=last[1])


def write(path: Path, chunks: Iterable[Chunk]) -> int:
    """Write a manifest whole, and return the number of its rows.

    Nothing appears at `path` before the last chunk was taken. Fields are quoted only where CSV (RFC 4180) needs it.
    Sources in the dataset that holds `path` are named from its root, so that its copies and clones name their own.

    Parameters
    ----------
    path
        The manifest to make or replace.
    chunks
        In order of work; taken one by one.

    Raises
    ------
    ManifestError
        An id cannot name a file.
    StoreError
        The system refused.
    """
    count = 0
    last_id = None
    root = dataset_root(path)
    with writing(path, COLUMNS) as file:
        for chunk in chunks:
            if chunk.recording_id != last_id:
                last_id = check_id(chunk.recording_id, "recording_id")
            check_id(chunk.chunk_id, "chunk_id")
            file.write(_row(chunk, source_name(chunk.source_path, root)))
            count += 1
    return count


def _source(text: str, table: Table) -> Path:
    if not text or "\0" in text:
        raise table.error(f"source_path {text!r} names no file.")
    return Path(text)


def _offset(text: str, start_ms: int | None, end_ms: int | None, table: Table) -> int | None:
    offset_ms = whole_number(text.strip())
    if offset_ms is None and not text.strip():
        return None
    if offset_ms is None or offset_ms < 0:
        raise table.error(
            f"offset_ms {text!r} is no place in a file.", hint="It is a number of milliseconds from 0 on."
        )
    if start_ms is None or end_ms is None or end_ms <= start_ms:
        raise table.error(
            "the row is a slice (it has an offset_ms), but start_ms and end_ms do not tell its length.",
            hint="Give both, end_ms the greater one; or leave offset_ms empty to analyse the whole file.",
        )
    return offset_ms


def _digest_and_notes(digest: str, notes: str) -> tuple[str | None, str | None]:
    if not digest or digest == TODO_HASH:
        return None, notes or None
    if digest == DRY_RUN:
        return None, f"{DRY_RUN}; {notes}" if notes else DRY_RUN
    return digest.lower(), notes or None


def _cell(number: int | None) -> str:
    return "" if number is None else str(number)


def _row(chunk: Chunk, source: str) -> str:
    digest = chunk.sha256
    notes = chunk.notes or ""
    if digest is None:
        digest = TODO_HASH
        if notes.startswith(DRY_RUN) and (notes == DRY_RUN or notes.startswith(f"{DRY_RUN}; ")):
            digest, notes = DRY_RUN, notes[len(DRY_RUN) + 2 :]
    return (
        f"{field(chunk.recording_id)},{field(chunk.chunk_id)},{field(source)},"
        f"{_cell(chunk.start_ms)},{_cell(chunk.end_ms)},{_cell(chunk.overlap_ms)},"
        f"{field(digest)},{field(notes)},{_cell(chunk.offset_ms)}\n"
    )


def _mended(row: list[str], header: list[str]) -> list[str] | None:
    """Put together a row of BADC 0.1, which never quoted, whose names or folders hold commas.

    The last five fields hold no commas. What stands before them is split in the one way that makes sense: the chunk is
    named after the recording, and the file after either; failing that, the file is named after the chunk. No way or
    several ways: ``None``.
    """
    if tuple(header) != _OLD_COLUMNS or not len(_OLD_COLUMNS) < len(row) <= _MOST_PIECES:
        return None
    pieces, tail = row[:-_TAIL], row[-_TAIL:]
    start, end = tail[:2]
    surely: list[list[str]] = []
    perhaps: list[list[str]] = []
    for first in range(1, len(pieces) - 1):
        for second in range(first + 1, len(pieces)):
            recording_id = ",".join(pieces[:first])
            chunk_id = ",".join(pieces[first:second])
            source = ",".join(pieces[second:])
            stem = Path(source).stem
            of_recording = chunk_id in (f"{recording_id}_{start}_{end}", f"{recording_id}_chunk_{start}_{end}")
            if of_recording and stem in (recording_id, chunk_id):
                surely.append([recording_id, chunk_id, source, *tail])
            elif stem == chunk_id and "/" not in recording_id + chunk_id:
                perhaps.append([recording_id, chunk_id, source, *tail])
    found = surely or perhaps
    return found[0] if len(found) == 1 else None

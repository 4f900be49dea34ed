"""Committing results: durable, whole, once.

When :meth:`ResultWriter.commit` returns, every result handed to it is on disk and will be seen by every later reader.
When the process is killed before, each of them is there whole or not at all. Results are committed in batches, because
making one file durable costs as much as making many.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen

from badc_core import layout
from badc_core.atomic import TEMPORARY_PREFIX, NewFiles, explain, sync_folder, temporary_name
from badc_core.json_text import dump_json, load_json
from badc_core.model import ChunkResult, Recording
from badc_core.results import Layout, document, part, recording_facts, same_window

__all__ = ["Committed", "FilesWriter", "ResultWriter", "SegmentsWriter", "open_writer"]


@frozen
class Committed:
    """Where a result went.

    Parameters
    ----------
    path
        The file that holds it.
    duplicate
        The chunk had such a result already; ours was discarded.
    """

    path: Path
    duplicate: bool = False


class ResultWriter(Protocol):
    """Commits results; one writer per worker, one thread at a time."""

    def commit(self, results: Sequence[tuple[Path, ChunkResult]], /) -> list[Committed]:
        """Make results durable, each below its output folder; all of them are when this returns.

        Raises
        ------
        StoreError
            The system refused. What was committed before stays; of these, each is there whole or not at all.
        """

    def close(self) -> None:
        """Close files. Idempotent."""


@define
class _Facts:
    """The last recording's facts; consecutive results mostly share their recording."""

    recording: Recording | None = None
    facts: dict[str, Any] = field(factory=dict)

    def of(self, recording: Recording) -> dict[str, Any]:
        if recording is not self.recording:
            self.recording, self.facts = recording, recording_facts(recording)
        return self.facts


class FilesWriter:
    """One JSON file per chunk.

    Parameters
    ----------
    run_id
        Written into every result.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._facts = _Facts()
        self._folders: set[str] = set()

    def commit(self, results: Sequence[tuple[Path, ChunkResult]]) -> list[Committed]:
        """See :meth:`ResultWriter.commit`."""
        written: list[tuple[str, str]] = []
        files = NewFiles(len(results))
        where = Path()
        try:
            for base, result in results:
                chunk = result.chunk
                folder = f"{base}/{chunk.recording_id}"
                where = Path(folder) / f"{chunk.chunk_id}.json"
                self._make(folder)
                temporary = f"{folder}/{temporary_name()}"
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                written.append((temporary, str(where)))
                try:
                    _write_all(handle, self._encode(result))
                except BaseException:
                    os.close(handle)
                    raise
                files.take(handle, base)
            files.sync()
        except BaseException as error:
            files.close()
            _discard(temporary for temporary, _ in written)
            if isinstance(error, OSError):
                raise explain(error, where) from error
            raise
        return self._publish(written, results)

    def _encode(self, result: ChunkResult) -> bytes:
        entry = document(result, self._run_id, self._facts.of(result.recording))
        return dump_json(entry, indent=True) + b"\n"

    def _make(self, folder: str) -> None:
        if folder not in self._folders:
            Path(folder).mkdir(parents=True, exist_ok=True)
            sync_folder(Path(folder).parent)
            self._folders.add(folder)

    def _publish(
        self, written: Sequence[tuple[str, str]], results: Sequence[tuple[Path, ChunkResult]]
    ) -> list[Committed]:
        committed = []
        try:
            for (temporary, final), (_, result) in zip(written, results, strict=True):
                duplicate = os.path.exists(final) and _is_done(Path(final), result, self._run_id)  # noqa: PTH110 - hot path
                if duplicate:
                    os.unlink(temporary)  # noqa: PTH108 - hot path
                else:
                    os.rename(temporary, final)  # noqa: PTH104 - hot path
                committed.append(Committed(Path(final), duplicate))
            for folder in {os.path.dirname(final) for _, final in written}:  # noqa: PTH120 - hot path
                sync_folder(Path(folder))
        except OSError as error:
            _discard(temporary for temporary, _ in written)
            raise explain(error, Path(written[0][1])) from error
        return committed

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _is_done(path: Path, result: ChunkResult, run_id: str) -> bool:
    """Whether the same work was finished already by one whose result counts.

    That is a twin in this run, or a later run, which took over because we seemed dead. A failure never takes the place
    of the same work done well.
    """
    try:
        entry = load_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return (
        isinstance(entry, dict)
        and entry.get("status") != "failed"
        and entry.get("fingerprint") == result.fingerprint
        and (result.failed or str(part(entry, "meta").get("run", "")) >= run_id)
        and same_window(entry, result.chunk)
    )


class SegmentsWriter:
    """One append-only file of JSON lines per output folder.

    Parameters
    ----------
    run_id, worker
        Make the name of the file, with host and process: one writer per file.
    """

    def __init__(self, run_id: str, worker: str) -> None:
        self._run_id = run_id
        self._name = f"{run_id}.{worker}.{temporary_name().removeprefix(TEMPORARY_PREFIX)}.jsonl"
        self._facts = _Facts()
        self._open: dict[Path, tuple[Path, int, int]] = {}

    def commit(self, results: Sequence[tuple[Path, ChunkResult]]) -> list[Committed]:
        """See :meth:`ResultWriter.commit`."""
        lines: dict[Path, list[bytes]] = {}
        for base, result in results:
            entry = document(result, self._run_id, self._facts.of(result.recording))
            lines.setdefault(base, []).append(dump_json(entry))
        for base, parts in lines.items():
            self._append(base, b"\n".join(parts) + b"\n")
        return [Committed(self._open[base][0]) for base, _ in results]

    def _append(self, base: Path, data: bytes) -> None:
        path = base / layout.SEGMENTS_FOLDER / self._name
        try:
            if base not in self._open:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                sync_folder(path.parent)
                sync_folder(base)
                self._open[base] = (path, handle, 0)
            path, handle, size = self._open[base]
            try:
                _write_all(handle, data)
                os.fsync(handle)
            except OSError:
                # Cut back to whole lines: what follows after a full disk was emptied must not be glued to a torn one.
                with suppress(OSError):
                    os.ftruncate(handle, size)
                    os.lseek(handle, size, os.SEEK_SET)
                raise
            self._open[base] = (path, handle, size + len(data))
        except OSError as error:
            raise explain(error, path) from error

    def close(self) -> None:
        """Close the files. Idempotent."""
        for _, handle, _ in self._open.values():
            os.close(handle)
        self._open.clear()


def open_writer(kind: Layout, run_id: str, worker: str) -> ResultWriter:
    """Return the writer of a layout."""
    return FilesWriter(run_id) if kind == "files" else SegmentsWriter(run_id, worker)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _discard(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - may be called with the disk in a bad state; keep it bare

"""What is done already: resume asks the results themselves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from badc_core import annex, layout
from badc_core.atomic import TEMPORARY_PREFIX
from badc_core.errors import StoreError
from badc_core.model import Chunk, Recording
from badc_core.results import (
    Problem,
    digest,
    ignore,
    part,
    read_lines,
    read_result,
    recording_facts,
    same_window,
    segment_files,
)

__all__ = ["DoneIndex", "State"]

State = Literal["missing", "done", "failed", "foreign", "elsewhere", "unmarked", "damaged"]
"""Of a chunk in a store. ``failed``: whoever tried. ``foreign``: a result of another runner, model, options or window.
``elsewhere``: made for another place or time of the recording, by a runner whose answers depend on these.
``unmarked``: a result without fingerprint, as BADC 0.1 and other programs write. ``damaged``: something is there that
cannot be read."""

_PLACE = ("started_at", "latitude", "longitude")


class DoneIndex:
    """Knows which chunks of one output folder are done, by looking at the results themselves.

    Segments are read once, into a set of 16-byte digests (some 120 MB for a million chunks); of files, only those that
    are asked for are read.

    Parameters
    ----------
    base
        The output folder.
    fingerprint
        Of the work; see :mod:`badc_core.plan`.
    on_problem
        Told of lines and files that cannot be read.
    tidy
        Remove the temporary files of killed writers where they are met; only for who has claimed the folder.
    by_place
        Only results that were made for the same place and time of a recording count.

    Raises
    ------
    StoreError
        A folder or segment cannot be read, so nobody can say what is done.
    """

    def __init__(
        self,
        base: Path,
        fingerprint: str,
        on_problem: Callable[[Problem], None] = ignore,
        *,
        tidy: bool = False,
        by_place: bool = False,
    ) -> None:
        self._base = base
        self._tidy = tidy
        self._by_place = by_place
        self._places: dict[int, str] = {}
        self._fingerprint = fingerprint
        self._on_problem = on_problem
        self._done: set[int] = set()
        self._other: dict[int, State] = {}
        self._listing: tuple[str, frozenset[str]] = ("", frozenset())
        self._read_segments()

    def _read_segments(self) -> None:
        done, other = self._done, self._other
        for path in reversed(segment_files(self._base)):
            for _, entry in read_lines(path, self._of_segment):
                window = part(entry, "chunk")
                name = f"{entry.get('recording_id')}\0{entry.get('chunk_id')}"
                if entry.get("status") == "failed":
                    if (key := digest(name)) not in other:
                        other[key] = "failed"
                elif entry.get("fingerprint") == self._fingerprint:
                    if self._by_place:
                        self._places.setdefault(digest(name), _place(part(entry, "recording")))
                    # What a later run made of it otherwise counts, as it does for a reader.
                    if not other or other.get(digest(name), "failed") == "failed":
                        done.update(_work_digests(name, window))
                elif (key := digest(name)) not in other:
                    other[key] = "foreign" if entry.get("fingerprint") else "unmarked"

    def _of_segment(self, problem: Problem) -> None:
        if problem.line is None:
            raise StoreError(f"{problem}.", hint="Mend that: without it nobody can say which chunks are done.")
        self._on_problem(problem)

    def state(self, chunk: Chunk, recording: Recording | None = None) -> State:
        """Say where a chunk stands.

        Parameters
        ----------
        chunk
            The chunk.
        recording
            Its recording; asked only where places count.

        Raises
        ------
        StoreError
            The folder of its recording cannot be read, or git-annex keeps the result elsewhere.
        """
        place = _place(recording_facts(recording)) if self._by_place and recording is not None else None
        if self._done or self._other:
            found = self._in_segments(chunk, place)
            if found == "done":
                return found
            in_files = self._in_files(chunk, place)
            return found if in_files == "missing" else in_files
        return self._in_files(chunk, place)

    def there(self, chunk: Chunk) -> bool:
        """Whether there is a result of this name, whoever made it; files are not opened.

        Raises
        ------
        StoreError
            The folder of its recording cannot be read.
        """
        found = (self._done or self._other) and self._in_segments(chunk, None) != "missing"
        return bool(found) or self._is_listed(chunk)

    def _in_segments(self, chunk: Chunk, place: str | None) -> State:
        name = f"{chunk.recording_id}\0{chunk.chunk_id}"
        window = f"{name}\0{chunk.start_ms}\0{chunk.end_ms}\0{chunk.offset_ms}\0"
        # "-": a result that does not know its content; "*": one that does, for a chunk that does not.
        if digest(window + "-") in self._done or digest(window + (chunk.sha256 or "*")) in self._done:
            return "done" if place is None or self._places.get(digest(name)) == place else "elsewhere"
        return self._other.get(digest(name), "missing") if self._other else "missing"

    def _in_files(self, chunk: Chunk, place: str | None) -> State:
        if not self._is_listed(chunk):
            return "missing"
        path = layout.result_path(self._base, chunk.recording_id, chunk.chunk_id)
        stored = read_result(path, self._on_problem)
        if stored is None:
            if annex.content_missing(path):
                raise StoreError(
                    f"The content of {path} is not on this machine: git-annex keeps it elsewhere.",
                    hint=f"Fetch the results: {annex.fetch_command(self._base)}\n"
                    "Or make all of them anew: --no-resume.",
                )
            return "damaged"
        entry = stored.document
        if entry.get("status") == "failed":
            return "failed"  # whoever failed: nothing is mixed, and nothing lost, when it is done anew
        if not entry.get("fingerprint"):
            return "unmarked"
        if entry["fingerprint"] != self._fingerprint or not same_window(entry, chunk):
            return "foreign"
        if place is not None and _place(part(entry, "recording")) != place:
            return "elsewhere"
        return "done"

    def _is_listed(self, chunk: Chunk) -> bool:
        if self._listing[0] != chunk.recording_id:
            self._listing = (chunk.recording_id, self._names(f"{self._base}/{chunk.recording_id}"))
        return f"{chunk.chunk_id}.json" in self._listing[1]

    def _names(self, folder: str) -> frozenset[str]:
        try:
            names = frozenset(os.listdir(folder))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise StoreError(
                f"Cannot look into {folder}: {error.strerror or error}.",
                hint="Mend that: without it nobody can say which chunks are done.",
            ) from error
        if self._tidy:
            for name in names:
                if name.startswith(TEMPORARY_PREFIX):
                    with contextlib.suppress(OSError):
                        os.unlink(f"{folder}/{name}")  # noqa: PTH108 - a text is at hand
        return names


def _place(facts: Mapping[str, Any]) -> str:
    """Return where and when a recording was made, as far as a result tells, in one text."""
    return repr([facts.get(name) for name in _PLACE])


def _work_digests(name: str, window: Mapping[str, Any]) -> tuple[int, ...]:
    """Digests under which a result is found.

    A result that knows its content (``sha256``) serves a chunk with the same digest or with none; one that does not
    know it serves any. Most results need one digest only.
    """
    text = f"{name}\0{window.get('start_ms')}\0{window.get('end_ms')}\0{window.get('offset_ms')}\0"
    known = window.get("sha256")
    return (digest(f"{text}{known}"), digest(text + "*")) if known else (digest(text + "-"),)

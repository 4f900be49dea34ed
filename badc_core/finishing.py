"""Finishing: from all results of a recording to its detections, for runners that must know the recording as a whole.

A result names its finisher, or none; those that name none pass through untouched. The others are put together by
recording, output folder and fingerprint, given to the finisher of the plugin that made them, and go on with the
detections that it returned. Whatever hinders that is reported, and such results go on as they are: nothing is lost.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from badc_core import layout
from badc_core.answers import check_finished
from badc_core.atomic import explain
from badc_core.errors import BadcError
from badc_core.host import Host, default_host, load_object
from badc_core.json_text import dump_json, load_json
from badc_core.model import Chunk, ChunkResult, Detection, Recording
from badc_core.protocols import Finisher
from badc_core.results import Problem, StoredResult, detection_entry, part
from badc_core.specs import RunnerSpec

__all__ = ["CONTINUED", "Finishing", "finish", "to_result"]

CONTINUED = "continued"
"""Status of a chunk in which no detection begins, but into which one reaches that began in an earlier chunk."""

_OF_A_RESULT = {"chunk_id", "recording_id", "source_path", "status", "detections", "chunk", "runner", "meta", "error"}
_OF_A_RESULT |= {"dataset_root", "model_version", "missing_ms", "recording", "fingerprint", "finisher"}
_OF_A_DETECTION = {"timestamp_ms", "end_ms", "label", "label_code", "label_name", "confidence", "low_hz", "high_hz"}

_Key = tuple[str, str, str, str]
"""Output folder, recording, finisher and fingerprint: what is finished together."""


class _Hindrance(Exception):  # noqa: N818 - never leaves this module
    """Why some results cannot be finished, in words; `once` when it is the same for all of one finisher."""

    def __init__(self, reason: str, *, once: bool = False) -> None:
        super().__init__(reason)
        self.once = once


def to_result(entry: Mapping[str, Any]) -> ChunkResult:
    """Return the value that a result's JSON object was made of, as far as a finisher may know it.

    Raises
    ------
    TypeError, ValueError, KeyError, AttributeError
        It is no result as BADC writes it.
    """
    from badc_core.serde import parse_start_time

    window, facts = part(entry, "chunk"), part(entry, "recording")
    source = Path(entry["source_path"])
    started_at = facts.get("started_at")
    names = ("study_area", "site", "device", "latitude", "longitude")
    recording = Recording(
        entry["recording_id"],
        source,
        started_at=None if started_at is None else parse_start_time(started_at),
        **{name: facts.get(name) for name in names},
    )
    fields = ("start_ms", "end_ms", "overlap_ms", "offset_ms", "sha256", "notes")
    chunk = Chunk(entry["chunk_id"], entry["recording_id"], source, **{name: window.get(name) for name in fields})
    return ChunkResult(
        chunk,
        recording,
        entry["status"],
        () if entry["status"] == "failed" else tuple(map(_to_detection, entry["detections"])),
        entry["runner"],
        entry.get("model_version"),
        entry.get("fingerprint"),
        missing_ms=entry.get("missing_ms", 0),
        extra={key: value for key, value in entry.items() if key not in _OF_A_RESULT},
        finisher=entry["finisher"],
    )


def _to_detection(entry: Mapping[str, Any]) -> Detection:
    return Detection(
        entry["timestamp_ms"],
        entry["end_ms"],
        entry["label"],
        entry.get("label_code"),
        entry.get("label_name"),
        entry.get("confidence"),
        entry.get("low_hz"),
        entry.get("high_hz"),
        extra={key: value for key, value in entry.items() if key not in _OF_A_DETECTION},
    )


def finish(results: Sequence[ChunkResult], finisher: Finisher) -> list[ChunkResult]:
    """Give the results of one recording to a finisher, and put what it returns in place of their detections.

    Parameters
    ----------
    results
        Of one recording, in any order.
    finisher
        What ``RunnerSpec.finish`` leads to.

    Returns
    -------
    list of ChunkResult
        One for each, by start of the chunk. Where the status was ``ok`` or ``no_detections`` it is so again, or
        :data:`CONTINUED`; other words stay.

    Raises
    ------
    RunnerError
        The finisher returned something that breaks a rule; see :func:`~badc_core.answers.check_finished`.
    """
    ordered = sorted(results, key=lambda result: (_begin(result.chunk), result.chunk.chunk_id))
    found = check_finished(ordered, finisher(tuple(ordered)))
    finished = []
    reached = -1  # how far what was heard so far goes on, in the recording
    for result in ordered:
        begin, detections = _begin(result.chunk), found[result.chunk.chunk_id]
        status = result.status
        if status in ("ok", "no_detections"):
            status = "ok" if detections else CONTINUED if reached > begin else "no_detections"
        finished.append(attrs.evolve(result, status=status, detections=tuple(detections)))
        if result.chunk.start_ms is not None:
            reached = max([reached, *(begin + found.end_ms for found in detections if found.end_ms is not None)])
    return finished


def _begin(chunk: Chunk) -> int:
    return 0 if chunk.start_ms is None else chunk.start_ms


class Finishing:
    """Finishes what needs it in a stream of results.

    Parameters
    ----------
    on_problem
        Told of results that are not finished: once for a finisher that cannot be had, else once for a recording.
    beside
        A folder for what must wait: results of segments, where those of one recording lie apart.
    listed
        Returns the chunks of a recording that count, or ``None`` when all do; results of others are not finished.
    host
        Knows the runners.

    Attributes
    ----------
    unfinished
        How many recordings are as in their chunks, though a finisher should have seen them.
    """

    def __init__(
        self,
        on_problem: Callable[[Problem], None],
        beside: Path,
        listed: Callable[[str], frozenset[str] | None] = lambda recording_id: None,
        host: Host | None = None,
    ) -> None:
        self.unfinished = 0
        self._on_problem = on_problem
        self._beside = beside
        self._listed = listed
        self._host = host
        self._finishers: dict[str, Finisher | _Hindrance] = {}
        self._told: set[str] = set()

    def __call__(self, found: Iterable[StoredResult]) -> Iterator[StoredResult]:
        """Yield all results, those that need it finished; in memory are those of one folder of results at a time."""
        here: dict[_Key, list[StoredResult]] = {}
        folder: Path | None = None
        apart = False
        with _Waiting(self._beside) as waiting:
            for stored in found:
                if not stored.document.get("finisher"):
                    yield stored
                    continue
                if stored.path.parent != folder:
                    yield from self._all_of(here)
                    here = {}
                    folder = stored.path.parent
                    apart = stored.line is not None or (folder.parent / layout.SEGMENTS_FOLDER).is_dir()
                if apart:
                    waiting.add(_key(stored), stored)
                else:
                    here.setdefault(_key(stored), []).append(stored)
            yield from self._all_of(here)
            for group in waiting.groups():
                yield from self._all_of({_key(group[0]): group})

    def _all_of(self, groups: Mapping[_Key, list[StoredResult]]) -> Iterator[StoredResult]:
        for (_, recording_id, name, _), group in groups.items():
            listed = self._listed(recording_id)
            counting = [stored for stored in group if listed is None or stored.document.get("chunk_id") in listed]
            if len(counting) < len(group):
                yield from (stored for stored in group if stored.document.get("chunk_id") not in (listed or ()))
            if counting:
                yield from self._finished(counting, name)

    def _finished(self, group: list[StoredResult], name: str) -> list[StoredResult]:
        try:
            finisher = self._finisher(name)
            try:
                by_chunk = {stored.document["chunk_id"]: stored for stored in group}
                done = finish([to_result(stored.document) for stored in group], finisher)
                return [_with_result(by_chunk[result.chunk.chunk_id], result) for result in done]
            except BadcError as error:
                raise _Hindrance(error.message) from error
            except Exception as error:
                raise _Hindrance(f"{type(error).__name__}: {error}") from error
        except _Hindrance as hindrance:
            self._tell(group[0], name, hindrance)
            return group

    def _finisher(self, name: str) -> Finisher:
        if name not in self._finishers:
            try:
                self._finishers[name] = self._load(name)
            except _Hindrance as hindrance:
                self._finishers[name] = hindrance
        found = self._finishers[name]
        if isinstance(found, _Hindrance):
            raise found
        return found

    def _load(self, name: str) -> Finisher:
        plugin, _, runner = name.rpartition(":")
        where = f"the plugin {plugin}, which brings the runner {runner!r},"
        host = self._host or default_host()
        specs = [spec for spec in host.all(RunnerSpec) if spec.name == runner]
        if not specs:
            raise _Hindrance(f"{where} is not installed here: install it, and compile the results again", once=True)
        if not specs[0].finish:
            raise _Hindrance(f"{where} has no finisher in the version that is installed here", once=True)
        try:
            finisher: Finisher = load_object(specs[0].finish)
        except BadcError as error:
            raise _Hindrance(f"{where} cannot be used: {error.message}", once=True) from error
        return finisher

    def _tell(self, stored: StoredResult, name: str, hindrance: _Hindrance) -> None:
        self.unfinished += 1
        if not hindrance.once:
            rest = (
                f"the finisher of {name.rpartition(':')[2]!r} failed on recording {stored.document['recording_id']!r}"
            )
            path = stored.path if stored.line is not None else stored.path.parent
            reason = f"{rest}: {hindrance}; its detections are those of the chunks"
            self._on_problem(Problem(path, None, reason, kept=True))
        elif name not in self._told:
            self._told.add(name)
            reason = f"{hindrance}; detections are those of the chunks"
            self._on_problem(Problem(stored.path.parent.parent, None, reason, kept=True))


def _key(stored: StoredResult) -> _Key:
    entry = stored.document
    about = (str(entry.get("recording_id")), str(entry["finisher"]), str(entry.get("fingerprint")))
    return (str(stored.path.parent.parent), *about)  # both layouts keep results two folders deep


def _with_result(stored: StoredResult, result: ChunkResult) -> StoredResult:
    detections = [detection_entry(found) for found in result.detections]
    return attrs.evolve(stored, document={**stored.document, "status": result.status, "detections": detections})


class _Waiting:
    """Results that wait for others of their recording: on disk, in a file without a name, at 8 bytes of memory each.

    Parameters
    ----------
    folder
        Where the file lies; it vanishes with the process, whatever ends it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._places: dict[_Key, array[int]] = {}
        self._end = 0

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, key: _Key, stored: StoredResult) -> None:
        """Take one result."""
        line = dump_json({"document": stored.document, "path": str(stored.path), "line": stored.line}) + b"\n"
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by __exit__
            self._file.write(line)
        except OSError as error:
            raise explain(error, self._folder) from error
        self._places.setdefault(key, array("q")).append(self._end)
        self._end += len(line)

    def groups(self) -> Iterator[list[StoredResult]]:
        """Yield the results of each key together."""
        for places in self._places.values():
            assert self._file is not None
            group = []
            for place in places:
                self._file.seek(place)
                kept = load_json(self._file.readline())
                group.append(StoredResult(kept["document"], Path(kept["path"]), kept["line"]))
            yield group

"""From results to rows: columns of what the JSON says, before anything is filled in.

The work is done column by column over many results at once; a result is never looked at detection by detection.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from badc_core.exporting import PLACEHOLDER_LABEL
from badc_core.results import Problem, StoredResult
from badc_core.serde import parse_start_time
from badc_duckdb import hawkears
from badc_duckdb.values import column

__all__ = ["RAW_SCHEMA", "RowBuilder"]

_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()
_NO_NAMES = (type(None), dict, list)
_NOTHING: Mapping[str, Any] = {}
_PLACEHOLDER: Mapping[str, Any] = {"label": PLACEHOLDER_LABEL}

_PER_CHUNK = {
    "recording_id": _TEXT,
    "folder": _TEXT,
    "chunk_id": _TEXT,
    "chunk_start_ms": _INT,
    "chunk_end_ms": _INT,
    "status": _TEXT,
    "runner": _TEXT,
    "model_version": _TEXT,
    "chunk_sha256": _TEXT,
    "source_path": _TEXT,
    "result_path": _TEXT,
    "dataset_root": _TEXT,
    "study_area": _TEXT,
    "site": _TEXT,
    "recorded_at": _TEXT,
    "missing_ms": _INT,
}
_PER_DETECTION = {
    "timestamp_ms": _INT,
    "end_ms": _INT,
    "label": _TEXT,
    "label_code": _TEXT,
    "label_name": _TEXT,
    "confidence": _FLOAT,
    "low_hz": _FLOAT,
    "high_hz": _FLOAT,
}

RAW_SCHEMA = pa.schema([*_PER_CHUNK.items(), *_PER_DETECTION.items(), ("leads", pa.bool_())])
"""What the JSON says, one row per detection or silent chunk. ``folder`` and ``result_path`` stand in for a
``recording_id`` and a ``source_path`` that it does not say; ``leads`` marks the first row of a chunk."""


@functools.lru_cache(maxsize=4096)
def _moment(text: str) -> str | None:
    try:
        return parse_start_time(text).isoformat()
    except ValueError:
        return None


class RowBuilder:
    """Collects results and turns them into rows.

    Parameters
    ----------
    on_problem
        Told of every value that cannot be used.
    name_in_manifest
        Name of the source file that the manifest gives for a recording and chunk, or ``None``; asked only for the
        labels of old HawkEars results.
    """

    def __init__(
        self,
        on_problem: Callable[[Problem], None],
        name_in_manifest: Callable[[str | None, str], str | None] = lambda recording_id, chunk_id: None,
    ) -> None:
        self._on_problem = on_problem
        self._name_in_manifest = name_in_manifest
        self._clear()

    def _clear(self) -> None:
        self._results: list[StoredResult] = []
        self._repeats: list[int] = []
        self._detections: list[Mapping[str, Any]] = []

    def __len__(self) -> int:
        """Return how many rows are waiting."""
        return len(self._detections)

    def add(self, stored: StoredResult) -> None:
        """Take one result."""
        entry = stored.document
        if stored.line is not None and not (entry.get("chunk_id") and entry.get("recording_id")):
            self._on_problem(Problem(stored.path, stored.line, "names no recording and chunk"))
            return
        found = [] if entry.get("status") == "failed" else self._found(stored)
        self._detections += found or [_PLACEHOLDER]
        self._results.append(stored)
        self._repeats.append(len(found) or 1)

    def _found(self, stored: StoredResult) -> Sequence[Mapping[str, Any]]:
        found = stored.document.get("detections")
        if not found:
            return self._from_hawkears(stored) if stored.document.get("hawkears_output") else []
        if type(found) is list and all(type(item) is dict for item in found):
            return found
        if type(found) is not list:
            self._on_problem(Problem(stored.path, stored.line, "its detections are no list"))
            return []
        kept = [item for item in found if type(item) is dict]
        self._on_problem(
            Problem(stored.path, stored.line, f"{len(found) - len(kept)} of its detections are no objects")
        )
        return kept

    def _from_hawkears(self, stored: StoredResult) -> list[Mapping[str, Any]]:
        entry = stored.document
        folder = hawkears.labels_folder(Path(str(entry["hawkears_output"])), stored.path)
        file = folder / hawkears.LABELS_FILE
        if not file.is_file():
            return []
        chunk_id = str(entry.get("chunk_id") or stored.path.stem)
        source = Path(str(entry.get("source_path") or ""))
        names = {"", chunk_id, source.name}
        if source.is_symlink():
            names.add(source.readlink().name)
        manifest_name = functools.cache(lambda: self._name_in_manifest(entry.get("recording_id"), chunk_id))
        try:
            return list(hawkears.read_labels(file, lambda name: name in names or name == manifest_name()))
        except (OSError, ValueError) as error:
            self._on_problem(Problem(file, None, f"cannot be read: {error}"))
            return []

    def take(self) -> pa.RecordBatch:
        """Return what was collected, as :data:`RAW_SCHEMA`, and begin anew."""
        repeats = np.repeat(np.arange(len(self._results)), self._repeats)
        indices = pa.array(repeats)
        chunks = {
            name: column(values, _PER_CHUNK[name], self._teller(name, None)).take(indices)
            for name, values in self._chunk_values().items()
        }
        detections = {
            name: column(values, _PER_DETECTION[name], self._teller(name, repeats))
            for name, values in _detection_values(self._detections).items()
        }
        leads = np.diff(repeats, prepend=-1) > 0
        batch = pa.record_batch({**chunks, **detections, "leads": pa.array(leads)}, schema=RAW_SCHEMA)
        self._clear()
        return batch

    def _teller(self, name: str, owners: Any) -> Callable[[int, Any], None]:
        def tell(place: int, value: Any) -> None:
            owner = place if owners is None else owners[place]
            self._tell(owner, f"{name} {str(value)[:40]!r} cannot be used; left empty")

        return tell

    def _chunk_values(self) -> dict[str, list[Any]]:
        entries = [stored.document for stored in self._results]
        windows = self._objects(entries, "chunk")
        recordings = self._objects(entries, "recording")
        recording_ids = [entry.get("recording_id") or None for entry in entries]
        chunk_ids = [entry.get("chunk_id") or None for entry in entries]
        sources = [entry.get("source_path") or None for entry in entries]
        return {
            "recording_id": recording_ids,
            "folder": self._where_missing(recording_ids, lambda path: path.parent.name),
            "chunk_id": self._filled(chunk_ids, lambda path: path.stem),
            "chunk_start_ms": [window.get("start_ms") for window in windows],
            "chunk_end_ms": [window.get("end_ms") for window in windows],
            "status": [entry.get("status") or None for entry in entries],
            "runner": [entry.get("runner") or None for entry in entries],
            "model_version": [entry.get("model_version") or None for entry in entries],
            "chunk_sha256": [window.get("sha256") or None for window in windows],
            "source_path": sources,
            "result_path": self._where_missing(sources, str),
            "dataset_root": [entry.get("dataset_root") or None for entry in entries],
            "study_area": [recording.get("study_area") or None for recording in recordings],
            "site": [recording.get("site") or None for recording in recordings],
            "recorded_at": self._moments([recording.get("started_at") or None for recording in recordings]),
            "missing_ms": [entry.get("missing_ms") for entry in entries],
        }

    def _where_missing(self, values: list[Any], of_path: Callable[[Path], str]) -> list[str | None]:
        if set(map(type, values)) == {str}:
            return [None] * len(values)
        pairs = zip(values, self._results, strict=True)
        return [of_path(stored.path) if type(value) in _NO_NAMES else None for value, stored in pairs]

    def _filled(self, values: list[Any], of_path: Callable[[Path], str]) -> list[Any]:
        found = self._where_missing(values, of_path)
        return [value if other is None else other for value, other in zip(values, found, strict=True)]

    def _objects(self, entries: Sequence[Mapping[str, Any]], key: str) -> Sequence[Mapping[str, Any]]:
        values = [entry.get(key) or _NOTHING for entry in entries]
        if set(map(type, values)) != {dict}:
            for place, value in enumerate(values):
                if type(value) is not dict:
                    self._tell(place, f"{key} is no object; left out")
                    values[place] = _NOTHING
        return values

    def _moments(self, values: list[Any]) -> list[str | None]:
        found = [_moment(value) if type(value) is str else None for value in values]
        if None in found:
            for place, (value, moment) in enumerate(zip(values, found, strict=True)):
                if moment is None and value is not None:
                    self._tell(place, f"started_at {value!r} is no ISO 8601 time; left empty")
        return found

    def _tell(self, place: int, reason: str) -> None:
        stored = self._results[place]
        self._on_problem(Problem(stored.path, stored.line, reason))


def _detection_values(found: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {
        "timestamp_ms": [item.get("timestamp_ms") for item in found],
        "end_ms": [item.get("end_ms") for item in found],
        "label": [item.get("label") or item.get("label_code") or item.get("label_name") or "unknown" for item in found],
        "label_code": [item.get("label_code") or None for item in found],
        "label_name": [item.get("label_name") or None for item in found],
        "confidence": [item.get("confidence") for item in found],
        "low_hz": [item.get("low_hz") for item in found],
        "high_hz": [item.get("high_hz") for item in found],
    }

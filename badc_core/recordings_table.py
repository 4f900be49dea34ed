"""The table of recordings beside a manifest: who, where and when, one CSV row per recording.

``night.recordings.csv`` beside ``night.csv``; see ``docs/reference/formats/manifest.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from badc_core.csvfile import Table, decimal_number, field, whole_number, writing
from badc_core.errors import ManifestError
from badc_core.layout import check_id, dataset_root, resolve_source, source_name
from badc_core.model import Recording

__all__ = [
    "RECORDING_COLUMNS",
    "RecordingLookup",
    "is_recordings_file",
    "read_recordings",
    "recordings_path",
    "write_recordings",
]

RECORDING_COLUMNS = (
    "recording_id",
    "path",
    "sample_rate_hz",
    "channels",
    "duration_ms",
    "started_at",
    "study_area",
    "site",
    "device",
    "latitude",
    "longitude",
)
"""Of the file of recordings: the fields of :class:`~badc_core.model.Recording`."""

_SUFFIX = ".recordings.csv"


def recordings_path(manifest: Path) -> Path:
    """Return the file that tells who, where and when: ``<stem>.recordings.csv`` beside the manifest."""
    return manifest.with_name(manifest.stem + _SUFFIX)


def is_recordings_file(path: Path) -> bool:
    """Whether a file is named like one of :func:`recordings_path`: it ends in ``.csv``, but is no manifest."""
    return path.name.endswith(_SUFFIX)


def write_recordings(manifest_path: Path, recordings: Iterable[Recording]) -> Path:
    """Write the recordings of a manifest beside it, whole, and return the file; paths as those of sources.

    Raises
    ------
    ManifestError
        An id cannot name a file.
    StoreError
        The system refused.
    """
    target = recordings_path(manifest_path)
    root = dataset_root(manifest_path)
    with writing(target, RECORDING_COLUMNS) as file:
        for recording in recordings:
            check_id(recording.recording_id, "recording_id")
            values: list[Any] = [getattr(recording, name) for name in RECORDING_COLUMNS]
            values[RECORDING_COLUMNS.index("path")] = source_name(recording.path, root)
            values[RECORDING_COLUMNS.index("started_at")] = recording.started_at and recording.started_at.isoformat()
            file.write(",".join("" if value is None else field(str(value)) for value in values) + "\n")
    return target


def read_recordings(manifest_path: Path) -> dict[str, Recording]:
    """Return the recordings of a manifest by their ids; empty when it has no table of recordings.

    Takes about 1 kB for each recording; :class:`RecordingLookup` does with less.

    Parameters
    ----------
    manifest_path
        The manifest, not the file beside it.

    Raises
    ------
    ManifestError
        With the path and the line: a column is missing, an id occurs twice, a time that is none.
    """
    found: dict[str, Recording] = {}
    for recording, table in _rows(manifest_path):
        if recording.recording_id in found:
            raise table.error(f"recording_id {recording.recording_id!r} occurs twice.")
        found[recording.recording_id] = recording
    return found


class RecordingLookup:
    """Gives the recordings of a manifest by their ids, one after the other.

    Asked in the order of the table, which is the manifest's when BADC wrote both, it keeps one recording at a time.
    Recordings that were passed over are kept until they are asked for, and a question that the table's rest does not
    answer makes it read the whole table once.

    Parameters
    ----------
    manifest_path
        The manifest, not the file beside it.
    """

    def __init__(self, manifest_path: Path) -> None:
        self._path = manifest_path
        self._rest = _rows(manifest_path)
        self._passed: dict[str, Recording] = {}
        self._all: dict[str, Recording] | None = None
        self._last: Recording | None = None

    def get(self, recording_id: str) -> Recording | None:
        """Return a recording, or ``None`` when the table does not have it.

        Raises
        ------
        ManifestError
            As :func:`read_recordings`; an id that occurs twice is found only when the whole table is read.
        """
        if self._last is None or self._last.recording_id != recording_id:
            self._last = self._find(recording_id)
        return self._last

    def _find(self, recording_id: str) -> Recording | None:
        if self._all is not None:
            return self._all.get(recording_id)
        if recording_id in self._passed:
            return self._passed.pop(recording_id)
        for recording, _ in self._rest:
            if recording.recording_id == recording_id:
                return recording
            self._passed[recording.recording_id] = recording
        self._passed.clear()
        self._all = read_recordings(self._path)
        return self._all.get(recording_id)


def _rows(manifest_path: Path) -> Iterator[tuple[Recording, Table]]:
    path = recordings_path(manifest_path)
    if os.path.lexists(path):
        table = Table(path, RECORDING_COLUMNS, 2)
        for row in table:
            yield _recording(dict(zip(RECORDING_COLUMNS, row, strict=True)), table, manifest_path), table


def _recording(row: dict[str, str], table: Table, manifest_path: Path) -> Recording:
    from badc_core.serde import parse_start_time

    try:
        recording_id = check_id(row["recording_id"], "recording_id")
        started_at = parse_start_time(row["started_at"].strip()) if row["started_at"].strip() else None
    except ManifestError as error:
        raise table.error(error.message, hint=error.hint) from None
    except ValueError:
        raise table.error(
            f"started_at {row['started_at']!r} is no time.", hint="Write 2026-01-31T08:15:02, with +00:00 for UTC."
        ) from None
    return Recording(
        recording_id=recording_id,
        path=resolve_source(Path(row["path"]), manifest_path),
        sample_rate_hz=whole_number(row["sample_rate_hz"]),
        channels=whole_number(row["channels"]),
        duration_ms=whole_number(row["duration_ms"]),
        started_at=started_at,
        study_area=row["study_area"] or None,
        site=row["site"] or None,
        device=row["device"] or None,
        latitude=decimal_number(row["latitude"]),
        longitude=decimal_number(row["longitude"]),
    )

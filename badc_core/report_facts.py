"""What the reports of a recording were made from: whether they are to be made anew.

``<folder>/.badc/<name>.json`` beside the tables says it, by content, so that it holds in clones, too. Tables that
others made, such as the tasks of a script, have no such file: for those, times and the report's own summary tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from badc_core import annex, manifest
from badc_core.atomic import write_text
from badc_core.digests import sha256_of
from badc_core.layout import STATE_FOLDER

__all__ = ["are_fresh", "note", "results_folder", "state_of"]


def results_folder(manifest_path: Path, results: Path) -> Path | None:
    """Return the folder that holds all results of a manifest, and no others; ``None`` when there is none.

    Parameters
    ----------
    manifest_path
        The manifest. Its name is that of its recording, unless it lists one of another name.
    results
        The output folder.
    """
    named = results / manifest_path.stem
    if named.is_dir():
        return named
    recordings: set[str] = set()
    for chunk in manifest.read(manifest_path):
        recordings.add(chunk.recording_id)
        if len(recordings) > 1:
            return None
    return next((results / one for one in recordings if (results / one).is_dir()), None)


def state_of(manifest_path: Path, results: Path) -> str | None:
    """Return a digest of all that tables are made from; ``None`` when some of it is on another machine."""
    state = hashlib.sha256()
    for name, path in _inputs(manifest_path, results):
        if annex.content_missing(path):
            return None
        try:
            content = sha256_of(path)
        except OSError as error:
            content = f"unreadable: {error.errno}"  # left out of the tables
        state.update(f"{name}\0{content}\0".encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _inputs(manifest_path: Path, results: Path) -> Iterator[tuple[str, Path]]:
    yield "manifest", manifest_path
    recordings = manifest.recordings_path(manifest_path)
    if recordings.exists() or annex.content_missing(recordings):
        yield "recordings", recordings
    for path in sorted(results.rglob("[!.]*.json*")):
        yield str(path.relative_to(results)), path


def _facts_path(folder: Path, name: str) -> Path:
    return folder / STATE_FOLDER / f"{name}.json"


def note(folder: Path, name: str, table: Path, state: str | None, bucket_minutes: int) -> None:
    """Remember what reports were made from.

    Parameters
    ----------
    folder, name
        Where the reports are, and what their names begin with.
    table
        That they are of.
    state
        Of results and manifest, before the table was made; see :func:`state_of`.
    bucket_minutes
        Width of the timelines' buckets.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    facts = {"made_from": state, "bucket_minutes": bucket_minutes, "table": sha256_of(table)}
    write_text(_facts_path(folder, name), json.dumps(facts, indent=2) + "\n")


def are_fresh(folder: Path, name: str, manifest_path: Path, results: Path, bucket_minutes: int) -> bool:
    """Whether the reports of a recording are all there, and made from what is there now.

    Parameters
    ----------
    folder, name
        Where the reports are, and what their names begin with.
    manifest_path, results
        What they are to be made from.
    bucket_minutes
        The wanted width of the timelines' buckets.
    """
    table, summary = folder / f"{name}.parquet", folder / f"{name}_parquet_report" / "summary.json"
    last = folder / f"{name}_duckdb_exports" / "timeline.csv"
    needed = (folder / f"{name}_summary.csv", table, summary, folder / f"{name}.duckdb", last)
    elsewhere = [path for path in needed if annex.content_missing(path)]
    if not all(path.exists() for path in needed if path not in elsewhere):
        return False
    state = state_of(manifest_path, results)
    if elsewhere or state is None:
        return True  # saved, and not here: nobody can tell until it is fetched
    facts = _read(_facts_path(folder, name))
    if facts.get("table") == sha256_of(table):
        return bool(facts.get("made_from") == state and facts.get("bucket_minutes") == bucket_minutes)
    made = table.stat().st_mtime
    newest = max((path.stat().st_mtime for _, path in _inputs(manifest_path, results) if path.exists()), default=0.0)
    return newest <= made and _read(summary).get("bucket_minutes") == bucket_minutes


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

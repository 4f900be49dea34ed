"""The steps of the demonstration after the dataset is there: cut, listen, compile. Each is one call of the library."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from badc_demo.dataset import RECORDINGS

if TYPE_CHECKING:
    from badc_core.engine import Progress, RunSummary

__all__ = ["CHUNK_MS", "MIN_CONFIDENCE", "Tables", "compile_tables", "cut", "listen", "read_rows"]

CHUNK_MS = 60_000
MIN_CONFIDENCE = 0.5

MANIFEST = Path("manifests/demo.csv")
RESULTS = Path("artifacts/infer")
TABLES = Path("artifacts/aggregate")
LOG = Path("artifacts/telemetry/demo.jsonl")


@frozen
class Tables:
    """The files of the detections table.

    Parameters
    ----------
    csv, parquet, duckdb
        The same rows three times.
    """

    csv: Path
    parquet: Path
    duckdb: Path


def listen(folder: Path, manifest: Path, on_progress: Callable[[Progress], None]) -> RunSummary:
    """Analyse the chunks that have no result yet.

    Raises
    ------
    BadcError
        The run cannot start, was interrupted, or ended early; what was committed stays.
    """
    from badc_core.engine import RunRequest, run

    request = RunRequest(
        manifest=manifest,
        runner="birdnet",
        options={"min_confidence": MIN_CONFIDENCE, "threads": 1},
        output_dir=folder / RESULTS,
        max_gpus=0,
        cpu_workers=min(4, os.cpu_count() or 1),
        telemetry_log=folder / LOG,
    )
    return run(request, on_progress)


def compile_tables(folder: Path, manifest: Path) -> Tables:
    """Compile all results into one table, and write it as CSV, Parquet and DuckDB.

    Raises
    ------
    BadcError
        Results cannot be read, or files not be written.
    """
    from badc_duckdb.aggregation import aggregate

    from badc_core.exporting import Export, open_exporters
    from badc_core.host import default_host
    from badc_core.specs import ExporterSpec

    tables = Tables(*(folder / TABLES / f"detections.{kind}" for kind in ("csv", "parquet", "duckdb")))
    host = default_host()
    wanted = [
        Export(host.find(ExporterSpec, "csv"), tables.csv),
        Export(host.find(ExporterSpec, "parquet"), tables.parquet),
        Export(host.find(ExporterSpec, "duckdb"), tables.duckdb),
    ]
    aggregate(folder / RESULTS, open_exporters(wanted), beside=tables.csv, manifest=manifest)
    return tables


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of the CSV file: a few hundred here."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cut(folder: Path) -> int:
    """List all chunks of all recordings in a manifest, without writing sound, and return how many there are."""
    from badc_core import manifest
    from badc_core.model import Chunk
    from badc_core.recordings import RecordingRules, assign_ids, describe, find
    from badc_core.signals import known_suffixes, probe

    root = folder / RECORDINGS
    paths = list(find(root, known_suffixes()))
    chunks = []
    recordings = []
    for path, recording_id in assign_ids(paths, root).items():
        info, hints = probe(path)
        recording = describe(path.absolute(), recording_id, info, hints, RecordingRules(), root)
        recordings.append(recording)
        for start in range(0, info.duration_ms, CHUNK_MS):
            end = min(start + CHUNK_MS, info.duration_ms)
            chunks.append(Chunk(f"{recording_id}_{start}_{end}", recording_id, path.absolute(), start, end, 0, start))
    manifest.write_recordings(folder / MANIFEST, recordings)
    return manifest.write(folder / MANIFEST, chunks)

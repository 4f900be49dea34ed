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


def cut(folder: Path) -> int:
    """List the chunks of all recordings in a manifest, and who, where and when beside it; writes no sound.

    Returns
    -------
    int
        How many chunks there are.
    """
    from badc_core import manifest
    from badc_core.chunking import virtual_chunks
    from badc_core.recordings import RecordingRules, assign_ids, describe, find
    from badc_core.signals import known_suffixes, probe

    root = (folder / RECORDINGS).absolute()
    found = []
    for path, recording_id in assign_ids(find(root, known_suffixes()), root).items():
        info, hints = probe(path)
        found.append((describe(path, recording_id, info, hints, RecordingRules(), root), info))
    manifest.write_recordings(folder / MANIFEST, (recording for recording, _ in found))
    chunks = (chunk for recording, info in found for chunk in virtual_chunks(recording, info, CHUNK_MS / 1000))
    return manifest.write(folder / MANIFEST, chunks)


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
        record=False,
    )
    return run(request, on_progress)


def compile_tables(folder: Path, manifest: Path) -> Tables:
    """Compile all results into one table, and write it as CSV, Parquet and DuckDB.

    Raises
    ------
    BadcError
        Results cannot be read, or files not be written.
    """
    from badc_core.exporting import Export, open_exporters
    from badc_core.host import default_host
    from badc_core.specs import ExporterSpec
    from badc_duckdb.aggregation import aggregate

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

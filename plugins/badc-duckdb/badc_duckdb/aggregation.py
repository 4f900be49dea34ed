"""From a folder of results to files: a pure function of the committed results.

Run twice it gives the same bytes, and so does a run that was killed and resumed: what differs between such results
(run, attempts, times) is in no column, and the order of rows is total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from badc_core import results
from badc_core.exporting import abort, export
from badc_core.finishing import Finishing
from badc_core.manifest import read_recordings, read_resolved
from badc_core.protocols import Exporter
from badc_core.results import Problem, StoredResult
from badc_duckdb.rows import RowBuilder
from badc_duckdb.sorting import Scratch

__all__ = ["Problems", "Summary", "aggregate", "collect"]

_ROWS_AT_ONCE = 8192
"""Rows turned into columns at once: enough to forget the price of a batch, few enough to stay in the cache."""


@attrs.frozen
class Summary:
    """What an aggregation found.

    Parameters
    ----------
    rows
        Of the table, placeholder rows included.
    detections
        Rows that are detections.
    recordings, chunks
        How many are in the table.
    silent
        Chunks in which nothing was heard.
    failed
        Chunks that could not be analysed.
    unlisted
        Results left out because the manifest names their recording, but not their chunk.
    listed, pending
        Chunks of the manifest, and how many of them have no result yet; 0 without a manifest.
    unreadable
        Files, or lines of segments, or values that could not be used.
    torn
        Last lines of segments that a killed run left unfinished; their chunks ran again, or will.
    unfinished
        Recordings whose detections are those of their chunks, because their runner's finisher is missing or failed.
    """

    rows: int = 0
    detections: int = 0
    recordings: int = 0
    chunks: int = 0
    silent: int = 0
    failed: int = 0
    unlisted: int = 0
    listed: int = 0
    pending: int = 0
    unreadable: int = 0
    torn: int = 0
    unfinished: int = 0


class Problems:
    """Counts problems and passes them on.

    Parameters
    ----------
    tell
        Told of every one that a person should look at.
    """

    def __init__(self, tell: Callable[[Problem], None]) -> None:
        self.unreadable = 0
        self.torn = 0
        self._tell = tell

    def __call__(self, problem: Problem) -> None:
        """Take one problem."""
        if problem.torn:
            self.torn += 1  # what kill -9 leaves behind; nothing was lost
            return
        if not problem.kept:
            self.unreadable += 1
        self._tell(problem)


def aggregate(
    folder: Path,
    exporters: Mapping[str, Exporter],
    *,
    beside: Path,
    manifest: Path | None = None,
    on_problem: Callable[[Problem], None] = results.ignore,
    on_results: Callable[[int], None] = lambda count: None,
    change: Callable[[StoredResult], StoredResult] | None = None,
) -> Summary:
    """Compile the results below a folder, and give the table to exporters.

    Parameters
    ----------
    folder
        An output folder of ``badc infer run``, or one that holds several.
    exporters
        What to call each in messages, and the exporter. Closed in any case; without results, nothing is written.
    beside
        A file; what does not fit in memory lies beside it for the time being.
    manifest
        Adds what results lack; results of another chunking of its recordings are left out.
    on_problem
        Told of every file, line or value that cannot be used.
    on_results
        Told now and then how many results were read.
    change
        Applied to every result before it is finished, for plugins that can finish in more than one way.

    Raises
    ------
    StoreError
        There is no such folder, or a file cannot be written.
    ManifestError
        The manifest cannot be read.
    """
    problems = Problems(on_problem)
    try:
        with Scratch(beside) as scratch:
            if manifest is not None:
                scratch.add_manifest(read_resolved(manifest), read_recordings(manifest).values())
            found = results.scan(folder, problems)
            unfinished = collect(map(change, found) if change else found, scratch, problems, on_results)
            counts = scratch.counts()
            summary = Summary(**counts, unreadable=problems.unreadable, torn=problems.torn, unfinished=unfinished)
            if summary.chunks:
                export(scratch.table(), exporters, attrs.asdict(summary))
    finally:
        abort(exporters.values())  # those that ended well do nothing
    return summary


def collect(
    found: Iterable[StoredResult],
    scratch: Scratch,
    on_problem: Callable[[Problem], None],
    on_results: Callable[[int], None] = lambda count: None,
) -> int:
    """Put results into a scratch as rows, finished where they need it; return how many recordings could not be."""
    finishing = Finishing(on_problem, scratch.folder, scratch.listed_chunks)
    builder = RowBuilder(on_problem, scratch.source_name)
    count = 0
    for count, stored in enumerate(finishing(found), 1):
        builder.add(stored)
        if len(builder) >= _ROWS_AT_ONCE:
            scratch.add(builder.take())
            on_results(count)
    if len(builder):
        scratch.add(builder.take())
    scratch.complete()
    on_results(count)
    return finishing.unfinished

"""Handing the detections table to exporters: which columns it has, who gets it, and how all of it ends.

The table is the contract between whoever compiles results and whoever writes them in some format. Its first 18 columns
are those of BADC 0.1; ``docs/reference/formats/tables.md`` describes every one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from badc_core.choosing import options_of
from badc_core.config import Settings
from badc_core.errors import BadcError, PluginError, UsageError
from badc_core.host import Host, load_object
from badc_core.protocols import ExportBatch, Exporter
from badc_core.specs import ExporterSpec

__all__ = ["COLUMNS", "PLACEHOLDER_LABEL", "Column", "Export", "RowBatch", "abort", "export", "open_exporters"]
__all__ += ["parse_export"]

PLACEHOLDER_LABEL = "none"
"""Label of the one row of a chunk without detections; such a row has neither times nor confidence."""


@frozen
class Column:
    """One column of the detections table.

    Parameters
    ----------
    name
        With its unit, where it has one.
    kind
        ``text``, ``integer`` (64 bits) or ``number`` (double precision). Every column can be null.
    meaning
        One line.
    """

    name: str
    kind: Literal["text", "integer", "number"]
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("recording_id", "text", "the recording"),
    Column("chunk_id", "text", "the chunk"),
    Column("chunk_start_ms", "integer", "start of the chunk in the recording"),
    Column("chunk_end_ms", "integer", "end of the chunk in the recording"),
    Column("timestamp_ms", "integer", "start of the detection within the chunk"),
    Column("absolute_time_ms", "integer", "start of the detection in the recording"),
    Column("end_ms", "integer", "end of the detection within the chunk"),
    Column("absolute_end_ms", "integer", "end of the detection in the recording"),
    Column("label", "text", "what was heard: the code, else the name; `none` where nothing was"),
    Column("label_code", "text", "the model's code for it"),
    Column("label_name", "text", "the model's readable name for it"),
    Column("confidence", "number", "0 to 1"),
    Column("status", "text", "what became of the chunk: `ok`, `no_detections`, `failed`, …"),
    Column("runner", "text", "which runner analysed it"),
    Column("model_version", "text", "with which version of its model"),
    Column("chunk_sha256", "text", "SHA-256 of the chunk's file"),
    Column("source_path", "text", "the file that was read"),
    Column("dataset_root", "text", "the dataset that holds it"),
    Column("study_area", "text", "where the recording was made, in the large"),
    Column("site", "text", "where the recording was made: the station"),
    Column("recorded_at", "text", "when the recording began, ISO 8601"),
    Column("detected_at", "text", "when the detection began, ISO 8601"),
    Column("low_hz", "number", "lower frequency bound of the detection"),
    Column("high_hz", "number", "upper frequency bound of the detection"),
    Column("missing_ms", "integer", "how much of the chunk could not be read"),
)
"""The detections table, in order."""


@frozen
class RowBatch:
    """Rows of the detections table as plain dicts: for tests, and where there are few.

    Parameters
    ----------
    data
        One mapping per row; a column that is missing is null.
    """

    data: Sequence[Mapping[str, Any]]

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Return the rows."""
        return iter(self.data)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows as Arrow columns, typed as :data:`COLUMNS` says; needs pyarrow."""
        import pyarrow as pa

        types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
        known = {column.name: types[column.kind] for column in COLUMNS}
        further = dict.fromkeys(key for row in self.data for key in row if key not in known)
        columns = {name: pa.array([row.get(name) for row in self.data], kind) for name, kind in known.items()}
        columns |= {name: pa.array([row.get(name) for row in self.data]) for name in further}
        return pa.table(columns).__arrow_c_stream__(requested_schema)


def export(
    batches: Iterable[ExportBatch],
    exporters: Mapping[str, Exporter],
    summary: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Give a table to all exporters, and end all of them well or none.

    Every exporter puts all its rows on disk before the first one publishes its file, so a disk that fills up costs none
    of the old files.

    Parameters
    ----------
    batches
        The table, in order.
    exporters
        What to call each in messages, and the exporter.
    summary
        What :meth:`~badc_core.protocols.Exporter.close` is told; a function is asked after the last batch.

    Returns
    -------
    Mapping
        The summary.

    Raises
    ------
    BadcError
        Of an exporter, with its name put before the message. Any other exception of an exporter becomes a
        :class:`~badc_core.errors.PluginError`. All exporters were told to leave nothing behind.
    """
    try:
        for batch in batches:
            for name, exporter in exporters.items():
                with _naming(name):
                    exporter.write(batch)
        for name, exporter in exporters.items():
            with _naming(name):
                exporter.checkpoint()
        facts = summary() if callable(summary) else summary
        for name, exporter in exporters.items():
            with _naming(name):
                exporter.close(facts)
    except BaseException:
        abort(exporters.values())
        raise
    return facts


def abort(exporters: Iterable[Exporter]) -> None:
    """Tell all exporters to leave nothing behind; those that were closed do nothing any more."""
    for exporter in exporters:
        with contextlib.suppress(Exception):  # the error that led here counts
            exporter.close(None)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except BadcError as error:
        error.message = f"Export {name}: {error.message}"
        raise
    except Exception as error:
        text = str(error).strip() or "no message"
        raise PluginError(
            f"The exporter {name} failed: {type(error).__name__}: {text}",
            hint="Nothing was written by it. The other formats can be made without it.",
        ) from error


@frozen
class Export:
    """One format that was asked for.

    Parameters
    ----------
    spec
        Who writes it.
    target
        Where to.
    """

    spec: ExporterSpec
    target: Path


def parse_export(text: str, host: Host, beside: Path) -> Export:
    """Understand ``NAME[=target]``.

    Parameters
    ----------
    text
        What was given to ``--export``.
    host
        Knows the exporters.
    beside
        A file whose name, with the exporter's suffix instead of its own, is used when no target is named.

    Raises
    ------
    UsageError
        An equals sign with nothing behind it.
    PluginError
        There is no such exporter.
    """
    name, equals, target = text.partition("=")
    spec = host.find(ExporterSpec, name.strip())
    if equals and not target.strip():
        raise UsageError(f"--export {text!r} names no file.", hint=f"Write --export {name}=FILE.")
    return Export(spec, Path(target).expanduser() if equals else beside.with_suffix(spec.suffix))


def open_exporters(wanted: Sequence[Export], settings: Settings | None = None) -> dict[str, Exporter]:
    """Open all exporters that were asked for; their options come from the tables ``[exporter.NAME]`` of the settings.

    Returns
    -------
    dict
        Name and target, for messages, and the exporter.

    Raises
    ------
    UsageError
        Two would write the same file, a target is a folder, or an option is wrong. Nothing stays open.
    """
    seen: dict[str, str] = {}
    for item in wanted:
        place = os.path.realpath(item.target)
        if place in seen:
            raise UsageError(
                f"The exporters {seen[place]!r} and {item.spec.name!r} would both write {item.target}.",
                hint="Name a file of its own for each: --export NAME=FILE.",
            )
        if item.target.is_dir():
            raise UsageError(f"Cannot write {item.target}: it is a folder.", hint="Name a file in it.")
        seen[place] = item.spec.name
    opened: dict[str, Exporter] = {}
    try:
        for item in wanted:
            name = item.spec.name
            values = settings.table("exporter", name) if settings is not None else {}
            options = options_of(item.spec, values, f"exporter {name!r}")
            with _naming(f"{name} to {item.target}"):
                opened[f"{name} to {item.target}"] = load_object(item.spec.open)(item.target, options)
    except BaseException:
        abort(opened.values())
        raise
    return opened

"""Tables of what results keep beside their detections: frame scores, embeddings; and detections at another threshold.

Results are read one after another, and rows written as they come, so memory does not grow with their number. Times
are those of the recording, as far as results tell where in it a chunk lies.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from badc_core.atomic import replacing
from badc_core.errors import BadcError, UsageError
from badc_core.results import Problem, StoredResult, part, scan
from badc_hawkears.engine.embeddings import EMBEDDINGS, decode_embeddings
from badc_hawkears.engine.frames import KEY
from badc_hawkears.rules import ClassRules, Settings, from_json, to_runs

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMATS", "at_threshold", "write_embeddings", "write_scores"]

FORMATS = (".csv", ".parquet")
_ROWS_AT_ONCE = 65_536
_DECIMALS = 6

Told = Callable[[Problem], None]
_Kept = tuple[StoredResult, Mapping[str, Any]]


def write_scores(folder: Path, target: Path, on_problem: Told) -> int:
    """Write all frame scores that results keep, a row for each; return how many.

    Parameters
    ----------
    folder
        An output folder of ``badc infer run -o keep=scores``, or one that holds several.
    target
        A CSV or Parquet file; the columns are ``recording_id``, ``chunk_id``, ``start_ms`` (of the frame, in the
        recording), ``label``, ``label_code``, ``label_name``, ``reported`` (whether HawkEars would name the class there
        and then) and ``score``.
    on_problem
        Told of every file or line that cannot be used.

    Raises
    ------
    UsageError
        The target is to be of another format.
    BadcError
        No result keeps scores, or some do not.
    StoreError
        There is no such folder, or the file cannot be written.
    """
    import pyarrow as pa

    texts = ("recording_id", "chunk_id", "label", "label_code", "label_name")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in texts[:2]),
            ("start_ms", pa.int64()),
            *((name, pa.string()) for name in texts[2:]),
            ("reported", pa.bool_()),
            ("score", pa.float64()),
        ]
    )
    kept = _entries(folder, KEY, "scores", on_problem)
    return _write(target, schema, _made(kept, lambda stored, entry: _score_rows(stored, entry, schema), on_problem))


def write_embeddings(folder: Path, target: Path, on_problem: Told) -> int:
    """Write all embeddings that results keep, a row for each window; return how many.

    Parameters
    ----------
    folder
        An output folder of ``badc infer run -o keep=embeddings``, or one that holds several.
    target
        A Parquet file; the columns are ``recording_id``, ``chunk_id``, ``start_ms`` and ``end_ms`` (of the window, in
        the recording) and ``embedding``, a list of numbers.
    on_problem
        Told of every file or line that cannot be used.

    Raises
    ------
    UsageError, BadcError, StoreError
        As :func:`write_scores`; embeddings of two lengths do not fit into one table either.
    """
    import pyarrow as pa

    if target.suffix.lower() != ".parquet":
        raise UsageError(f"{target} does not end in .parquet.", hint="Embeddings are lists, which CSV cannot hold.")
    kept = _entries(folder, EMBEDDINGS, "embeddings", on_problem)
    first = next(kept)
    size = first[1]["size"]
    schema = pa.schema(
        [
            ("recording_id", pa.string()),
            ("chunk_id", pa.string()),
            ("start_ms", pa.int64()),
            ("end_ms", pa.int64()),
            ("embedding", pa.list_(pa.float32(), size)),
        ]
    )
    kept = itertools.chain([first], kept)
    return _write(target, schema, _made(kept, lambda stored, entry: _embedding_rows(stored, entry, schema), on_problem))


def at_threshold(min_score: float) -> Callable[[StoredResult], StoredResult]:
    """Return what changes a result so that its finisher makes detections at another threshold.

    Parameters
    ----------
    min_score
        The threshold. What results keep must reach down to all that matters then.

    Notes
    -----
    The function raises :class:`~badc_core.errors.BadcError` for a result that keeps too little, or no scores at all.
    """

    def change(stored: StoredResult) -> StoredResult:
        document = stored.document
        if document.get("status") == "failed":
            return stored
        entry = document.get(KEY)
        if not isinstance(entry, Mapping):
            raise _lacking(stored, "scores")
        settings = from_json(Settings, part(entry, "settings"))
        if min_score < settings.min_score and entry.get("floor", 1.0) > _least(
            attrs.evolve(settings, min_score=min_score)
        ):
            lowest = f"{entry['floor']:g}, and not for all classes" if "floor" in entry else f"{settings.min_score:g}"
            raise BadcError(
                f"{stored.path} keeps too few scores for a threshold of {min_score:g}: they allow for {lowest}.",
                hint="Run again with -o keep=scores, and -o floor=… at or below the threshold, into another folder.",
            )
        changed = {**entry, "settings": {**entry["settings"], "min_score": min_score}}
        return attrs.evolve(stored, document={**document, KEY: changed})

    return change


def _least(settings: Settings) -> float:
    """Return the lowest score that can matter to a detection of any class."""
    boosted = max(settings.boost_above, settings.min_score ** (1 / settings.boost_exponent))
    return min(settings.min_score, settings.alike_score, settings.boost_score, boosted)


def _lacking(stored: StoredResult, what: str) -> BadcError:
    return BadcError(
        f"{stored.path} keeps no {what}.",
        hint=f"Run with --use-hawkears -o keep={what}, in the mode warm, into a folder of its own.",
    )


def _entries(folder: Path, key: str, word: str, on_problem: Told) -> Iterator[_Kept]:
    """Yield results with what they keep. Some keep nothing: chunks that failed, or in which no window begins."""
    first: StoredResult | None = None
    count = 0
    for stored in scan(folder, on_problem):
        first = first or stored
        entry = stored.document.get(key)
        if entry is None:
            continue
        if not isinstance(entry, Mapping) or (key == KEY and "floor" not in entry):  # only what matters to detections
            raise _lacking(stored, word)
        count += 1
        yield stored, entry
    if first is None:
        raise BadcError(f"There are no results in {folder}.", hint="Give the output folder of `badc infer run`.")
    if not count:
        raise _lacking(first, word)


def _made(kept: Iterable[_Kept], make: Callable[..., pa.RecordBatch], on_problem: Told) -> Iterator[pa.RecordBatch]:
    """Yield the rows of each result; one that cannot be understood is reported."""
    for stored, entry in kept:
        try:
            yield make(stored, entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            on_problem(Problem(stored.path, stored.line, f"what it keeps is damaged: {type(error).__name__}: {error}"))


def _shift_ms(stored: StoredResult) -> int:
    """Return where in the recording the file begins that was read."""
    window = part(stored.document, "chunk")
    return (window.get("start_ms") or 0) - (window.get("offset_ms") or 0)


def _score_rows(stored: StoredResult, entry: Mapping[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    import numpy as np
    import pyarrow as pa

    frame_ms, shift_ms = entry["frame_ms"], _shift_ms(stored)
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for code, told in entry["classes"].items():
        rule = from_json(ClassRules, told, trained_code=code)
        starts, scores = [], []
        for first, run in to_runs(told.get("frames", "")):
            starts.append(np.arange(first, first + len(run)) * frame_ms + shift_ms)
            scores.append(run.astype(np.float64).round(_DECIMALS))
        count = sum(map(len, scores))
        columns["start_ms"] += starts
        columns["score"] += scores
        for name, value in (("label", rule.label), ("label_code", rule.code), ("label_name", rule.name)):
            columns[name] += [value] * count
        columns["reported"] += [rule.reported] * count
    total = len(columns["label"])
    for name in ("recording_id", "chunk_id"):
        columns[name] = [stored.document[name]] * total
    for name in ("start_ms", "score"):
        columns[name] = np.concatenate(columns[name]) if total else []
    return pa.record_batch([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _embedding_rows(stored: StoredResult, entry: Mapping[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    import numpy as np
    import pyarrow as pa

    vectors = decode_embeddings(entry).astype(np.float32)
    wanted = schema.field("embedding").type.list_size
    if len(vectors) and vectors.shape[1] != wanted:
        raise BadcError(
            f"{stored.path} keeps embeddings of {vectors.shape[1]} numbers, others have {wanted}.",
            hint="They are of different models, and make no sense in one table.",
        )
    starts = np.array(entry["first_ms"], np.int64) + _shift_ms(stored)
    ids = [[stored.document[name]] * len(starts) for name in ("recording_id", "chunk_id")]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), wanted)
    return pa.record_batch([*map(pa.array, ids), starts, starts + entry["window_ms"], flat], schema=schema)


def _write(target: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a table as the target's name says; return its rows."""
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{target} ends in neither of {', '.join(FORMATS)}.", hint="Choose one of them.")
    batches = iter(batches)
    first = next(batches)  # before there is any file, so that none is left when there is nothing to put into it
    tables = _gathered(itertools.chain([first], batches))
    rows = 0
    with replacing(target, "wb") as file:
        write, close = _parquet(file, schema) if suffix == ".parquet" else _csv(file, schema)
        try:
            for table in tables:
                write(table)
                rows += table.num_rows
        finally:
            close()
    return rows


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put small batches together, so that row groups are not small."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _ROWS_AT_ONCE or len(waiting) >= _ROWS_AT_ONCE:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _parquet(file: Any, schema: pa.Schema) -> tuple[Callable[[pa.Table], None], Callable[[], None]]:
    import pyarrow.parquet as pq

    writer = pq.ParquetWriter(file, schema, compression="zstd")
    return writer.write_table, writer.close


def _csv(file: Any, schema: pa.Schema) -> tuple[Callable[[pa.Table], None], Callable[[], None]]:
    from badc_duckdb.csv_file import csv_text

    file.write((",".join(schema.names) + "\n").encode())
    return lambda table: file.write(csv_text(table)), lambda: None

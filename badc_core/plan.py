"""The plan: what will be done, frozen before anything runs.

A run folder, ``<output>/.badc/<run id>/``, holds

* ``plan.json``: runner, options, model, fingerprint, versions, counts;
* ``chunks.jsonl``: the chunks to do, one JSON object a line, in the manifest's order;
* ``shards.jsonl``: which lines and bytes of ``chunks.jsonl`` each shard covers.

Chunks are streamed from the manifest into the file: memory does not grow with their number beyond 16 bytes each.
"""

from __future__ import annotations

import array
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from attrs import field, frozen

from badc_core.atomic import replacing, write_bytes
from badc_core.errors import ManifestError
from badc_core.json_text import dump_json, load_json
from badc_core.model import Chunk, Recording
from badc_core.protocols import RunnerIdentity
from badc_core.results import Layout, recording_facts
from badc_core.serde import SCHEMA_VERSION, parse_start_time, structure, unstructure
from badc_core.specs import RunnerSpec

__all__ = [
    "Plan",
    "Shard",
    "ShardSize",
    "Task",
    "fingerprint",
    "read_plan",
    "read_shards",
    "read_tasks",
    "write_chunks",
    "write_plan",
]

CHUNKS_FILE = "chunks.jsonl"
SHARDS_FILE = "shards.jsonl"
PLAN_FILE = "plan.json"


@frozen
class Plan:
    """What will be done.

    Parameters
    ----------
    run_id
        UTC stamp and a random tail; sorts by time.
    created_at
        ISO 8601, UTC.
    manifest, manifest_sha256
        Where the chunks came from, and what the file was then.
    runner, options
        The runner and all its options, defaults included.
    identity
        The model, as :attr:`RunnerSpec.identify` told.
    fingerprint
        Of everything that can change a result; see :func:`fingerprint`.
    open, isolation, options_class
        Import strings and isolation of the runner's spec, so that a worker needs no plugin host.
    bases
        Output folders; each chunk names its own by number.
    layout
        How results are kept.
    max_retries, timeout_s, fail_fast
        What to do with chunks that fail or hang.
    total, done, chunks
        Chunks in the manifest, finished before, and to do.
    audio_ms
        Length of the chunks to do, together.
    shards
        How many shards they were put into.
    versions
        Of BADC, Python and the runner's distribution, to explain a run.
    finisher
        ``PLUGIN:RUNNER`` when the runner's spec has a finisher, else ``None``; see :attr:`ChunkResult.finisher`.
    max_gpus, cpu_workers
        Worker slots asked for, on each machine that works; see :func:`badc_core.devices.worker_slots`.
    replace
        Results of another runner, model or options may be in the way, and are made anew.
    by_place
        Only results that were made for the same place and time of a recording count.
    schema
        Version of this file's form.
    """

    run_id: str
    created_at: str
    manifest: Path
    manifest_sha256: str
    runner: str
    options: Mapping[str, Any]
    identity: RunnerIdentity
    fingerprint: str
    open: str
    isolation: str
    options_class: str | None
    bases: tuple[Path, ...]
    layout: Layout
    max_retries: int = 2
    timeout_s: float | None = None
    fail_fast: bool = False
    total: int = 0
    done: int = 0
    chunks: int = 0
    audio_ms: int = 0
    shards: int = 0
    versions: Mapping[str, str] = field(factory=dict)
    finisher: str | None = None
    max_gpus: int | None = None
    cpu_workers: int = 0
    replace: bool = False
    by_place: bool = False
    schema: int = SCHEMA_VERSION


@frozen
class Shard:
    """A piece of ``chunks.jsonl`` that one worker does in one go.

    Parameters
    ----------
    index
        From 0.
    first, count
        Its lines, from 0.
    start_byte, stop_byte
        Where those lines lie.
    audio_ms
        Length of its chunks, together.
    """

    index: int
    first: int
    count: int
    start_byte: int
    stop_byte: int
    audio_ms: int


@frozen
class ShardSize:
    """How large shards may become; whichever limit is reached first ends one.

    Parameters
    ----------
    chunks
        At most so many chunks.
    audio_ms
        At most so much to analyse, but always one chunk; ``None``: no limit.
    at_least
        Make at least so many shards where there are chunks enough, so that all workers have some.
    """

    chunks: int = 256
    audio_ms: int | None = None
    at_least: int = 1


@frozen
class Task:
    """One chunk to do, with all a worker needs.

    Parameters
    ----------
    chunk, recording
        What to analyse.
    base
        The output folder of its result.
    source_size, source_mtime_ns
        Bytes of the source and when it was last written, when the plan was made; ``None``: it was not there.
    """

    chunk: Chunk
    recording: Recording
    base: Path
    source_size: int | None = None
    source_mtime_ns: int | None = None


def fingerprint(spec: RunnerSpec, identity: RunnerIdentity, options: Mapping[str, Any]) -> str:
    """Return 16 hex digits that stand for everything that can change a result, besides the chunk.

    SHA-256 over the canonical JSON of the runner's name and ``results_version``, the model's name, version and weights
    digest, and the options that affect results.
    """
    facts = {
        "runner": spec.name,
        "results_version": spec.results_version,
        "model": identity.model,
        "version": identity.version,
        "weights": identity.weights_digest,
        "options": options,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


# ----------------------------------------------------------------------------------------------- writing


def write_chunks(folder: Path, tasks: Iterable[tuple[Task, int]], size: ShardSize) -> tuple[int, int, int]:
    """Write ``chunks.jsonl`` and ``shards.jsonl``.

    Parameters
    ----------
    folder
        The run folder.
    tasks
        What to do, each with the number of its output folder.
    size
        Of the shards.

    Returns
    -------
    tuple of int
        Chunks, their length in ms, shards.
    """
    stops = array.array("Q")
    lengths = array.array("Q")
    position = 0
    last: Recording | None = None
    facts = orjson.Fragment(b"{}")
    with replacing(folder / CHUNKS_FILE, "wb") as file:
        for task, base in tasks:
            if task.recording is not last:
                last = task.recording
                facts = orjson.Fragment(dump_json(_recording_entry(last)))
            line = _chunk_line(task, base, facts)
            file.write(line)
            position += len(line)
            stops.append(position)
            lengths.append(task.chunk.duration_ms or 0)
    shards = 0
    with replacing(folder / SHARDS_FILE, "wb") as file:
        for shard in _cut(stops, lengths, size):
            file.write(orjson.dumps(unstructure(shard)) + b"\n")
            shards += 1
    return len(stops), sum(lengths), shards


def _recording_entry(recording: Recording) -> dict[str, Any]:
    entry = recording_facts(recording)
    entry["path"] = str(recording.path)
    for key in ("sample_rate_hz", "channels", "duration_ms"):
        if (value := getattr(recording, key)) is not None:
            entry[key] = value
    return entry


def _chunk_line(task: Task, base: int, recording: orjson.Fragment) -> bytes:
    chunk = task.chunk
    entry: dict[str, Any] = {
        "chunk_id": chunk.chunk_id,
        "recording_id": chunk.recording_id,
        "source_path": str(chunk.source_path),
        "start_ms": chunk.start_ms,
        "end_ms": chunk.end_ms,
        "overlap_ms": chunk.overlap_ms,
        "offset_ms": chunk.offset_ms,
        "sha256": chunk.sha256,
        "notes": chunk.notes,
        "base": base,
        "source_size": task.source_size,
        "source_mtime_ns": task.source_mtime_ns,
        "recording": recording,
    }
    try:
        return orjson.dumps(entry) + b"\n"
    except TypeError:  # a name that is no UTF-8
        entry["recording"] = _recording_entry(task.recording)
        return dump_json(entry) + b"\n"


def _cut(stops: array.array[int], lengths: array.array[int], size: ShardSize) -> Iterator[Shard]:
    most = max(1, min(size.chunks, len(stops) // max(1, size.at_least)))
    first, index = 0, 0
    while first < len(stops):
        count, audio_ms = 1, lengths[first]
        while (
            first + count < len(stops)
            and count < most
            and (size.audio_ms is None or audio_ms + lengths[first + count] <= size.audio_ms)
        ):
            audio_ms += lengths[first + count]
            count += 1
        start = stops[first - 1] if first else 0
        yield Shard(index, first, count, start, stops[first + count - 1], audio_ms)
        first, index = first + count, index + 1


def write_plan(folder: Path, plan: Plan) -> None:
    """Write ``plan.json``, the last file of a plan: where it is, the others are complete."""
    write_bytes(folder / PLAN_FILE, dump_json(unstructure(plan), indent=True) + b"\n")


# ----------------------------------------------------------------------------------------------- reading


def read_plan(folder: Path) -> Plan:
    """Read ``plan.json``.

    Raises
    ------
    ManifestError
        It is missing, torn, or of another version of BADC.
    """
    path = folder / PLAN_FILE
    try:
        entry = load_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ManifestError(f"There is no plan in {folder}.", hint="Run `badc infer run` again.") from error
    except ValueError as error:
        raise ManifestError(f"{path} is not a plan: {error}.", hint="Run `badc infer run` again.") from error
    if entry.get("schema") != SCHEMA_VERSION:
        raise ManifestError(f"{path} was written by another version of BADC (schema {entry.get('schema')}).")
    return structure(entry, Plan)


def read_shards(folder: Path) -> Iterator[Shard]:
    """Yield the shards of a plan."""
    with (folder / SHARDS_FILE).open("rb") as file:
        for line in file:
            yield Shard(**orjson.loads(line))


def read_tasks(folder: Path, plan: Plan, shard: Shard) -> list[Task]:
    """Read the chunks of one shard."""
    with (folder / CHUNKS_FILE).open("rb") as file:
        file.seek(shard.start_byte)
        data = file.read(shard.stop_byte - shard.start_byte)
    tasks = []
    last_facts: Mapping[str, Any] | None = None
    last: Recording | None = None
    source, path = "", Path()
    for line in data.splitlines():
        entry = load_json(line)
        if entry["source_path"] != source:
            source = entry["source_path"]
            path = Path(source)
        facts = entry["recording"]
        if last is None or facts != last_facts or last.recording_id != entry["recording_id"]:
            last_facts, last = facts, _recording(entry["recording_id"], facts)
        chunk = Chunk(
            entry["chunk_id"],
            entry["recording_id"],
            path,
            entry["start_ms"],
            entry["end_ms"],
            entry["overlap_ms"],
            entry["offset_ms"],
            entry["sha256"],
            entry["notes"],
        )
        tasks.append(Task(chunk, last, plan.bases[entry["base"]], entry["source_size"], entry["source_mtime_ns"]))
    return tasks


def _recording(recording_id: str, facts: Mapping[str, Any]) -> Recording:
    values = dict(facts)
    path = Path(values.pop("path"))
    started_at = values.pop("started_at", None)
    return Recording(
        recording_id, path, started_at=None if started_at is None else parse_start_time(started_at), **values
    )

"""What each task of a run that went on by itself did, where and how: one JSON file beside the run's log.

``<log>.tasks.json`` says what the run was (model, fingerprint, versions, manifest, scheduler), and for each shard which
task did it, on which machine and device, how often it was begun, and why earlier tasks ended. It is made of what lies
in the run folder: the same folder gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from badc_core.atomic import explain, write_bytes
from badc_core.json_text import dump_json, load_json
from badc_core.plan import Shard, read_plan, read_shards
from badc_core.relay import EVENTS_FOLDER
from badc_core.run_folders import SHARDS_FOLDER, done_facts, read_asked
from badc_core.serde import unstructure

__all__ = ["TASKS_ENDING", "task_facts", "write_task_facts"]

TASKS_ENDING = ".tasks.json"
_OF_THE_RUN = frozenset(
    {"run_id", "created_at", "runner", "options", "identity", "fingerprint", "versions", "manifest_sha256", "layout"}
    | {"chunks", "audio_ms"}
)


def task_facts(folder: Path) -> dict[str, Any]:
    """Return what is known of a run's tasks, as JSON values.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    ManifestError
        It cannot be read.
    """
    plan, asked = read_plan(folder), read_asked(folder)
    about = {name: value for name, value in unstructure(plan).items() if name in _OF_THE_RUN}
    about |= {"manifest": plan.manifest.name, "scheduler": asked.scheduler}
    about["scheduler_options"] = dict(asked.scheduler_options)
    return {"run": about, "shards": [_of_shard(folder, shard) for shard in read_shards(folder)]}


def write_task_facts(folder: Path) -> Path:
    """Write ``<log>.tasks.json``, and return where it lies.

    Raises
    ------
    BadcError
        The run folder cannot be read, or the file not be written.
    """
    log = read_asked(folder).telemetry_log
    path = log.with_name(log.name + TASKS_ENDING)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain(error, path) from error
    write_bytes(path, dump_json(task_facts(folder), indent=True) + b"\n")
    return path


def _of_shard(folder: Path, shard: Shard) -> dict[str, Any]:
    done = done_facts(folder, shard.index)
    events = sorted((folder / EVENTS_FOLDER).glob(f"{shard.index:06d}.*jsonl"))
    return {
        "shard": shard.index,
        "chunks": shard.count,
        "audio_ms": shard.audio_ms,
        "task": done.get("life"),
        "node": done.get("place"),
        "done_at": done.get("done_at"),
        "failed_chunks": done.get("failures"),
        "workers": list(done.get("reports", ())),
        "devices": sorted({name for path in events if (name := _device(path)) is not None}),
        "begun": len(events),
        "ended_badly": list(_errors(folder, shard.index)),
    }


def _device(path: Path) -> str | None:
    """Return the name of the GPU that a task's first event tells of."""
    try:
        with path.open("rb") as file:
            entry = load_json(file.readline())
    except (OSError, ValueError):
        return None
    return entry.get("gpu_name") if isinstance(entry, dict) else None


def _errors(folder: Path, shard: int) -> Iterator[Mapping[str, Any]]:
    """Yield why tasks of a shard ended before it was done, as they said it."""
    for path in sorted((folder / SHARDS_FOLDER).glob(f"{shard:06d}.*.error.json")):
        try:
            entry = load_json(path.read_bytes())
        except (OSError, ValueError):
            continue
        life = path.name.removeprefix(f"{shard:06d}.").removesuffix(".error.json")
        yield {"task": life, "at": entry.get("at"), "error": entry.get("error")}

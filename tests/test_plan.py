"""The frozen plan: what is written is what is read, in shards that cover every chunk once."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badc_core import plan
from badc_core.errors import ManifestError
from badc_core.model import Chunk, Instant, LocalTime, Recording
from badc_core.plan import Plan, ShardSize, Task
from badc_core.protocols import RunnerIdentity
from badc_core.specs import RunnerSpec

SPEC = RunnerSpec("lab", "x", open="lab:open")
IDENTITY = RunnerIdentity("lab", "1.0", "ab" * 32)


def _plan(folder: Path, **more: Any) -> Plan:
    values: dict[str, Any] = {
        "run_id": "20250101T000000Z-00", "created_at": "2025-01-01T00:00:00.000000+00:00", "manifest": folder / "m.csv",
        "manifest_sha256": "00" * 32, "runner": "lab", "options": {"threshold": 0.5, "log": None}, "identity": IDENTITY,
        "fingerprint": "f" * 16, "open": "lab:open", "isolation": "thread", "options_class": None,
        "bases": (folder / "out", folder / "other"), "layout": "files",
    }  # fmt: skip
    return Plan(**{**values, **more})


def _tasks(bases: tuple[Path, ...], recordings: int = 3, chunks: int = 7) -> list[tuple[Task, int]]:
    started = (None, LocalTime(dt.datetime(2025, 5, 3, 4)), Instant(dt.datetime(2025, 5, 3, 4, tzinfo=dt.UTC)))
    found = []
    for r in range(recordings):
        source = Path(f"/data/R{r}.wav")
        recording = Recording(f"R{r}", source, 8000 * r or None, 1, 9000, started[r % 3], "area", None, "d", 49.5, -1.0)
        for c in range(chunks):
            chunk = Chunk(f"R{r}_{c}", f"R{r}", source, 3000 * c, 3000 * (c + 1), 0, 3000 * c, None, "n" if c else None)
            found.append((Task(chunk, recording, bases[r % len(bases)], 1000 + r, 10**18 + r), r % len(bases)))
    return found


def test_what_was_planned_is_read_back(tmp_path: Path):
    made = _plan(tmp_path)
    tasks = _tasks(made.bases)
    chunks, audio_ms, shards = plan.write_chunks(tmp_path, iter(tasks), ShardSize(chunks=4))
    assert (chunks, audio_ms) == (21, 21 * 3000)
    made = attrs.evolve(made, chunks=chunks, audio_ms=audio_ms, shards=shards)
    plan.write_plan(tmp_path, made)
    assert plan.read_plan(tmp_path) == made
    found = list(plan.read_shards(tmp_path))
    assert [shard.index for shard in found] == list(range(shards)) == list(range(6))
    read = [task for shard in found for task in plan.read_tasks(tmp_path, made, shard)]
    assert read == [task for task, _ in tasks]


def test_chunks_of_one_recording_share_it(tmp_path: Path):
    made = _plan(tmp_path)
    plan.write_chunks(tmp_path, iter(_tasks(made.bases, 1)), ShardSize())
    (shard,) = plan.read_shards(tmp_path)
    read = plan.read_tasks(tmp_path, made, shard)
    assert all(task.recording is read[0].recording for task in read)


def test_names_that_make_trouble_are_read_back(tmp_path: Path):
    made = _plan(tmp_path)
    tasks = []
    for name in ("a\nb\r\u2028\x85c", os.fsdecode(b"\xf6"), 'q"u,o', "\t\0x"):
        source = Path("/data") / name.replace("\0", "")
        tasks.append((Task(Chunk(name, name, source), Recording(name, source, site=name), made.bases[0]), 0))
    plan.write_chunks(tmp_path, iter(tasks), ShardSize())
    (shard,) = plan.read_shards(tmp_path)
    assert plan.read_tasks(tmp_path, made, shard) == [task for task, _ in tasks]


def test_a_plan_with_paths_that_are_no_utf_8(tmp_path: Path):
    made = _plan(tmp_path, bases=(Path(os.fsdecode(b"/data/\xf6")),))
    plan.write_plan(tmp_path, made)
    assert plan.read_plan(tmp_path) == made


def test_nothing_to_do(tmp_path: Path):
    assert plan.write_chunks(tmp_path, iter(()), ShardSize()) == (0, 0, 0)
    assert list(plan.read_shards(tmp_path)) == []


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 100_000), max_size=60),
    st.integers(1, 20),
    st.none() | st.integers(1, 300_000),
    st.integers(1, 30),
)
def test_shards_cover_every_chunk_once(lengths: list[int], most: int, audio_ms: int | None, at_least: int):
    import array

    stops = array.array("Q", [100 * (n + 1) for n in range(len(lengths))])
    shards = list(plan._cut(stops, array.array("Q", lengths), ShardSize(most, audio_ms, at_least)))
    covered = [number for shard in shards for number in range(shard.first, shard.first + shard.count)]
    assert covered == list(range(len(lengths)))
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(1 <= shard.count <= most for shard in shards)
    assert all((shard.start_byte, shard.stop_byte) == (100 * shard.first, 100 * (shard.first + shard.count))
               for shard in shards)  # fmt: skip
    assert len(shards) >= min(at_least, len(lengths))
    for shard in shards:
        assert shard.audio_ms == sum(lengths[shard.first : shard.first + shard.count])
        assert audio_ms is None or shard.count == 1 or shard.audio_ms <= audio_ms


@pytest.mark.parametrize("data", [b"", b"{", b'{"schema": 1'])
def test_a_torn_plan(data: bytes, tmp_path: Path):
    (tmp_path / "plan.json").write_bytes(data)
    with pytest.raises(ManifestError, match="is not a plan"):
        plan.read_plan(tmp_path)


def test_no_plan_and_a_plan_of_the_future(tmp_path: Path):
    with pytest.raises(ManifestError, match="There is no plan"):
        plan.read_plan(tmp_path)
    plan.write_plan(tmp_path, _plan(tmp_path))
    entry = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**entry, "schema": 99}))
    with pytest.raises(ManifestError, match="another version"):
        plan.read_plan(tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        plan.fingerprint(attrs.evolve(SPEC, name="lib"), IDENTITY, {}),
        plan.fingerprint(attrs.evolve(SPEC, results_version="2"), IDENTITY, {}),
        plan.fingerprint(SPEC, attrs.evolve(IDENTITY, model="m"), {}),
        plan.fingerprint(SPEC, attrs.evolve(IDENTITY, version="1.1"), {}),
        plan.fingerprint(SPEC, attrs.evolve(IDENTITY, weights_digest=None), {}),
        plan.fingerprint(SPEC, IDENTITY, {"threshold": 0.5}),
    ],
)
def test_everything_that_changes_results_changes_the_fingerprint(other: str):
    assert plan.fingerprint(SPEC, IDENTITY, {}) != other


def test_a_fingerprint_is_stable():
    """Written into every result: another one would make every store foreign."""
    assert plan.fingerprint(SPEC, IDENTITY, {"b": 1, "a": [0.5, None]}) == plan.fingerprint(
        attrs.evolve(SPEC, summary="other", open="moved:open", isolation="process"),
        IDENTITY,
        {"a": [0.5, None], "b": 1},
    )
    assert plan.fingerprint(SPEC, RunnerIdentity("lab"), {}) == "22ef4ca7da7fd36c"

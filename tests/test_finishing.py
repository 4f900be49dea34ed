"""Results of one recording come together, are finished once, and nothing is lost where they cannot be."""

from __future__ import annotations

import json
import random
import types
from pathlib import Path

import attrs
import pytest
from runs import documents, make_manifest, start

from badc_core import hookimpl, results
from badc_core.finishing import CONTINUED, Finishing, finish, to_result
from badc_core.host import Host
from badc_core.model import Chunk, ChunkResult, Detection, Instant, Recording
from badc_core.results import document
from badc_core.seams import CONTINUES, RUNS_ON_MS, join, own_part
from badc_core.serde import parse_start_time
from badc_core.specs import RunnerSpec

CHUNK_MS = 10_000


def host(*specs: RunnerSpec) -> Host:
    """Know these runners, and no others."""
    lab = types.ModuleType("badc_lab")

    @hookimpl
    def badc_runners():
        return specs

    lab.badc_runners = badc_runners
    return Host([lab], installed=False)


def count_all(found):
    """A finisher: one detection, where the recording begins, that tells how many results it was given."""
    yield (
        found[0].chunk.chunk_id,
        Detection(0, 1, f"{len(found)} results", extra={"order": [r.chunk.start_ms for r in found]}),
    )


def burst(found):
    raise ValueError("no such class")


def nowhere(found):
    return [("elsewhere", Detection(0, 1, "x"))]


LABS = host(
    RunnerSpec("counts", "Counts", open="badc_lab:open", finish=f"{__name__}:count_all"),
    RunnerSpec("joins", "Joins", open="badc_lab:open", finish="badc_core.seams:join"),
    RunnerSpec("plain", "Has no finisher", open="badc_lab:open"),
    RunnerSpec("away", "Its finisher cannot be imported", open="badc_lab:open", finish="no_such_module:finish"),
)


def result(index: int, *found: Detection, recording_id: str = "r", length: int = CHUNK_MS, **more) -> ChunkResult:
    start = index * CHUNK_MS
    source = Path(f"/audio/{recording_id}.wav")
    recording = Recording(recording_id, source, started_at=parse_start_time("2026-05-03T04:00:00"), site="A")
    chunk = Chunk(f"{recording_id}_{index}", recording_id, source, start, start + length, 0, start)
    fields = {"finisher": "badc-lab:joins", "fingerprint": "f", "extra": {"frames": [index]}} | more
    return ChunkResult(chunk, recording, "ok" if found else "no_detections", found, "lab", **fields)


def put(folder: Path, result: ChunkResult) -> None:
    path = folder / result.chunk.recording_id / f"{result.chunk.chunk_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(result, "run")))


def put_segment(folder: Path, name: str, some: list[ChunkResult]) -> None:
    path = folder / "_segments" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(json.dumps(document(one, "run")).encode() + b"\n" for one in some))


def finished(folder: Path, *, listed=lambda recording_id: None, labs=LABS):
    """Return the documents by chunk, what was told, and the count of unfinished recordings."""
    told = []
    finishing = Finishing(told.append, folder, listed, labs)
    found = {stored.document["chunk_id"]: stored.document for stored in finishing(results.scan(folder))}
    return found, [str(problem) for problem in told], finishing.unfinished


def test_a_result_comes_back_as_it_was():
    """What a finisher is told is what the worker committed."""
    there = result(
        3, Detection(5, 7, "a", "A", "an a", 0.5, 1.0, 2.0, {"x": [1]}), missing_ms=4, model_version="2", attempts=1
    )
    assert to_result(json.loads(json.dumps(document(there, "run")))) == there


def test_what_differs_between_runs_is_not_told():
    there = result(0, attempts=3, runtime_s=1.5)
    assert to_result(document(there, "run")) == result(0)


def test_an_instant_stays_one():
    there = result(0)
    instant = attrs.evolve(
        there, recording=attrs.evolve(there.recording, started_at=parse_start_time("2026-05-03T04:00:00Z"))
    )
    assert isinstance(to_result(document(instant, "run")).recording.started_at, Instant)


@pytest.mark.parametrize("layout", ["files", "segments", "both"])
def test_results_of_a_recording_come_together(tmp_path, layout):
    """Whatever the layout, and however they lie; two recordings are two calls."""
    some = [result(i, recording_id=name, finisher="badc-lab:counts") for i in range(6) for name in ("r", "s")]
    random.Random(1).shuffle(some)
    if layout == "files":
        for one in some:
            put(tmp_path, one)
    else:
        put_segment(tmp_path, "20260101T000000Z-0.cpu-0.h-1.jsonl", some[:5])
        put_segment(tmp_path, "20260101T000000Z-0.cpu-1.h-2.jsonl", some[5:9])
        for one in some[9:]:
            put(tmp_path, one) if layout == "both" else put_segment(
                tmp_path, f"20260102T000000Z-0.{one.chunk.chunk_id}.h-1.jsonl", [one]
            )
    found, told, _ = finished(tmp_path)
    assert told == []
    assert len(found) == 12
    for name in ("r", "s"):
        (only,) = found[f"{name}_0"]["detections"]
        assert only["label"] == "6 results"
        assert only["order"] == [i * CHUNK_MS for i in range(6)]
        assert found[f"{name}_0"]["status"] == "ok"
        assert all(found[f"{name}_{i}"]["detections"] == [] for i in range(1, 6))
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_other_models_and_folders_are_other_recordings(tmp_path):
    """Results of two fingerprints, or of two output folders, are never mixed."""
    for base in ("one", "two"):
        for index in range(4):
            put(tmp_path / base, result(index, finisher="badc-lab:counts", fingerprint="old" if index < 1 else "new"))
    told = []
    labels = [
        found["label"]
        for stored in Finishing(told.append, tmp_path, host=LABS)(results.scan(tmp_path))
        for found in stored.document["detections"]
    ]
    assert sorted(labels) == ["1 results", "1 results", "3 results", "3 results"]


def test_results_without_a_finisher_are_untouched(tmp_path):
    """They are the very objects, in their order, and nothing is looked up for them."""
    put(tmp_path, result(0, Detection(0, 5, "a"), finisher=None))
    put(tmp_path, result(1, finisher=None))
    there = list(results.scan(tmp_path))
    passed = list(Finishing(pytest.fail, tmp_path, pytest.fail, LABS)(there))
    assert all(one is other for one, other in zip(there, passed, strict=True))


def test_chunks_that_the_manifest_does_not_name_are_not_finished(tmp_path):
    for index in range(4):
        put(tmp_path, result(index, Detection(0, 5, "own"), finisher="badc-lab:counts"))
    found, _, _ = finished(tmp_path, listed=lambda recording_id: frozenset({"r_1", "r_2"}))
    assert [found[f"r_{i}"]["detections"][0]["label"] if found[f"r_{i}"]["detections"] else None for i in range(4)] == [
        "own",
        "2 results",
        None,
        "own",
    ]


@pytest.mark.parametrize(
    ("finisher", "words"),
    [
        ("badc-owl:owl", "the plugin badc-owl, which brings the runner 'owl', is not installed here"),
        ("badc-lab:plain", "has no finisher in the version that is installed here"),
        ("badc-lab:away", "cannot be used: "),
    ],
)
def test_a_finisher_that_cannot_be_had_is_told_once(tmp_path, finisher, words):
    """Rows are then those of the chunks, and every recording is counted."""
    for name in ("r", "s"):
        put(tmp_path, result(0, Detection(0, 5, "own"), recording_id=name, finisher=finisher))
    found, told, unfinished = finished(tmp_path)
    assert len(told) == 1
    assert words in told[0]
    assert "those of the chunks" in told[0]
    assert unfinished == 2
    assert [entry["detections"][0]["label"] for entry in found.values()] == ["own", "own"]


@pytest.mark.parametrize(
    ("function", "words"),
    [("burst", "ValueError: no such class"), ("nowhere", "lies in a chunk of which there is no result")],
)
def test_a_finisher_that_fails_costs_one_recording(tmp_path, function, words):
    labs = host(RunnerSpec("joins", "Fails", open="badc_lab:open", finish=f"{__name__}:{function}"))
    put(tmp_path, result(0, Detection(0, 5, "own")))
    found, told, unfinished = finished(tmp_path, labs=labs)
    assert words in told[0]
    assert "'r'" in told[0]
    assert unfinished == 1
    assert found["r_0"]["detections"][0]["label"] == "own"


def test_a_result_that_somebody_broke_is_told(tmp_path):
    put(tmp_path, result(0, Detection(0, 5, "own")))
    path = tmp_path / "r/r_0.json"
    entry = json.loads(path.read_text())
    del entry["detections"][0]["label"]
    path.write_text(json.dumps(entry))
    found, told, _ = finished(tmp_path)
    assert len(told) == 1
    assert found["r_0"]["detections"][0]["timestamp_ms"] == 0


def failed(index: int) -> ChunkResult:
    return attrs.evolve(result(index), status="failed", error="lost")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("r_1", Detection(0, 1, "x")), "in a chunk that failed"),
        (("r_0", Detection(CHUNK_MS + 1, CHUNK_MS + 2, "x")), "past the end of the chunk"),
        (("r_0", Detection(-1, 2, "x")), "before the chunk"),
        (("r_0", Detection(0, 2, "x", confidence=float("nan"))), "confidence"),
        (("r_0", "x"), "not a Detection"),
        (("r_9", Detection(0, 2, "x")), "no result"),
        ("r_0", "not pairs"),
    ],
)
def test_what_a_finisher_returns_is_checked(pair, words):
    from badc_core.errors import RunnerError

    with pytest.raises(RunnerError, match=words):
        finish([result(0), failed(1)], lambda found: [pair])


def test_a_joined_detection_is_one_row_where_it_begins():
    """It may end past its chunk; the chunks it runs through have a word of their own."""
    pieces = [
        result(0, Detection(2_000, CHUNK_MS, "a", confidence=0.5, low_hz=100.0, extra={CONTINUES: True, "n": 1})),
        result(1, Detection(0, CHUNK_MS, "a", confidence=0.9, low_hz=50.0, extra={CONTINUES: True})),
        result(2, Detection(0, 1_000, "a", confidence=0.7), Detection(3_000, 4_000, "a", confidence=0.3)),
        result(3),
    ]
    random.Random(2).shuffle(pieces)
    done = finish(pieces, join)
    assert [one.status for one in done] == ["ok", CONTINUED, "ok", "no_detections"]
    assert list(done[0].detections) == [Detection(2_000, 21_000, "a", confidence=0.9, low_hz=50.0, extra={"n": 1})]
    assert list(done[2].detections) == [Detection(3_000, 4_000, "a", confidence=0.3)]


@pytest.mark.parametrize(
    "second",
    [
        result(1, Detection(0, 1_000, "b")),
        result(1, Detection(1, 1_000, "a")),
        result(2, Detection(0, 1_000, "a")),
        failed(1),
    ],
    ids=["another label", "a gap", "a chunk between is missing", "failed"],
)
def test_what_does_not_touch_is_not_joined(second):
    first = result(0, Detection(9_000, CHUNK_MS, "a", extra={CONTINUES: True}))
    done = finish([first, second], join)
    assert [(d.start_ms, d.end_ms) for d in done[0].detections] == [(9_000, CHUNK_MS)]
    assert len(done[1].detections) == len(second.detections)
    assert done[1].status == second.status


def test_without_a_mark_nothing_is_joined():
    """Two calls may well touch."""
    done = finish([result(0, Detection(9_000, CHUNK_MS, "a")), result(1, Detection(0, 1_000, "a"))], join)
    assert [len(one.detections) for one in done] == [1, 1]


def test_one_that_begins_after_the_cut_is_another():
    """Labels of a fixed length touch one another."""
    first = result(0, Detection(8_000, CHUNK_MS, "a", extra={CONTINUES: True}))
    done = finish([first, result(1, Detection(0, 2_000, "a"), Detection(2_000, 6_000, "a"))], join)
    assert [(d.start_ms, d.end_ms) for d in done[0].detections] == [(8_000, 12_000)]
    assert [(d.start_ms, d.end_ms) for d in done[1].detections] == [(2_000, 6_000)]


def test_it_runs_on_over_chunks_that_lie_before_its_end():
    """A chunk may be shorter than a window, and then no window begins in it."""
    marks = {CONTINUES: True, RUNS_ON_MS: CHUNK_MS + 2_000}
    first = result(0, Detection(9_000, CHUNK_MS, "a", confidence=0.5, extra=marks))
    last = result(2, Detection(2_000, 5_000, "a", confidence=0.9))
    done = finish([first, result(1), last], join)
    assert list(done[0].detections) == [Detection(9_000, 25_000, "a", confidence=0.9)]
    assert [one.status for one in done] == ["ok", CONTINUED, CONTINUED]
    done = finish([first, result(1), attrs.evolve(last, detections=(Detection(2_001, 5_000, "a"),))], join)
    assert [len(one.detections) for one in done] == [1, 0, 1]


def test_what_the_halo_told_is_added():
    done = finish([result(0, Detection(9_000, CHUNK_MS, "a", extra={RUNS_ON_MS: 2_000})), result(1)], join)
    assert list(done[0].detections) == [Detection(9_000, 12_000, "a")]
    assert done[1].status == CONTINUED


def test_a_chunk_without_a_place_is_left_alone():
    there = result(0, Detection(0, 5, "a", extra={CONTINUES: True}))
    lost = attrs.evolve(there, chunk=attrs.evolve(there.chunk, start_ms=None, end_ms=None))
    (done,) = finish([lost], join)
    assert list(done.detections) == [Detection(0, 5, "a")]


def test_words_of_the_runner_stay():
    (done,) = finish([attrs.evolve(result(0), status="stub")], join)
    assert done.status == "stub"


def test_own_part_shares_nothing():
    path = Path("r.wav")
    cut = [Chunk(f"{a}", "r", path, a, a + 10, 0 if a == 0 else 4, a) for a in range(0, 30, 6)]
    parts = [own_part(chunk) for chunk in cut]
    assert [begin for begin, _ in parts[1:]] == [end for _, end in parts[:-1]]
    assert own_part(Chunk("c", "r", path)) == (0, None)


# ---------------------------------------------------------------------------------------- from a run to a table

PLUGIN = """
from badc_core import Detection, InputSpec, Prediction, RunnerIdentity, RunnerInfo, RunnerSpec, hookimpl, option
import attrs

@attrs.frozen
class Options:
    final: bool = option(False, help="needs no finisher")

@hookimpl
def badc_runners():
    yield RunnerSpec("counter", "Counts", open="counting:Counter", options="counting:Options", isolation=ISOLATION,
                     finish="counting:finish")

class Counter:
    def __init__(self, options, context):
        self.info = RunnerInfo(RunnerIdentity("counter"), InputSpec(kind="nothing"), needs_finish=not options.final)
    def predict(self, batch):
        if batch[0].chunk.chunk_id == "REC0_3000_6000":
            raise ValueError("lost")
        return [Prediction([Detection(0, 1, "a chunk")], extra={"seconds": 3}) for signal in batch]
    def close(self):
        pass

def finish(results):
    heard = sum(result.extra.get("seconds", 0) for result in results)
    return [(results[0].chunk.chunk_id, Detection(0, heard * 1000, f"{heard} s of {len(results)} chunks"))]
"""


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("layout", ["files", "segments"])
def test_what_a_worker_commits_is_finished(tmp_path, isolation, layout):
    """Failed chunks name the finisher, too, so that it knows of them; in a child process all is the same."""
    (tmp_path / "counting.py").write_text(PLUGIN.replace("ISOLATION", repr(isolation)))
    make_manifest(tmp_path / "m.csv", 4)
    here = {"BADC_PLUGINS": str(tmp_path / "counting.py")}
    arguments = ["infer", "run", "m.csv", "--runner", "counter", "--layout", layout, "--max-retries", "0"]
    for folder, more in (("results", []), ("final", ["-o", "final=true"])):
        run = start(*arguments, "--output-dir", folder, *more, env=here, cwd=tmp_path)
        assert "Traceback" not in run.communicate(timeout=60)[1]
    entries = documents(tmp_path / "results")
    assert {entry["finisher"] for entry in entries} == {"counting:counter"}
    assert [entry["status"] for entry in entries].count("failed") == 1
    assert not any("finisher" in entry for entry in documents(tmp_path / "final"))
    table = start("infer", "aggregate", "results", "--output", "t.csv", env=here, cwd=tmp_path)
    assert table.communicate(timeout=60)[1] == ""
    assert table.returncode == 0
    assert (tmp_path / "t.csv").read_text().count("9 s of 4 chunks") == 1
    assert (tmp_path / "t.csv").read_text().count("12 s of 4 chunks") == 1
    again = start("infer", "aggregate", "results", "--output", "t.csv", cwd=tmp_path)
    assert "the plugin counting, which brings the runner" in again.communicate(timeout=60)[1]
    assert again.returncode == 3

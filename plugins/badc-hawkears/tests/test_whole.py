"""However a recording is cut, its finished labels are those of HawkEars' ``Analyzer.run`` on the whole of it."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from badc_core.finishing import finish as finish_results
from badc_core.finishing import to_result
from badc_core.model import Chunk, ChunkResult, Recording
from badc_core.results import document
from badc_core.signals import SignalReader, probe
from badc_hawkears.finish import finish

TOLERANCE = 1e-3


def heard(runner, path: Path, chunks: list[tuple[int, int, int]], scratch: Path) -> list[ChunkResult]:
    """Have the runner hear chunks ``(start_ms, end_ms, overlap_ms)``; return results as they are read again."""
    info = probe(path)[0]
    recording = Recording("recording", path, sample_rate_hz=info.sample_rate_hz, duration_ms=info.duration_ms)
    results = []
    with contextlib.closing(SignalReader(runner.info.input, scratch)) as reader:
        for start, end, overlap in chunks:
            chunk = Chunk(f"{start}-{end}", "recording", path, start, end, overlap, start)
            (answer,) = runner.predict([reader.read(chunk, recording)])
            result = ChunkResult(chunk, recording, "ok", answer.detections, "x", extra=answer.extra, finisher="x")
            results.append(to_result(json.loads(json.dumps(document(result, "run")))))
    return results


def rows(results: list[ChunkResult]) -> list[tuple[str, int, int, float]]:
    """Labels on the recording's clock."""
    return sorted(
        (one.label, result.chunk.start_ms + one.start_ms, result.chunk.start_ms + one.end_ms, one.confidence)
        for result in results
        for one in result.detections
    )


def said(spoken, name: str, setting: str) -> list[tuple[str, int, int, float]]:
    """What HawkEars makes of the whole recording."""
    found = json.loads((spoken.folder / f"{setting}.json").read_text())[name]
    return sorted((label, round(1000 * start), round(1000 * end), score) for label, start, end, score in found)


def same(mine: list, theirs: list) -> None:
    """Fail where they differ."""
    assert [row[:3] for row in mine] == [row[:3] for row in theirs]
    for one, other in zip(mine, theirs, strict=True):
        assert one[3] == pytest.approx(other[3], abs=TOLERANCE)


def test_recordings_in_one_chunk(warm, spoken, tmp_path: Path) -> None:
    """A chunk that is the whole recording; its own, provisional detections end with it, and are the same otherwise."""
    setting, runner = warm
    compared = 0
    for name in spoken.names:
        path = spoken.folder / f"{name}.wav"
        length = probe(path)[0].duration_ms
        results = heard(runner, path, [(0, length, 0)], tmp_path)
        theirs = said(spoken, name, setting)
        same(rows(finish_results(results, finish)), theirs)
        same(rows(results), [(label, start, min(end, length), score) for label, start, end, score in theirs])
        compared += len(theirs)
    assert compared > 10


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_chunks_of_any_length(warm, spoken, cuttings, tmp_path: Path, data: st.DataObject) -> None:
    """Random cuts, overlaps and order change nothing."""
    setting, runner = warm
    name = data.draw(st.sampled_from(spoken.names))
    path = spoken.folder / f"{name}.wav"
    results = heard(runner, path, data.draw(cuttings(probe(path)[0].duration_ms)), tmp_path)
    same(rows(finish_results(results, finish)), said(spoken, name, setting))


def test_failed_chunks_are_silence(warm, spoken, tmp_path: Path) -> None:
    """What lies in the others is still found, each label in the chunk in which it begins."""
    _, runner = warm
    name = spoken.names[0]
    path = spoken.folder / f"{name}.wav"
    length = probe(path)[0].duration_ms
    cuts = [*range(0, length, 5000), length]
    results = heard(runner, path, [(start, end, 0) for start, end in itertools.pairwise(cuts)], tmp_path)
    results[3] = attrs.evolve(results[3], status="failed", detections=(), extra={})
    del results[6]
    finished = rows(finish_results(results, finish))
    gone = [(15_000, 20_000), (30_000, 35_000)]
    assert finished
    assert not [row for row in finished if any(row[1] < end and row[2] > start for start, end in gone)]

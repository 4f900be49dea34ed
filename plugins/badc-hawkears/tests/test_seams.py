"""Chunks of any length give the frames of the whole recording: the real HawkEars against its own loop."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from badc_core.model import Chunk, Recording, Signal
from badc_core.signals import SignalReader, probe
from badc_hawkears.rules import to_runs

TOLERANCE = 5e-4
"""A slice and the whole recording, resampled, differ by 1e-6; most scores then by 1e-5, the worst seen by 1.6e-4."""


def said(spoken, name: str, setting: str) -> dict[str, np.ndarray]:
    """What HawkEars says of a whole recording: scores of every frame, by code."""
    with np.load(spoken.folder / f"{name}.{setting}.npz") as file:
        return dict(zip(file["codes"].tolist(), file["frames"].T, strict=True))


def hear(runner, path: Path, chunks: list[tuple[int, int, int]], scratch: Path):
    """Have the runner hear chunks ``(start_ms, end_ms, overlap_ms)`` of a file."""
    recording = Recording("recording", path, sample_rate_hz=probe(path)[0].sample_rate_hz)
    with contextlib.closing(SignalReader(runner.info.input, scratch)) as reader:
        for start, end, overlap in chunks:
            chunk = Chunk(f"at-{start}", "recording", path, start, end, overlap, start)
            yield runner.predict([reader.read(chunk, recording)])[0]


def joined(answers) -> tuple[np.ndarray, dict[str, dict[int, float]], float]:
    """Put chunks together: how often each frame was counted, and the scores kept, by code and frame."""
    counted, kept, floor = [], {}, 0.0
    for answer in answers:
        told = answer.extra["hawkears_frames"]
        assert told["frame_ms"] == 250
        counted += range(told["first"], told["first"] + told["count"])
        floor = told["floor"]
        for code, entry in told["classes"].items():
            for first, scores in to_runs(entry.get("frames", "")):
                assert told["first"] <= first
                assert first + len(scores) <= told["first"] + told["count"]
                kept.setdefault(code, {}).update(enumerate(scores.tolist(), first))
    return np.bincount(counted, minlength=0), kept, floor


def compare(truth: dict[str, np.ndarray], answers) -> int:
    """Fail where chunks differ from the whole; return how many scores were compared."""
    counts, kept, floor = joined(answers)
    length = len(next(iter(truth.values())))
    if length:  # of a recording too short for a window HawkEars says nothing
        assert counts.tolist() == [1] * length
    compared = 0
    for code, scores in truth.items():
        mine = kept.pop(code, {})
        for frame, score in mine.items():
            assert abs(score - scores[frame]) <= TOLERANCE, (code, frame)
        clear = np.flatnonzero(scores >= floor + TOLERANCE).tolist()
        assert set(clear) <= set(mine), code
        compared += len(mine)
    assert not kept, "classes that HawkEars does not have"
    return compared


def test_whole_recordings(warm, spoken, tmp_path: Path) -> None:
    """One chunk from beginning to end; and there is something to compare."""
    setting, runner = warm
    compared = 0
    for name in spoken.names:
        path = spoken.folder / f"{name}.wav"
        chunks = [(0, probe(path)[0].duration_ms, 0)]
        compared += compare(said(spoken, name, setting), hear(runner, path, chunks, tmp_path))
    assert compared > 50


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_chunks_of_any_length_in_any_order(warm, spoken, cuttings, tmp_path: Path, data: st.DataObject) -> None:
    """Random cuts, overlaps and order, mono and stereo, at any rate, change nothing."""
    setting, runner = warm
    name = data.draw(st.sampled_from(spoken.names))
    path = spoken.folder / f"{name}.wav"
    chunks = data.draw(cuttings(probe(path)[0].duration_ms))
    compare(said(spoken, name, setting), hear(runner, path, chunks, tmp_path))


def test_a_chunk_file_is_a_recording_of_its_own(warm, spoken) -> None:
    """Without an offset there is no context, and frames are counted from the file's beginning."""
    setting, runner = warm
    name = spoken.names[2]  # 28 kHz: no resampling
    path = spoken.folder / f"{name}.wav"
    chunk = Chunk("whole", "recording", path, start_ms=60_000, end_ms=60_000 + probe(path)[0].duration_ms)
    with contextlib.closing(SignalReader(runner.info.input, path.parent)) as reader:
        signal = reader.read(chunk, Recording("recording", path))
    assert compare(said(spoken, name, setting), runner.predict([signal])) > 0


@pytest.mark.parametrize(
    "samples", [np.full(300_000, np.nan), np.zeros(300_000), np.ones(100), np.sign(np.sin(range(200_000)))]
)
def test_odd_sounds_are_no_failure(warm, samples: np.ndarray) -> None:
    """No numbers, silence, next to nothing, clipping: an answer that JSON can hold, and the next chunk as ever."""
    _, runner = warm
    path = Path("odd.wav")
    length = len(samples) // 28
    signal = Signal(Chunk("odd", "odd", path, 0, length), Recording("odd", path), samples.astype(np.float32), 28_000)
    (answer,) = runner.predict([signal])
    assert answer.extra["hawkears_frames"]["count"] == round(len(samples) / 7_000)

"""Whole recordings, each heard once and cut by chunk: what the modes api and cli share."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import sounds
from hypothesis import given, settings
from hypothesis import strategies as st

from badc_core.errors import RecordingError, RunnerError
from badc_core.finishing import finish
from badc_core.model import Chunk, ChunkResult, Recording, Signal
from badc_core.protocols import RunnerIdentity
from badc_hawkears.finish import finish as finisher
from badc_hawkears.modes.recordings import Label, RecordingRunner, cut
from badc_hawkears.whereabouts import NOWHERE

IDENTITY = RunnerIdentity("HawkEars", "2")


def signal_of(path: Path, start_ms: int | None = None, end_ms: int | None = None, **place: object) -> Signal:
    """Return a slice of a recording, or a file that is a chunk."""
    recording = Recording(path.stem, path, **place)
    chunk = Chunk(f"{path.stem}_{start_ms}", path.stem, path, start_ms or 0, end_ms, 0, start_ms)
    return Signal(chunk, recording)


# ---------------------------------------------------------------------------------------- labels cut by chunk


def label(start_ms: int, end_ms: int, code: str = "COYE") -> Label:
    """Return a label."""
    return Label(start_ms, end_ms, code, code, code, 0.9)


def pieces(labels: list[Label], borders: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cut labels by chunks, finish the results, and return what came of them on the recording's clock."""
    results = []
    for start_ms, end_ms in borders:
        signal = signal_of(Path("r.wav"), start_ms, end_ms)
        found = tuple(cut(labels, signal))
        assert all(0 <= one.start_ms <= one.end_ms <= end_ms - start_ms for one in found)
        results.append(ChunkResult(signal.chunk, signal.recording, "ok", found, "hawkears"))
    done = finish(results, finisher)
    return sorted(
        (one.chunk.start_ms + d.start_ms, one.chunk.start_ms + d.end_ms) for one in done for d in one.detections
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_however_a_recording_is_cut_its_labels_are_the_same(data):
    """Labels on HawkEars' grid, some of which touch; chunks of any length, down to less than a frame."""
    total = data.draw(st.integers(1, 400)) * 50
    edges = sorted(data.draw(st.sets(st.integers(0, total // 250), max_size=8)))
    labels = [label(250 * a, 250 * b) for a, b in itertools.pairwise(edges) if data.draw(st.booleans())]
    borders = sorted(data.draw(st.sets(st.integers(1, total), max_size=6)) | {0, total})
    chunks = [*itertools.pairwise(borders)]
    assert pieces(labels, chunks) == [(one.start_ms, one.end_ms) for one in labels]


def test_the_last_frame_may_lie_past_the_end():
    assert pieces([label(9_750, 10_100)], [(0, 5_000), (5_000, 10_000)]) == [(9_750, 10_100)]
    assert pieces([label(4_750, 5_100)], [(0, 5_000), (5_000, 10_000)]) == [(4_750, 5_100)]


def test_a_segment_may_lie_past_the_end():
    """By more than half a frame; so it matters where the recording ends, as far as that is known."""
    long = {"duration_ms": 10_000}
    (known,) = cut([label(9_000, 12_000)], signal_of(Path("r.wav"), 5_000, 10_000, **long))
    (unknown,) = cut([label(9_000, 12_000)], signal_of(Path("r.wav"), 5_000, 10_000))
    (between,) = cut([label(4_000, 7_000)], signal_of(Path("r.wav"), 0, 5_000, **long))
    assert [known.end_ms, unknown.end_ms, between.end_ms] == [5_000] * 3
    assert [known.extra, unknown.extra, between.extra] == [{"runs_on_ms": 2_000}, *[{"continues": True}] * 2]


def test_what_lies_outside_all_chunks_is_not_told():
    """A manifest may list every tenth minute only."""
    labels = [label(0, 1_000), label(9_000, 12_000), label(18_000, 21_000), label(30_000, 31_000)]
    assert pieces(labels, [(10_000, 20_000)]) == [(10_000, 12_000), (18_000, 20_000)]


def test_what_chunks_share_is_told_once():
    results = []
    for start_ms, shared in ((0, 0), (8_000, 2_000)):
        chunk = Chunk(f"c{start_ms}", "r", Path("r.wav"), start_ms, start_ms + 10_000, shared, start_ms)
        signal = Signal(chunk, Recording("r", Path("r.wav")))
        results.append(ChunkResult(chunk, signal.recording, "ok", tuple(cut([label(8_500, 11_000)], signal)), "h"))
    first, second = finish(results, finisher)
    assert [(d.start_ms, d.end_ms) for d in first.detections] == [(8_500, 11_000)]
    assert not second.detections


def test_a_file_of_its_own_is_a_recording_of_its_own():
    (found,) = cut([label(500, 3_100)], signal_of(Path("r_chunk.wav"), None, 3_000))
    assert (found.start_ms, found.end_ms, found.extra) == (500, 3_000, {"runs_on_ms": 100})
    (found,) = cut([label(500, 3_100)], signal_of(Path("r_chunk.wav")))
    assert (found.start_ms, found.end_ms, found.extra) == (500, 3_100, {})


# ------------------------------------------------------------------------------------- recordings, each once


class Hearing:
    """Says of every recording what it was told to, and remembers what it was asked."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.identity = IDENTITY
        self.asked: list[list[str]] = []

    def hear(self, wanted, tell) -> None:
        """Tell of all recordings, up to one that is an exception to be raised."""
        self.asked.append([one.path.stem for one in wanted])
        for one in wanted:
            answer = self.answers.get(one.path.stem, [])
            if isinstance(answer, ZeroDivisionError):
                raise answer
            tell(one, answer)

    def runner(self) -> RecordingRunner:
        """Return a runner that asks here."""
        return RecordingRunner(lambda: self.identity, self.hear, lambda recording: NOWHERE)


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three recordings."""
    return [sounds.write_loud(tmp_path / f"{name}.wav", 4) for name in "abc"]


def slices(path: Path, *starts_s: int) -> list[Signal]:
    """Return slices of one second."""
    return [signal_of(path, 1000 * at, 1000 * at + 1000) for at in starts_s]


def test_a_recording_is_heard_once(three):
    hearing = Hearing(a=[label(1_000, 2_000)])
    runner = hearing.runner()
    answers = runner.predict([*slices(three[0], 0, 1), *slices(three[1], 0)])
    assert [[d.start_ms for d in one.detections] for one in answers] == [[], [0], []]
    runner.predict(slices(three[0], 2, 3))
    assert hearing.asked == [["a", "b"]]
    sounds.write_loud(three[0], 5)
    runner.predict(slices(three[0], 0))
    assert hearing.asked == [["a", "b"], ["a"]]


def test_the_worker_finds_the_bad_one_without_hearing_the_others_again(three):
    """It halves a batch that failed; what was told of the other recordings still counts."""
    hearing = Hearing(b=RecordingError("torn"))
    runner = hearing.runner()
    batch = [signal for path in three for signal in slices(path, 0, 1)]
    for some in (batch, batch[:3], batch[3:], batch[2:3], batch[3:4]):
        with pytest.raises(RecordingError, match="torn"):
            runner.predict(some)
    assert len(runner.predict(batch[:2] + batch[4:])) == 4
    assert hearing.asked == [["a", "b", "c"]]


def test_a_failure_that_may_pass_is_tried_again_once_for_all_chunks(three):
    hearing = Hearing(a=RunnerError("gone"))
    runner = hearing.runner()
    for _ in range(2):
        for one in slices(three[0], 0, 1, 2):
            with pytest.raises(RunnerError, match="gone"):
                runner.predict([one])
    assert hearing.asked == [["a"], ["a"]]
    hearing.answers = {}
    assert len(runner.predict(slices(three[0], 0, 1, 2))) == 3


def test_what_was_told_before_the_end_counts(three):
    hearing = Hearing(b=ZeroDivisionError())
    runner = hearing.runner()
    with pytest.raises(ZeroDivisionError):
        runner.predict([signal for path in three for signal in slices(path, 0)])
    runner.predict(slices(three[0], 0))
    assert hearing.asked == [["a", "b", "c"]]


def test_weights_that_change_meanwhile(three):
    """They are loaded anew for each batch."""
    hearing = Hearing(a=[label(0, 1_000)])
    runner = hearing.runner()
    runner.predict(slices(three[0], 0))
    hearing.identity = RunnerIdentity("HawkEars", "3")
    for _ in range(2):
        with pytest.raises(RunnerError, match="changed while it was at work") as caught:
            runner.predict([*slices(three[0], 0), *slices(three[1], 0)])
        assert not caught.value.retry
    assert hearing.asked == [["a"], ["b"], ["b"]]
    assert runner.predict(slices(three[0], 0))[0].detections, "what was heard before still counts"


def test_a_recording_that_is_not_there(tmp_path):
    with pytest.raises(RecordingError, match="There is no file"):
        Hearing().runner().predict([signal_of(tmp_path / "nowhere.wav")])

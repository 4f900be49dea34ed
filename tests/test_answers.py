"""What the worker accepts from a runner, and what it refuses, by name."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.answers import check_answers, json_problem
from badc_core.errors import RunnerError
from badc_core.model import Chunk, Detection, Prediction, Recording, Signal


def a_signal(number: int = 0, *, duration_ms: int | None = 3000, samples=None, **kwargs) -> Signal:
    end = None if duration_ms is None else 1000 + duration_ms
    start = None if duration_ms is None else 1000
    chunk = Chunk(f"c{number}", "REC 1", Path("x.wav"), start_ms=start, end_ms=end)
    rate = 0 if samples is None else 1000
    return Signal(chunk, Recording("REC 1", Path("x.wav")), samples=samples, sample_rate_hz=rate, **kwargs)


def check(*detections: object, labels: frozenset[str] | None = None, **signal: object) -> Prediction:
    return check_answers([a_signal(**signal)], [list(detections)], "parrot", labels)[0]


GOOD = Detection(100, 200, "wren", confidence=0.5)


def test_silence_is_an_answer():
    assert check_answers([a_signal(0), a_signal(1)], [[], ()], "parrot", None) == [Prediction(), Prediction()]
    assert check_answers([], [], "parrot", None) == []


def test_detections_become_a_prediction_in_order_of_start():
    late, early, timeless = Detection(900, 950, "a"), Detection(10, 20, "b"), Detection(None, None, "c")
    assert [d.label for d in check(late, early, timeless).detections] == ["c", "b", "a"]


def test_order_of_chunks_is_kept():
    answers = [[GOOD], [], Prediction(detections=[attrs.evolve(GOOD, label="owl")], status="own", extra={"k": [1]})]
    found = check_answers([a_signal(n) for n in range(3)], answers, "parrot", None)
    assert [[d.label for d in p.detections] for p in found] == [["wren"], [], ["owl"]]
    assert found[2].status == "own"
    assert found[2].extra == {"k": [1]}


def test_numbers_of_numpy_become_plain_numbers():
    made = check(
        Detection(np.int64(5), np.int32(7), "a", confidence=np.float32(0.25), low_hz=np.float64(1), high_hz=2)
    ).detections[0]
    assert [type(v) for v in (made.start_ms, made.end_ms, made.confidence, made.low_hz)] == [int, int, float, float]
    json.dumps(attrs.asdict(made))


def test_rounding_at_the_end_is_moved_back():
    made = check(Detection(3001, 3001, "a", confidence=1 + 1e-7)).detections[0]
    assert (made.start_ms, made.end_ms, made.confidence) == (3000, 3000, 1.0)


def test_without_a_length_from_the_manifest_the_samples_give_it():
    samples = np.zeros(1500, np.float32)
    assert check(Detection(0, 1301, "a"), duration_ms=None, samples=samples, halo_before=100, halo_after=100)
    with pytest.raises(RunnerError, match="past the end of the chunk"):
        check(Detection(0, 1302, "a"), duration_ms=None, samples=samples, halo_before=100, halo_after=100)
    assert check(Detection(0, 10**9, "a"), duration_ms=None), "nothing is known, so nothing can be said"


def test_a_chunk_that_is_longer_than_its_manifest_says_may_be_answered_to_its_end():
    assert check(Detection(0, 5000, "a"), samples=np.zeros(5000, np.float32))


BROKEN = [
    (attrs.evolve(GOOD, start_ms=-1), "begins at -1 ms, before the chunk"),
    (attrs.evolve(GOOD, start_ms=3002, end_ms=None), "begins at 3002 ms, past the end of the chunk .3000 ms."),
    (attrs.evolve(GOOD, end_ms=3002), "ends at 3002 ms, past the end of the chunk .3000 ms."),
    (attrs.evolve(GOOD, end_ms=99), "ends at 99 ms, before it begins .100 ms."),
    (Detection(None, -5, "a"), "ends at -5 ms, before it begins"),
    (attrs.evolve(GOOD, start_ms=0.5), "not whole milliseconds"),
    (attrs.evolve(GOOD, start_ms=True), "not whole milliseconds"),
    (attrs.evolve(GOOD, end_ms="200"), "not whole milliseconds"),
    (attrs.evolve(GOOD, confidence=1.01), "outside 0 to 1"),
    (attrs.evolve(GOOD, confidence=-0.01), "outside 0 to 1"),
    (attrs.evolve(GOOD, confidence=math.nan), "outside 0 to 1"),
    (attrs.evolve(GOOD, confidence=np.float32("nan")), "outside 0 to 1"),
    (attrs.evolve(GOOD, confidence="0.5"), "not a number"),
    (attrs.evolve(GOOD, confidence=True), "not a number"),
    (attrs.evolve(GOOD, confidence=np.zeros(2)), "not a number"),
    (attrs.evolve(GOOD, label=""), "empty label"),
    (attrs.evolve(GOOD, label=" "), "empty label"),
    (attrs.evolve(GOOD, label=None), "has None as its label"),
    (attrs.evolve(GOOD, label="\ud800"), "not valid Unicode"),
    (attrs.evolve(GOOD, label_name=7), "label_name that is 7"),
    (attrs.evolve(GOOD, label_code=""), "label_code"),
    (attrs.evolve(GOOD, low_hz=-1), "not a frequency"),
    (attrs.evolve(GOOD, high_hz=math.inf), "not a frequency"),
    (attrs.evolve(GOOD, low_hz=5000, high_hz=100), "wrong way round"),
    (attrs.evolve(GOOD, extra={"a": object()}), "extra is not JSON: 'a'"),
    (attrs.evolve(GOOD, extra={"a": [1, {"b": math.nan}]}), "extra is not JSON"),
    (attrs.evolve(GOOD, extra={1: 2}), "the key 1 is no text"),
    (attrs.evolve(GOOD, extra=[1]), "not a mapping"),
    ({"start_ms": 1}, "is a dict, not a Detection"),
    (("wren", 0.5), "is a tuple, not a Detection"),
]


@pytest.mark.parametrize(("detection", "rule"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_detection_is_refused(detection, rule):
    with pytest.raises(RunnerError, match=rule) as caught:
        check_answers([a_signal(0), a_signal(1)], [[], [GOOD, detection]], "parrot", None)
    assert "'parrot'" in caught.value.message
    assert "chunk 'c1' of recording 'REC 1'" in caught.value.message
    assert "detection 2" in caught.value.message
    assert caught.value.retry is False


@pytest.mark.parametrize(
    ("answers", "rule"),
    [
        ([[]], "gave 1 answers for 2 chunks"),
        ([[]] * 3, "gave 3 answers for 2 chunks"),
        ([], "gave 0 answers for 2 chunks"),
        (None, "returned None"),
        ({}, "returned a dict"),
        ("ab", "returned a str"),
        (iter([[], []]), "returned a list_iterator"),
        ([None, []], "the answer is None"),
        ([GOOD, GOOD], "the answer is a Detection, not a list"),
        (["", ""], "the answer is a str"),
        ([0, 0], "the answer is an int"),
        ([Prediction(status=""), []], "the status is ''"),
        ([Prediction(status="failed"), []], "only the worker gives"),
        ([Prediction(model_version=1.0), []], "the model_version is 1.0"),
        ([Prediction(runner=""), []], "the runner is ''"),
        ([Prediction(output=b"x"), []], "the output is a bytes"),
        ([Prediction(extra={"x": b"1"}), []], "the answer's extra is not JSON"),
        ([Prediction(detections=None), []], "the answer is None"),
        (np.zeros((2, 0)), "returned a ndarray"),
    ],
)
def test_a_broken_answer_is_refused(answers, rule):
    with pytest.raises(RunnerError, match=rule) as caught:
        check_answers([a_signal(0), a_signal(1)], answers, "parrot", None)
    assert "chunk 'c0' of recording 'REC 1'" in caught.value.message
    assert caught.value.retry is False


def test_labels_outside_the_list_are_refused():
    assert check(GOOD, labels=frozenset({"wren"}))
    with pytest.raises(RunnerError, match=r"\(label 'wren'\) has an unknown label"):
        check(GOOD, labels=frozenset({"owl"}))


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_strange_object_cannot_break_the_message():
    with pytest.raises(RunnerError, match="not whole milliseconds"):
        check(attrs.evolve(GOOD, start_ms=Hostile()))


def test_json_problem_ends_on_a_circle():
    circle: list[object] = []
    circle.append(circle)
    assert "deeper" in str(json_problem(circle))
    assert "64 bits" in str(json_problem({"a": 2**64}))
    assert json_problem({"a": 2**64 - 1, "b": [-(2**63), None, True, "é", {"c": (1.5,)}]}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_what_is_called_json_goes_through_json_unchanged(value):
    if json_problem(value) is None:
        assert json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()) == value


whole = st.none() | st.integers(-2, 3003)


@given(start=whole, end=whole, confidence=st.none() | st.floats())
def test_what_passes_is_within_its_bounds(start, end, confidence):
    try:
        made = check(Detection(start, end, "a", confidence=confidence)).detections[0]
    except RunnerError:
        return
    assert made.start_ms is None or 0 <= made.start_ms <= 3000
    assert made.end_ms is None or (made.start_ms or 0) <= made.end_ms <= 3000
    assert made.confidence is None or 0 <= made.confidence <= 1


def test_silence_costs_next_to_nothing():
    batch = [a_signal(n) for n in range(64)]
    answers = [[] for _ in batch]
    best = min(_timed(lambda: check_answers(batch, answers, "parrot", None)) for _ in range(50))
    assert best < 100e-6, "a few microseconds are meant; ten times that is a slow machine, more is a loop come back"


def _timed(function) -> float:
    before = time.perf_counter()
    function()
    return time.perf_counter() - before

"""The finisher, rule by rule, on frames made by hand; and that no cut shows. No HawkEars is needed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core.finishing import finish as finish_results
from badc_core.finishing import to_result
from badc_core.model import Chunk, ChunkResult, Detection, Recording
from badc_core.results import document
from badc_core.seams import CONTINUES
from badc_hawkears.engine.frames import KEY, Keeping, encode
from badc_hawkears.engine.grid import counted_frames, touched_frames
from badc_hawkears.finish import finish
from badc_hawkears.rules import Alike, ClassRules, Settings, from_json, to_json, to_runs, to_text

PATH = Path("/recordings/dawn.wav")
USUAL = Settings(0.7)
Row = tuple[str, int, int, float]


def species(code: str, **rules) -> ClassRules:
    """A class with these rules."""
    return ClassRules(code, code, code, f"Bird {code}", **rules)


def results_of(
    scores: Mapping[str, Sequence[float]],
    rules: Sequence[ClassRules],
    settings: Settings = USUAL,
    cuts: Sequence[tuple[int, int, int]] | None = None,
    floor: float | None = None,
) -> list[ChunkResult]:
    """What chunks ``(start_ms, end_ms, overlap_ms)`` of a frame map leave behind, as it is read again from JSON."""
    length = max(map(len, scores.values()))
    whole = np.zeros((length, len(rules)), np.float32)
    for number, rule in enumerate(rules):
        column = scores.get(rule.trained_code, ())
        whole[: len(column), number] = column
    keeping = Keeping(settings, rules, floor)
    found = []
    for start, end, overlap in cuts or [(0, length * 250, 0)]:
        first, stop = touched_frames(start, end)
        counted = counted_frames(start + overlap, end)
        kept = encode(whole[first:stop], first, (counted[0], min(counted[1], length)), keeping)
        chunk = Chunk(f"{start}-{end}", "dawn", PATH, start, end, overlap, start)
        result = ChunkResult(chunk, Recording("dawn", PATH), "no_detections", (), "x", extra={KEY: kept}, finisher="x")
        found.append(to_result(json.loads(json.dumps(document(result, "run")))))
    return found


def rows(results: Sequence[ChunkResult]) -> list[Row]:
    """Labels on the recording's clock."""
    return sorted(
        (
            one.label,
            (result.chunk.start_ms or 0) + one.start_ms,
            (result.chunk.start_ms or 0) + one.end_ms,
            one.confidence,
        )
        for result in finish_results(results, finish)
        for one in result.detections
    )


def heard(scores: Mapping[str, Sequence[float]], *rules: ClassRules, settings: Settings = USUAL) -> list[Row]:
    """Labels of a recording in one chunk."""
    return rows(results_of(scores, rules, settings))


# ------------------------------------------------------------------------------------------------ labels


def test_runs_of_high_frames_are_labels() -> None:
    """From the first to the last frame that reaches the threshold, with the highest score."""
    scores = [0, 0.7, 0.9, 0.8, 0.69, 0.71]
    assert heard({"A": scores}, species("A")) == [("A", 250, 1000, 0.9), ("A", 1250, 1500, 0.71)]


def test_a_detection_says_what_it_names() -> None:
    """HawkEars' label, today's code and name."""
    rule = ClassRules("OLD", "label", "NEW", "New Bird")
    (result,) = finish_results(results_of({"OLD": [0.9]}, [rule]), finish)
    assert result.detections == (Detection(0, 250, "label", "NEW", "New Bird", 0.9),)


@pytest.mark.parametrize("changes", [{"included": False}, {"rare": True}])
def test_what_is_not_wanted_or_does_not_occur_gives_no_label(changes: dict[str, bool]) -> None:
    """Nor is anything of it kept."""
    results = results_of({"A": [0.9] * 30}, [species("A", **changes)])
    assert rows(results) == []
    assert results[0].extra[KEY]["classes"] == {}


def test_segments() -> None:
    """Labels on the recording's grid of one length; the last may end past the recording."""
    scores = [0, 0, 0.8, 0, 0.1, 0, 0, 0, 0.9]
    settings = Settings(0.7, segment_s=1.0)
    assert heard({"A": scores}, species("A"), settings=settings) == [("A", 0, 1000, 0.8), ("A", 2000, 3000, 0.9)]


def test_long_labels_are_split_and_short_ones_left_out() -> None:
    """Into pieces of the greatest length; a short rest is shared out; then what is too short goes."""
    settings = Settings(0.7, max_label_s=1.0, min_label_s=0.75, merge_s=0.25)
    scores = [0.9] * 9 + [0.0] + [0.8] * 6 + [0.0] + [0.8] * 3 + [0.0] + [0.8] * 2
    assert [row[1:3] for row in heard({"A": scores}, species("A"), settings=settings)] == [
        (0, 1125),  # 2.25 s: two pieces, a quarter of a second shared out
        (1125, 2250),
        (2500, 3500),  # 1.5 s: one piece, and one that is too short
        (4250, 5000),
    ]


# ------------------------------------------------------------------------------------------------- rules


def test_a_confirmed_class_is_boosted() -> None:
    """24 frames above 0.85, wherever they are, raise all those above 0.35."""
    confirmed = [0.9] * 24 + [0.0, 0.36, 0.5, 0.0]
    boosted = [("A", 0, 6000, round(0.9**0.4, 5)), ("A", 6500, 6750, round(0.5**0.4, 5))]
    assert heard({"A": confirmed}, species("A", boosted=True)) == boosted
    assert heard({"A": confirmed[1:]}, species("A", boosted=True)) == [("A", 0, 5750, 0.9)]
    assert heard({"A": confirmed}, species("A")) == [("A", 0, 6000, 0.9)]


def test_some_are_lowered() -> None:
    """A high score loses little, a middling one much."""
    assert heard({"A": [0.95, 0.0, 0.75]}, species("A", lowered=1.0)) == [
        ("A", 0, 250, pytest.approx(0.95 ** (1 + 0.05**3), abs=1e-5)),
        ("A", 500, 750, pytest.approx(0.75 ** (1 + 0.25**3), abs=1e-5)),
    ]
    assert heard({"A": [0.75]}, species("A", lowered=1.5)) == []


COVERED = Alike("B", frames=2, coverage=0.5, independent=4)
NEAR = Alike("B", frames=2, least=3)


@pytest.mark.parametrize(
    ("ours", "theirs", "rule", "left"),
    [
        ([0.9, 0.9, 0.9], [0, 0.5], COVERED, 0),  # all of it lies near
        ([0.9, 0, 0, 0, 0.9], [0.5], COVERED, 0),  # half of it
        ([0.9, 0, 0, 0.9, 0.9], [0.5], COVERED, 2),  # less than half
        ([0.9] * 8, [0, 0.6, 0.6], COVERED, 0),
        ([0.9] * 8, [0, 0.6], COVERED, 1),  # four frames lie apart
        ([0.9, 0.9, 0.9], [0, 0.49], COVERED, 1),  # the other one is too faint
        ([0.9] * 6, [0.5, 0.5, 0.5], NEAR, 1),  # goes where three are near: only the first frames
        ([0.9] * 6, [0.5, 0.5], NEAR, 1),
        ([0.9, 0.9], [0.5, 0.5, 0.5], NEAR, 0),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_one_class_speaks_against_another(
    ours: list[float], theirs: list[float], rule: Alike, left: int, wanted: bool
) -> None:
    """Whether or not the other one is wanted itself."""
    rules = species("A", alike=(rule,)), species("B", included=wanted)
    assert len([row for row in heard({"A": ours, "B": theirs}, *rules) if row[0] == "A"]) == left


def test_a_rare_class_becomes_a_common_one() -> None:
    """The higher score counts in each frame, and the common one may be boosted by it; of it nothing else is needed."""
    rare, common = species("A", becomes=("B",)), species("B", boosted=True)
    assert heard({"A": [0.9, 0.8], "B": [0, 0.85, 0.75]}, rare, common) == [("B", 0, 750, 0.9)]
    assert heard({"A": [0.9] * 24 + [0.0], "B": [0] * 24 + [0.5]}, rare, common)[0][2] == 6250
    assert heard({"A": [0.9]}, rare, common) == [("B", 0, 250, 0.9)]
    assert heard({"A": [0.9]}, rare, species("B", rare=True)) == []


def test_of_two_common_ones_the_louder_is_taken() -> None:
    """By all scores of the recording, those too that are too low to be kept; the first where they are equal."""
    rare, common = species("A", becomes=("B", "C")), (species("B"), species("C"))
    scores = {"A": [0.9, 0, 0], "B": [0, 0.1, 0.1], "C": [0, 0.2, 0.1]}
    assert heard(scores, rare, *common) == [("C", 0, 250, 0.9)]
    assert heard({**scores, "B": [0, 0.2, 0.1]}, rare, *common) == [("B", 0, 250, 0.9)]
    chunks = [(0, 250, 0), (250, 500, 0), (500, 750, 0)]
    assert rows(results_of(scores, [rare, *common], cuts=chunks)) == [("C", 0, 250, 0.9)]


# -------------------------------------------------------------------------------------------------- cuts

RULES = (
    species("A", boosted=True, alike=(Alike("B", 5, 0.5, 24),)),
    species("B", boosted=True),
    species("C", alike=(Alike("X", 8, least=3),), lowered=1.0),
    species("X", included=False),
    species("R", becomes=("B",)),
    species("S", becomes=("D", "C")),
    species("D", boosted=True, rare=True),
    species("E", rare=True),
)


@st.composite
def frame_maps(draw: st.DrawFn) -> dict[str, list[float]]:
    """Scores of all classes, in stretches."""
    length = draw(st.integers(1, 80))
    levels = st.sampled_from([0.0, 0.123, 0.36, 0.42, 0.5, 0.699, 0.7, 0.86, 0.999])
    scores = {}
    for rule in RULES:
        column: list[float] = []
        while len(column) < length:
            column += [draw(levels)] * draw(st.integers(1, 40))
        scores[rule.trained_code] = column[:length]
    return scores


@st.composite
def cuts_of(draw: st.DrawFn, length_ms: int) -> list[tuple[int, int, int]]:
    """Chunks of any length, in any order, that may overlap."""
    seams = sorted({0, length_ms, *draw(st.sets(st.integers(1, length_ms - 1), max_size=6))})
    chunks = []
    for start, end in itertools.pairwise(seams):
        overlap = max(0, min(start - 1, draw(st.sampled_from([0, 0, 99, 1500]))))
        chunks.append((start - overlap, end, overlap))
    return draw(st.permutations(chunks))


@given(
    frame_maps(),
    st.sampled_from(
        [USUAL, Settings(0.4), Settings(0.95), Settings(0.7, segment_s=1.5), Settings(0.7, max_label_s=2.0)]
    ),
    st.data(),
)
def test_no_cut_shows(scores: dict[str, list[float]], settings: Settings, data: st.DataObject) -> None:
    """Whatever the chunks, and whether all frames are kept or only those that can matter."""
    length_ms = 250 * len(scores["A"])
    whole = rows(results_of(scores, RULES, settings, floor=0.0))
    assert rows(results_of(scores, RULES, settings, data.draw(cuts_of(length_ms)))) == whole


def test_a_label_belongs_to_the_chunk_in_which_it_begins() -> None:
    """It may end past that; those that it reaches into are told so."""
    cuts = [(0, 1100, 0), (1100, 2000, 0), (2000, 3000, 0)]
    results = finish_results(
        results_of({"A": [0, 0, 0, 0, 0.9, 0.9, 0.9, 0.9, 0.9]}, [species("A")], cuts=cuts), finish
    )
    assert [result.status for result in results] == ["ok", "continued", "continued"]
    assert results[0].detections == (Detection(1000, 2250, "A", "A", "Bird A", 0.9),)


# ------------------------------------------------------------------------------------------- what is lost


def test_missing_chunks_are_silence() -> None:
    """Labels end at the gap; a segment that begins in it belongs to the next chunk, from its beginning on."""
    cuts = [(0, 1000, 0), (1000, 2000, 0), (2000, 3000, 0)]
    results = results_of({"A": [0.9] * 12}, [species("A")], cuts=cuts)
    failed = attrs.evolve(results[1], status="failed", extra={})
    for left in (results[::2], [results[0], failed, results[2]]):
        assert rows(left) == [("A", 0, 1000, 0.9), ("A", 2000, 3000, 0.9)]
    results = results_of({"A": [0] * 8 + [0.9] * 4}, [species("A")], Settings(0.7, segment_s=2.5), cuts)
    assert rows(results[1:]) == [("A", 1000, 2500, 0.9), ("A", 2500, 5000, 0.9)]
    assert rows(results[2:]) == [("A", 2000, 2500, 0.9), ("A", 2500, 5000, 0.9)]


def test_two_chunkings_side_by_side() -> None:
    """Each label is told once, in a chunk in which it begins."""
    cuts = [(0, 3000, 0), (0, 500, 0), (500, 1250, 0), (2000, 2250, 0), (2250, 3000, 0)]
    scores = {"A": [0.9, 0.9, 0, 0.8, 0.8, 0, 0.7, 0, 0.9, 0.9, 0, 0.8]}
    results = results_of(scores, [species("A")], cuts=cuts)
    assert rows(results) == rows(results[:1])
    assert len(rows(results[1:])) == 4  # what lies between the small ones is missing


def test_nothing_at_all() -> None:
    """No result, or only failures."""
    assert list(finish([])) == []
    (result,) = results_of({"A": [0.9]}, [species("A")])
    assert list(finish([attrs.evolve(result, status="failed", extra={})])) == []


def test_chunk_files_are_recordings_of_their_own() -> None:
    """Frames of different files never meet."""
    results = results_of({"A": [0.9] * 20}, [species("A", boosted=True)])
    others = [
        attrs.evolve(one, chunk=attrs.evolve(one.chunk, chunk_id=name, offset_ms=None, start_ms=at, end_ms=at + 5000))
        for one, name, at in [(results[0], "one", 0), (results[0], "two", 5000)]
    ]
    assert rows(others) == [("A", 0, 5000, 0.9), ("A", 5000, 10_000, 0.9)]


def test_results_of_other_modes_are_joined() -> None:
    """They hold no frames; a label that the chunk's end cut is one again. Both kinds may lie side by side."""
    (frames,) = results_of({"A": [0.9]}, [species("A")])
    before = [
        ChunkResult(
            Chunk(f"c{at}", "dawn", PATH, at, at + 1000, 0, at),
            frames.recording,
            "ok",
            (Detection(begin, begin + 500, "B", confidence=0.8, extra={CONTINUES: True} if at == 1000 else {}),),
            "x",
            finisher="x",
        )
        for at, begin in ((1000, 500), (2000, 0))
    ]
    assert rows([frames, *before]) == [("A", 0, 250, 0.9), ("B", 1500, 2500, 0.8)]


# ------------------------------------------------------------------------------------------------- forms


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_told_in_json(rule: ClassRules) -> None:
    """And read again as they were; of what is not wanted only that."""
    again = from_json(ClassRules, json.loads(json.dumps(to_json(rule))), trained_code=rule.trained_code)
    assert again == (rule if rule.included else ClassRules("X", "X", "X", "X", included=False))


def test_settings_are_told_in_json() -> None:
    """What a later version adds does no harm."""
    settings = Settings(0.5, segment_s=3.0, boost_frames=12)
    assert from_json(Settings, {**json.loads(json.dumps(to_json(settings))), "new": 1}) == settings


@given(st.lists(st.tuples(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), min_size=1, max_size=9)), max_size=5))
def test_runs_are_told_in_a_line(runs: list[tuple[int, list[int]]]) -> None:
    """To a millionth."""
    told = to_text((first, [score / 1e6 for score in scores]) for first, scores in runs)
    again = [(first, (scores * 1e6).round().astype(int).tolist()) for first, scores in to_runs(told)]
    assert again == runs


def test_finishing_imports_little() -> None:
    """The finisher is found without torch, HawkEars and numpy."""
    code = "import sys, badc_hawkears.finish; print(sorted({'numpy', 'torch', 'hawkears'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

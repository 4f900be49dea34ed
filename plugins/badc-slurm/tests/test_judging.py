"""Where shards stand, from recorded answers of a real SLURM 22.05."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_slurm.client import read_sacct, read_squeue
from badc_slurm.journal import Journal, Part, compressed, expanded
from badc_slurm.judging import RETRIED, Judge, Verdict
from badc_slurm.options import minutes_of, raised
from badc_slurm.scheduler import _again

SQUEUE = """\
7_3|PENDING||badc-R-0|70|Resources
7_2|PENDING||badc-R-0|70|BeginTime
7_0|RUNNING|n1|badc-R-0|70|None
7_1|COMPLETED|n2|badc-R-0|70|None
7_4|TIMEOUT|n3|badc-R-0|70|TimeLimit
7_5|CANCELLED|n3|badc-R-0|70|None
7_6|PENDING||badc-R-0|70|DependencyNeverSatisfied
7_7|NODE_FAIL|n4|badc-R-0|70|None
8|PENDING||another|70|Priority
"""


class Silence:
    """A run folder in which nobody wrote for so long, and nobody said why."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s

    def quiet_s(self, shard: int, part: Part) -> float:
        return self._quiet_s

    def words(self, *about: object) -> str:
        return ""


def judge(
    answer: str | None,
    *,
    done: tuple[int, ...] = (),
    sacct: str = "",
    at_s: tuple[float, ...] = (0.0,),
    shards: int = 8,
    cancelled: bool = False,
    job_id: str | None = "7",
    quiet_s: float = 0.0,
) -> Mapping[int, Verdict]:
    journal = Journal(Path("/nowhere"), parts={"badc-R-0": Part("badc-R-0", 0, tuple(range(shards)), None, job_id)})
    if cancelled:
        journal.cancelled.add("badc-R-0")
    one = Judge(lost_s=90.0)
    queue = None if answer is None else read_squeue(answer)
    found: Mapping[int, Verdict] = {}
    for now_s in at_s:
        found = one.judge(shards, set(done), journal, queue, lambda ids: read_sacct(sacct), Silence(quiet_s), now_s)
    return found


def words(found: Mapping[int, Verdict]) -> list[str]:
    return [found[index].state.state for index in range(len(found))]


def test_every_word_of_squeue():
    found = judge(SQUEUE)
    assert words(found) == [
        "running", "unknown", "waiting", "waiting", "failed", "cancelled", "waiting", "unknown",
    ]  # fmt: skip
    assert found[0].state.detail == "on n1"
    assert found[3].state.detail == "Resources"
    assert found[4].state.detail == "TIMEOUT on n3"
    assert "never starts" in found[6].state.detail


def test_committed_results_come_before_whatever_slurm_says():
    assert words(judge(SQUEUE, done=tuple(range(8)))) == ["done"] * 8
    assert words(judge(None, done=(1,)))[:2] == ["unknown", "done"]


def test_a_good_end_without_results_is_not_done():
    found = judge("7_0|COMPLETED|n1|badc-R-0|70|None\n", shards=1, quiet_s=91.0)
    assert (found[0].state.state, found[0].end) == ("failed", "LOST")


def test_slurm_may_put_it_back_itself():
    lines = "7_0|NODE_FAIL|n1|x|70|None\n7_1|PREEMPTED|n1|x|70|None\n"
    assert words(judge(lines, shards=2, at_s=(0.0, 9.0))) == ["unknown"] * 2
    assert words(judge(lines, shards=2, at_s=(0.0, 11.0))) == ["failed"] * 2


def test_missing_everywhere_is_unknown_then_lost_never_done():
    assert words(judge("", shards=1, quiet_s=89.0)) == ["unknown"]
    found = judge("", shards=1, quiet_s=91.0)
    assert (found[0].state.state, found[0].end) == ("failed", "LOST")
    assert words(judge("", shards=1, quiet_s=91.0, cancelled=True)) == ["cancelled"]


def test_accounting_says_the_end_of_a_lost_node_at_once():
    """The queue knows it no longer, so that SLURM does not put it back."""
    assert words(judge("", sacct="7_0|NODE_FAIL|n1\n", shards=1)) == ["failed"]


def test_no_answer_starts_no_clock():
    assert words(judge(None, shards=1, quiet_s=1e6)) == ["unknown"]


def test_nobody_knows_whether_it_was_taken():
    assert words(judge("", shards=1, job_id=None, quiet_s=1e6)) == ["unknown"]


def test_accounting_is_asked_for_what_the_queue_forgot():
    sacct = "7_0|OUT_OF_MEMORY|n1\n7_1|CANCELLED by 1000|n2\n7_2|COMPLETED|n2\n"
    assert words(judge("", sacct=sacct, shards=3)) == ["failed", "cancelled", "unknown"]


def test_a_row_under_the_bare_id_of_an_array_says_nothing():
    """Seen for seconds on a real cluster while three of four tasks had failed."""
    assert read_sacct("13|COMPLETED|n1\n13_[0-3]|PENDING|None assigned\n") == {}
    assert words(judge("", sacct="7|COMPLETED|n1\n", shards=2)) == ["unknown"] * 2


def test_the_queue_knows_better_than_accounting():
    assert words(judge("7_0|RUNNING|n1|x|70|None\n", sacct="7_0|FAILED|n1\n7_1|FAILED|n1\n", shards=2)) == [
        "running",
        "failed",
    ]


def test_a_shard_never_handed_over_waits():
    found = Judge().judge(1, set(), Journal(Path("/x")), {}, lambda ids: {}, Silence(0.0), 0.0)
    assert found[0].state.detail == "not handed over yet"


# ------------------------------------------------------------------------------------------ trying again


def verdict(end: str | None, state: Any = "failed") -> Verdict:
    from badc_core.scheduling import ShardState

    return Verdict(ShardState(state), end)


@pytest.mark.parametrize("end", sorted(RETRIED))
def test_ends_that_say_nothing_against_the_shard_have_a_budget(end: str):
    assert _again(verdict(end), 3, 3, everything=False, proven=False)
    assert not _again(verdict(end), 4, 3, everything=False, proven=False)
    assert _again(verdict(end), 4, 3, everything=True, proven=False)


def test_what_goes_on_is_handed_over_whenever_it_stops():
    assert _again(verdict("FAILED"), 0, 0, everything=False, proven=False)
    assert not _again(verdict("CANCELLED", "cancelled"), 0, 3, everything=False, proven=False)


def test_failures_are_tried_again_only_where_something_works():
    assert not _again(verdict("FAILED"), 1, 3, everything=False, proven=False)
    assert _again(verdict("FAILED"), 1, 3, everything=False, proven=True)


def test_cancelled_is_cancelled():
    assert not _again(verdict("CANCELLED", "cancelled"), 1, 3, everything=False, proven=True)
    assert _again(verdict("CANCELLED", "cancelled"), 1, 3, everything=True, proven=True)


# ---------------------------------------------------------------------------------------- small things


@given(st.sets(st.integers(0, 3000)))
def test_numbers_go_through_slurms_form(numbers: set[int]):
    assert list(expanded(compressed(numbers))) == sorted(numbers)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("1:30", 1.5),
        ("4:00:00", 240),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("0-0:0:30", 0.5),
        ("0", math.inf),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
    ],
)
def test_time_limits(text: str, minutes: float):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("memory", "wanted"), [("8G", "12G"), ("500M", "750M"), ("3G", "4608M"), ("1000", "1500"), ("all", "all")]
)
def test_memory_is_raised(memory: str, wanted: str):
    assert raised(memory, 1.5) == wanted


def test_a_torn_journal_is_read_and_written_on(tmp_path: Path):
    journal = Journal.read(tmp_path)
    journal.note("settings", options={}, workdir="/w", badc=["badc"])
    journal.intend(Part("a", 0, (0, 1, 5)))
    with journal.path.open("ab") as file:
        file.write(b'{"kind": "submitted", "na')
    journal.note("submitted", name="a", job_id="7")
    again = Journal.read(tmp_path)
    assert again.parts == {"a": Part("a", 0, (0, 1, 5), None, "7")}
    assert again.fruitless({}) == {0: 1, 1: 1, 5: 1}
    again.intend(Part("b", 0, (5,)))
    again.note("refused", name="b", error="no")
    assert Journal.read(tmp_path).latest()[5].name == "a"


def test_attempts_count_only_where_nothing_was_settled(tmp_path: Path):
    journal = Journal.read(tmp_path)
    journal.note("settings", options={})
    for number, settled in enumerate([{}, {0: 3}, {0: 3, 1: 1}, {0: 3, 1: 1}]):
        journal.intend(Part(f"a{number}", 0, (0, 1), settled=settled))
    read = Journal.read(tmp_path)
    assert read.fruitless({0: 3, 1: 1}) == {0: 3, 1: 2}
    assert read.fruitless({0: 4, 1: 1}) == {0: 0, 1: 2}


def test_a_name_that_a_full_queue_refused_is_free_again(tmp_path: Path):
    journal = Journal.read(tmp_path)
    journal.intend(Part("a", 0, (0, 1)))
    journal.note("refused", name="a", error="full", full=True)
    journal.note("left", shards=2, why="the queue is full")
    assert (Journal.read(tmp_path).parts, Journal.read(tmp_path).left) == ({}, "the queue is full")
    journal.intend(Part("a", 0, (0,)))
    assert Journal.read(tmp_path).left == ""

"""Telemetry logs: every line is readable, and readers bear with what killed writers leave."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badc_core.errors import BadcError
from badc_core.model import Device, Event, Measurement
from badc_core.telemetry_log import count_lines, loads, read_log, tail, to_line

STAMP = "2026-01-31T08:15:02.123456+00:00"


def event(status: str = "success", device: Device | None = None, **details: Any) -> Event:
    return Event("REC1_0", "REC1", status, "cpu-0", STAMP, device or Device(), STAMP, 3.2, 3000, True, details)


def test_a_line_has_the_eight_keys_of_badc_0_1_in_their_order() -> None:
    line = to_line(event("failure", Device("gpu", 1, "NVIDIA H100"), attempt=2, returncode=1, backoff_s=4))
    assert line.endswith(b"}\n")
    found = json.loads(line)
    assert list(found.items()) == [
        ("chunk_id", "REC1_0"),
        ("gpu_index", 1),
        ("gpu_name", "NVIDIA H100"),
        ("status", "failure"),
        ("timestamp", STAMP),
        ("finished_at", STAMP),
        ("runtime_s", 3.2),
        ("details", {"attempt": 2, "returncode": 1, "backoff_s": 4}),
    ]


def test_where_workers_are_on_several_machines_a_line_says_which() -> None:
    found = json.loads(to_line(attrs.evolve(event(attempt=1), worker="n1:cpu-0")))
    assert found["details"] == {"attempt": 1, "worker": "n1:cpu-0"}
    assert "worker" not in json.loads(to_line(event(attempt=1)))["details"]


def test_a_cpu_worker_has_no_gpu() -> None:
    found = json.loads(to_line(event(attempt=1)))
    assert (found["gpu_index"], found["gpu_name"]) == (None, None)


def test_details_always_have_an_attempt_and_at_most_500_characters_of_output() -> None:
    found = json.loads(to_line(event(stdout="a" * 400 + "b" * 300, stderr="short")))["details"]
    assert found["attempt"] == 1
    assert found["stdout"] == "a" * 200 + "b" * 300
    assert found["stderr"] == "short"


def test_measurements_get_the_keys_of_badc_0_1() -> None:
    seen = {"before": None, "after": Measurement(0, 97, 40_000, 81_559)}
    found = json.loads(to_line(event(gpu_metrics=seen)))["details"]["gpu_metrics"]
    assert found["before"] is None
    assert list(found["after"].items()) == [
        ("index", 0),
        ("utilization", 97),
        ("memory_used_mb", 40_000),
        ("memory_total_mb", 81_559),
    ]
    empty = json.loads(to_line(event("failure", gpu_metrics=None)))["details"]["gpu_metrics"]
    assert empty == {"before": None, "after": None}


def test_odd_details_do_not_spoil_a_line() -> None:
    odd = {
        "output": Path("/a/b"),
        "score": np.float32(0.5),
        "table": MappingProxyType({"a": 1}),
        "names": {"b", "a"},
        3: object,
        "nan": float("nan"),
    }
    found = json.loads(to_line(event(attempt=1, odd=odd)))["details"]["odd"]
    assert (found["output"], found["score"], found["table"], found["names"]) == ("/a/b", 0.5, {"a": 1}, ["a", "b"])
    assert found["nan"] is None


def test_a_name_that_is_no_utf_8_comes_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.wav")
    line = to_line(event(output=name))
    assert loads(line)["details"]["output"] == name
    (tmp_path / "log").write_bytes(line)
    assert next(read_log(tmp_path / "log"))["details"]["output"] == name


# --------------------------------------------------------------------------------------------------- reading

WHOLE = to_line(event())
DAMAGED = (
    b'{"chunk_id": "torn by an ear\n'
    b"\n"
    b"[1]\n"
    b'{"status": "start"}\n'
    b'{"chunk_id": "old", "foreign": 1}\n' + WHOLE + b'{"chunk_id": "torn now'
)


def test_readers_fill_in_pass_over_and_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(DAMAGED)
    old, new = read_log(log)
    assert old == {
        "chunk_id": "old",
        "foreign": 1,
        "details": {},
        "status": "unknown",
        "timestamp": "",
        "gpu_index": None,
        "gpu_name": None,
        "finished_at": None,
        "runtime_s": None,
    }
    assert new == json.loads(WHOLE)
    said = capsys.readouterr().err
    assert said.count("passed over") == 1
    assert "3" in said
    assert tail(log, 10) == [old, new]
    assert tail(log, 1) == [new]
    assert tail(log, 0) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 50), st.sampled_from([1, 7, 64, 1 << 16]))
def test_tail_is_the_end_of_the_log_whatever_the_block(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], count: int, block: int
) -> None:
    log = tmp_path_factory.mktemp("tail") / "log.jsonl"
    log.write_bytes(b"".join(b'{"chunk_id":"%d%s"}\n' % (n, b"x" * length) for n, length in enumerate(lengths)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("badc_core.telemetry_log._BLOCK", block)
        assert tail(log, count) == list(read_log(log))[-count:]
    assert count_lines(log) == len(lengths)


def test_tail_does_not_read_what_lies_before(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with log.open("wb") as file:
        file.truncate(1 << 36)  # 64 GiB of nothing
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + WHOLE * 20)
    assert tail(log, 10) == [json.loads(WHOLE)] * 10


@pytest.mark.parametrize("read", [lambda path: list(read_log(path)), lambda path: tail(path, 1), count_lines])
def test_a_log_that_is_not_there_is_a_clear_error(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(BadcError, match=r"nowhere\.jsonl.*No such file"):
        read(tmp_path / "nowhere.jsonl")

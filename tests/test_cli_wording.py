"""Numbers and lengths of time in sentences, names that are no text, and problems by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from badc_core.cli.progress import duration
from badc_core.cli.wording import counted, naming, plain
from badc_core.results import Problem


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 chunks"), (1, "1 chunk"), (2, "2 chunks"), (12_000, "12,000 chunks")]
)
def test_one_is_singular(number: int, text: str):
    assert counted(number, "chunk") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.31, "0.3 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3725, "1 h 02 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"REC 1.wav", "REC 1.wav"), ("Säge 木.wav".encode(), "Säge 木.wav"), (b"caf\xe9.wav", r"caf\xe9.wav")],
)
def test_any_name_can_be_shown(name: bytes, shown: str):
    text = plain(os.fsdecode(name))
    assert text == shown
    assert json.loads(json.dumps(text, ensure_ascii=False).encode("utf-8")) == shown


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem(Path("out/a.json"), None, "no JSON"), "Left out: out/a.json: no JSON"),
        (Problem(Path("out/a.jsonl"), 7, "no JSON"), "Left out: out/a.jsonl, line 7: no JSON"),
        (Problem(Path("out/a.json"), None, "no model", kept=True), "Not finished: out/a.json: no model"),
        (Problem(Path(os.fsdecode(b"out/\xe9.json")), None, "no JSON"), r"Left out: out/\xe9.json: no JSON"),
    ],
)
def test_problems_are_named_with_what_became_of_them(problem: Problem, line: str):
    assert naming(problem) == line

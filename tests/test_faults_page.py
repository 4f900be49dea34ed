"""The page of faults names tests that exist, and no module of ``tests/faults`` is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from repository import REPOSITORY

PAGE = REPOSITORY / "docs/reference/faults.md"
_TEST = re.compile(r"`([\w/-]+\.py)::(\w+)`")


def _tests_of(path: Path) -> set[str]:
    """Return the names of the test functions of a module."""
    if not path.is_file():
        return set()
    found = ast.parse(path.read_text("utf-8")).body
    return {node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_named_exists():
    named = _TEST.findall(PAGE.read_text("utf-8"))
    assert len(named) > 60
    assert [f"{file}::{name}" for file, name in named if name not in _tests_of(REPOSITORY / file)] == []


def test_no_module_of_faults_is_left_out():
    modules = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "tests/faults").glob("test_*.py")}
    assert modules <= {file for file, _ in _TEST.findall(PAGE.read_text("utf-8"))}


def test_every_row_names_a_test():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert [row for row in rows if not _TEST.search(row) and not row.startswith("| Fault |")] == []

"""The reference page has every option and every argument, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from badc_core.config import describe
from badc_hawkears import badc_runners
from badc_hawkears.arguments import FIRST, SECOND, Argument
from badc_hawkears.options import PRESETS, HawkEarsOptions

PAGE = (Path(__file__).parents[3] / "docs/reference/hawkears.md").read_text("utf-8")


def _rows(title: str) -> list[list[str]]:
    """Return the cells of the first table below a title."""
    below = PAGE.split(f" {title}\n", 1)[1]
    table = re.search(r"^\|---.*\n((?:\|.*\n)+)", below, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in table[1].strip().splitlines()]


def test_options() -> None:
    """Each with its default, in order."""
    expected = [(f"`{name}`", "" if default == "()" else default) for name, default, _ in describe(HawkEarsOptions)]
    assert [(row[0], row[1]) for row in _rows("Options")] == expected


def test_presets() -> None:
    """Each with its number of members."""
    rows = {row[0].strip("`"): row[1] for row in _rows("Presets")}
    assert rows.keys() == PRESETS.keys()
    assert all(rows[name] == str(count) for name, count in PRESETS.items() if count)


@pytest.mark.parametrize(("title", "table"), [("Arguments of HawkEars", SECOND), ("HawkEars 1", FIRST)], ids=["2", "1"])
def test_arguments(title: str, table: list[Argument]) -> None:
    """Each with all its spellings; refused is what is refused."""
    rows = _rows(title)
    for one in table:
        if re.fullmatch("--[lhb]pf(start|end|damp)", one.name):
            continue  # in one row, in words
        told = [row for row in rows if f"`{one.name}`" in row[0]]
        assert len(told) == 1, one.name
        assert all(f"`{flag}`" in told[0][0] for flag in one.flags.replace("/", " ").split())
        assert told[0][1].startswith("refused") is bool(one.instead)
    known = {flag for one in table for flag in one.flags.replace("/", " ").split()}
    assert {flag for row in rows for flag in re.findall(r"`(-[\w-]+)`", row[0])} <= known


def test_the_list_of_plugins_says_how_to_install_it(cli) -> None:
    """And that results for another place do not count is declared."""
    ended = cli("plugins", "hawkears")
    assert "badc hawkears setup" in ended.stdout
    assert "--cuda VERSION" in ended.stdout
    (spec,) = badc_runners()
    assert spec.by_place

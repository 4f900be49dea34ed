"""The registry of datasets: read and written in the form of BADC 0.1, whatever names and texts are in it."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from badc_core import registry
from badc_core.errors import ManifestError, UsageError

OLD = """
[datasets.bogus]
path = "/data/bogus"
url = "https://example.org/bogus.git"
method = "datalad"            # git | datalad | git-submodule
status = "connected"
last_connected = "2026-01-31T08:15:02.123456+00:00"
"""

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
values = st.recursive(
    texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.dates(min_value=dt.date(1, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)


def test_written_as_before(tmp_path: Path):
    path = tmp_path / "data.toml"
    path.write_text(OLD)
    with registry.changing(path) as datasets:
        datasets["a b"] = {"path": "/x"}
    lines = [line.partition(" #")[0].rstrip() for line in OLD.strip().splitlines()]
    assert path.read_text().splitlines() == ['[datasets."a b"]', 'path = "/x"', "", *lines]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.dictionaries(texts, st.dictionaries(texts, values, max_size=4), max_size=4))
def test_whatever_is_written_is_read(datasets: dict[str, dict[str, object]]):
    assert tomllib.loads(registry.registry_text({"datasets": datasets})) == {"datasets": datasets}


def test_what_else_is_in_the_file_stays(tmp_path: Path):
    path = tmp_path / "data.toml"
    path.write_text('note = "mine"\n[other.deep]\nlist = [1, 2.5]\n[datasets.a]\npath = "/a"\nnotes = "wet"\n')
    with registry.changing(path) as datasets:
        datasets["a"]["status"] = "connected"
    found = tomllib.loads(path.read_text())
    assert found["note"] == "mine"
    assert found["other"] == {"deep": {"list": [1, 2.5]}}
    assert found["datasets"]["a"] == {"path": "/a", "notes": "wet", "status": "connected"}


@pytest.mark.parametrize("text", ["datasets = 1", "[datasets]\na = 1", "not toml", "\ufffd\0"])
def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, text: str):
    path = tmp_path / "data.toml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=r"data\.toml"), registry.changing(path):
        pytest.fail("went on")
    assert path.read_text() == text


def test_names_that_are_no_unicode_are_refused(tmp_path: Path):
    path = tmp_path / "data.toml"
    path.write_text(OLD)
    with pytest.raises(UsageError, match="no Unicode"), registry.changing(path) as datasets:
        datasets["a"] = {"path": "/\udcff"}
    assert path.read_text() == OLD


def _add(path: Path, first: int) -> None:
    for number in range(first, first + 10):
        with registry.changing(path) as datasets:
            datasets[str(number)] = {"path": f"/{number}"}


def test_two_who_write_at_once_lose_nothing(tmp_path: Path):
    path = tmp_path / "data.toml"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(path, first)) for first in (0, 10)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(registry.datasets_of(registry.read_registry(path))) == 20


def test_its_place(monkeypatch: pytest.MonkeyPatch, isolated: Path):
    assert registry.registry_path() == Path.home() / ".config/badc/data.toml"
    monkeypatch.setenv("BADC_DATA_CONFIG", "~/x.toml")
    assert registry.registry_path() == Path.home() / "x.toml"

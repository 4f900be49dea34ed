"""JSON that comes back as it was, whatever it holds."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from badc_core.json_text import dump_json, load_json


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    ),
    st.booleans(),
)  # fmt: skip
def test_json_comes_back(value: Any, indent: bool):
    assert load_json(dump_json({"it": value}, indent=indent)) == {"it": value}


def test_names_that_are_no_utf_8_come_back():
    entry = {"source_path": os.fsdecode(b"/data/\xf6.wav")}
    data = dump_json(entry)
    assert data.isascii()
    assert load_json(data) == entry

"""CUDA_VISIBLE_DEVICES, table-driven: the rules of the CUDA driver."""

from __future__ import annotations

import pytest

from badc_telemetry.visible import Gpu, MigSlice, choose

A, B, C = (f"GPU-{letter * 8}-1111-2222-3333-444444444444" for letter in "abc")
M1, M2 = "MIG-11111111-aaaa", "MIG-22222222-bbbb"
GPUS = [Gpu(A), Gpu(B), Gpu(C)]
WITH_MIG = [Gpu(A), Gpu(B, (MigSlice(M1, f"MIG-{B}/1/0"), MigSlice(M2, f"MIG-{B}/2/0")))]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (None, [A, B, C]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("0", [A]),
        ("2,0", [C, A]),
        ("2, 0", [C, A]),
        ("0,-1,1", [A]),
        ("0,9,1", [A]),
        ("0,,1", [A]),
        ("9", []),
        ("0,1,0", []),
        ("NoDevFiles", []),
        ("1gpu", [B]),
        ("x1", []),
        (B, [B]),
        (f"{C},{A}", [C, A]),
        ("GPU-bbbb", [B]),
        ("GPU-", []),
        ("GPU-zz", []),
        (f"{A},GPU-zz,{B}", [A]),
        (f"{A},GPU-aaaa", []),
        (f"{A},1", [A]),
        (f"0,{B}", [A]),
    ],
)
def test_which_gpus(text: str | None, chosen: list[str]) -> None:
    assert [uuid for uuid, _ in choose(text, GPUS)] == chosen


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (None, [A, M1, M2]),
        (M2, [M2]),
        (f"{M2},{M1}", [M2, M1]),
        ("MIG-1111", [M1]),
        (f"MIG-{B}/2/0", [M2]),
        (f"{M1},MIG-{B}/1/0", []),
        (f"MIG-{B}", []),
        ("MIG-33333333", []),
        ("1", [B]),
        (f"{M1},0", [M1]),
    ],
)
def test_which_slices(text: str | None, chosen: list[str]) -> None:
    assert [uuid for uuid, _ in choose(text, WITH_MIG)] == chosen


def test_a_child_is_told_the_entry_as_it_was_written() -> None:
    assert choose("2, 0", GPUS) == [(C, "2"), (A, "0")]
    assert choose("GPU-bbbb", GPUS) == [(B, "GPU-bbbb")]
    assert choose(None, [Gpu(A)]) == [(A, A)]

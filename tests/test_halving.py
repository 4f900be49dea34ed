"""Batches that do not fit are halved, the smaller size is kept, and results do not depend on it."""

from __future__ import annotations

import doctest
import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badc_core import halving
from badc_core.errors import RunnerError
from badc_core.halving import in_batches, lacks_memory


class _Device:
    """Holds so many items at once."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.tried: list[int] = []

    def __call__(self, items):
        self.tried.append(len(items))
        if len(items) > self.holds:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return [item * item for item in items]


@given(st.integers(0, 60), st.integers(1, 70), st.integers(1, 70))
def test_results_do_not_depend_on_what_fits(count, size, holds):
    results, held = in_batches(range(count), _Device(holds), size)
    assert results == [item * item for item in range(count)]
    assert 1 <= held <= size
    assert held <= holds or count <= holds


def test_the_size_that_held_fails_no_more():
    device = _Device(3)
    _, held = in_batches(range(20), device, 16)
    assert device.tried == [16, 8, 4] + [2] * 10
    _, again = in_batches(range(4), device, held)
    assert (held, again, device.tried[-2:]) == (2, 2, [2, 2])


def test_one_item_that_does_not_fit_is_an_error_that_asks_for_a_fresh_process():
    with pytest.raises(RunnerError, match="even with one item at a time: CUDA out of memory") as caught:
        in_batches(range(5), _Device(0), 4)
    assert caught.value.retry
    assert lacks_memory(caught.value)


def test_other_errors_pass_through_at_once():
    tried = []

    def run(items):
        tried.append(len(items))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        in_batches(range(8), run, 8)
    assert tried == [8]


def test_the_failed_batch_is_let_go_before_the_next_is_tried():
    class Tensor:
        pass

    alive: list[weakref.ref[Tensor]] = []
    seen = []

    def run(items):
        tensor = Tensor()
        alive.append(weakref.ref(tensor))
        if len(items) > 1:
            raise MemoryError
        return items

    def give_back():
        seen.append(alive[-1]())

    gc.disable()
    try:
        in_batches([1, 2], run, 2, give_back=give_back)
    finally:
        gc.enable()
    assert seen == [None]


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (
            RuntimeError("alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("Allocation on device"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("shape (3, 4)"), False),
    ],
)
def test_memory_that_ran_out_is_told_by_its_words(error, lacks):
    assert lacks_memory(error) is lacks


def test_the_example_is_true():
    found = doctest.testmod(halving)
    assert (found.attempted, found.failed) == (2, 0)


def test_results_may_come_as_an_array():
    rows, _ = in_batches(range(5), lambda some: np.array([[item, item] for item in some]), 2)
    assert [row.tolist() for row in rows] == [[item, item] for item in range(5)]

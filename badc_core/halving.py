"""Batches that shrink until they fit: for runners whose device may lack memory. Pure Python; no model library.

Plugins that compute on a device share this module, so that running out of memory means the same everywhere: the batch
is halved, computed again, and the smaller size is kept. What is computed does not depend on it.

Examples
--------
A device that holds three items at once:

>>> def double(items):
...     if len(items) > 3:
...         raise MemoryError
...     return [2 * item for item in items]
>>> in_batches(range(10), double, 8)
([0, 2, 4, 6, 8, 10, 12, 14, 16, 18], 2)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from badc_core.errors import RunnerError

__all__ = ["in_batches", "lacks_memory"]

T = TypeVar("T")
R = TypeVar("R")

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "status_alloc_failed")
"""How torch, CUDA, MPS, cuDNN and cuBLAS say it, in lower case; most raise a plain RuntimeError."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception says that the host's or the device's memory ran out; libraries for GPUs use words only."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    return any(words in said for words in _WORDS)


def in_batches(
    items: Sequence[T],
    run: Callable[[Sequence[T]], Iterable[R]],
    size: int,
    *,
    too_large: Callable[[Exception], bool] = lacks_memory,
    give_back: Callable[[], object] = lambda: None,
) -> tuple[list[R], int]:
    """Compute items in batches; a batch that does not fit is halved, and so are all that follow.

    Parameters
    ----------
    items
        What to compute.
    run
        Computes some of them, and returns one result for each, in order. Called again with fewer after it failed, so
        it must change nothing before it succeeds.
    size
        How many at once, at most.
    too_large
        Whether an exception of `run` says that there were too many; others pass through.
    give_back
        Called before a smaller batch is tried, when nothing refers to the failed one any more, to free what a library
        keeps: ``torch.cuda.empty_cache``.

    Returns
    -------
    list, int
        One result per item, and the size that held: give that one the next time.

    Raises
    ------
    RunnerError
        A single item is too large. It says so in words that :func:`lacks_memory` knows, so that
        :mod:`badc_core.isolation` begins with a fresh process.
    """
    done: list[R] = []
    while len(done) < len(items):
        some = items[len(done) : len(done) + size]
        failure = ""
        try:
            done.extend(run(some))  # not +=, which an array would answer
        except Exception as error:
            if not too_large(error):
                raise
            failure = str(error).partition("\n")[0] or type(error).__name__
        if failure:  # here the exception, and with it all that its frames hold, is gone
            give_back()
            if len(some) == 1:
                raise RunnerError(
                    f"Out of memory, even with one item at a time: {failure}",
                    hint="Free memory on the device, or use another device.",
                )
            size = len(some) // 2
    return done, size

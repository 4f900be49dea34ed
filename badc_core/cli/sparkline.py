"""Numbers in a row, drawn with one letter each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

__all__ = ["ASCII", "BLOCKS", "sparkline", "squeezed"]

BLOCKS = "▁▂▃▄▅▆▇█"
"""Letters from low to high."""

ASCII = "_.:-=+*#"
"""The same for terminals that have no blocks."""

Values = Sequence[float | None]


def squeezed(values: Values, width: int) -> list[float | None]:
    """Return at most `width` values, each the mean of its share of `values`; shares without numbers are ``None``.

    What is not finite is no number.

    >>> squeezed([1, 3, None, None, 5], 3)
    [1.0, 3.0, 5.0]
    """
    if len(values) <= width:
        return [value if _is_known(value) else None for value in values]
    means: list[float | None] = []
    for place in range(width):
        share = values[place * len(values) // width : (place + 1) * len(values) // width]
        known = [value for value in share if _is_known(value)]
        means.append(sum(known) / len(known) if known else None)
    return means


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def sparkline(values: Values, width: int = 60, *, highest: float | None = None, letters: str = BLOCKS) -> str:
    """Draw values as a line of letters; the lowest letter is 0, so that heights can be compared.

    Parameters
    ----------
    values
        Numbers from 0; ``None``, and what is not finite, is drawn as a blank.
    width
        Most letters; more values are squeezed.
    highest
        What the highest letter stands for; ``None``: the largest value.
    letters
        From low to high.

    Examples
    --------
    >>> sparkline([0, 1, 2, None, 7])
    '▁▂▃ █'
    """
    shown = squeezed(values, width)
    top = highest if highest is not None else max((value for value in shown if value is not None), default=0.0)
    return "".join(" " if value is None else _letter(value, top, letters) for value in shown)


def _letter(value: float, top: float, letters: str) -> str:
    share = value / top if top > 0 else 0.0
    return letters[min(len(letters) - 1, max(0, round(share * (len(letters) - 1))))]

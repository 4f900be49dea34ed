"""One line of the table of figures."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Row"]


@frozen
class Row:
    """One line of the table.

    Parameters
    ----------
    what
        What was done.
    measured
        The figure, with its unit.
    goal
        What is to be reached.
    before
        BADC 0.1's figure, on a comparable machine with two cores.
    reached
        Whether the goal was reached; ``None`` where there is none.
    """

    what: str
    measured: str
    goal: str = ""
    before: str = ""
    reached: bool | None = None

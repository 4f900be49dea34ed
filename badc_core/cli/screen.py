"""Tables on the screen; rich is imported when one is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from badc_core.cli.sparkline import ASCII, BLOCKS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Kind", "console", "number", "printable", "spark_letters", "table"]

Kind = Literal["text", "word", "number"]

_NARROWEST = 8
"""Letters of a text that is broken."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: object) -> str:
    """Return text of others as a terminal may get it: what could move the cursor or change colours becomes ``?``."""
    return _CONTROL.sub("?", str(text))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits behind the point; nothing for ``None``."""
    return "" if value is None else f"{value:,.{digits}f}"


def console() -> Console:
    """Return rich's console for stdout as it is now."""
    from rich.console import Console

    return Console()


def spark_letters(screen: Console) -> str:
    """Return the letters for sparklines that a terminal has."""
    return ASCII if screen.options.ascii_only else BLOCKS


def table(title: str, columns: Sequence[tuple[str, Kind]], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table; whatever its cells hold is shown as it is.

    Parameters
    ----------
    title
        Above it; may be empty.
    columns
        Name, and what it holds: ``text``, which is broken where there is no room; ``word``, which is not; ``number``,
        which stands on the right.
    rows
        Cells; ``None`` is an empty one.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    heading = Text(printable(title)) if title else None
    made = Table(title=heading, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    made.pad_edge, made.collapse_padding = False, True
    for name, kind in columns:
        if kind == "text":
            made.add_column(name, overflow="fold", min_width=_NARROWEST)
        else:
            made.add_column(name, justify="right" if kind == "number" else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(Text("" if cell is None else printable(cell)) for cell in row))
    return made

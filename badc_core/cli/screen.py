"""Tables on the screen; rich is imported when one is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from badc_core.cli.sparkline import ASCII, BLOCKS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["console", "number", "printable", "spark_letters", "table"]

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


def table(title: str, columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table; whatever its cells hold is shown as it is.

    Parameters
    ----------
    title
        Above it; may be empty.
    columns
        Name, and whether it holds numbers, which stand on the right.
    rows
        Cells; ``None`` is an empty one.
    """
    from rich.table import Table
    from rich.text import Text

    made: Any = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for name, numeric in columns:
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text("" if cell is None else printable(cell)) for cell in row))
    return made  # type: ignore[no-any-return]

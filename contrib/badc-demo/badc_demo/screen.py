"""How the demonstration looks: tables and lines for a terminal, or for a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from badc_demo.dataset import SPECIES, LongFile
from badc_demo.findings import Damage, Found, Heard

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["damage_line", "found_table", "heard_table", "next_steps", "position", "span"]


def position(milliseconds: int) -> str:
    """Return a position in a recording: ``1:11.5``."""
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}:{rest // 1000:02d}.{rest % 1000 // 100}"


def span(first: str, last: str) -> tuple[str, str]:
    """Return two times of the table as people write them; the second without its day when that is the first's."""
    day, _, time = first.partition("T")
    last_day, _, last_time = last.partition("T")
    return f"{day} {time[:5]}", last_time[:5] if day == last_day else f"{last_day} {last_time[:5]}"


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )


def heard_table(found: Sequence[Heard]) -> Table:
    """Return the table of what was heard where and when; 80 columns wide."""
    table = _table("What was heard, where and when")
    table.add_column("study area/site", no_wrap=True)
    table.add_column("species", no_wrap=True)
    table.add_column("windows", justify="right")
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    table.add_column("best", justify="right")
    before = None
    for item in found:
        place = f"{item.study_area}/{item.site}"
        shown = place if place != before else ""
        before = place
        table.add_row(shown, item.label, str(item.detections), *span(item.first, item.last), f"{item.best:.2f}")
    return table


def found_table(found: Sequence[Found]) -> Table:
    """Return the table of what was laid and what was heard of it."""
    table = _table(f"{SPECIES}: laid, and heard")
    table.add_column("recording")
    for name in ("laid at", "loudness", "heard at", "confidence"):
        table.add_column(name, justify="right")
    before = None
    for item in found:
        name = item.file.path.name if item.file != before else ""
        before = item.file
        laid = (name, position(item.song.at_ms), f"{item.song.loudness_db} dB")
        if item.heard_at_ms is not None and item.confidence is not None:
            table.add_row(*laid, position(item.heard_at_ms), f"{item.confidence:.2f}")
        else:
            table.add_row(*laid, "lost" if item.lost else "not heard", "")
    return table


def damage_line(file: LongFile, cost: Damage) -> str:
    """Say what the damaged file cost."""
    text = (
        f"{file.path.name} ends half-way, as after a flat battery: "
        f"{cost.whole + cost.partly} of its {cost.whole + cost.partly + cost.missing} chunks were analysed"
    )
    if cost.partly:
        text += f" ({cost.partly} of them in part, {cost.missing_ms / 1000:.1f} s short)"
    verb = "is" if cost.missing == 1 else "are"
    return text + f", {cost.missing} {verb} missing. Nothing else was lost."


def next_steps(files: Iterable[tuple[str, Path]], parquet: Path) -> list[str]:
    """Return the closing lines: where everything lies, and what to try next."""
    lines = [f"{kind + ':':9}{path}" for kind, path in files]
    return [
        *lines,
        "",
        "Next, try",
        f"  badc report summary --parquet {parquet} --group-by site",
        "and then your own recordings:",
        "  badc chunk manifest FOLDER --recursive --output my-recordings.csv",
        "  badc infer run my-recordings.csv --runner birdnet --output-dir results",
    ]

"""``badc demo``: the steps one after another, with what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from badc_core.errors import BadcError

if TYPE_CHECKING:
    from rich.console import Console

    from badc_core.engine import RunSummary
    from badc_demo.sounds import Sounds

LICENCE = "BirdNET's weights are CC BY-NC-SA 4.0: for non-commercial use."


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("badc-demo"),
    show_default=True,
    help="Where everything goes.",
)
@click.option(
    "--minutes",
    type=click.IntRange(2, 30),
    default=5,
    show_default=True,
    help="Length of each of the three long recordings that are made.",
)
def demo(folder: Path, minutes: int) -> None:
    """See BADC work: a real model on real bird song, from recordings to tables.

    Builds a small dataset in a folder of its own, cuts it into chunks, lets BirdNET listen, and shows what was heard
    where and when, and how that compares with what is there. The same command again goes on where the last one ended.
    """
    from rich.console import Console

    sounds = _sounds()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"BADC, a demonstration in {folder}", style="bold")
    _build(console, folder, minutes, sounds)
    manifest = _cut(console, folder)
    _listen(console, folder, manifest, minutes)
    _show(console, folder, manifest, minutes)


def _sounds() -> Sounds:
    from badc_demo.sounds import find_sounds, missing_packages

    lines = missing_packages()
    if lines:
        raise BadcError(
            f"The demonstration lacks its model or its sounds. {LICENCE}", hint="\n".join(["Install them:", *lines])
        )
    return find_sounds()


def _build(console: Console, folder: Path, minutes: int, sounds: Sounds) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from badc_demo.dataset import steps, write_dataset

    columns = (TextColumn("    {task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("recordings", total=steps(minutes))
        made = write_dataset(folder, minutes, sounds, lambda name: bar.advance(task))
    how = "made" if made else "there already"
    console.print(f"1/4 Dataset: 2 sites, {steps(minutes)} recordings, {how}")


def _cut(console: Console, folder: Path) -> Path:
    from badc_demo.story import CHUNK_MS, MANIFEST, cut

    chunks = cut(folder)
    console.print(f"2/4 Cut: {chunks} chunks of {CHUNK_MS // 1000} s, listed in {MANIFEST}; no sound was copied")
    return folder / MANIFEST


def _listen(console: Console, folder: Path, manifest: Path, minutes: int) -> None:
    from badc_core.cli.progress import ProgressLine
    from badc_demo.dataset import audible_ms
    from badc_demo.story import listen

    console.print(f"3/4 BirdNET 2.4 listens. {LICENCE}")
    with ProgressLine() as progress:
        summary = listen(folder, manifest, progress)
    console.print(f"    {_how_it_went(summary, audible_ms(minutes))}")


def _how_it_went(summary: RunSummary, present_ms: int) -> str:
    counts, planned = summary.counts, summary.planned
    again = f" ({planned.failed_before} that failed before were tried again)" if planned.failed_before else ""
    if not counts.chunks:
        return f"All {planned.total} chunks were done before."
    text = f"{counts.chunks} chunks in {summary.elapsed_s:.1f} s"
    if planned.done:
        return f"{text}; {planned.done} of {planned.total} were done before{again}"
    return f"{text}, {present_ms / 1000 / summary.elapsed_s:.0f} times as fast as they were recorded"


def _show(console: Console, folder: Path, manifest: Path, minutes: int) -> None:
    from badc_demo.dataset import long_files
    from badc_demo.findings import damage_of, extra_detections, heard, laid_and_found
    from badc_demo.screen import damage_line, found_table, heard_table, next_steps
    from badc_demo.story import MIN_CONFIDENCE, compile_tables, read_rows

    tables = compile_tables(folder, manifest)
    rows = read_rows(tables.csv)
    files = long_files(minutes)
    console.print(f"4/4 Compiled: one table of {len(rows)} rows\n")
    console.print(heard_table(heard(rows)))
    console.print(f"Windows of 3 s with a confidence of at least {MIN_CONFIDENCE}.\n")
    console.print(found_table(laid_and_found(files, rows)))
    console.print(f"Detections in these files that are none of the laid songs: {extra_detections(files, rows)}")
    for file in files:
        if file.damaged:
            console.print(damage_line(file, damage_of(file, rows)))
    console.print()
    places = (("CSV", tables.csv), ("Parquet", tables.parquet), ("DuckDB", tables.duckdb))
    for line in next_steps(places, tables.parquet):
        console.print(line)

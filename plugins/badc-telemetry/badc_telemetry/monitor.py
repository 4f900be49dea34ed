"""``badc infer monitor``: what devices did and do, from the logs of runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from badc_core.errors import BadcError
from badc_core.telemetry_log import DEFAULT_LOG

PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "--log",
    "logs",
    type=PATH,
    multiple=True,
    default=[DEFAULT_LOG],
    show_default=True,
    help="A log, or a folder of logs; may be repeated.",
)
@click.option("--tail", type=click.IntRange(0), default=15, show_default=True, help="Events shown, the latest ones.")
@click.option("--follow/--once", default=False, show_default=True, help="Go on looking until stopped with Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option("--per-log", is_flag=True, help="Tell apart devices of different logs.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the figures as JSON; with --follow, a line at each change."
)
def monitor(logs: tuple[Path, ...], tail: int, follow: bool, interval: float, per_log: bool, as_json: bool) -> None:
    """Show what each device did, and the latest events.

    Several logs are seen as one, such as those of the tasks of an array. With --follow a log may still be missing, and
    what was read is not read again. Where the output is no terminal, --follow prints new events line by line.
    """
    from badc_telemetry.figures import Figures
    from badc_telemetry.following import Logs

    watched = Logs([path.expanduser() for path in logs])
    figures = Figures(tail, per_log)
    if not follow:
        _refuse_missing(watched.missing(), watched.elsewhere())
        _take(watched, figures)
        _show_once(figures, watched.count, as_json=as_json)
        return
    show = _json_lines if as_json else _living if sys.stdout.isatty() else _lines
    try:
        show(watched, figures, interval)
    except KeyboardInterrupt:
        if show is _lines and figures.events:
            _show_once(figures, watched.count, as_json=False)


def _refuse_missing(missing: list[Path], elsewhere: list[Path]) -> None:
    """Raise where there is no log; warn of those that are not here, while others are."""
    from badc_core.annex import fetch_hint
    from badc_core.cli.screen import printable
    from badc_core.cli.wording import counted
    from badc_core.telemetry_log import unreadable

    if elsewhere:
        error = unreadable(elsewhere[0], FileNotFoundError())
        if elsewhere[0] in missing or elsewhere[0].parent in missing:
            raise error
        what = f"Not counted: {counted(len(elsewhere), 'log')} whose content is not on this machine."
        click.echo(printable(f"{what} {fetch_hint(elsewhere[0])}"), err=True)
    if not missing:
        return
    what = "log in the folder" if missing[0].is_dir() else "log"
    raise BadcError(
        f"There is no {what} {missing[0]}.",
        hint="badc infer run prints where its log lies; --follow waits for one that is still to come.",
    )


def _take(watched: Any, figures: Any) -> list[Mapping[str, Any]]:
    """Read on, and return the new records, no more than are shown."""
    from badc_core.telemetry_log import unreadable

    new = []
    try:
        for path, record in watched.poll():
            figures.take(record, path)
            new.append(record)
            if len(new) > 10_000:  # at the first look at a long log
                del new[: -max(1, figures.tail)]
    except OSError as error:
        raise unreadable(Path(error.filename or watched.places[0]), error) from error
    return new


def _looks(watched: Any, figures: Any, interval: float) -> Iterator[list[Mapping[str, Any]]]:
    """Look at the logs again and again; yields what is new."""
    while True:
        yield _take(watched, figures)
        time.sleep(interval)


# ------------------------------------------------------------------------------------------------ showing


def _show_once(figures: Any, logs: int, *, as_json: bool) -> None:
    if as_json:
        _print_json(figures, logs)
        return
    from badc_core.cli.screen import console, spark_letters
    from badc_telemetry.shown import shown

    screen = console()
    screen.print(shown(figures, logs, spark_letters(screen), screen.width))


def _print_json(figures: Any, logs: int) -> None:
    from badc_core.telemetry_log import dumps

    entry = {
        "logs": logs,
        "events": figures.events,
        "devices": [device.as_json() for device in figures.devices],
        "tail": list(figures.latest),
    }
    click.echo(dumps(entry))


def _living(watched: Any, figures: Any, interval: float) -> None:
    from rich.live import Live

    from badc_core.cli.screen import console, spark_letters
    from badc_telemetry.shown import shown

    screen = console()
    letters = spark_letters(screen)
    with Live(console=screen, auto_refresh=False) as live:
        for _ in _looks(watched, figures, interval):
            live.update(shown(figures, watched.count, letters, screen.width, watched.replaced), refresh=True)


def _lines(watched: Any, figures: Any, interval: float) -> None:
    from badc_core.cli.screen import printable
    from badc_core.cli.telemetry import record_line

    first = True
    for new in _looks(watched, figures, interval):
        for record in list(figures.latest) if first else new:
            click.echo(printable(record_line(dict(record))))
        first = False


def _json_lines(watched: Any, figures: Any, interval: float) -> None:
    for new in _looks(watched, figures, interval):
        if new:
            _print_json(figures, watched.count)

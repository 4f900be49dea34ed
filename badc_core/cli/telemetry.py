"""``badc telemetry``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from badc_core.telemetry_log import DEFAULT_LOG, count_lines, dumps, tail


@click.command()
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    default=DEFAULT_LOG,
    show_default=True,
    help="The log; badc infer run says where it lies.",
)
@click.option("-n", "--tail", "count", type=click.IntRange(min=0), default=10, show_default=True, help="Records shown.")
@click.option("--json", "as_json", is_flag=True, help="The records as JSON lines, keys they lack filled in.")
def telemetry(log: Path, count: int, as_json: bool) -> None:
    """Show the last records of a telemetry log."""
    log = log.expanduser()
    records = tail(log, count)
    if as_json:
        for record in records:
            click.echo(dumps(record).decode("utf-8"))
        return
    total = count_lines(log)
    click.echo(f"{total} telemetry record{'' if total == 1 else 's'} in {log}")
    for record in records:
        click.echo(record_line(record))


def record_line(record: dict[str, Any]) -> str:
    """Return one record as a line for people."""
    details = record["details"]
    place = "cpu" if record["gpu_index"] is None else f"gpu-{record['gpu_index']}"
    words = [record["timestamp"] or "no time", f"{record['status']:<7}", place, record["chunk_id"]]
    if isinstance(record["runtime_s"], int | float):
        words.append(f"{record['runtime_s']:.3f} s")
    attempt = details.get("attempt")
    if isinstance(attempt, int) and attempt > 1:
        words.append(f"attempt {attempt}")
    wrong = details.get("error") or details.get("stderr")
    if record["status"] == "failure" and isinstance(wrong, str) and wrong.strip():
        words.append(wrong.strip().splitlines()[-1][:100])
    return "  ".join(words)

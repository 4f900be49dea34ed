"""The commands ``badc infer aggregate`` and ``badc report summary``: parse, call, print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from badc_core.cli.options import FilePath
from badc_core.cli.wording import counted, naming, plain
from badc_core.config import Settings
from badc_core.errors import ExitCode

if TYPE_CHECKING:
    from badc_core.exporting import Export
    from badc_core.results import Problem
    from badc_duckdb.aggregation import Summary

_PROBLEMS_SHOWN = 20


@click.command("aggregate", short_help="Compile results into tables.")
@click.argument("detections_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--manifest",
    type=FilePath(),
    help="Adds what results lack, and tells apart results of another chunking.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("artifacts/aggregate/summary.csv"),
    show_default=True,
    help="The CSV file to make.",
)
@click.option("--parquet", type=click.Path(path_type=Path), help="Make a Parquet file, too.")
@click.option(
    "--export",
    "exports",
    multiple=True,
    metavar="NAME[=TARGET]",
    help="Make another format, too: duckdb=detections.duckdb; may be repeated. `badc plugins` lists all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_context
def aggregate(
    ctx: click.Context,
    detections_dir: Path,
    manifest: Path | None,
    output: Path,
    parquet: Path | None,
    exports: tuple[str, ...],
    as_json: bool,
) -> int:
    """Compile all results below DETECTIONS_DIR into one table, a row per detection.

    A chunk in which nothing was heard has one row with the label "none". The same results give the same bytes.
    Exit status 3: some files could not be read, or some recordings not finished; they are named, and the rest is in the
    table.
    """
    from badc_core.exporting import Export, open_exporters, parse_export
    from badc_core.host import default_host
    from badc_core.specs import ExporterSpec
    from badc_duckdb.aggregation import aggregate as compile_results

    host = default_host()
    wanted = [Export(host.find(ExporterSpec, "csv"), output.expanduser())]
    if parquet is not None:
        wanted.append(Export(host.find(ExporterSpec, "parquet"), parquet.expanduser()))
    wanted += [parse_export(text, host, output.expanduser()) for text in exports]
    problems = _Listed()
    found = compile_results(
        detections_dir,
        open_exporters(wanted, ctx.obj if isinstance(ctx.obj, Settings) else None),
        beside=wanted[0].target,
        manifest=manifest,
        on_problem=problems,
    )
    if as_json:
        click.echo(json.dumps(_as_json(found, wanted, problems.kept), indent=2))
    else:
        _tell(found, wanted, detections_dir, manifest)
    return int(ExitCode.SOME_FAILED if found.unreadable or found.unfinished else ExitCode.OK)


class _Listed:
    """Names problems on stderr as they come, the first of them."""

    def __init__(self) -> None:
        self.kept: list[Problem] = []

    def __call__(self, problem: Problem) -> None:
        if len(self.kept) < _PROBLEMS_SHOWN:
            self.kept.append(problem)
            click.secho(naming(problem), fg="yellow", err=True)


def _as_json(found: Summary, wanted: Sequence[Export], problems: Sequence[Problem]) -> Mapping[str, Any]:
    outputs = [{"format": item.spec.name, "path": plain(str(item.target))} for item in wanted]
    listed = [{"path": plain(str(p.path)), "line": p.line, "reason": plain(p.reason)} for p in problems]
    return {**attrs.asdict(found), "outputs": outputs if found.chunks else [], "problems": listed}


def _tell(found: Summary, wanted: Sequence[Export], folder: Path, manifest: Path | None) -> None:
    if found.unreadable > _PROBLEMS_SHOWN:
        click.secho(f"… and {found.unreadable - _PROBLEMS_SHOWN:,} more problems like these.", fg="yellow", err=True)
    if found.unlisted:
        text = f"{counted(found.unlisted, 'result')} left out: {manifest} names the recording, but not the chunk."
        click.secho(f"{text} Of an earlier chunking?", fg="yellow", err=True)
    if found.pending:
        have = "has" if found.pending == 1 else "have"
        text = f"{found.pending:,} of {counted(found.listed, 'chunk')} of {manifest} {have} no result yet."
        click.secho(text, fg="yellow", err=True)
    if found.unfinished:
        text = f"{counted(found.unfinished, 'recording')} not finished: detections are those of the chunks."
        click.secho(text, fg="yellow", err=True)
    if not found.chunks:
        click.secho(f"No results found in {folder}; nothing was written.", fg="yellow")
        return
    silent = f"{found.silent:,} without detections"
    failed = f", {found.failed:,} failed" if found.failed else ""
    detections, chunks = counted(found.detections, "detection"), counted(found.chunks, "chunk")
    click.echo(f"{detections} in {chunks} ({silent}{failed}) of {counted(found.recordings, 'recording')}.")
    for item in wanted:
        click.echo(f"{item.spec.name}: {item.target}")


@click.command("summary", short_help="Count detections by label, recording, site, …")
@click.option(
    "--parquet",
    type=FilePath(),
    required=True,
    help="The table, made by `badc infer aggregate --parquet`.",
)
@click.option(
    "--group-by",
    multiple=True,
    default=("label",),
    show_default=True,
    metavar="COLUMN",
    help="What to count by: label, recording_id, site, …; may be repeated, or name several with commas.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write all groups to this CSV file.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Groups shown on the screen.")
@click.option("--json", "as_json", is_flag=True, help="Print all groups as JSON.")
def summary(parquet: Path, group_by: tuple[str, ...], output: Path | None, limit: int, as_json: bool) -> None:
    """Count detections and average their confidence, most frequent first. Chunks without detections do not count."""
    from badc_duckdb.report import summarize, write_summary

    columns = [name.strip() for text in group_by for name in text.split(",") if name.strip()]
    table = summarize(parquet, columns)
    if output is not None:
        write_summary(table, output.expanduser())
    if as_json:
        click.echo(json.dumps(table.to_pylist(), indent=2, ensure_ascii=False))
        return
    _show(table, limit)
    if output is not None:
        click.echo(f"{counted(table.num_rows, 'group')}: {output}")


def _show(table: Any, limit: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=None)
    for name in table.column_names:
        shown.add_column(name, justify="right" if name in ("detections", "avg_confidence") else "left", overflow="fold")
    for row in table.slice(0, limit).to_pylist():
        average = row.pop("avg_confidence")
        count = row.pop("detections")
        names = [escape("" if value is None else str(value)) for value in row.values()]
        shown.add_row(*names, f"{count:,}", "" if average is None else f"{average:.3f}")
    Console().print(shown)
    if table.num_rows > limit:
        click.echo(f"{limit:,} of {table.num_rows:,} groups; --limit shows more.")
    if not table.num_rows:
        click.echo("There are no detections in this table.")

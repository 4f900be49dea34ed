"""``badc watch``: analyse recordings as they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from badc_core.cli.wording import counted
from badc_core.config import Settings, pairs
from badc_core.errors import ExitCode, Interrupted

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("target")
@click.option("--source", default="folder", show_default=True, help="The supply of recordings.")
@click.option("--source-option", "source_options", multiple=True, metavar="KEY=VALUE", help="An option of the source.")
@click.option("--runner", default="stub", show_default=True, metavar="NAME", help="The model.")
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the runner.")
@click.option(
    "--chunk-duration",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Length of the chunks, in seconds.",
)
@click.option(
    "--output-dir",
    type=PATH,
    default=Path("artifacts/watch"),
    show_default=True,
    help="Where results and manifests go.",
)
@click.option(
    "--interval", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Analyse what is finished now, then end.")
@click.pass_context
def watch(ctx: click.Context, /, target: str, **given: Any) -> int:
    """Analyse recordings as they arrive at TARGET, until stopped with Ctrl-C.

    A recording that was analysed before is not analysed again: results are asked, as in every run. One that was just
    copied is analysed when it has not changed for ten seconds (--source-option settle_s=SECONDS).
    """
    from badc_core.watching import Watched, Watcher

    settings = ctx.obj if isinstance(ctx.obj, Settings) else Settings()

    def tell(seen: Watched) -> None:
        if seen.error is not None:
            click.echo(f"{seen.path}: {seen.error}", err=True)
        else:
            click.echo(f"{seen.path}: {counted(seen.chunks, 'chunk')}, {seen.new} analysed now, {seen.failed} failed")

    def begin() -> None:
        looking = "Looking once at" if given["once"] else "Watching"
        click.echo(f"{looking} {target} (source {given['source']}) with the runner {given['runner']}.", err=True)
        click.echo(f"Results go to {watcher.output_dir}." + ("" if given["once"] else " Ctrl-C ends."), err=True)

    watcher = Watcher(
        target=target,
        source=given["source"],
        source_options=pairs(given["source_options"], "--source-option"),
        runner=given["runner"],
        options={**settings.table("runner", given["runner"]), **pairs(given["options"])},
        chunk_duration_s=given["chunk_duration"],
        output_dir=given["output_dir"].expanduser().absolute(),
        settings=settings,
    )
    try:
        troubled = watcher.run(
            tell,
            interval_s=given["interval"],
            once=given["once"],
            on_start=begin,
            on_pending=lambda text: click.echo(text, err=True),
        )
    except (Interrupted, KeyboardInterrupt):
        click.echo("Stopped; the same command goes on.", err=True)
        return ExitCode.OK
    return ExitCode.SOME_FAILED if troubled else ExitCode.OK

"""``badc plugins new``: a plugin, ready to fill in."""

from __future__ import annotations

from pathlib import Path

import click

from badc_core.scaffold import KIND_WORDS


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KIND_WORDS), default="runner", show_default=True, help="What it adds.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write it; else a new folder badc-NAME here.",
)
def new(name: str, kind: str, folder: Path | None) -> None:
    """Write a new plugin, with a module, packaging and the standard tests.

    It works as it is; then make it yours. Nothing that is there is overwritten.
    """
    from badc_core.scaffold import check_name, write

    short = check_name(name)
    made = write(folder or Path(f"badc-{short}"), short, kind)
    for path in made.files:
        click.echo(f"wrote {path}")
    click.echo("\nNext:")
    click.echo(f"  pip install -e '{made.folder}[test]'")
    click.echo("  badc plugins")
    click.echo(f"  pytest {made.folder}")

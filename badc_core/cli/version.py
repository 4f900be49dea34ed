"""``badc version``."""

from __future__ import annotations

import click

from badc_core import __version__


@click.command()
def version() -> None:
    """Say which BADC this is."""
    click.echo("BADC: runs classifiers over field recordings, and compiles what they heard")
    click.echo(f"badc {__version__}")

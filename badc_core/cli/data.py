"""``badc data``: which datasets are here, and where they come from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from badc_core.cli.chunk import PATH, settings_of
from badc_core.errors import ExitCode, ManifestError, UsageError

_path = click.option(
    "--path", type=PATH, default=Path("data/datalad"), show_default=True, help="The folder that holds datasets."
)
_apply = click.option("--dry-run/--apply", default=False, help="Say what would be done, or do it.  [default: apply]")


def _settle(step: Any, *, dry_run: bool) -> int:
    """Do a step, or say it; return the exit status of the tool."""
    from badc_core.connecting import ToolError, carry_out

    if step.argv:
        click.echo(f"{'Would run' if dry_run else 'Running'}: {shlex.join(step.argv)}", err=not dry_run)
    if step.delete is not None:
        click.echo(f"{'Would delete' if dry_run else 'Deleting'}: {step.delete}", err=not dry_run)
    if dry_run:
        return ExitCode.OK
    try:
        carry_out(step)
    except ToolError as error:
        click.secho(f"Error: {error.message}", fg="red", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        return error.status
    return ExitCode.OK


@click.command()
@click.argument("name")
@_path
@click.option("--url", help="Where it comes from.  [default: where it came from before, or what badc.toml says]")
@click.option(
    "--method", type=click.Choice(["git", "datalad"]), help="What clones it.  [default: datalad if it is installed]"
)
@click.option("--pull/--no-pull", default=True, show_default=True, help="Bring it up to date if it is here.")
@_apply
@click.pass_context
def connect(
    ctx: click.Context, /, name: str, path: Path, url: str | None, method: str | None, pull: bool, dry_run: bool
) -> int:
    """Bring the dataset NAME here, or up to date, and remember where it lies."""
    from badc_core import clocks
    from badc_core.connecting import connecting, origin
    from badc_core.layout import check_id
    from badc_core.registry import changing, datasets_of, read_registry, registry_path

    target = path.expanduser().absolute() / check_id(name, "dataset")
    known = datasets_of(read_registry(registry_path())).get(name, {})
    asked = url or origin(target) or str(known.get("url") or "") or _of_settings(ctx, name)
    if asked and "://" not in asked and Path(asked).expanduser().exists():
        asked = str(Path(asked).expanduser().absolute())
    step = connecting(target, asked, method, pull=pull)
    status = _settle(step, dry_run=dry_run)
    if status == ExitCode.OK and not dry_run:
        with changing(registry_path()) as datasets:
            entry = {**datasets.get(name, {}), "path": str(target), "url": asked, "method": step.method}
            datasets[name] = {**entry, "status": "connected", "last_connected": clocks.now()}
        click.echo(f"{name}: {step.what}, in {target}")
    return status


def _of_settings(ctx: click.Context, name: str) -> str:
    return str(settings_of(ctx).table("datasets", name).get("url", ""))


@click.command()
@click.argument("name")
@click.option(
    "--drop-content/--keep-content",
    default=False,
    help="Delete its folder, if all of it is somewhere else, too.  [default: keep-content]",
)
@click.option("--force", is_flag=True, help="With --drop-content: delete it even if something is lost.")
@_path
@_apply
def disconnect(name: str, drop_content: bool, force: bool, path: Path, dry_run: bool) -> int:
    """Forget the dataset NAME, and with --drop-content delete it here."""
    from badc_core import clocks
    from badc_core.connecting import disconnecting, is_present
    from badc_core.layout import check_id
    from badc_core.registry import changing, datasets_of, folder_of, read_registry, registry_path

    known = datasets_of(read_registry(registry_path())).get(name)
    target = folder_of(known or {})
    if target is None:
        if known and known.get("path"):
            raise ManifestError(
                f"{registry_path()}: the path of the dataset {name!r} is no text: {known['path']!r}.",
                hint='Mend it: path = "/where/it/lies"',
            )
        target = path.expanduser().absolute() / check_id(name, "dataset")
    if known is None and not is_present(target):
        raise UsageError(f"There is no dataset {name!r}.", hint="`badc data status` lists them.")
    step = disconnecting(target, drop=drop_content, force=force)
    status = _settle(step, dry_run=dry_run)
    if status == ExitCode.OK and not dry_run:
        with changing(registry_path()) as datasets:
            entry = {"path": str(target), **datasets.get(name, {})}
            datasets[name] = {**entry, "status": "disconnected", "last_disconnected": clocks.now()}
        click.echo(f"{name}: disconnected, {step.what}, {target}")
    return status


@click.command()
@click.option("--details/--summary", default=False, help="All that is known, or a line each.  [default: summary]")
@click.option(
    "--show-siblings/--hide-siblings", default=False, help="Also where else they are kept.  [default: hide-siblings]"
)
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def status(details: bool, show_siblings: bool, as_json: bool) -> int:
    """List the datasets that were connected, and whether they are here."""
    from badc_core.connecting import is_present, siblings
    from badc_core.json_text import dump_json
    from badc_core.registry import datasets_of, folder_of, read_registry, registry_path

    found = datasets_of(read_registry(registry_path()))
    entries: dict[str, dict[str, Any]] = {}
    for name, table in found.items():
        target = folder_of(table)
        present = target is not None and is_present(target)
        entries[name] = {**table, "present": present}
        if show_siblings and target is not None and present:
            entries[name]["siblings"] = siblings(target)
    if as_json:
        click.echo(dump_json(entries, indent=True).decode())
        return ExitCode.OK
    if not entries:
        click.echo(f"No datasets in {registry_path()}. To add one: badc data connect NAME --url URL")
    for name, entry in entries.items():
        here = "present" if entry.pop("present") else "missing"
        others = entry.pop("siblings", ())
        click.echo(f"{name} [{here}] {entry.get('status', '')}  {entry.get('path', '')}")
        for key, value in entry.items() if details else ():
            if key not in ("path", "status"):
                click.echo(f"  {key}: {value}")
        for other in others:
            click.echo(f"  sibling {other['name']}: {other['url']}")
    return ExitCode.OK

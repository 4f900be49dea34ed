"""``badc doctor`` and ``badc gpus``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from badc_core import host
from badc_core.doctor import Checked, Findings, Gpus, look, look_at_gpus
from badc_core.errors import ExitCode
from badc_core.model import Device

_GOOD, _BAD, _NONE = "yes", "no", "–"


def _show_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def gpus(as_json: bool) -> None:
    """List the GPUs that may be used.

    CUDA_VISIBLE_DEVICES is respected. The numbers are those of the worker labels gpu-0, gpu-1, ….
    """
    found = look_at_gpus(host.default_host())
    if as_json:
        from attrs import asdict

        _show_json(asdict(found))
        return
    for line in gpu_lines(found):
        click.echo(line)


def gpu_lines(found: Gpus) -> Iterable[str]:
    """Yield what ``badc gpus`` says: a line for each sampler that has something to say, then one for each GPU."""
    for sampler in found.samplers:
        said = sampler.readiness
        if not said.ready:
            yield f"{sampler.name}: {said.detail}" + (f" ({said.fix})" if said.fix else "")
    if not found.samplers:
        yield "No plugin that looks for GPUs is installed (pip install badc-telemetry)"
    for device in found.devices:
        yield _gpu_line(device)
    if not found.devices:
        yield "No GPUs detected; work is done on the CPU."


def _gpu_line(device: Device) -> str:
    memory = "memory unknown" if device.memory_total_mib is None else f"{device.memory_total_mib} MiB"
    return f"#{device.index}: {device.name or 'GPU without a name'} ({memory})"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what is installed and what can run here.

    Ends with 1 when something that is installed is broken; what this machine merely lacks is no fault.
    """
    found = look(host.default_host(), Path.cwd())
    if as_json:
        _show_json(found.plain())
    else:
        for line in doctor_lines(found):
            click.echo(line)
    ctx.exit(int(ExitCode.ERROR if found.broken else ExitCode.OK))


def doctor_lines(found: Findings) -> Iterable[str]:
    """Yield what ``badc doctor`` says."""
    free = _NONE if found.free_bytes is None else f"{found.free_bytes / 1e9:.1f} GB free"
    yield from _section("", [("BADC", found.badc), ("Python", found.python), ("System", found.system)])
    yield from _section("", [("Folder", f"{found.folder} ({free})")])
    yield from _section("Plugins", _plugin_rows(found))
    yield from _section("GPUs", [("", line) for line in gpu_lines(found.gpus)])
    yield from _section("Runners", [row for runner in found.runners for row in _runner_rows(runner)])
    yield from _section("Libraries", [(name, version or "not installed") for name, version in found.libraries.items()])
    yield from _section("Tools", [(name, path or "not found") for name, path in found.tools.items()])
    yield ""
    if found.broken:
        yield "Something that is installed is broken: see the lines marked BROKEN."
    else:
        yield "Nothing that is installed is broken."


def _section(title: str, rows: Sequence[tuple[str, str]]) -> Iterable[str]:
    if title:
        yield ""
        yield title
    if title and not rows:
        yield "  none"
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        yield f"{'  ' if title else ''}{name.ljust(width)}{'  ' if width else ''}{text}".rstrip()


def _plugin_rows(found: Findings) -> list[tuple[str, str]]:
    rows = []
    for plugin in found.plugins:
        problem = f"  BROKEN: {plugin['problem']}" if plugin["problem"] else ""
        rows.append((str(plugin["distribution"]), f"{plugin['version']}{problem}"))
    for word, names in found.conflicts.items():
        for name, claims in names.items():
            rows.append((f"{word} {name}", f"BROKEN: claimed by {' and by '.join(claims)}; uninstall one of them"))
    return rows


def _runner_rows(runner: Checked) -> list[tuple[str, str]]:
    said = runner.readiness
    if said.ready:
        return [(runner.name, "can run" + (f": {said.detail}" if said.detail else ""))]
    rows = [(runner.name, ("BROKEN: " if runner.broken else "cannot run: ") + (said.detail or "it does not say why"))]
    if said.fix:
        rows.append(("", f"to mend that: {said.fix}"))
    return rows

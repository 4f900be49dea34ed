"""Commands wrapped in ``datalad run``, so that a dataset remembers how its results were made."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import attrs

from badc_core import layout, manifest
from badc_core.errors import UsageError
from badc_core.runs import RunRequest

__all__ = ["datalad_run_command", "quote_for_datalad"]


def quote_for_datalad(argument: str) -> str:
    """Quote for a shell, with the braces doubled that ``datalad run`` takes for placeholders."""
    return shlex.quote(argument.replace("{", "{{").replace("}", "}}"))


def datalad_run_command(request: RunRequest, hawkears_args: Sequence[str] = ()) -> str:
    """Return the ``datalad run`` command that does what `request` asks for.

    Parameters
    ----------
    request
        The run.
    hawkears_args
        Arguments for HawkEars, in its spelling.

    Raises
    ------
    UsageError
        The chunks are not all in one dataset, or the manifest is not in it.
    """
    dataset = _common_dataset(request.manifest)
    inside = request.manifest.absolute()
    if not inside.is_relative_to(dataset):
        raise UsageError(f"{request.manifest} lies outside the dataset {dataset}.", hint="Copy it to manifests/ there.")
    relative = str(inside.relative_to(dataset))
    output = _inside(request.output_dir, dataset)
    log = request.telemetry_log
    if log is None:
        stamp = "log"
        log = dataset / "artifacts" / "telemetry" / f"{layout.telemetry_slug(request.manifest)}_{stamp}.jsonl"
    command = ["badc", "infer", "run", relative, *_changed(request), *_hawkears(hawkears_args)]
    command += ["--telemetry-log", _inside(log, dataset)]
    if request.output_dir != layout.DEFAULT_OUTPUT:
        command += ["--output-dir", output]
    parts = ["datalad", "run", "-m", shlex.quote(f"badc infer {request.manifest.stem}")]
    parts += ["--input", quote_for_datalad(relative), "--output", quote_for_datalad(output), "--"]
    return f"cd {shlex.quote(str(dataset))} && " + " ".join([*parts, *map(quote_for_datalad, command)])


def _common_dataset(path: Path) -> Path:
    found: Path | None = None
    for chunk in manifest.read(path):
        source = manifest.resolve_source(chunk.source_path, path)
        root = layout.dataset_of_source(str(source))
        if root is None or (found is not None and Path(root) != found):
            raise UsageError(
                f"The chunks of {path} are not all in one dataset: {source} is in {root or 'none'}.",
                hint="`datalad run` works in one dataset; make a manifest per dataset.",
            )
        found = Path(root)
    if found is None:
        raise UsageError(f"{path} lists no chunks.")
    return found


def _inside(path: Path, dataset: Path) -> str:
    absolute = layout.relative_to_dataset(path, dataset)
    return os.path.relpath(absolute, dataset)


def _changed(request: RunRequest) -> list[str]:
    """Return the flags of options that differ from their defaults."""
    defaults = {spec.name: spec.default for spec in attrs.fields(RunRequest)}
    flags: list[str] = []
    if request.runner == "command":
        flags += ["--runner-cmd", str(request.options["command"])]
    elif request.runner == "hawkears":
        flags.append("--use-hawkears")
    elif request.runner != "stub":
        flags += ["--runner", request.runner]
    skipped = {"command", "args"}
    for key, value in request.options.items():
        if key not in skipped:
            flags += ["-o", f"{key}={value}"]
    for name, flag in (
        ("layout", "--layout"),
        ("max_gpus", "--max-gpus"),
        ("cpu_workers", "--cpu-workers"),
        ("max_retries", "--max-retries"),
        ("timeout_s", "--timeout"),
        ("scheduler", "--scheduler"),
        ("resume_summary", "--resume-summary"),
    ):
        value = getattr(request, name)
        if value != defaults[name]:
            flags += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    for name, flag in (("fail_fast", "--fail-fast"), ("replace", "--replace")):
        if getattr(request, name):
            flags.append(flag)
    return flags


def _hawkears(arguments: Sequence[str]) -> list[str]:
    return [part for argument in arguments for part in ("--hawkears-arg", argument)]

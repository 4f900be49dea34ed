"""Commands wrapped in ``datalad run``, so that a dataset remembers how its results were made."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from badc_core import datalad, layout, manifest
from badc_core.errors import BadcError
from badc_core.runs import RunRequest
from badc_core.task_facts import TASKS_ENDING

__all__ = ["Record", "changed_flags", "datalad_run_command", "record_of"]

_MOST_OUTPUTS = 500
"""More recordings than this are recorded as the folder that they are in."""

_LOG_ENDINGS = ("", ".summary.json", ".summary.json.workers.csv")


@attrs.frozen
class Record:
    """What a dataset is to remember of one run.

    Parameters
    ----------
    dataset
        Its folder, in which the command is run.
    message
        First line of the record.
    inputs, outputs
        Paths in the dataset.
    command
        Program and arguments, with the braces doubled that would be placeholders for DataLad.
    """

    dataset: Path
    message: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    command: tuple[str, ...]


def datalad_run_command(request: RunRequest, dataset: Path | None = None) -> str:
    """Return a shell command: the ``datalad run`` that does what `request` asks for.

    Parameters
    ----------
    request, dataset
        As for :func:`record_of`.

    Raises
    ------
    BadcError
        As :func:`record_of`.
    """
    record = record_of(request, dataset)
    argv = datalad.run_argv(record.message, record.inputs, record.outputs, record.command)
    return f"cd {shlex.quote(str(record.dataset))} && {shlex.join(argv)}"


def record_of(request: RunRequest, dataset: Path | None = None) -> Record:
    """Return what a dataset is to remember of a run.

    Parameters
    ----------
    request
        The run.
    dataset
        Where it is recorded; ``None``: in the dataset that all chunks are in.

    Raises
    ------
    BadcError
        The chunks are not all in one dataset, or the manifest is not in it.
    """
    if dataset is None:
        dataset = _common_dataset(request.manifest)
    inside = request.manifest.absolute()
    if not inside.is_relative_to(dataset):
        raise BadcError(f"{request.manifest} lies outside the dataset {dataset}.", hint="Copy it to manifests/ there.")
    relative = str(inside.relative_to(dataset))
    changed = request.output_dir != layout.DEFAULT_OUTPUT
    output = _inside(request.output_dir, dataset) if changed else str(layout.DEFAULT_OUTPUT)
    if request.telemetry_log is None:
        log = f"artifacts/telemetry/{layout.telemetry_slug(request.manifest)}_log.jsonl"
    else:
        log = _inside(request.telemetry_log, dataset)
    command = ["badc", "infer", "run", relative, *changed_flags(request, dataset)]
    command = [datalad.doubled(part) for part in [*command, "--telemetry-log", log]]
    if changed:
        # As it stands, the default would mean the dataset of each chunk's source, which may be another.
        here = "{dspath}/" if Path(output) == layout.DEFAULT_OUTPUT else ""
        command += ["--output-dir", here + datalad.doubled(output)]
    outputs = [*_results(request, output), *(log + ending for ending in _LOG_ENDINGS)]
    if request.scheduler != "local":
        outputs.append(log + TASKS_ENDING)
    command.append("--no-record-datalad")  # `datalad run` and `datalad rerun` make the record
    return Record(
        dataset,
        f"badc infer {request.manifest.stem}",
        (relative,),
        tuple(path for path in outputs if not path.startswith("../")),  # only what lies in the dataset can be saved
        tuple(command),
    )


def _results(request: RunRequest, output: str) -> list[str]:
    """Return where results go: only what is this run's, as long as that can be said in so many words."""
    if request.layout != "files":
        return [output]
    found: dict[str, None] = {}
    for chunk in manifest.read(request.manifest):
        found[chunk.recording_id] = None
        if len(found) > _MOST_OUTPUTS and not request.share:
            return [output]
    return [f"{output}/{recording_id}" for recording_id in found]


def _common_dataset(path: Path) -> Path:
    found: Path | None = None
    seen: Path | None = None
    for chunk in manifest.read(path):
        if chunk.source_path is seen:  # rows of one source share the very object
            continue
        seen = chunk.source_path
        source = manifest.resolve_source(chunk.source_path, path)
        root = layout.dataset_of_source(str(source))
        if root is None or (found is not None and Path(root) != found):
            raise BadcError(
                f"The chunks of {path} are not all in one dataset: {source} is in {root or 'none'}.",
                hint="`datalad run` works in one dataset; make a manifest per dataset.",
            )
        found = Path(root)
    if found is None:
        raise BadcError(f"{path} lists no chunks.")
    return found


def _inside(path: Path, dataset: Path) -> str:
    """Return a path as it reads in the dataset; one that would lie outside counts from the dataset."""
    absolute = path.expanduser().absolute()
    if not absolute.is_relative_to(dataset):
        absolute = layout.relative_to_dataset(path, dataset)
    return os.path.relpath(absolute, dataset)


def changed_flags(request: RunRequest, dataset: Path) -> list[str]:
    """Return the flags of ``badc infer run`` for what differs from its defaults, save places.

    Parameters
    ----------
    request
        The run.
    dataset
        What paths count from.
    """
    defaults = {spec.name: spec.default for spec in attrs.fields(RunRequest)}
    options = dict(request.options)
    flags: list[str] = []
    arguments: list[Any] = []
    if request.runner == "command":
        flags += ["--runner-cmd", str(options.pop("command"))]
    elif request.runner == "hawkears":
        flags.append("--use-hawkears")
        own = options.pop("args", [])
        arguments = [own] if isinstance(own, str) else list(own)
    elif request.runner != "stub":
        flags += ["--runner", request.runner]
    flags += [*_pairs("-o", options), *(part for one in arguments for part in ("--hawkears-arg", str(one)))]
    for name, flag in (
        ("layout", "--layout"),
        ("max_gpus", "--max-gpus"),
        ("cpu_workers", "--cpu-workers"),
        ("max_retries", "--max-retries"),
        ("timeout_s", "--timeout"),
        ("scheduler", "--scheduler"),
        ("wait_s", "--wait"),
    ):
        value = getattr(request, name)
        if value != defaults[name]:
            flags += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    flags += _pairs("-s", request.scheduler_options)
    if request.resume_summary is not None:
        flags += ["--resume-summary", os.path.relpath(request.resume_summary.expanduser().absolute(), dataset)]
    flags += [part for sink in request.telemetry for part in ("--telemetry", sink)]
    given = (request.fail_fast, request.replace, request.share, not request.resume)
    names = ("--fail-fast", "--replace", "--share", "--no-resume")
    flags += [flag for flag, on in zip(names, given, strict=True) if on]
    return flags


def _pairs(flag: str, values: Mapping[str, Any]) -> list[str]:
    """Return ``key=value`` options; a list is given value by value."""
    found: list[str] = []
    for key, value in values.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            found += [flag, f"{key}={one}"]
    return found

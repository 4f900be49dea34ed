"""What is known before a run begins: its runner, options and model, what is left to do, and the plan of it."""

from __future__ import annotations

import datetime as dt
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from badc_core import __version__, clocks
from badc_core.choosing import asked, identity_of, isolation_of, options_of
from badc_core.config import result_options
from badc_core.digests import sha256_of
from badc_core.host import Host, load_object
from badc_core.plan import Plan, ShardSize, fingerprint, write_chunks
from badc_core.planning import TaskSource, first_source
from badc_core.protocols import RunnerIdentity
from badc_core.recordings import rules_from
from badc_core.runs import RunRequest
from badc_core.scheduling import Scheduler
from badc_core.serde import unstructure
from badc_core.specs import RunnerSpec, SchedulerSpec
from badc_core.summary import read_done

__all__ = ["Prepared", "make_plan", "open_scheduler", "prepare", "shared_among", "task_source"]

_SHARDS_PER_WORKER = 8


@frozen
class Prepared:
    """All that is known before planning.

    Parameters
    ----------
    request
        What the user asked for.
    spec, options, identity
        Of the runner.
    fingerprint
        Of the work; see :mod:`badc_core.plan`.
    run_id
        Of this run.
    source
        The source of the manifest's first chunk.
    versions
        Of the programs that take part.
    finisher
        Names what finishes the runner's results, when something does; see :mod:`badc_core.finishing`.
    """

    request: RunRequest
    spec: RunnerSpec
    options: Any
    identity: RunnerIdentity
    fingerprint: str
    run_id: str
    source: Path
    versions: Mapping[str, str]
    finisher: str | None


def prepare(request: RunRequest, host: Host) -> Prepared:
    """Find the runner, read its options, and ask which model it is; load nothing.

    Raises
    ------
    BadcError
        There is no such runner, its options do not fit, it cannot say which model it is, or there is no manifest.
    """
    provided = host.find_provided(RunnerSpec, request.runner)
    spec = provided.spec
    assert isinstance(spec, RunnerSpec)
    options = options_of(spec, request.options, f"runner {spec.name!r}")
    identity = identity_of(spec, options)
    return Prepared(
        request=request,
        spec=spec,
        options=options,
        identity=identity,
        fingerprint=fingerprint(spec, identity, result_options(options)),
        run_id=_new_run_id(),
        source=first_source(request.manifest),
        versions={
            "badc-core": __version__,
            "python": platform.python_version(),
            provided.provider.distribution: provided.provider.version,
        },
        finisher=f"{provided.provider.distribution}:{spec.name}" if spec.finish else None,
    )


def _new_run_id() -> str:
    """Return a UTC stamp with microseconds and a random tail: runs that begin within a second sort by time, too."""
    now = dt.datetime.now(dt.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{now:%f}{secrets.token_hex(2)}"


def task_source(prepared: Prepared, **callbacks: Any) -> TaskSource:
    """Return the chunks that are left to do; they are looked up as they are taken.

    Parameters
    ----------
    prepared
        What is known.
    **callbacks
        For :class:`~badc_core.planning.TaskSource`.
    """
    request = prepared.request
    called_done = frozenset(read_done(request.resume_summary)) if request.resume_summary else frozenset()
    return TaskSource(
        path=request.manifest,
        output_dir=request.output_dir,
        fingerprint=prepared.fingerprint,
        runner=request.runner,
        rules=rules_from(request.settings),
        called_done=called_done,
        replace=request.replace,
        resume=request.resume,
        by_place=prepared.spec.by_place,
        **callbacks,
    )


def shared_among(workers: int) -> ShardSize:
    """Return the size of shards that so many workers of one machine take from one queue."""
    return ShardSize(at_least=workers * _SHARDS_PER_WORKER)


def make_plan(
    prepared: Prepared,
    folder: Path,
    tasks: TaskSource,
    size: ShardSize,
    interruptible: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> Plan:
    """Write chunks and shards into the run folder, and return the plan.

    Parameters
    ----------
    prepared
        What is known.
    folder
        The run folder.
    tasks
        What is left to do; taken one by one.
    size
        Of the shards.
    interruptible
        Passes tasks on, and may raise instead.
    """
    request, spec = prepared.request, prepared.spec
    chunks, audio_ms, shards = write_chunks(folder, interruptible(tasks.tasks()), size)
    return Plan(
        run_id=prepared.run_id,
        created_at=clocks.now(),
        manifest=request.manifest.absolute(),
        manifest_sha256=sha256_of(request.manifest),
        runner=spec.name,
        options={} if prepared.options is None else unstructure(prepared.options),
        identity=prepared.identity,
        fingerprint=prepared.fingerprint,
        open=spec.open,
        isolation=isolation_of(spec, prepared.options),
        options_class=spec.options,
        bases=tuple(tasks.bases),
        layout=request.layout,
        max_retries=request.max_retries,
        timeout_s=request.timeout_s,
        fail_fast=request.fail_fast,
        total=tasks.counted.total,
        done=tasks.counted.done,
        chunks=chunks,
        audio_ms=audio_ms,
        shards=shards,
        versions=prepared.versions,
        finisher=prepared.finisher,
        max_gpus=request.max_gpus,
        cpu_workers=request.cpu_workers,
        replace=request.replace or not request.resume,
        by_place=spec.by_place,
    )


def open_scheduler(name: str, options: Mapping[str, Any], host: Host) -> Scheduler:
    """Return a scheduler.

    Parameters
    ----------
    name
        What the user asked for.
    options
        Texts from the command line, or values from TOML.
    host
        Plugins.

    Raises
    ------
    BadcError
        There is none of this name, its options do not fit, or it cannot be opened.
    """
    spec = host.find(SchedulerSpec, name)
    filled = options_of(spec, options, f"scheduler {spec.name!r}")
    scheduler: Scheduler = asked(lambda: load_object(spec.open)(filled), f"scheduler {spec.name!r}")
    return scheduler

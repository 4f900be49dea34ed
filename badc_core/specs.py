"""What a hook yields: one frozen spec per runner, scheduler, sink, sampler, exporter, reader, source or command.

Every spec is plain data: a name, one line of summary and import strings (``"package.module:attribute"``). So the
command line can list, compare and explain plugins without importing a model. What an import string leads to is
imported when it is used, in the process that uses it, and keeps to :mod:`badc_core.protocols`
and, for schedulers, :mod:`badc_core.scheduling`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

__all__ = [
    "CommandSpec",
    "ExporterSpec",
    "ReaderSpec",
    "RunnerSpec",
    "SamplerSpec",
    "SchedulerSpec",
    "SinkSpec",
    "SourceSpec",
    "Spec",
]

_EMPTY: Mapping[str, Any] = {}


@frozen
class Spec:
    """What all specs have in common.

    Parameters
    ----------
    name
        What the user writes to choose it; unique among its kind.
    summary
        One line for lists, without a full stop.
    """

    name: str
    summary: str


@frozen
class RunnerSpec(Spec):
    """A model to choose with ``--runner NAME``.

    Parameters
    ----------
    open
        Import string of ``open(options, context: WorkerContext) -> Runner``: loads the model.
    options
        Import string of the attrs class that ``-o key=value`` fills; ``None``: no options.
    identify
        Import string of ``identify(options) -> RunnerIdentity``, which must be quick and load no model; it tells resume
        which results belong to this model. ``None``: the runner's name is all there is to know.
    check
        Import string of ``check() -> Readiness`` for ``badc doctor``; ``None``: ready once installed.
    isolation
        ``thread``: instances can work side by side in one process. ``process``: it must own its process (CUDA, a
        fragile or printing library); it then gets a child, whose interpreter an option named ``python`` chooses. Where
        that depends on the options: import string of ``isolation(options)``, which returns one of these two words.
    finish
        Import string of a :class:`~badc_core.protocols.Finisher`, for models whose detections depend on more of a
        recording than its chunks: called when results are compiled, with all results of one recording. ``None``: what
        is found in a chunk is final.
    results_version
        Raised by the author when the same model gives other results than before; part of the fingerprint.
    notice
        Licence of weights or a citation, shown by ``badc plugins``.
    by_place
        Whether answers depend on where and when a recording was made. Resume then does not take results that were made
        before a place or a time became known, or was corrected.
    """

    open: str = ""
    options: str | None = None
    identify: str | None = None
    check: str | None = None
    isolation: str = "thread"
    results_version: str = "1"
    notice: str = ""
    finish: str | None = None
    by_place: bool = False


@frozen
class SchedulerSpec(Spec):
    """A place to run, chosen with ``--scheduler NAME``.

    Parameters
    ----------
    open
        Import string of ``open(options) -> Scheduler``.
    options
        Import string of the attrs class of its options.
    detached
        The work goes on when this process ends: ``open`` returns a :class:`~badc_core.scheduling.DetachedScheduler`.
    """

    open: str = ""
    options: str | None = None
    detached: bool = False


@frozen
class SinkSpec(Spec):
    """A destination of telemetry, chosen with ``--telemetry NAME[=target]``.

    Parameters
    ----------
    open
        Import string of ``open(target: str | None, context: SinkContext) -> Sink``. What an earlier run left at the
        target is kept, and added to.
    """

    open: str = ""


@frozen
class SamplerSpec(Spec):
    """A source of device measurements; on wherever it is available.

    Parameters
    ----------
    open
        Import string of ``open() -> Sampler | None``; ``None`` where there is nothing to look at.
    check
        Import string of ``check() -> Readiness`` for ``badc doctor`` and ``badc gpus``.
    """

    open: str = ""
    check: str | None = None


@frozen
class ExporterSpec(Spec):
    """A format of the detections table, chosen with ``--export NAME[=target]``.

    Parameters
    ----------
    open
        Import string of ``open(target: Path, options) -> Exporter``. Nothing appears at `target` before `close`.
    suffix
        Of the file made when no target is named, with its dot.
    options
        Import string of the attrs class of its options.
    """

    open: str = ""
    suffix: str = ""
    options: str | None = None


@frozen
class ReaderSpec(Spec):
    """Turns files into samples; chosen by suffix.

    Parameters
    ----------
    open
        Import string of ``open(path: Path) -> SignalFile``; raises :class:`~badc_core.errors.RecordingError`.
    suffixes
        Lower case, with the dot.
    export_suffix
        Suffix of the files that :meth:`SignalFile.export` writes.
    """

    open: str = ""
    suffixes: tuple[str, ...] = ()
    export_suffix: str = ""


@frozen
class SourceSpec(Spec):
    """A supply of recordings for ``badc watch``.

    Parameters
    ----------
    open
        Import string of ``open(target: str, options) -> Source``.
    options
        Import string of the attrs class of its options.
    """

    open: str = ""
    options: str | None = None


@frozen
class CommandSpec(Spec):
    """A command that a plugin adds to the command line.

    Parameters
    ----------
    name
        As typed after ``badc``; ``"report summary"`` adds to the group ``report``, which is made when nobody has it.
    summary
        Its line in ``badc --help``.
    load
        Import string of the :class:`click.Command`.
    group
        What a group made for it is for, one line; the first command of the group that says so is heard.
    """

    load: str = ""
    group: str = ""

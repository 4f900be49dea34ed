"""The hooks: what a plugin can add to BADC.

A hook only *registers*: it yields typed descriptions, does no work and takes no arguments. All hooks collect; users
choose by name. A plugin is a module with functions of these names, decorated with :data:`hookimpl`, announced as an
entry point in the group ``badc``::

    [project.entry-points.badc]
    mylab = "badc_mylab"

Keep that module light: it is imported by every ``badc`` command, so models and tables belong into the modules that its
import strings name. ``docs/reference/hooks.md`` is made from this module.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from badc_core.specs import (
    CommandSpec,
    ExporterSpec,
    ReaderSpec,
    RunnerSpec,
    SamplerSpec,
    SchedulerSpec,
    SinkSpec,
    SourceSpec,
)

PROJECT = "badc"
"""Entry-point group and pluggy project name."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def badc_runners() -> Iterable[RunnerSpec]:  # type: ignore[empty-body]
    """Yield the models this plugin brings, chosen by ``--runner NAME``.

    Examples
    --------
    A runner that finds nothing, complete:

    >>> from badc_core import RunnerIdentity, RunnerInfo, RunnerSpec, hookimpl
    >>> class Silence:
    ...     info = RunnerInfo(identity=RunnerIdentity(model="silence", version="1"))
    ...     def predict(self, batch):
    ...         return [[] for signal in batch]
    ...     def close(self):
    ...         pass
    >>> def open_runner(options, context):
    ...     return Silence()
    >>> @hookimpl
    ... def badc_runners():
    ...     yield RunnerSpec("silence", "Hears nothing", open="badc_mylab:open_runner")
    >>> [spec.name for spec in badc_runners()]
    ['silence']
    """


@hookspec
def badc_schedulers() -> Iterable[SchedulerSpec]:  # type: ignore[empty-body]
    """Yield the places where work can run, chosen by ``--scheduler NAME``.

    Examples
    --------
    >>> from badc_core import SchedulerSpec, hookimpl
    >>> @hookimpl
    ... def badc_schedulers():
    ...     yield SchedulerSpec("attic", "The old machine upstairs", open="badc_mylab.attic:open_scheduler")
    >>> [spec.name for spec in badc_schedulers()]
    ['attic']
    """


@hookspec
def badc_telemetry_sinks() -> Iterable[SinkSpec]:  # type: ignore[empty-body]
    """Yield destinations of telemetry, chosen by ``--telemetry NAME[=target]``.

    Examples
    --------
    A sink that counts, complete:

    >>> from badc_core import SinkSpec, hookimpl
    >>> class Counter:
    ...     def __init__(self):
    ...         self.events = 0
    ...     def emit(self, event):
    ...         self.events += 1
    ...     def flush(self):
    ...         pass
    ...     def close(self):
    ...         pass
    >>> def open_sink(target, context):
    ...     return Counter()
    >>> @hookimpl
    ... def badc_telemetry_sinks():
    ...     yield SinkSpec("counter", "Counts events", open="badc_mylab:open_sink")
    >>> [spec.name for spec in badc_telemetry_sinks()]
    ['counter']
    """


@hookspec
def badc_telemetry_samplers() -> Iterable[SamplerSpec]:  # type: ignore[empty-body]
    """Yield samplers, which list devices and measure them; on wherever they are available.

    Examples
    --------
    >>> from badc_core import SamplerSpec, hookimpl
    >>> @hookimpl
    ... def badc_telemetry_samplers():
    ...     yield SamplerSpec("npu", "Neural engines of ACME", open="badc_mylab.npu:open_sampler")
    >>> [spec.name for spec in badc_telemetry_samplers()]
    ['npu']
    """


@hookspec
def badc_exporters() -> Iterable[ExporterSpec]:  # type: ignore[empty-body]
    """Yield formats of the detections table, chosen by ``--export NAME[=target]``.

    Examples
    --------
    >>> from badc_core import ExporterSpec, hookimpl
    >>> @hookimpl
    ... def badc_exporters():
    ...     yield ExporterSpec("diary", "One line per night", open="badc_mylab.diary:open_exporter", suffix=".txt")
    >>> [spec.suffix for spec in badc_exporters()]
    ['.txt']
    """


@hookspec
def badc_readers() -> Iterable[ReaderSpec]:  # type: ignore[empty-body]
    """Yield readers, which turn files into samples; chosen by suffix.

    Examples
    --------
    >>> from badc_core import ReaderSpec, hookimpl
    >>> @hookimpl
    ... def badc_readers():
    ...     yield ReaderSpec("geophone", "SEG-Y traces", open="badc_mylab.segy:open_file", suffixes=(".sgy",))
    >>> [spec.suffixes for spec in badc_readers()]
    [('.sgy',)]
    """


@hookspec
def badc_sources() -> Iterable[SourceSpec]:  # type: ignore[empty-body]
    """Yield supplies of recordings that arrive over time, for ``badc watch``.

    Examples
    --------
    >>> from badc_core import SourceSpec, hookimpl
    >>> @hookimpl
    ... def badc_sources():
    ...     yield SourceSpec("buoy", "Files sent ashore by our buoy", open="badc_mylab.buoy:open_source")
    >>> [spec.name for spec in badc_sources()]
    ['buoy']
    """


@hookspec
def badc_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Yield commands for the command line; a name of two words adds to a group.

    Examples
    --------
    >>> from badc_core import CommandSpec, hookimpl
    >>> @hookimpl
    ... def badc_commands():
    ...     yield CommandSpec("report moon", "Detections by phase of the moon", load="badc_mylab.cli:moon")
    >>> [spec.name for spec in badc_commands()]
    ['report moon']
    """

"""Opening the sinks of telemetry that a run wants."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from badc_core.host import Host, load_object
from badc_core.log import get_logger
from badc_core.protocols import Sink, SinkContext
from badc_core.specs import SinkSpec

__all__ = ["open_sinks"]

_log = get_logger("sinks")


def open_sinks(host: Host, run_id: str, log: Path, wanted: Iterable[str]) -> list[tuple[str, Sink]]:
    """Open the sinks of a run, the log first; one that cannot be opened is named in our log, and left out."""
    names = list(wanted)
    named = {"jsonl", f"jsonl={log}"} & set(names)
    if not named and any(spec.name == "jsonl" for spec in host.all(SinkSpec)):
        names.insert(0, "jsonl")
    context = SinkContext(run_id, log)
    opened = []
    for text in names:
        name, _, target = text.partition("=")
        spec = host.find(SinkSpec, name)
        try:
            opened.append((name, load_object(spec.open)(target or None, context)))
        except Exception as error:
            _log.warning("a telemetry sink cannot be opened; the run goes on without it", sink=name, error=str(error))
    return opened

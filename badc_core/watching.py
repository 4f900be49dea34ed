"""Analysing recordings as they arrive: one small run per recording, with the same engine and the same results.

Each finished recording gets a manifest of its own in ``<output>/manifests/``; then it is a run like any other, so what
was analysed before a restart is not analysed again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from badc_core import manifest
from badc_core.choosing import asked, identity_of, options_of
from badc_core.config import Settings
from badc_core.errors import BadcError, HeldError, Interrupted, RunnerError, StoreError
from badc_core.host import Host, default_host, load_object
from badc_core.log import get_logger
from badc_core.protocols import Source
from badc_core.recordings import RecordingRules, described, rules_from
from badc_core.runs import RunRequest
from badc_core.specs import RunnerSpec, SourceSpec

__all__ = ["Watched", "Watcher"]

_log = get_logger("watching")


@frozen
class Watched:
    """What became of one recording.

    Parameters
    ----------
    path
        The recording.
    chunks, new, failed
        How many chunks it has, how many were analysed now, and how many of these failed.
    error
        Why it could not be analysed at all.
    """

    path: Path
    chunks: int = 0
    new: int = 0
    failed: int = 0
    error: BadcError | None = None


@frozen
class Watcher:
    """Analyses what a source brings.

    Parameters
    ----------
    target, source, source_options
        Where recordings come from.
    runner, options
        The model.
    chunk_duration_s
        Length of the chunks.
    output_dir
        Results, and manifests in ``manifests/``.
    settings
        From TOML.
    """

    target: str
    source: str
    runner: str
    output_dir: Path
    source_options: Mapping[str, Any] = field(factory=dict)
    options: Mapping[str, Any] = field(factory=dict)
    chunk_duration_s: float = 60.0
    settings: Settings = field(factory=Settings)

    def run(
        self,
        tell: Callable[[Watched], None],
        *,
        interval_s: float = 5.0,
        once: bool = False,
        on_start: Callable[[], None] = lambda: None,
        on_pending: Callable[[str], None] = lambda text: None,
        host: Host | None = None,
    ) -> int:
        """Watch until interrupted, and return how many recordings had failures.

        Source, runner and options are looked at first: what would go wrong with every recording does so at once.

        Parameters
        ----------
        tell
            Told of every recording.
        interval_s
            Between two looks.
        once
            Look once, then end.
        on_start
            Called when all was found to be in order, before the first look.
        on_pending
            Told, at the end of a single look, what was not finished yet, where the source can say so.
        host
            Plugins; default: the installed ones.

        Raises
        ------
        BadcError
            The source, the runner or the output folder cannot be used.
        """
        host = host or default_host()
        rules = rules_from(self.settings)
        check_runner(self.runner, self.options, host)
        source = self._open_source(host)
        troubled = 0
        with contextlib.closing(source), _stop_asked_for() as stop_asked_for:
            on_start()
            while True:
                for path in source.poll():
                    seen = self._analyse(path, rules, host)
                    troubled += seen.error is not None or seen.failed > 0
                    tell(seen)
                    if stop_asked_for():
                        raise Interrupted("Stopped between two recordings.", hint="The same command goes on.")
                if once:
                    if pending := _pending(source):
                        on_pending(pending)
                    return troubled
                time.sleep(interval_s)

    def _open_source(self, host: Host) -> Source:
        spec = host.find(SourceSpec, self.source)
        options = options_of(spec, self.source_options, f"source {spec.name!r}")
        source: Source = load_object(spec.open)(self.target, options)
        return source

    def _analyse(self, path: Path, rules: RecordingRules, host: Host) -> Watched:
        from badc_core import engine

        try:
            listed = self._list(path, rules, host)
            summary = engine.run(
                RunRequest(
                    manifest=listed,
                    runner=self.runner,
                    options=self.options,
                    output_dir=self.output_dir,
                    telemetry_log=self.output_dir / "telemetry" / f"{listed.stem}.jsonl",
                    settings=self.settings,
                    record=False,  # a commit for each recording that arrives is nobody's wish
                ),
                host=host,
            )
        except (Interrupted, HeldError, StoreError):
            raise
        except BadcError as error:
            return Watched(path, error=error)
        return Watched(path, summary.planned.total, summary.counts.chunks, summary.counts.failures)

    def _list(self, path: Path, rules: RecordingRules, host: Host) -> Path:
        """Write the recording's manifest, and return its place."""
        from badc_core import chunking, signals

        info, hints = signals.probe(path, host)
        root = Path(self.target)
        told = described(path, _recording_id(path, root), info, hints, rules, root)
        for problem in told.problems:
            _log.warning("something about a recording is doubtful", problem=problem)
        recording = told.recording
        listed = self.output_dir / "manifests" / f"{recording.recording_id}.csv"
        chunks = chunking.virtual_chunks(recording, info, self.chunk_duration_s)
        manifest.write(listed, chunks)
        manifest.write_recordings(listed, [recording])
        return listed


def check_runner(name: str, options: Mapping[str, Any], host: Host) -> None:
    """Make sure that a runner is there, takes these options, and can run here, as far as it can tell without a model.

    Parameters
    ----------
    name, options
        As for a run.
    host
        Plugins.

    Raises
    ------
    UsageError
        It does not take these options.
    PluginError
        There is no such runner, or it is broken.
    RunnerError
        It says that it cannot run here.
    """
    spec = host.find(RunnerSpec, name)
    identity_of(spec, options_of(spec, options, f"runner {name!r}"))
    check = spec.check
    said = None if check is None else asked(lambda: load_object(check)(), f"runner {name!r}")
    if said is None or said.ready:
        return
    problem = f"The runner {name!r} cannot run here: {said.detail or 'it does not say why'}."
    if not options:
        raise RunnerError(problem, hint=f"To mend that: {said.fix}" if said.fix else None)
    # It was asked about its defaults; an option may name another interpreter or other weights, which will do.
    _log.warning("the runner says that it lacks something; trying it with the options given", problem=problem)


@contextlib.contextmanager
def _stop_asked_for() -> Iterator[Callable[[], bool]]:
    """Tell whether SIGINT, SIGTERM or SIGHUP came, also to a run when all its work was done, which then ends well."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def asked() -> bool:
        try:
            return not {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}.isdisjoint(os.read(reading, 512))
        except BlockingIOError:
            return False

    try:
        yield asked
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def _pending(source: Source) -> str:
    """Return what a source says about what is there but not finished."""
    tell = getattr(source, "pending", None)
    return "" if tell is None else str(tell())


def _recording_id(path: Path, root: Path) -> str:
    """Return the name of a recording that arrives alone: its place below the watched folder, so that no two collide."""
    try:
        parts = path.relative_to(root).with_suffix("").parts
    except ValueError:
        parts = (path.stem,)
    return "__".join(parts)

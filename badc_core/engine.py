"""One run, from manifest to summary: plan, place, watch, account.

Nothing here knows what a recording is made of or which model listens. The engine freezes a plan, hands its shards to a
scheduler, watches the scheduler's states, and believes only committed results.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from attrs import evolve

from badc_core import layout
from badc_core.atomic import explain
from badc_core.claims import Claim, claim, kept_alive
from badc_core.devices import close_samplers, open_samplers, worker_slots
from badc_core.errors import BadcError, ExitCode, Interrupted, RunnerError, StoreError, UsageError
from badc_core.follower import follow
from badc_core.following import hand_over, stop_for_good, wait_for_jobs
from badc_core.host import Host, default_host
from badc_core.log import get_logger
from badc_core.passing_on import followed_alone
from badc_core.plan import Plan, ShardSize, read_shards, write_plan
from badc_core.planning import Counted, TaskSource
from badc_core.preparing import Prepared, make_plan, open_scheduler, prepare, shared_among, task_source
from badc_core.run_folders import (
    Asked,
    measured_speed,
    note_elsewhere,
    write_asked,
    write_submission,
)
from badc_core.run_record import intend, recorded
from badc_core.runs import Gathered, Preview, Progress, RunRequest, RunSummary
from badc_core.scheduling import DetachedScheduler, Run, Scheduler, Submission, WorkerReport
from badc_core.sinks import open_sinks
from badc_core.specs import SchedulerSpec, SinkSpec
from badc_core.stopping import signals_caught
from badc_core.summary import SummaryWriter, summary_path
from badc_core.tally import Counts
from badc_core.telemetry import Hub

__all__ = ["Preview", "Progress", "RunRequest", "RunSummary", "preview", "run"]

_log = get_logger("engine")
GRACE_S = 20.0
"""How long the work in hand may take once the run was asked to stop; SLURM kills after 30 seconds."""


def preview(request: RunRequest, host: Host | None = None) -> Preview:
    """Say what :func:`run` would do, and write nothing where results lie.

    Raises
    ------
    BadcError
        Whatever would keep the run from starting.
    """
    host = host or default_host()
    prepared = prepare(request, host)
    samplers = open_samplers(host)
    try:
        devices = worker_slots(samplers, request.max_gpus, request.cpu_workers)
    finally:
        close_samplers(samplers)
    tasks = task_source(prepared)
    scheduler = open_scheduler(request.scheduler, request.scheduler_options, host)
    base = layout.output_base(prepared.source, request.output_dir)
    with tempfile.TemporaryDirectory(prefix="badc-preview-") as name:
        size = _shard_size(prepared, scheduler, host, base, len(devices))
        plan = make_plan(prepared, Path(name), tasks, size)
        shards = tuple(read_shards(Path(name)))
    files = scheduler.render(Run(base / layout.STATE_FOLDER / plan.run_id, plan, devices))
    return Preview(plan, tasks.counted, tuple(device.label for device in devices), files, shards)


def _detached(request: RunRequest, host: Host) -> bool:
    return host.find(SchedulerSpec, request.scheduler).detached


def _shard_size(prepared: Prepared, scheduler: Scheduler, host: Host, base: Path, workers: int) -> ShardSize:
    """Return the size of shards: as a detached scheduler wants it, else so that this machine's workers share well."""
    if not _detached(prepared.request, host):
        return shared_among(workers)
    speed = measured_speed(base, prepared.fingerprint)
    return cast(DetachedScheduler, scheduler).shard_size(speed, prepared.request.cpu_workers)


def run(
    request: RunRequest,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    host: Host | None = None,
) -> RunSummary:
    """Do what is left of a manifest.

    Parameters
    ----------
    request
        What to do.
    on_progress
        Told of the run's progress a few times a second, by the calling thread.
    host
        Plugins; default: the installed ones.

    Returns
    -------
    RunSummary
        How it ended, when it came to its end.

    Raises
    ------
    Interrupted
        It was asked to stop (SIGINT, SIGTERM, SIGHUP) and work is left.
    HeldError
        Another run holds the output folder.
    BadcError
        Whatever kept it from starting, or ended it: what was committed stays.
    """
    host = host or default_host()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        running = _Running(prepare(request, host), host, on_progress, began, stack)
        return running.go()


def _spare(write: Callable[[], None]) -> None:
    """Write a summary; that it cannot be written is no reason to stop a run or to call it failed."""
    try:
        write()
    except (StoreError, OSError) as error:
        _log.warning("the run summary cannot be written; results do not depend on it", error=str(error))


@contextlib.contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Take a run folder away when its plan could not be made."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _in_our_words(error: BaseException, folder: Path) -> BaseException:
    """Return what ended a worker as an error that says what to do, where the system refused something."""
    if isinstance(error, OSError):
        return explain(error, Path(str(error.filename or folder)))
    return error


class _Running:
    """The one run in hand; everything it opens is closed by the stack."""

    def __init__(
        self,
        prepared: Prepared,
        host: Host,
        on_progress: Callable[[Progress], None],
        began: float,
        stack: contextlib.ExitStack,
    ) -> None:
        self._prepared = prepared
        self._request = prepared.request
        self._host = host
        self._on_progress = on_progress
        self._began = began
        self._stack = stack
        self._claims: list[Claim] = []
        self._stop = threading.Event()
        self._signals = 0
        self._gathered: list[Gathered] = []
        self._reports: list[WorkerReport] = []

    def go(self) -> RunSummary:
        request, prepared = self._request, self._prepared
        self._stack.enter_context(signals_caught(self._asked_to_stop))
        self._stack.enter_context(kept_alive(self._claims))
        scheduler = open_scheduler(request.scheduler, request.scheduler_options, self._host)
        self._check_sinks()
        detached = _detached(request, self._host)
        if request.detach and not detached:
            raise UsageError(
                f"The scheduler {request.scheduler!r} works in this process: --detach would end it.",
                hint="Leave --detach away, or choose a scheduler that goes on by itself, like slurm.",
            )
        tasks = task_source(prepared, on_base=self._base, on_rows=self._check_stop, tidy=True)
        self._base(layout.output_base(prepared.source, request.output_dir))
        folder = self._make_folder()
        samplers = open_samplers(self._host)
        self._stack.callback(close_samplers, samplers)
        devices = worker_slots(samplers, request.max_gpus, request.cpu_workers)
        with _removed_on_error(folder):
            size = _shard_size(prepared, scheduler, self._host, self._claims[0].path.parent.parent, len(devices))
            plan = make_plan(prepared, folder, tasks, size, self._interruptible)
            write_plan(folder, plan)
        log = None if request.telemetry_log is None else request.telemetry_log.expanduser().absolute()
        if not plan.chunks and (log is None or summary_path(log).exists()):
            shutil.rmtree(folder, ignore_errors=True)  # nothing to say that was not said before
            self._on_progress(Progress(plan.total, plan.done, Counts(), 0, 0.0))
            return self._ended(plan, None, Counts(), tasks, log, {})
        log = log or self._new_log()
        if plan.chunks:
            with _removed_on_error(folder):
                intend(request, plan, folder, log)
        summary = SummaryWriter(log, folder / "jobs.jsonl")
        self._stack.callback(_spare, summary.close)
        self._note_finished(summary, tasks)
        if detached and plan.chunks:
            _spare(summary.close)
            return self._go_detached(cast(DetachedScheduler, scheduler), plan, folder, log, tasks)
        sinks = open_sinks(self._host, self._prepared.run_id, log, request.telemetry)
        hub = self._stack.enter_context(Hub(sinks, samplers, listeners=[summary.take]))
        _spare(summary.write)
        run = Run(folder, plan, devices, hub.emit, hub.latest, self._verify, self._reports.append, self._stop)
        self._work(scheduler, run, hub, tasks.counted)
        hub.flush()
        counts = hub.counts
        hub.close()
        _spare(summary.close)
        return recorded(self._ended(plan, folder, counts, tasks, log, hub.dropped), self._stop.is_set)

    def _go_detached(
        self, scheduler: DetachedScheduler, plan: Plan, folder: Path, log: Path, tasks: TaskSource
    ) -> RunSummary:
        """Hand the run over, and follow it unless asked not to."""
        request = self._request
        self._check_stop()
        for base in plan.bases:
            if base != folder.parent.parent:
                note_elsewhere(base, folder)
        options = dict(request.scheduler_options)
        asked = Asked(
            request.scheduler, options, log, request.telemetry, tasks.counted, tuple(tasks.problems), plan.created_at,
            request.share_name,
        )  # fmt: skip
        alone = self._stack.enter_context(followed_alone(folder))
        write_asked(folder, asked)
        try:
            submission = hand_over(folder, scheduler, self._stop)
        except BadcError:
            with contextlib.suppress(BadcError):  # who knows what it took, if it cannot be asked
                stop_for_good(folder, self._host)
            raise
        if request.detach:
            return RunSummary(
                plan, folder, Counts(), tasks.counted, (), log, summary_path(log), time.monotonic() - self._began,
                ExitCode.OK, tuple(tasks.problems), detached=True, gathered=tuple(self._gathered),
            )  # fmt: skip
        summary = follow(folder, scheduler, submission, self._on_progress, self._host, self._stop, alone)
        return evolve(summary, gathered=tuple(self._gathered))

    # ------------------------------------------------------------------------------------------ pieces

    def _base(self, base: Path) -> None:
        """Claim an output folder before anybody looks into it."""
        if all(held.path.parent.parent != base for held in self._claims):
            request = self._request
            share = request.share_name
            run_id, stopping = self._prepared.run_id, self._stop.is_set
            held = claim(base, run_id, wait_s=request.wait_s, stopping=stopping, share=share)
            self._claims.append(held)
            self._stack.callback(held.release)
            self._gathered += wait_for_jobs(base, self._host, request.wait_s, self._stop, share=share)

    def _note_finished(self, summary: SummaryWriter, tasks: TaskSource) -> None:
        """Have the summary tell of what earlier runs finished, too."""
        for chunk, base in tasks.finished():
            known = base is not None and self._request.layout == "files"
            place = f"{base}/{chunk.recording_id}/{chunk.chunk_id}.json" if known else None
            summary.skipped(chunk.chunk_id, chunk.recording_id, place)

    def _make_folder(self) -> Path:
        folder = self._claims[0].path.parent / self._prepared.run_id
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise explain(error, folder) from error
        return folder

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Interrupted("Stopped while planning; nothing was run.", hint="Run the same command again.")

    def _interruptible(self, tasks: Iterator[Any]) -> Iterator[Any]:
        """Pass tasks on; a plan of millions takes a while, in which signals must be heard."""
        for task in tasks:
            self._check_stop()
            yield task

    def _verify(self) -> None:
        for held in self._claims:
            held.verify()

    def _new_log(self) -> Path:
        """Return a log of this run's own at the default place: runs that begin in one second do not share one."""
        request = self._request
        stamp = self._prepared.run_id.partition("-")[0]
        for number in itertools.count(1):
            name = stamp if number == 1 else f"{stamp}_{number}"
            path = layout.default_telemetry_log(request.manifest, self._prepared.source, request.output_dir, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            except FileExistsError:
                continue
            except OSError:
                break  # the sink that opens it says what is wrong
            return path
        return path

    def _check_sinks(self) -> None:
        """Raise before anything is written when a sink's name is unknown."""
        for text in self._request.telemetry:
            self._host.find(SinkSpec, text.partition("=")[0])

    def _asked_to_stop(self, number: int) -> None:
        self._signals += number != signal.SIGHUP  # which comes from kernel and shell at once; nobody lost patience
        self._stop.set()

    def _work(self, scheduler: Scheduler, run: Run, hub: Hub, planned: Counted) -> None:
        """Hand the shards over, watch them to their end, and raise what ended one of them."""
        if not run.plan.chunks or self._stop.is_set():
            self._tell(run, hub, planned, 0.0)
            return
        submission = scheduler.submit(run, read_shards(run.folder))
        write_submission(run.folder, submission)
        started, pause = time.monotonic(), 0.005
        stopped_at: float | None = None
        while True:
            states = scheduler.states(submission)
            self._tell(run, hub, planned, time.monotonic() - started)
            if all(state.state in ("done", "failed", "cancelled") for state in states.values()):
                break
            if self._stop.is_set():
                stopped_at = stopped_at or time.monotonic()
                if self._signals > 1 or time.monotonic() - stopped_at > GRACE_S:
                    self._cancel(scheduler, submission)
                    break
            time.sleep(pause)
            pause = min(0.2, pause * 1.5)
        hub.flush()  # so that the last line of progress tells all
        self._tell(run, hub, planned, time.monotonic() - started)
        errors = [state.error for state in states.values() if state.state == "failed" and state.error is not None]
        if errors:
            raise _in_our_words(errors[0], run.folder)

    def _cancel(self, scheduler: Scheduler, submission: Submission) -> None:
        _log.warning("giving up the work in hand", grace_s=GRACE_S)
        scheduler.cancel(submission)

    def _tell(self, run: Run, hub: Hub, planned: Counted, elapsed_s: float) -> None:
        self._on_progress(
            Progress(planned.total, planned.done, hub.counts, run.plan.audio_ms, elapsed_s, self._stop.is_set())
        )

    def _ended(
        self,
        plan: Plan,
        folder: Path | None,
        counts: Counts,
        tasks: TaskSource,
        log: Path | None,
        dropped: Mapping[str, int],
    ) -> RunSummary:
        left = plan.chunks - counts.chunks
        if left > 0 and not (plan.fail_fast and counts.failures):
            if not self._stop.is_set():
                raise RunnerError(f"The run ended with {left} chunks left undone.", hint="Run the same command again.")
            raise Interrupted(
                f"Stopped with {counts.chunks} of {plan.chunks} chunks done; {left} are left.",
                hint="Run the same command again to do the rest.",
            )
        told = None if log is None else summary_path(log)
        return RunSummary(
            plan,
            folder,
            counts,
            tasks.counted,
            tuple(sorted(self._reports, key=lambda report: report.worker)),
            log if log is not None and log.exists() else None,
            told if told is not None and told.exists() else None,
            time.monotonic() - self._began,
            ExitCode.SOME_FAILED if counts.failures else ExitCode.OK,
            tuple(tasks.problems),
            dict(dropped),
            gathered=tuple(self._gathered),
        )

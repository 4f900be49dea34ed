"""One shard, done by a process of its own: what ``badc worker`` does, wherever a detached scheduler starts it.

The process holds the plan against what is installed here, leaves out what earlier lives of it committed, cuts the rest
into pieces for the slots of this machine, and has the local scheduler do them: the very same worker as in a local run.
What it tells goes to a file in the run folder (:mod:`badc_core.relay`).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from badc_core import __version__, clocks
from badc_core.devices import close_samplers, listed_gpus, open_samplers, worker_slots
from badc_core.errors import BadcError, ExitCode, HeldError, Interrupted, PluginError, RunnerError, StoreError
from badc_core.host import Host, default_host, load_object, one_file_plugins
from badc_core.layout import result_path
from badc_core.log import get_logger
from badc_core.model import Device, Event
from badc_core.plan import CHUNKS_FILE, PLAN_FILE, Plan, Shard, Task, read_plan, read_shards, read_tasks
from badc_core.preparing import open_scheduler
from badc_core.relay import EventFile, told_before
from badc_core.resuming import DoneIndex
from badc_core.run_folders import ENDED_FILE, is_done, note_done, note_error
from badc_core.scheduling import Run, WorkerReport
from badc_core.serde import structure, unstructure
from badc_core.stopping import signals_caught
from badc_core.telemetry import Hub

__all__ = ["check_plan", "pieces", "work_shard"]

GRACE_S = 20.0
"""How long the batch in hand may take after SIGTERM; SLURM kills after 30 seconds."""

REPORT_S = 2.0
_MOST = 64
_PIECES_PER_WORKER = 8
_log = get_logger("task")


@frozen
class Life:
    """One attempt at a shard.

    Parameters
    ----------
    folder
        The run folder.
    shard
        Which shard.
    name
        Unlike that of any other attempt.
    place
        The machine.
    """

    folder: Path
    shard: int
    name: str
    place: str


def check_plan(plan: Plan) -> None:
    """Check that what is installed here is what the plan was made with.

    Raises
    ------
    PluginError
        Another version of BADC or of the runner's plugin is installed, or its options are others.
    """
    one_file_plugins()  # makes them importable
    for name, wanted in plan.versions.items():
        found = _version(name)
        if wanted and found is not None and found != wanted:
            raise PluginError(
                f"The plan was made with {name} {wanted}, but this is {found} ({socket.gethostname()}).",
                hint="Install the same version here, or run the command again with this one.",
            )
    if plan.options_class is not None:
        try:
            here = unstructure(structure(dict(plan.options), load_object(plan.options_class)))
        except BadcError:
            raise
        except Exception as error:
            raise PluginError(f"The plan's options do not fit the runner {plan.runner!r} here: {error}.") from error
        if here != dict(plan.options):
            differing = sorted({key for key, value in here.items() if plan.options.get(key, ...) != value})
            raise PluginError(
                f"The options of the runner {plan.runner!r} are others here than in the plan: "
                f"{', '.join(differing) or 'some are unknown'}.",
                hint="Install the version that the plan was made with.",
            )


def _version(name: str) -> str | None:
    """Return the version of a distribution here; ``None`` for Python, which changes no result."""
    if name == "badc-core":
        return __version__
    if name == "python":
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _shard(folder: Path, index: int) -> Shard:
    for shard in read_shards(folder):
        if shard.index == index:
            return shard
    raise StoreError(f"{folder} has no shard {index}.", hint="`badc jobs status RUN` lists them, from 0.")


def _lines(folder: Path, shard: Shard) -> list[int]:
    """Return where each of a shard's lines ends, in bytes of ``chunks.jsonl``."""
    with (folder / CHUNKS_FILE).open("rb") as file:
        file.seek(shard.start_byte)
        data = file.read(shard.stop_byte - shard.start_byte)
    ends, at = [], 0
    while (found := data.find(b"\n", at)) >= 0:
        at = found + 1
        ends.append(shard.start_byte + at)
    return ends


def pieces(folder: Path, shard: Shard, tasks: Sequence[Task], left: Sequence[bool], workers: int) -> list[Shard]:
    """Cut what is left of a shard into smaller ones, so that all workers of a machine have some.

    Parameters
    ----------
    folder
        The run folder.
    shard, tasks
        The shard, and its chunks.
    left
        For each chunk, whether it is to be done.
    workers
        How many share it.
    """
    most = max(1, min(_MOST, sum(left) // (workers * _PIECES_PER_WORKER)))
    ends = _lines(folder, shard)
    found: list[Shard] = []
    number = 0
    while number < len(tasks):
        if not left[number]:
            number += 1
            continue
        first = number
        while number < len(tasks) and left[number] and number - first < most:
            number += 1
        audio_ms = sum(task.chunk.duration_ms or 0 for task in tasks[first:number])
        start = ends[first - 1] if first else shard.start_byte
        found.append(Shard(len(found), shard.first + first, number - first, start, ends[number - 1], audio_ms))
    return found


def _settled_before(life: Life, plan: Plan, shard: Shard, tasks: Sequence[Task]) -> tuple[set[int], list[Task]]:
    """Return what earlier lives settled: lines that were told of, and tasks that were committed without a word.

    What was told of and has no result any longer is not settled.
    """
    told = told_before(life.folder, shard.index, plan.chunks)
    indexes: dict[Path, DoneIndex] = {}
    settled, silent = set(), []
    for line, task in enumerate(tasks, shard.first):
        if task.base not in indexes:
            indexes[task.base] = DoneIndex(task.base, plan.fingerprint, by_place=plan.by_place)
        state = indexes[task.base].state(task.chunk, task.recording)
        if line in told and state in ("done", "failed"):
            settled.add(line)
        elif line not in told and state == "done":
            silent.append(task)
    return settled, silent


def _told_again(task: Task) -> Event:
    """Return the event that a killed worker owes: the result is there, its attempt and time are not known."""
    chunk = task.chunk
    now = clocks.now()
    place = str(result_path(task.base, chunk.recording_id, chunk.chunk_id))
    details = {"attempt": 1, "output": place}
    device = Device()
    audio_ms = chunk.duration_ms or 0
    return Event(
        chunk.chunk_id, chunk.recording_id, "success", device.label, now, device, now, None, audio_ms, True, details
    )


class _Stop:
    """What the process was asked for by signals."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.since: float | None = None

    def asked(self, number: int) -> None:
        """Take a signal: SIGUSR1 has time, the others have not."""
        self.event.set()
        if number != signal.SIGUSR1:
            self.since = self.since or time.monotonic()

    def overdue(self) -> bool:
        return self.since is not None and time.monotonic() - self.since > GRACE_S


def work_shard(folder: Path, shard: int, *, life: str = "", place: str = "", host: Host | None = None) -> ExitCode:
    """Do one shard of a run, on all slots of this machine.

    Parameters
    ----------
    folder
        The run folder.
    shard
        Its index.
    life
        Names this attempt; default: host and process.
    place
        Names this machine in reports; default: its host name.
    host
        Plugins.

    Returns
    -------
    ExitCode
        ``OK`` when all of the shard is settled, chunks that failed included; ``SOME_FAILED`` when one failed and the
        plan says to stop there.

    Raises
    ------
    Interrupted
        It was asked to stop (SIGUSR1, SIGTERM, SIGINT) and work is left.
    BadcError
        Whatever kept it from working; noted in the run folder, too.
    """
    host = host or default_host()
    place = place or socket.gethostname()
    attempt = Life(folder, shard, life or f"{socket.gethostname()}-{os.getpid()}", place)
    stop = _Stop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    with signals_caught(stop.asked, numbers):
        try:
            return _work(attempt, stop, host)
        except Interrupted:
            raise
        except BaseException as error:
            with contextlib.suppress(Exception):
                note_error(folder, shard, attempt.name, error)
            raise


def _work(life: Life, stop: _Stop, host: Host) -> ExitCode:
    plan = read_plan(life.folder)
    shard = _shard(life.folder, life.shard)
    if is_done(life.folder, life.shard) or (life.folder / ENDED_FILE).exists():
        return ExitCode.OK
    check_plan(plan)
    tasks = read_tasks(life.folder, plan, shard)
    lines = {(t.chunk.recording_id, t.chunk.chunk_id): n for n, t in enumerate(tasks, shard.first)}
    sink = EventFile(life.folder, life.shard, life.name, life.place, lines)
    told, silent = (set(), []) if sink.first else _settled_before(life, plan, shard, tasks)
    known = {id(task) for task in silent}
    left = [line not in told and id(task) not in known for line, task in enumerate(tasks, shard.first)]
    samplers = open_samplers(host)
    with contextlib.ExitStack() as stack:
        stack.callback(close_samplers, samplers)
        devices = worker_slots(samplers, plan.max_gpus, plan.cpu_workers, listed_gpus(os.environ))
        cut = pieces(life.folder, shard, tasks, left, len(devices))
        reports: list[WorkerReport] = []
        hub = stack.enter_context(Hub([("events", sink)], samplers))
        for task in silent:
            hub.emit(_told_again(task))
        small = evolve(plan, shards=len(cut), chunks=sum(left))
        run = Run(life.folder, small, devices, hub.emit, hub.latest, _Verifier(life.folder), reports.append, stop.event)
        _watch(run, cut, stop, host)
        until = time.monotonic() + REPORT_S
        while cut and len(reports) < len(devices) and time.monotonic() < until:
            time.sleep(0.01)  # workers report when they have closed their runners, after the last shard is done
        hub.flush()
        failures = hub.counts.failures
        undone = sum(left) + len(silent) - hub.counts.chunks
    return _ended(life, plan, undone, failures, reports, stop)


def _watch(run: Run, cut: Sequence[Shard], stop: _Stop, host: Host) -> None:
    """Have the pieces done on this machine, and raise what ended one of them."""
    if not cut:
        return
    scheduler = open_scheduler("local", {}, host)
    submission = scheduler.submit(run, iter(cut))
    pause = 0.005
    while True:
        states = scheduler.states(submission)
        if all(state.state in ("done", "failed", "cancelled") for state in states.values()):
            break
        if stop.overdue():
            _log.warning("giving up the batch in hand", grace_s=GRACE_S)
            scheduler.cancel(submission)
            return
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)
    for state in states.values():
        if state.state == "failed" and state.error is not None:
            raise state.error


def _ended(
    life: Life, plan: Plan, undone: int, failures: int, reports: Sequence[WorkerReport], stop: _Stop
) -> ExitCode:
    if plan.fail_fast and failures:
        error = RunnerError("A chunk failed, and the run was asked to stop at the first (--fail-fast).")
        note_error(life.folder, life.shard, life.name, error)
        return ExitCode.SOME_FAILED
    if undone:
        if not stop.event.is_set():
            raise RunnerError(f"The worker ended with {undone} chunks of shard {life.shard} left undone.")
        raise Interrupted(f"Asked to stop with {undone} chunks of shard {life.shard} left to do.")
    said: list[Mapping[str, object]] = [
        {**unstructure(report), "worker": f"{life.place}:{report.worker}"} for report in reports
    ]
    note_done(life.folder, life.shard, life=life.name, place=life.place, failures=failures, reports=said)
    return ExitCode.OK


class _Verifier:
    """Checks before every commit that the run still wants results; costs two ``stat``.

    Parameters
    ----------
    folder
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._plan = folder / PLAN_FILE
        self._ended = folder / ENDED_FILE

    def __call__(self) -> None:
        """Raise :class:`~badc_core.errors.HeldError` when it does not."""
        if self._ended.exists() or not self._plan.exists():
            raise HeldError(
                f"The run {self._plan.parent.name} is over, but a worker of it was still at work here.",
                hint="Nothing is lost: what was committed stays.",
            )

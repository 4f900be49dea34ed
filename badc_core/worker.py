"""The hot loop: one device slot with one loaded runner. The only place that opens a runner.

The same code runs under every scheduler. Three things go on at once, so that the device waits neither for samples nor
for the disk: threads read chunks ahead (:mod:`badc_core.feed`), the worker's own thread predicts, and a thread commits
what was predicted and reports it (:mod:`badc_core.settling`).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import asdict

from badc_core import clocks
from badc_core.answers import check_answers
from badc_core.errors import BadcError, Interrupted, RecordingError, RunnerError
from badc_core.feed import Feed, Job
from badc_core.host import load_object
from badc_core.log import get_logger
from badc_core.model import ChunkResult, Device, Event, Measurement, Prediction
from badc_core.plan import Plan, Shard
from badc_core.processes import tail
from badc_core.protocols import Runner, WorkerContext
from badc_core.scheduling import Run, WorkerReport
from badc_core.settling import Committer, Settled

__all__ = ["backoff_s", "open_runner", "work"]

_log = get_logger("worker")


def backoff_s(attempt: int) -> int:
    """Return how long to wait after a failed attempt, in seconds: 2, 4, 5, 5, …"""
    return int(min(2**attempt, 5))


def open_runner(plan: Plan, context: WorkerContext) -> Runner:
    """Load the plan's runner, in this process or in a child of its own.

    Raises
    ------
    RunnerError
        It cannot be opened, or is another model than the plan was made for.
    Interrupted
        It gave up opening, because the run was asked to stop.
    """
    from badc_core.serde import structure

    try:
        if plan.isolation == "process":
            from badc_core.isolation import RemoteRunner

            python = plan.options.get("python")
            runner: Runner = RemoteRunner(
                plan.runner,
                plan.open,
                plan.options_class,
                plan.options,
                context,
                Path(python) if python else None,
            )
        else:
            cls = plan.options_class
            options = None if cls is None else structure(dict(plan.options), load_object(cls))
            runner = load_object(plan.open)(options, context)
        found = runner.info.identity
    except (Exception, SystemExit) as error:
        if isinstance(error, (RunnerError, Interrupted)):
            raise
        message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        raise RunnerError(
            f"The runner {plan.runner!r} cannot be opened: {message}", hint=getattr(error, "hint", None)
        ) from error
    if found != plan.identity:
        with suppress(Exception):
            runner.close()
        raise RunnerError(
            f"The runner {plan.runner!r} loaded {found}, but the plan was made for {plan.identity}.",
            hint="The model changed meanwhile: run the command again.",
        )
    return runner


def work(run: Run, device: Device, shards: Iterator[Shard], settled: Callable[[int], None]) -> WorkerReport:
    """Do shards, one after another, on one device.

    Parameters
    ----------
    run
        The run; `run.stop` ends the work after the batch in hand.
    device
        The slot.
    shards
        Where work comes from; asked for the next one ahead of need.
    settled
        Told the index of every shard all of whose results are committed.

    Raises
    ------
    RunnerError
        The runner cannot be opened.
    StoreError
        Results cannot be committed.
    """
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix=f"badc-{device.label}-"))
    context = WorkerContext(device, device.label, scratch, run.plan.timeout_s, run.stop.is_set)
    try:
        try:
            runner = open_runner(run.plan, context)
        except Interrupted:
            return WorkerReport(device.label, time.monotonic() - started)
        opening_s = time.monotonic() - started
        try:
            feed = Feed(run.folder, run.plan, runner.info.input, shards, scratch, run.stop, len(run.devices))
            with feed, Committer(run, device, settled) as committer:
                worker = _Worker(run, device, runner, feed, committer)
                worker.loop()
        finally:
            with suppress(Exception, SystemExit):
                runner.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report = WorkerReport(device.label, opening_s, worker.predicting_s, feed.waiting_s, committer.chunks)
    run.report(report)
    return report


class _Worker:
    """Predicts batches and decides what becomes of every chunk."""

    def __init__(self, run: Run, device: Device, runner: Runner, feed: Feed, committer: Committer) -> None:
        self._run = run
        self._plan = run.plan
        self._device = device
        self._runner = runner
        self._feed = feed
        self._committer = committer
        self._identity = runner.info.identity
        self._labels = runner.info.labels
        self._name = runner.info.name or run.plan.runner
        self._finisher = run.plan.finisher if runner.info.needs_finish else None
        self.predicting_s = 0.0

    def loop(self) -> None:
        """Work until there is nothing left, or until asked to stop."""
        while batch := self._feed.next_batch():
            self._committer.check()
            ready = []
            for job in batch:
                if job.error is None:
                    ready.append(job)
                else:
                    self._start([job])
                    self._failed(job, job.error, 0.0, None)
            if ready:
                self._attempt(ready)

    def _start(self, batch: Sequence[Job]) -> None:
        moment = clocks.now()
        emit, device, label = self._run.emit, self._device, self._device.label
        for job in batch:
            chunk, details = job.task.chunk, {"attempt": job.attempt}
            emit(Event(chunk.chunk_id, chunk.recording_id, "start", label, moment, device, details=details))

    def _attempt(self, batch: Sequence[Job]) -> None:
        self._start(batch)
        before = self._run.latest(self._device.index) if self._device.kind == "gpu" else None
        self._predict(batch, before)

    def _predict(self, batch: Sequence[Job], before: Measurement | None) -> None:
        """Predict a batch; one that fails is halved until the chunk at fault is alone."""
        signals = [job.signal for job in batch]
        began = time.monotonic()
        try:
            answers = self._runner.predict(signals)  # type: ignore[arg-type]
            checked = check_answers(signals, answers, self._plan.runner, self._labels)  # type: ignore[arg-type]
        except (Exception, SystemExit) as error:
            self.predicting_s += time.monotonic() - began
            if len(batch) > 1 and self._run.stop.is_set():
                return  # nobody knows whose fault it was: left to do
            if len(batch) > 1:
                _log.info("batch failed; trying halves", chunks=len(batch), error=str(error))
                middle = len(batch) // 2
                self._predict(batch[:middle], before)
                self._predict(batch[middle:], before)
                return
            for job in batch:
                self._failed(job, error, round(time.monotonic() - began, 6), before)
            return
        took = time.monotonic() - began
        self.predicting_s += took
        self._succeeded(batch, checked, round(took / len(batch), 6), before)

    def _succeeded(
        self, batch: Sequence[Job], answers: Sequence[Prediction], runtime_s: float, before: Measurement | None
    ) -> None:
        moment = clocks.now()
        metrics = self._metrics(before)
        settled = []
        for job, answer in zip(batch, answers, strict=True):
            details: dict[str, Any] = {
                "attempt": job.attempt,
                "output": None,
                "runner": answer.runner or self._name,
            }
            if answer.output:
                details["stdout"] = tail(answer.output)
            if metrics is not None:
                details["gpu_metrics"] = metrics
            missing_ms = job.signal.missing_ms if job.signal is not None else 0
            result = ChunkResult(
                job.task.chunk,
                job.task.recording,
                answer.status or ("ok" if answer.detections else "no_detections"),
                answer.detections,
                answer.runner or self._name,
                answer.model_version or self._identity.version,
                self._plan.fingerprint,
                job.attempt,
                runtime_s,
                missing_ms=missing_ms,
                extra=answer.extra,
                finisher=self._finisher,
            )
            settled.append(Settled(job, result, self._event(job, "success", moment, runtime_s, details, final=True)))
            self._feed.release(job)  # samples need not wait for the disk
        self._committer.put(settled)

    def _failed(self, job: Job, error: BaseException, runtime_s: float, before: Measurement | None) -> None:
        known = error if isinstance(error, RunnerError) else None
        message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        if isinstance(error, BadcError) and error.hint:
            message = f"{message} {error.hint}"  # nobody looks on when it is read
        details: dict[str, Any] = {
            "attempt": job.attempt,
            "returncode": known.returncode if known else None,
            "stderr": tail(known.output) if known and known.output else tail(message),
            "error": tail(message),
            "backoff_s": backoff_s(job.attempt),
            "gpu_metrics": self._metrics(before) or {"before": None, "after": None},
        }
        can_help = not isinstance(error, RecordingError) and (known is None or known.retry)
        if can_help and job.attempt <= self._plan.max_retries:
            self._run.emit(self._event(job, "failure", clocks.now(), runtime_s, details))
            self._feed.again(job, backoff_s(job.attempt))
            return
        if self._run.stop.is_set() and can_help:
            return  # it was asked to stop, which may be why it failed: left to do
        result = ChunkResult(
            job.task.chunk,
            job.task.recording,
            "failed",
            (),
            self._name,
            self._identity.version,
            self._plan.fingerprint,
            job.attempt,
            runtime_s,
            error=message,
            finisher=self._finisher,
        )
        self._feed.release(job)
        self._committer.put(
            [Settled(job, result, self._event(job, "failure", clocks.now(), runtime_s, details, final=True))]
        )
        if self._plan.fail_fast:
            self._run.stop.set()

    def _metrics(self, before: Measurement | None) -> dict[str, Any] | None:
        if self._device.kind != "gpu":
            return None
        after = self._run.latest(self._device.index)
        return {"before": before and _metric(before), "after": after and _metric(after)}

    def _event(
        self, job: Job, status: Any, now: str, runtime_s: float, details: dict[str, Any], *, final: bool = False
    ) -> Event:
        chunk = job.task.chunk
        return Event(
            chunk.chunk_id,
            chunk.recording_id,
            status,
            self._device.label,
            now,
            self._device,
            now,
            runtime_s,
            chunk.duration_ms or 0,
            final,
            details,
        )


def _metric(seen: Measurement) -> dict[str, Any]:
    found = asdict(seen)
    return {
        "index": found["device_index"],
        "utilization": found["utilization_percent"],
        "memory_used_mb": found["memory_used_mib"],
        "memory_total_mb": found["memory_total_mib"],
    }

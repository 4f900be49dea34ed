"""The command runner: a program of the user's, started once per chunk.

The program gets ``--input <chunk file> --output <result file>`` added to its arguments. Exit status 0 is success. A
JSON object that it wrote is kept, and what the result's form asks for besides is filled in; when it wrote none, the
result is empty.
See ``docs/how-to/your-own-command.md``.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from badc_core.config import option
from badc_core.errors import RunnerError
from badc_core.model import Detection, Prediction, Signal
from badc_core.processes import run_command
from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo, WorkerContext

__all__ = ["CommandOptions", "CommandRunner", "identify", "open_runner", "prediction_from_json"]

_DETECTION_KEYS = {"timestamp_ms", "end_ms", "label", "label_code", "label_name", "confidence", "low_hz", "high_hz"}
_OURS = {"chunk_id", "recording_id", "source_path", "chunk", "dataset_root", "recording", "fingerprint", "meta"}


@frozen
class CommandOptions:
    """Options of the command runner."""

    command: str = option(help="Program and arguments, split as a shell splits them; no shell runs")


def identify(options: CommandOptions) -> RunnerIdentity:
    """Return the identity: the command line itself is an option, and so part of the fingerprint."""
    return RunnerIdentity("command")


def _label(entry: Mapping[str, Any]) -> str:
    return str(entry.get("label") or entry.get("label_code") or entry.get("label_name") or "unknown")


def _text(value: Any) -> str | None:
    """Return a text where there is something; many programs write an empty one for nothing, and codes as numbers."""
    return None if value is None or value == "" else str(value)


def _whole(value: Any) -> Any:
    """Return whole milliseconds that were written as ``2300.0`` as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def prediction_from_json(entry: Mapping[str, Any], output: str = "") -> Prediction:
    """Read the result object that a command wrote.

    Parameters
    ----------
    entry
        Its JSON; every key may be missing.
    output
        What the command said on stdout.

    Raises
    ------
    RunnerError
        ``detections`` is no list of objects, or the command says that it failed.
    """
    if entry.get("status") == "failed":
        raise RunnerError(
            f"The command wrote that it failed: {entry.get('error') or 'it did not say why'}.", output=output
        )
    found = entry.get("detections") or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RunnerError("The command wrote 'detections' that are no list of objects.", retry=False)
    detections = [
        Detection(
            start_ms=_whole(one.get("timestamp_ms")),
            end_ms=_whole(one.get("end_ms")),
            label=_label(one),
            label_code=_text(one.get("label_code")),
            label_name=_text(one.get("label_name")),
            confidence=one.get("confidence"),
            low_hz=one.get("low_hz"),
            high_hz=one.get("high_hz"),
            extra={key: value for key, value in one.items() if key not in _DETECTION_KEYS},
        )
        for one in found
    ]
    known = {"status", "detections", "runner", "model_version"}
    return Prediction(
        detections,
        status=_text(entry.get("status")) or "ok",
        model_version=_text(entry.get("model_version")),
        extra={key: value for key, value in entry.items() if key not in known | _OURS},
        runner=_text(entry.get("runner")),
        output=output,
    )


class CommandRunner:
    """Runs the command per chunk.

    Parameters
    ----------
    options
        The command.
    context
        Where to work; a GPU worker's command sees its GPU only.
    """

    def __init__(self, options: CommandOptions, context: WorkerContext) -> None:
        try:
            self._argv = shlex.split(options.command)
        except ValueError as error:
            raise RunnerError(f"The command {options.command!r} cannot be split: {error}.", retry=False) from error
        if not self._argv:
            raise RunnerError("The command is empty.", retry=False)
        if shutil.which(self._argv[0]) is None:
            raise RunnerError(
                f"The command {self._argv[0]!r} cannot be started: there is no such program.",
                hint="Check the path and whether it is executable.",
                retry=False,
            )
        self._context = context
        self._count = 0
        self.info = RunnerInfo(identify(options), InputSpec(kind="file", max_batch=1), name="custom")

    def predict(self, batch: Sequence[Signal]) -> list[Prediction]:
        """Run the command for every chunk of the batch."""
        return [self._one(signal) for signal in batch]

    def _one(self, signal: Signal) -> Prediction:
        self._count += 1
        output = self._context.scratch / f"result-{self._count}.json"
        device = self._context.device
        env = {"CUDA_VISIBLE_DEVICES": device.visible_as or str(device.index)} if device.kind == "gpu" else {}
        argv = [*self._argv, "--input", str(signal.path), "--output", str(output)]
        try:
            ended = run_command(argv, timeout_s=self._context.timeout_s, env=env)
        except OSError as error:
            raise RunnerError(
                f"The command {self._argv[0]!r} cannot be started: {error.strerror}.",
                hint="Check the path and whether it is executable.",
                retry=False,
            ) from error
        try:
            if ended.timed_out:
                raise RunnerError(
                    f"The command {self._argv[0]!r} took longer than {self._context.timeout_s:g} s and was ended.",
                    returncode=ended.returncode,
                    output=ended.stderr,
                )
            if ended.returncode != 0:
                raise RunnerError(
                    f"The command {self._argv[0]!r} ended with status {ended.returncode}: {_last_line(ended.stderr)}",
                    returncode=ended.returncode,
                    output=ended.stderr,
                )
            return _read(output, ended.stdout)
        finally:
            output.unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: no process outlives its chunk."""


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing on stderr"


def _read(path: Path, stdout: str) -> Prediction:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    if not data.strip():
        return Prediction(status="ok", output=stdout)
    try:
        entry = json.loads(data)
    except ValueError as error:
        raise RunnerError(f"The command wrote a result that is not valid JSON: {error}.") from error
    if not isinstance(entry, dict):
        raise RunnerError(f"The command wrote a result that is no JSON object but {type(entry).__name__}.", retry=False)
    return prediction_from_json(entry, stdout)


def open_runner(options: CommandOptions, context: WorkerContext) -> CommandRunner:
    """Return the runner.

    Raises
    ------
    RunnerError
        There is no such command.
    """
    return CommandRunner(options, context)

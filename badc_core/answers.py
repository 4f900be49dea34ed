"""Checking what a runner answered: the worker trusts nothing that it did not look at.

One pure function turns whatever came back into :class:`~badc_core.model.Prediction` values that are safe to commit, or
says which rule was broken, for which chunk. The same rules hold in the worker and in the conformance kit.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from badc_core.errors import RunnerError
from badc_core.model import ChunkResult, Detection, Prediction, Signal

__all__ = ["CONFIDENCE_TOLERANCE", "END_TOLERANCE_MS", "check_answers", "check_finished", "json_problem"]

END_TOLERANCE_MS = 1
"""A time may lie this much past the chunk's end, because frames were rounded to milliseconds; it is moved back."""

CONFIDENCE_TOLERANCE = 1e-6
"""A confidence may lie this much outside 0 to 1, because it was computed in float32; it is moved back."""

_DEEPEST = 64
_PLAIN = {list, tuple}
_NOTHING = Prediction()


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """A rule that one answer broke, in words."""


def check_answers(
    batch: Sequence[Signal], answers: object, runner: str, labels: frozenset[str] | None
) -> list[Prediction]:
    """Check a runner's answers to one batch, and bring them into one form.

    Parameters
    ----------
    batch
        What the runner was given.
    answers
        What :meth:`~badc_core.protocols.Runner.predict` returned.
    runner
        Its name, for messages.
    labels
        All labels it may give, or ``None``.

    Returns
    -------
    list of Prediction
        One per signal: detections in order of their start (those without times first), whole numbers as ``int``,
        other numbers as ``float``, times and confidences within their bounds.

    Raises
    ------
    RunnerError
        A rule is broken; the message names the runner, the chunk and the rule. ``retry`` is ``False``.
    """
    if not isinstance(answers, (list, tuple)) and (
        isinstance(answers, (str, bytes)) or not isinstance(answers, Sequence)
    ):
        raise _error(runner, batch, None, f"predict returned {_kind(answers)}, not a list with one answer per chunk")
    if len(answers) != len(batch):
        raise _error(runner, batch, None, f"predict gave {len(answers)} answers for {len(batch)} chunks")
    if set(map(type, answers)) <= _PLAIN and not any(answers):  # silence is the common case
        return [_NOTHING] * len(answers)
    checked = []
    for index, answer in enumerate(answers):
        try:
            checked.append(_prediction(answer, batch[index], labels))
        except _Broken as broken:
            raise _error(runner, batch, index, str(broken)) from None
    return checked


def check_finished(
    results: Sequence[ChunkResult], found: Iterable[tuple[str, Detection]]
) -> dict[str, list[Detection]]:
    """Check what a finisher made of a recording's results, and sort it by chunk.

    Parameters
    ----------
    results
        What the :class:`~badc_core.protocols.Finisher` was given.
    found
        What it returned.

    Returns
    -------
    dict
        For every chunk, by id, the detections that begin in it, in order of their start. They are checked as
        :func:`check_answers` does, but may end past their chunk.

    Raises
    ------
    RunnerError
        A rule is broken; the message names the chunk and the rule.
    """
    chunks = {result.chunk.chunk_id: result for result in results}
    sorted_in: dict[str, list[Detection]] = {chunk_id: [] for chunk_id in chunks}
    for pair in found:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise RunnerError(f"it gave {_kind(pair)}, not pairs of a chunk_id and a Detection", retry=False)
        chunk_id, detection = pair
        try:
            result = chunks.get(chunk_id) if isinstance(chunk_id, str) else None
            if result is None:
                raise _Broken("lies in a chunk of which there is no result")
            if result.failed:
                raise _Broken("lies in a chunk that failed")
            checked = _detection(detection, None, None)
            length = result.chunk.duration_ms
            if length is not None and checked.start_ms is not None and checked.start_ms > length:
                raise _Broken(f"begins at {checked.start_ms} ms, past the end of the chunk ({length} ms)")
        except _Broken as broken:
            where = f"in chunk {_short(chunk_id)} a detection{_named(detection)}"
            raise RunnerError(f"{where} {broken}", retry=False) from None
        sorted_in[chunk_id].append(checked)
    for detections in sorted_in.values():
        detections.sort(key=_start)
    return sorted_in


def json_problem(value: object, depth: int = 0) -> str | None:
    """Say what in `value` is no JSON, or ``None`` when all of it is.

    JSON here means what every reader understands: texts that are valid Unicode, whole numbers of 64 bits, finite
    numbers, booleans, null, lists, and objects whose keys are texts.
    """
    if value is None or value is True or value is False:
        return None
    kind = type(value)
    if kind is str:
        return _text_problem(value)  # type: ignore[arg-type]
    if kind is int:
        return None if -(2**63) <= value < 2**64 else f"{_short(value)} needs more than 64 bits"  # type: ignore[operator]
    if kind is float:
        return None if math.isfinite(value) else f"{value} is no JSON number"  # type: ignore[arg-type]
    if depth >= _DEEPEST:
        return f"it is nested deeper than {_DEEPEST} levels"
    if isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) is not str:
                return f"the key {_short(key)} is no text"
            if (problem := _text_problem(key) or json_problem(item, depth + 1)) is not None:
                return problem if depth else f"{key!r}: {problem}"
        return None
    if isinstance(value, (list, tuple)):
        for item in value:
            if (problem := json_problem(item, depth + 1)) is not None:
                return problem
        return None
    return f"{_short(value)} is {_kind(value)}, which JSON cannot hold"


def _error(runner: str, batch: Sequence[Signal], index: int | None, rule: str) -> RunnerError:
    if index is None:
        where = f"a batch of {len(batch)} chunks"
        if batch:
            where = f"the batch that begins with chunk {batch[0].chunk.chunk_id!r}"
            where += f" of recording {batch[0].chunk.recording_id!r}"
    else:
        chunk = batch[index].chunk
        where = f"chunk {chunk.chunk_id!r} of recording {chunk.recording_id!r}"
    return RunnerError(
        f"The runner {runner!r} broke its contract on {where}: {rule}.",
        hint="This is a defect of the runner's plugin; its author finds it with the tests in badc_core.testing.",
        retry=False,
    )


def _prediction(answer: object, signal: Signal, labels: frozenset[str] | None) -> Prediction:
    if isinstance(answer, Prediction):
        prediction = answer
        _optional_text(prediction.status, "the status")
        _optional_text(prediction.model_version, "the model_version")
        if prediction.status == "failed":
            raise _Broken("the status is 'failed', which only the worker gives; a runner that fails raises RunnerError")
        _optional_text(prediction.runner, "the runner")
        if type(prediction.output) is not str:
            raise _Broken(f"the output is {_kind(prediction.output)}, not a text")
        _json_object(prediction.extra, "the answer's extra")
        given: object = prediction.detections
    else:
        prediction, given = _NOTHING, answer
    if type(given) not in _PLAIN and (isinstance(given, (str, bytes)) or not isinstance(given, Sequence)):
        raise _Broken(f"the answer is {_kind(given)}, not a list of Detection")
    if not given and type(prediction.detections) in _PLAIN:
        return prediction
    limit_ms = _limit_ms(signal)
    detections = []
    for number, detection in enumerate(given, 1):  # type: ignore[arg-type, var-annotated]
        try:
            detections.append(_detection(detection, limit_ms, labels))
        except _Broken as broken:
            raise _Broken(f"detection {number}{_named(detection)} {broken}") from None
    detections.sort(key=_start)
    return attrs.evolve(prediction, detections=tuple(detections))


def _start(detection: Detection) -> int:
    return -1 if detection.start_ms is None else detection.start_ms


def _limit_ms(signal: Signal) -> int | None:
    """Return the length of the chunk: what the manifest says or what was really fed, whichever is longer."""
    told = signal.chunk.duration_ms
    if signal.samples is None or not signal.sample_rate_hz:
        return told
    frames = max(len(signal.samples) - signal.halo_before - signal.halo_after, 0)
    fed = math.ceil(frames * 1000 / signal.sample_rate_hz)
    return fed if told is None else max(told, fed)


def _detection(detection: object, limit_ms: int | None, labels: frozenset[str] | None) -> Detection:
    if not isinstance(detection, Detection):
        raise _Broken(f"is {_kind(detection)}, not a Detection")
    label = detection.label
    if type(label) is not str or not label.strip():
        raise _Broken("has an empty label" if isinstance(label, str) else f"has {_kind(label)} as its label")
    if labels is not None and label not in labels:
        raise _Broken("has an unknown label: it is not in the runner's info.labels")
    if (problem := _text_problem(label)) is not None:
        raise _Broken(f"has a label that is no text: {problem}")
    _optional_text(detection.label_code, "a label_code that")
    _optional_text(detection.label_name, "a label_name that")
    changes: dict[str, Any] = {}
    start, end = _times(detection, limit_ms)
    if start is not detection.start_ms or end is not detection.end_ms:
        changes.update(start_ms=start, end_ms=end)
    confidence = _confidence(detection.confidence)
    if confidence is not detection.confidence:
        changes["confidence"] = confidence
    low, high = _hertz(detection.low_hz, "low_hz"), _hertz(detection.high_hz, "high_hz")
    if low is not None and high is not None and high < low:
        raise _Broken(f"has its frequency bounds the wrong way round ({low} to {high} Hz)")
    if low is not detection.low_hz or high is not detection.high_hz:
        changes.update(low_hz=low, high_hz=high)
    _json_object(detection.extra, "its extra")
    return attrs.evolve(detection, **changes) if changes else detection


def _times(detection: Detection, limit_ms: int | None) -> tuple[int | None, int | None]:
    start, end = _whole(detection.start_ms, "start_ms"), _whole(detection.end_ms, "end_ms")
    if start is not None and start < 0:
        raise _Broken(f"begins at {start} ms, before the chunk")
    if end is not None and end < (start or 0):
        raise _Broken(f"ends at {end} ms, before it begins ({start or 0} ms)")
    if limit_ms is None:
        return start, end
    if start is not None and start > limit_ms:
        if start > limit_ms + END_TOLERANCE_MS:
            raise _Broken(f"begins at {start} ms, past the end of the chunk ({limit_ms} ms)")
        start = limit_ms
    if end is not None and end > limit_ms:
        if end > limit_ms + END_TOLERANCE_MS:
            raise _Broken(f"ends at {end} ms, past the end of the chunk ({limit_ms} ms)")
        end = limit_ms
    return start, end


def _whole(value: Any, name: str) -> int | None:
    if value is None or type(value) is int:
        return value
    if isinstance(value, bool):
        raise _Broken(f"has {name} {value}, not whole milliseconds")
    try:
        return operator.index(value)  # numpy's integers
    except TypeError:
        raise _Broken(f"has {name} {_short(value)} ({_kind(value)}), not whole milliseconds") from None


def _number(value: Any, name: str) -> float | None:
    if value is None or type(value) is float or type(value) is int:
        return value
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise _Broken(f"has {name} {_short(value)} ({_kind(value)}), not a number")
    try:
        return float(value)  # numpy's scalars
    except (TypeError, ValueError):
        raise _Broken(f"has {name} {_short(value)}, not a number") from None


def _confidence(value: Any) -> float | None:
    number = _number(value, "a confidence of")
    if number is None or 0 <= number <= 1:
        return number
    if not -CONFIDENCE_TOLERANCE <= number <= 1 + CONFIDENCE_TOLERANCE:  # NaN ends here, too
        raise _Broken(f"has a confidence of {number}, outside 0 to 1")
    return 0.0 if number < 0 else 1.0


def _hertz(value: Any, name: str) -> float | None:
    number = _number(value, name)
    if number is not None and not 0 <= number < math.inf:
        raise _Broken(f"has {name} {number}, not a frequency in Hz")
    return number


def _optional_text(value: object, what: str) -> None:
    if value is None:
        return
    if type(value) is not str or not value:
        raise _Broken(f"{what} is {_short(value)}, not a text or None")
    if (problem := _text_problem(value)) is not None:
        raise _Broken(f"{what} is no text: {problem}")


def _json_object(extra: object, what: str) -> None:
    if not isinstance(extra, Mapping):
        raise _Broken(f"{what} is {_kind(extra)}, not a mapping")
    if extra and (problem := json_problem(extra)) is not None:
        raise _Broken(f"{what} is not JSON: {problem}")


def _text_problem(text: str) -> str | None:
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"{text!a} is not valid Unicode"
    return None


def _named(detection: object) -> str:
    label = getattr(detection, "label", None)
    return f" (label {_short(label)})" if isinstance(label, str) and label else ""


def _short(value: object) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # a repr of a stranger's object can do anything
        return f"an object of {type(value).__name__}"


def _kind(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"

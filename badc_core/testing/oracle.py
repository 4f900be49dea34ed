"""The kit's own idea of what is right: sounds it synthesises, and rules for answers.

Nothing here uses the code that a plugin or the worker uses; the same rules are written a second time, plainly, so that
one mistake cannot hide in both.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import wave
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen

from badc_core.model import Chunk, Detection, Instant, Prediction, Recording, Signal
from badc_core.protocols import InputSpec

__all__ = ["Example", "Scene", "make_signal", "order_matches", "same_answer", "scenes", "well_formed", "write_wav"]

Samples = np.ndarray[Any, np.dtype[np.float32]]

CHUNK_BEGINS_MS = 60_000
"""Chunks of the kit lie one minute into their recording, so that times of the recording are seen as wrong."""


@frozen
class Example:
    """A sound whose right answer is known.

    Parameters
    ----------
    name
        What it is called in messages.
    samples
        Mono, float32, at the rate that the runner asks for.
    heard
        Labels that must be among the answer's; empty: the answer must be empty.
    """

    name: str
    samples: Samples = field(eq=False)
    heard: frozenset[str] = field(converter=frozenset)


@frozen
class Scene:
    """A sound the kit plays to a runner.

    Parameters
    ----------
    name
        What it is called in messages.
    test
        The standard test that fails when a runner cannot bear it.
    samples
        Mono, float32, without halo.
    """

    name: str
    test: str
    samples: Samples = field(eq=False)


def scenes(rate: int, chunk_ms: int) -> list[Scene]:
    """Synthesise the standard sounds, always the same.

    Parameters
    ----------
    rate
        Sample rate in Hz.
    chunk_ms
        Length of the ordinary ones.
    """
    n = max(rate * chunk_ms // 1000, 8)
    t = np.arange(n) / rate
    noise = np.random.default_rng(20260131).normal(0, 1, n)
    nyquist = rate / 2
    tone = 0.5 * np.sin(2 * np.pi * min(1000, nyquist / 4) * t)
    sweep = 0.5 * np.sin(2 * np.pi * (nyquist / 20 * t + nyquist / 8 * t * t / max(t[-1], 1e-9)))
    bursts = 0.003 * noise
    for k in (1, 3):
        part = slice(n * k // 5, n * k // 5 + n // 10)
        bursts[part] += 0.7 * np.sin(2 * np.pi * min(3000, nyquist / 3) * t[part])
    ordinary = "test_ordinary_sound_is_answered"
    made = [
        ("tone", ordinary, tone),
        ("silence", "test_silence_is_answered", np.zeros(n)),
        ("noise", ordinary, 0.05 * noise),
        ("bursts", ordinary, bursts),
        ("clipping", "test_clipping_is_answered", np.where(tone >= 0, 1.0, -1.0)),
        ("sweep", ordinary, sweep),
        ("direct current", "test_silence_is_answered", np.full(n, 0.25)),
        ("odd length", ordinary, sweep[: n * 9 // 10 - 1]),
        ("50 ms", "test_short_chunk_is_answered", tone[: max(rate // 20, 1)]),
        ("one frame", "test_short_chunk_is_answered", tone[1:2]),
    ]
    return [Scene(name, test, samples.astype(np.float32)) for name, test, samples in made]


def _frozen_array(samples: Samples) -> Samples:
    """Return a copy that nobody can make writable."""
    contiguous = np.ascontiguousarray(samples, np.float32)
    return np.frombuffer(contiguous.tobytes(), np.float32).reshape(contiguous.shape)


def make_signal(
    scene: Scene, wanted: InputSpec, rate: int, folder: Path, *, writable: bool = True, number: int = 0
) -> Signal:
    """Prepare a scene as a runner's :class:`~badc_core.protocols.InputSpec` asks.

    Parameters
    ----------
    scene
        The sound.
    wanted
        What the runner asks for.
    rate
        Rate of the scene in Hz.
    folder
        Where files go, for runners that ask for files.
    writable
        Whether `samples` may be written to; writing is a fault all the same.
    number
        Makes ids unique.
    """
    duration_ms = math.ceil(len(scene.samples) * 1000 / rate)
    source = folder / f"{scene.name.replace(' ', '_')}.wav"
    recording = Recording(
        "kit",
        source,
        sample_rate_hz=rate,
        channels=1 if wanted.mono else 2,
        duration_ms=10 * CHUNK_BEGINS_MS,
        started_at=Instant(dt.datetime(2026, 5, 3, 3, 13, tzinfo=dt.UTC)),
        study_area="kit",
        site="A",
        latitude=54.5,
        longitude=-125.25,
    )
    chunk = Chunk(
        f"kit_{scene.name.replace(' ', '_')}_{number}",
        "kit",
        source,
        start_ms=CHUNK_BEGINS_MS,
        end_ms=CHUNK_BEGINS_MS + duration_ms,
        overlap_ms=0,
        offset_ms=None,
    )
    if wanted.kind == "nothing":
        return Signal(chunk, recording)
    if wanted.kind in ("file", "checked"):
        if not source.exists():
            write_wav(source, scene.samples, rate)
        return Signal(chunk, recording, path=source if wanted.kind == "file" else None)
    halo = rate * wanted.halo_ms // 1000
    around = 0.9 * np.sin(np.arange(halo) * 0.7)
    samples = np.concatenate([around, scene.samples, around]).astype(np.float32)
    if not wanted.mono:
        samples = np.stack([samples, 0.5 * samples], axis=1)
    samples = samples.copy() if writable else _frozen_array(samples)
    return Signal(chunk, recording, samples=samples, sample_rate_hz=rate, halo_before=halo, halo_after=halo)


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write 16-bit PCM with the standard library; `samples` are ``(frames,)`` or ``(frames, channels)``."""
    frames = samples.reshape(len(samples), -1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(frames.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.round(frames * 32768), -32768, 32767).astype("<i2").tobytes())


# --------------------------------------------------------------------------------------------- rules of answers


def detections_of(answer: object) -> list[Detection]:
    """Return the well-formed detections of an answer; none of an answer that is not well-formed."""
    given = answer.detections if isinstance(answer, Prediction) else answer
    return [d for d in given if isinstance(d, Detection)] if isinstance(given, (list, tuple)) else []


def well_formed(answer: object) -> str | None:
    """Say what is wrong with the form of one answer, or ``None``."""
    given = answer.detections if isinstance(answer, Prediction) else answer
    if not isinstance(given, (list, tuple)):
        return f"an answer is a {type(given).__name__}, not a list of Detection"
    for detection in given:
        if not isinstance(detection, Detection):
            return f"an answer holds a {type(detection).__name__}, not a Detection"
        if not isinstance(detection.label, str) or not detection.label.strip():
            return f"a detection has the label {detection.label!r}, not a text"
        for value in (detection.start_ms, detection.end_ms):
            if value is not None and (isinstance(value, (bool, float, str)) or not hasattr(value, "__index__")):
                return f"a detection has the time {value!r}, not whole milliseconds"
    return None


def time_problem(detection: Detection, duration_ms: int) -> str | None:
    """Say which time lies outside the chunk, or ``None``; 1 ms past the end is rounding."""
    for value in (detection.start_ms, detection.end_ms):
        if value is not None and not 0 <= value <= duration_ms + 1:
            return (
                f"{detection.label!r} at {detection.start_ms} to {detection.end_ms} ms of a chunk of {duration_ms} ms"
            )
    return None


def confidence_problem(detection: Detection) -> str | None:
    """Say what is wrong with a confidence, or ``None``."""
    value = detection.confidence
    if value is None:
        return None
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__") or not -1e-6 <= float(value) <= 1 + 1e-6:
        return f"{detection.label!r} has a confidence of {value!r}"
    return None


def json_fault(answer: object) -> str | None:
    """Say what of an answer JSON cannot hold, or ``None``."""
    extras = [d.extra for d in detections_of(answer)]
    if isinstance(answer, Prediction):
        extras.append(answer.extra)
    for extra in extras:
        try:
            again = json.loads(json.dumps(extra, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            return f"extra {extra!r}: {error}"
        if set(again) != set(extra):
            return f"extra {extra!r} has keys that are not texts"
    return None


def _key(detection: Detection) -> tuple[Any, ...]:
    return tuple(
        str(v)
        for v in (detection.start_ms, detection.end_ms, detection.label, detection.label_code, detection.label_name)
    )


def same_answer(one: object, other: object, tolerance: float) -> bool:
    """Say whether two answers mean the same: labels and times equal, confidences within `tolerance`."""
    a, b = sorted(detections_of(one), key=_key), sorted(detections_of(other), key=_key)
    if len(a) != len(b) or [_key(d) for d in a] != [_key(d) for d in b]:
        return False
    return all(_close(x.confidence, y.confidence, tolerance) for x, y in zip(a, b, strict=True))


def _close(one: Any, other: Any, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return bool(abs(float(one) - float(other)) <= tolerance) or (math.isnan(one) and math.isnan(other))


def order_matches(expected: Sequence[object], given: Sequence[object], tolerance: float) -> bool | None:
    """Compare answers position by position.

    Returns
    -------
    bool or None
        ``True``: the same; ``False``: the same answers in another order; ``None``: other answers.
    """
    if all(same_answer(a, b, tolerance) for a, b in zip(expected, given, strict=True)):
        return True
    left = list(given)
    for answer in expected:
        for index, candidate in enumerate(left):
            if same_answer(answer, candidate, tolerance):
                del left[index]
                break
        else:
            return None
    return False


def batches_of(names: Sequence[str], largest: int) -> Iterator[tuple[str, ...]]:
    """Yield batches of sounds by name: pairs, the largest size allowed (at most 8), and these shifted by one."""
    sizes = sorted({2, min(largest, 8)} - {1}) if largest > 1 else []
    for size in sizes:
        for shift in (0, 1):
            turned = [*names[shift:], *names[:shift]]
            yield from (tuple(turned[i : i + size]) for i in range(0, len(turned), size))


def distinct(answers: Iterable[object], tolerance: float) -> int:
    """Count how many different answers there are."""
    found: list[object] = []
    for answer in answers:
        if not any(same_answer(answer, other, tolerance) for other in found):
            found.append(answer)
    return len(found)


def brief(answers: object) -> str:
    """Return answers in few words: how many detections, and the first."""
    if not isinstance(answers, (list, tuple)):
        return f"{type(answers).__name__}: {answers}"
    words = []
    for answer in answers:
        found = detections_of(answer)
        first = f", from {found[0].start_ms} ms {found[0].label!r} {found[0].confidence}" if found else ""
        words.append(f"{len(found)} detections{first}" if found else "nothing")
    return f"[{'; '.join(words)}]"

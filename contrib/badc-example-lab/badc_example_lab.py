"""The BADC plugin of an imaginary lab: a runner that hears loud moments, and the field notes the lab works with."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen, validators

from badc_core import (
    Detection,
    ExporterSpec,
    InputSpec,
    RunnerIdentity,
    RunnerInfo,
    RunnerSpec,
    Signal,
    WorkerContext,
    hookimpl,
    option,
)
from badc_core.protocols import ExportBatch

__version__ = "0.2.0"


@frozen
class LoudnessOptions:
    """What ``-o key=value`` can set."""

    threshold_db: float = option(-30.0, help="level from which a window is loud, in dB", validator=validators.lt(0))
    window_ms: int = option(500, help="length of a window", validator=validators.ge(1))


class LoudnessRunner:
    """Hears every window whose level reaches a threshold."""

    info = RunnerInfo(
        identity=RunnerIdentity(model="loudness", version="1"),
        input=InputSpec(sample_rate_hz=None, mono=True, max_batch=8),
        labels=frozenset({"loud"}),
    )

    def __init__(self, options: LoudnessOptions) -> None:
        self._options = options

    def predict(self, batch: Sequence[Signal]) -> list[list[Detection]]:
        """Return the detections of each chunk, in the order of the chunks."""
        return [list(self._hear(signal)) for signal in batch]

    def _hear(self, signal: Signal) -> Iterator[Detection]:
        rate, threshold = signal.sample_rate_hz, self._options.threshold_db
        window = max(rate * self._options.window_ms // 1000, 1)
        for first in range(0, len(signal.samples), window):
            part = signal.samples[first : first + window]
            level = level_db(part)
            if level >= threshold:
                start_ms, end_ms = first * 1000 // rate, (first + len(part)) * 1000 // rate
                confidence = min(1 - level / threshold, 1.0)  # 0 at the threshold, 1 at full scale
                yield Detection(start_ms, end_ms, "loud", confidence=confidence, extra={"level_db": round(level, 1)})

    def close(self) -> None:
        """Do nothing: there is no model to give back."""


def level_db(samples: Any) -> float:
    """Return the root mean square of `samples` in dB, 0 being full scale; at least -120."""
    import numpy as np

    return 10 * math.log10(max(float(np.mean(np.square(samples, dtype=np.float64))), 1e-12))


def open_loudness(options: LoudnessOptions, context: WorkerContext) -> LoudnessRunner:
    """Return a runner; one with a model would load it here, once per worker."""
    return LoudnessRunner(options)


def identify_loudness(options: LoudnessOptions) -> RunnerIdentity:
    """Say which model this is, without loading it."""
    return LoudnessRunner.info.identity


@hookimpl
def badc_runners() -> Iterator[RunnerSpec]:
    """Tell BADC of the runner."""
    yield RunnerSpec(
        "loudness",
        "Hears loud moments",
        open="badc_example_lab:open_loudness",
        options="badc_example_lab:LoudnessOptions",
        identify="badc_example_lab:identify_loudness",
    )


NOTES = ("site", "recording", "date", "time", "zone", "heard", "confidence", "checked_by")


@frozen
class FieldNotesOptions:
    """What the table ``[exporter.field-notes]`` of a ``badc.toml`` can set."""

    least_confidence: float = option(0.0, help="leave out detections that are less certain")


class FieldNotesExporter:
    """Writes one line per detection, with an empty column for the person who checks it."""

    def __init__(self, target: Path, options: FieldNotesOptions) -> None:
        self._target = target
        self._least = options.least_confidence
        self._part = target.with_name(f".{target.name}.part")  # nothing may appear at the target before the end
        self._file = self._part.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(NOTES)

    def write(self, batch: ExportBatch) -> None:
        """Take the next rows; ``none`` is the label of a chunk in which nothing was heard."""
        for row in batch.rows():
            if row["label"] != "none" and (row["confidence"] or 0.0) >= self._least:
                self._writer.writerow(note(row))

    def checkpoint(self) -> None:
        """Put what was written so far on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self, summary: Mapping[str, Any] | None) -> None:
        """Finish, or leave nothing behind when there is no summary; may be called twice."""
        if self._file.closed:
            return
        if summary is not None:
            self.checkpoint()
        self._file.close()
        if summary is None:
            self._part.unlink()
        else:
            self._part.replace(self._target)


def note(row: Mapping[str, Any]) -> list[str]:
    """Return one line of the field notes; a time without a zone stays without one."""
    moment = row["detected_at"] or ""
    confidence = "" if row["confidence"] is None else f"{row['confidence']:.3f}"
    date, time, zone = moment[:10], moment[11:21], moment[26:]
    return [row["site"] or "", row["recording_id"], date, time, zone, row["label"], confidence, ""]


def open_field_notes(target: Path, options: FieldNotesOptions) -> FieldNotesExporter:
    """Begin field notes at `target`."""
    return FieldNotesExporter(target, options)


@hookimpl
def badc_exporters() -> Iterator[ExporterSpec]:
    """Tell BADC of the exporter."""
    yield ExporterSpec(
        "field-notes",
        "A line per detection, to be checked by a person",
        open="badc_example_lab:open_field_notes",
        suffix=".csv",
        options="badc_example_lab:FieldNotesOptions",
    )

"""Runners, right and wrong: each wrong one has one fault."""

import os
import time
import wave
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from badc_core import Detection, InputSpec, Prediction, RunnerIdentity, RunnerInfo, option
from badc_core.protocols import Readiness

WINDOW_MS = 500


@attrs.frozen
class Options:
    threshold: float = option(0.02, help="loudness from which something is heard")


def identify(options):
    return RunnerIdentity("zoo", "1")


class Good:
    """Hears every loud window of half a second."""

    info = RunnerInfo(
        RunnerIdentity("zoo", "1"), InputSpec(sample_rate_hz=8000, max_batch=4), labels=frozenset({"loud", "louder"})
    )

    def __init__(self, options, context):
        self.threshold = options.threshold if options is not None else 0.02

    def hear(self, signal):
        samples, rate = signal.samples, signal.sample_rate_hz
        samples = samples[signal.halo_before : len(samples) - signal.halo_after]
        if samples.ndim == 2:
            samples = samples.mean(axis=1)
        window = rate * WINDOW_MS // 1000
        found = []
        for first in range(0, len(samples), window):
            part = samples[first : first + window]
            loudness = float(np.sqrt(np.mean(np.square(part))))
            if loudness > self.threshold:
                start, end = first * 1000 // rate, (first + len(part)) * 1000 // rate
                label = "louder" if loudness > 0.3 else "loud"
                found.append(Detection(start, end, label, confidence=min(loudness, 1.0), extra={"rms": loudness}))
        return found

    def predict(self, batch):
        return [self.hear(signal) for signal in batch]

    def close(self):
        pass


# ------------------------------------------------------------------------------------------------- right ones


class GoodWithHalo(Good):
    info = attrs.evolve(Good.info, input=InputSpec(sample_rate_hz=8000, max_batch=4, halo_ms=250, mono=False))


class GoodAtAnyRate(Good):
    info = attrs.evolve(Good.info, input=InputSpec(max_batch=1), labels=None)


class GoodWithFiles(Good):
    info = attrs.evolve(Good.info, input=InputSpec(kind="file", sample_rate_hz=8000))

    def hear(self, signal):
        with wave.open(str(signal.path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        return Prediction(
            super().hear(attrs.evolve(signal, samples=samples, sample_rate_hz=8000)), extra={"from": "file"}
        )


class GoodWithNothing(Good):
    info = attrs.evolve(Good.info, input=InputSpec(kind="nothing"))

    def hear(self, signal):
        return Prediction(status="stub")


class GoodInItsProcess(Good):
    """Prints and shares state, which is its own affair in a process of its own."""

    current = None

    def hear(self, signal):
        print("hearing")
        type(self).current = signal
        time.sleep(0.001)
        return super().hear(type(self).current)


# ------------------------------------------------------------------------------------------------- wrong ones


class SwapsTheOrder(Good):
    def predict(self, batch):
        return super().predict(batch)[::-1]


class SortsByLoudness(Good):
    def predict(self, batch):
        return sorted(super().predict(batch), key=len)


class DropsSilence(Good):
    def predict(self, batch):
        return [answer for answer in super().predict(batch) if answer]


class AnswersNone(Good):
    def predict(self, batch):
        return [answer or None for answer in super().predict(batch)]


class AnswersDicts(Good):
    def hear(self, signal):
        return [attrs.asdict(detection) for detection in super().hear(signal)]


class AnswersFractions(Good):
    def hear(self, signal):
        return [attrs.evolve(d, start_ms=d.start_ms / 1) for d in super().hear(signal)]


class TellsTimesOfTheRecording(Good):
    def hear(self, signal):
        at = signal.chunk.start_ms
        return [attrs.evolve(d, start_ms=d.start_ms + at, end_ms=d.end_ms + at) for d in super().hear(signal)]


class PadsItsWindows(Good):
    def hear(self, signal):
        return [attrs.evolve(d, end_ms=d.start_ms + WINDOW_MS) for d in super().hear(signal)]


class ForgetsTheHalo(GoodWithHalo):
    def hear(self, signal):
        return super().hear(attrs.evolve(signal, halo_before=0, halo_after=0))


class EndsBeforeItBegins(Good):
    def hear(self, signal):
        return [attrs.evolve(d, start_ms=d.end_ms, end_ms=d.start_ms) for d in super().hear(signal)]


class SureBeyondOne(Good):
    def hear(self, signal):
        return [attrs.evolve(d, confidence=d.confidence * 2) for d in super().hear(signal)]


class SureInPercent(Good):
    def hear(self, signal):
        return [attrs.evolve(d, confidence=round(d.confidence * 100)) for d in super().hear(signal)]


class NotANumber(Good):
    def hear(self, signal):
        return [attrs.evolve(d, confidence=float("nan")) for d in super().hear(signal)]


class CentresInPlace(Good):
    def hear(self, signal):
        found = super().hear(signal)
        if signal.samples.flags.writeable:
            signal.samples[:] = signal.samples - signal.samples.mean() + 0.001
        return found


class NeedsToWrite(Good):
    def hear(self, signal):
        samples = signal.samples
        samples += 0.0
        return super().hear(signal)


class EatsTheBatch(Good):
    def predict(self, batch):
        return [self.hear(batch.pop(0)) for _ in range(len(batch))]


class SharesABuffer(Good):
    current = None

    def hear(self, signal):
        type(self).current = signal
        time.sleep(0.005)
        return super().hear(type(self).current)


class SharesItsModel(Good):
    model = None

    def __init__(self, options, context):
        super().__init__(options, context)
        type(self).model = object()

    def hear(self, signal):
        if type(self).model is None:
            raise RuntimeError("the model is gone")
        return super().hear(signal)

    def close(self):
        type(self).model = None


class ClosesOnce(Good):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


class OpensOnce(Good):
    opened = False

    def __init__(self, options, context):
        super().__init__(options, context)
        if type(self).opened:
            raise RuntimeError("the device is busy")
        type(self).opened = True


class NeverOpens(Good):
    def __init__(self, options, context):
        raise RuntimeError("no weights")


class BreaksForGood(Good):
    broken = False

    def predict(self, batch):
        if self.broken:
            raise RuntimeError("the context is broken")
        try:
            return super().predict(batch)
        except Exception:
            self.broken = True
            raise


class PassesFailureOffAsSilence(Good):
    def hear(self, signal):
        try:
            return super().hear(signal)
        except Exception:
            return []


class DependsOnNeighbours(Good):
    def predict(self, batch):
        loudest = max((float(np.abs(signal.samples).max()) for signal in batch), default=0)
        return [self.hear(signal) if np.abs(signal.samples).max() > loudest / 4 else [] for signal in batch]


class DependsOnBatchSize(Good):
    def predict(self, batch):
        return [
            [attrs.evolve(d, confidence=d.confidence / len(batch)) for d in answer] for answer in super().predict(batch)
        ]


class FailsOnLargeBatches(Good):
    def predict(self, batch):
        if len(batch) > 2:
            raise RuntimeError("out of memory")
        return super().predict(batch)


class NeedsAChunk(Good):
    def predict(self, batch):
        np.stack([signal.samples[:1] for signal in batch])
        return super().predict(batch)


class Remembers(Good):
    heard = 0

    def hear(self, signal):
        self.heard += 1
        return [attrs.evolve(d, confidence=d.confidence / self.heard) for d in super().hear(signal)]


class FailsOnShortChunks(Good):
    def hear(self, signal):
        if len(signal.samples) < 4000:
            raise ValueError("kernel larger than input")
        return super().hear(signal)


class FailsOnSilence(Good):
    def hear(self, signal):
        1 / float(np.abs(signal.samples).max())
        return super().hear(signal)


class FailsOnClipping(Good):
    def hear(self, signal):
        assert np.abs(signal.samples).max() < 1, "not normalised"
        return super().hear(signal)


class FailsOnOddLengths(Good):
    def hear(self, signal):
        if len(signal.samples) > 4000:
            signal.samples.reshape(-1, 1000)
        return super().hear(signal)


class InventsLabels(Good):
    def hear(self, signal):
        return [attrs.evolve(d, label="thunder") for d in super().hear(signal)]


class KeepsArrays(Good):
    def hear(self, signal):
        return [attrs.evolve(d, extra={"embedding": np.zeros(2)}) for d in super().hear(signal)]


class NumbersItsKeys(Good):
    def hear(self, signal):
        return Prediction(super().hear(signal), extra={1: "one"})


class IsAnotherModel(Good):
    info = attrs.evolve(Good.info, identity=RunnerIdentity("zoo", "2"))


class ChangesItsMind(Good):
    @property
    def info(self):
        return attrs.evolve(Good.info, labels=frozenset({"loud", "louder", str(time.perf_counter_ns())}))


class ListsLabels(Good):
    info = attrs.evolve(Good.info, labels=["loud", "louder"])


class Prints(Good):
    def hear(self, signal):
        os.write(1, b"hearing\n")  # as a C library prints
        return super().hear(signal)


class Litters(Good):
    def hear(self, signal):
        Path("debug.txt").write_text("heard")
        return super().hear(signal)


class Wanders(Good):
    def __init__(self, options, context):
        super().__init__(options, context)
        os.chdir(context.scratch)


class IsDeaf(Good):
    def hear(self, signal):
        return [attrs.evolve(d, label="loud") for d in super().hear(signal)]


# ------------------------------------------------------------------------------------- wrong beside the runner


class PlainOptions:
    threshold = 0.02


@attrs.frozen
class HelplessOptions:
    threshold: float = 0.02


@attrs.frozen
class UntypableOptions:
    threshold: float = option(0.02, help="loudness")
    mode: Literal["fast", "good"] = option("best", help="how to listen")


def identify_by_loading(options):
    import torch  # noqa: F401

    return RunnerIdentity("zoo", "1")


def check_by_bool():
    return True


def check_without_a_word():
    return Readiness(False)


def check_not_ready():
    return Readiness(False, "no weights", "badc-zoo fetch")

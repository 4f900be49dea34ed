"""Runners that meet seams, right and wrong: each wrong one has one fault."""

import attrs
import numpy as np

from badc_core import Detection, InputSpec, Prediction, RunnerIdentity, RunnerInfo
from badc_core.grids import sample_at
from badc_core.seams import CONTINUES, RUNS_ON_MS, join, own_part

RATE = 8000
WINDOW_MS = 1000
WINDOW = RATE * WINDOW_MS // 1000
STEP = RATE * 20 // 1000  # of the loudness that runs are made of


def place(ms, recording):
    """Return a place in the file as a frame at 8 kHz, by the core's arithmetic."""
    return sample_at(ms, recording.sample_rate_hz, RATE)


def rms(part):
    return float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) if len(part) else 0.0


class Windows:
    """Hears loud seconds; they lie on a grid of the recording, and the last one may be cut short by its end."""

    halo_ms = WINDOW_MS

    def __init__(self, options, context):
        wanted = InputSpec(sample_rate_hz=RATE, halo_ms=self.halo_ms, max_batch=2)
        self.info = RunnerInfo(RunnerIdentity("zoo"), wanted)

    def own(self, signal):
        begin, end = own_part(signal.chunk)
        return place(begin, signal.recording), place(end, signal.recording)

    def grid(self, signal):
        begin, end = self.own(signal)
        return range(-(-begin // WINDOW) * WINDOW, end, WINDOW)

    def confidence(self, loudness, signal):
        return min(loudness, 1.0)

    def hear(self, signal):
        chunk, first = signal.chunk, place(signal.chunk.offset_ms, signal.recording) - signal.halo_before
        for begin in self.grid(signal):
            part = signal.samples[max(begin - first, 0) : begin - first + WINDOW]
            loudness = rms(part)
            if loudness > 0.02 and len(part) > WINDOW // 2:
                start_ms = begin * 1000 // RATE - chunk.offset_ms
                end_ms = start_ms + len(part) * 1000 // RATE
                yield self.told(chunk, max(start_ms, 0), end_ms, self.confidence(loudness, signal))

    def told(self, chunk, start_ms, end_ms, confidence):
        over = max(end_ms - chunk.duration_ms, 0)
        extra = {RUNS_ON_MS: over} if over else {}
        return Detection(start_ms, end_ms - over, "loud", confidence=confidence, extra=extra)

    def predict(self, batch):
        return [list(self.hear(signal)) for signal in batch]

    def close(self):
        pass


class Runs(Windows):
    """Hears loud stretches of any length; a chunk's end cuts them, and the next chunk has the rest."""

    halo_ms = 100

    def hear(self, signal):
        chunk, first = signal.chunk, place(signal.chunk.offset_ms, signal.recording) - signal.halo_before
        begin, end = self.own(signal)
        steps = range(-(-begin // STEP), -(-end // STEP))
        loud = [rms(signal.samples[max(k * STEP - first, 0) : (k + 1) * STEP - first]) for k in steps]
        run = []
        for step, loudness in [*zip(steps, loud, strict=True), (steps.stop, None)]:
            if loudness is not None and loudness > 0.02:
                run.append((step, loudness))
            elif run:
                yield self.told_run(chunk, run, is_last=loudness is None)
                run = []

    def told_run(self, chunk, run, is_last):
        times = (run[0][0] * STEP * 1000 // RATE, (run[-1][0] + 1) * STEP * 1000 // RATE)
        start_ms, end_ms = (ms - chunk.offset_ms for ms in times)
        found = self.told(chunk, max(start_ms, 0), end_ms, max(loudness for _, loudness in run))
        return attrs.evolve(found, extra={**found.extra, CONTINUES: True}) if is_last else found


class RunsFromFiles(Windows):
    """Asks for files, and answers once for each recording: whatever it is, it does not depend on the cut."""

    def __init__(self, options, context):
        self.info = RunnerInfo(RunnerIdentity("zoo"), InputSpec(kind="file"))

    def hear(self, signal):
        if signal.chunk.start_ms == 0:
            yield Detection(0, 1, "begins", confidence=1.0)


class WholeRecording(Windows):
    """Hears the loudest second of a recording, which no chunk can know."""

    def predict(self, batch):
        return [Prediction(extra={"place": 1, "seconds": self.seconds(signal)}) for signal in batch]

    def seconds(self, signal):
        return [[found.start_ms + signal.chunk.start_ms, found.confidence] for found in self.hear(signal)]


def tell_the_loudest(results):
    found = [(loudness, start, result) for result in results for start, loudness in result.extra.get("seconds", [])]
    if found:
        loudness, start, result = max(found, key=lambda item: item[:2])
        start -= result.chunk.start_ms
        yield result.chunk.chunk_id, Detection(start, start + WINDOW_MS, "loudest", confidence=loudness)


# ------------------------------------------------------------------------------------------------- wrong ones


class HearsNothing(Windows):
    def hear(self, signal):
        return ()


class FailsOnTheWhole(Windows):
    def predict(self, batch):
        if any(len(signal.samples) > 30 * RATE for signal in batch):
            raise MemoryError("too long")
        return super().predict(batch)


class StartsItsGridAnew(Windows):
    """Its windows begin with the chunk, as those of most models do."""

    def grid(self, signal):
        first = place(signal.chunk.offset_ms, signal.recording)
        return range(first, first + len(signal.samples) - signal.halo_before - signal.halo_after, WINDOW)

    def told(self, chunk, start_ms, end_ms, confidence):
        return Detection(start_ms, min(end_ms, chunk.duration_ms), "loud", confidence=confidence)


class HasNoHalo(Windows):
    """Its last window hears only what lies in the chunk."""

    halo_ms = 0


class TellsWhatItsHaloHears(Windows):
    def own(self, signal):
        begin, end = super().own(signal)
        return begin - signal.halo_before // 2, end

    def told(self, chunk, start_ms, end_ms, confidence):
        return super().told(chunk, start_ms, max(end_ms, 0), confidence)


class DoesNotRunOn(Windows):
    def told(self, chunk, start_ms, end_ms, confidence):
        return Detection(start_ms, min(end_ms, chunk.duration_ms), "loud", confidence=confidence)


class JoinsNothing(Runs):
    def told_run(self, chunk, run, is_last):
        return super().told_run(chunk, run, is_last=False)


class IsSurerInShortChunks(Windows):
    """Normalises over the chunk."""

    def hear(self, signal):
        return [attrs.evolve(found, extra={}) for found in super().hear(signal)]

    def told(self, chunk, start_ms, end_ms, confidence):
        return Detection(0, 0, "loud", confidence=confidence)

    def confidence(self, loudness, signal):
        return min(loudness / float(np.abs(signal.samples).max()), 1.0)


class TellsOverlapsTwice(Windows):
    """It has no finisher that could take out what two chunks hear, so it tells no ends either."""

    def own(self, signal):
        begin, end = signal.chunk.offset_ms, signal.chunk.offset_ms + signal.chunk.duration_ms
        return place(begin, signal.recording), place(end, signal.recording)

    def told(self, chunk, start_ms, end_ms, confidence):
        return Detection(start_ms, None, "loud", confidence=confidence)


class LeavesOverlapsToOthers(Windows):
    """Believes that the first chunk, too, shares its beginning with another."""

    def own(self, signal):
        begin, end = super().own(signal)
        return begin + place(signal.chunk.overlap_ms, signal.recording), end


class NeedsEveryChunk(WholeRecording):
    pass


def need_every_chunk(results):
    assert sum(result.extra["place"] for result in results)
    return tell_the_loudest(results)


class Remembers(Windows):
    pass


_SEEN = []


def remember(results):
    _SEEN.append(results)
    found = list(join(results))
    known = sum(results == other for other in _SEEN)
    return [(chunk, attrs.evolve(one, confidence=min(one.confidence, 1 / known))) for chunk, one in found[known - 1 :]]


class SpoilsResults(WholeRecording):
    pass


def spoil(results):
    found = list(tell_the_loudest(results))
    for result in results:
        result.extra["finished"] = result.extra.get("finished", 0) + 1
    return found


class FinishesWithTheModel(Windows):
    pass


def use_the_model(results):
    import torch  # noqa: F401

    return join(results)

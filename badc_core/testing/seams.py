"""The contract of runners whose answers must not depend on how a recording is cut: :class:`SeamContract`."""

from __future__ import annotations

import itertools
import json
import pickle
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from badc_core.answers import check_answers
from badc_core.chunking import virtual_chunks
from badc_core.errors import BadcError
from badc_core.finishing import finish, to_result
from badc_core.host import load_object
from badc_core.model import Chunk, ChunkResult, Recording
from badc_core.opening import probe
from badc_core.protocols import Finisher, Runner
from badc_core.results import document
from badc_core.signals import SignalReader
from badc_core.testing import guard
from badc_core.testing.base import MODEL_LIBRARIES, heavy_among, run_python
from badc_core.testing.hearing import RunnerBench, close_quietly
from badc_core.testing.oracle import write_wav

__all__ = ["SeamContract"]

_FINISHER = """\
import json, os, pickle, sys
out = os.dup(1)
from badc_core.host import load_object
where, results = pickle.loads(bytes.fromhex(sys.argv[1]))
list(load_object(where)(results))
sys.stdout.flush()
os.write(out, b"\\n\\0" + json.dumps(sorted(sys.modules)).encode())
"""


@attrs.frozen
class _Heard:
    """A detection with its place in the recording."""

    label: str
    begin_ms: int | None
    end_ms: int | None
    confidence: float | None

    def __str__(self) -> str:
        sure = "" if self.confidence is None else f" ({self.confidence:.4f})"
        return f"{self.label!r} at {self.begin_ms} to {self.end_ms} ms{sure}"


@attrs.define
class _Cut:
    """One recording, one way to cut it, and what became of it."""

    recording: Recording
    chunks: Sequence[Chunk]
    overlapping: bool = False
    results: list[ChunkResult] = attrs.field(factory=list)
    heard: list[_Heard] = attrs.field(factory=list)
    problem: str | None = None

    def __str__(self) -> str:
        shown = [f"{chunk.start_ms}-{chunk.end_ms}" for chunk in self.chunks[:8]]
        more = f", … {len(self.chunks)} in all" if len(self.chunks) > 8 else ""
        return f"{self.recording.path.name} cut at {', '.join(shown)}{more} ms"


@attrs.define
class _Seams:
    """What the runner answered to whole recordings and to cut ones; made once for all tests of a class."""

    wholes: list[_Cut] = attrs.field(factory=list)
    cuts: list[_Cut] = attrs.field(factory=list)
    finisher: Finisher | None = None

    def whole_of(self, cut: _Cut) -> _Cut:
        """Return the same recording in one chunk."""
        return next(whole for whole in self.wholes if whole.recording == cut.recording)


class SeamContract(RunnerBench):
    """Standard tests of a runner that finds in a recording the same things however that is cut.

    Attributes
    ----------
    chunk_lengths_ms
        Shortest and longest chunk that is cut.
    cuts
        In how many ways each recording is cut, without and with overlap.
    time_tolerance_ms
        By how much starts and ends may differ.
    tolerance
        By how much a confidence may differ.
    seed
        Of the random numbers.
    """

    chunk_lengths_ms: ClassVar[tuple[int, int]] = (400, 20_000)
    cuts: ClassVar[int] = 4
    time_tolerance_ms: ClassVar[int] = 2
    tolerance: ClassVar[float] = 1e-3
    seed: ClassVar[int] = 0
    _replaceable: ClassVar = {"chunk_lengths_ms", "cuts", "time_tolerance_ms", "seed", "recordings"}

    # ------------------------------------------------------------------------- what an author may replace

    def recordings(self, folder: Path) -> Iterable[Path]:
        """Return recordings in which the runner hears something; by default, 40 s of bursts and hiss of the kit's."""
        path = folder / "bursts.wav"
        write_wav(path, _bursts(22_050, 40.01, self.seed), 22_050)
        yield path

    # --------------------------------------------------------------------------------------- how tests cut

    @pytest.fixture
    def seams(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> _Seams:
        """What was heard, whole and cut."""
        self._need_readiness()
        kept = guard.notes(request.node)
        if "seams" not in kept:
            kept["seams"] = self._cut_everything(tmp_path_factory.mktemp("seams"))
        made: _Seams = kept["seams"]
        return made

    def _cut_everything(self, folder: Path) -> _Seams:
        made = _Seams()
        chance = random.Random(self.seed)
        for path in self.recordings(folder):
            info = probe(path)[0]
            recording = Recording(
                path.stem, path, info.sample_rate_hz, info.channels, info.frames * 1000 // info.sample_rate_hz
            )
            whole = list(virtual_chunks(recording, info, info.frames / info.sample_rate_hz + 1))
            made.wholes.append(_Cut(recording, whole))
            longest = self.chunk_lengths_ms[1] / 1000
            equal = list(virtual_chunks(recording, info, longest * 0.37, longest * 0.37 * chance.uniform(0.1, 0.6)))
            made.cuts.append(_Cut(recording, equal, overlapping=True))
            for number in range(self.cuts):
                overlapping = number % 2 == 1
                chunks = list(_random_chunks(recording, chance, self.chunk_lengths_ms, overlapping))
                made.cuts.append(_Cut(recording, chunks, overlapping))
        runner = self._open(folder)
        try:
            if self.spec.finish and runner.info.needs_finish:
                made.finisher = load_object(self.spec.finish)
            for cut in [*made.wholes, *made.cuts]:
                self._hear(runner, cut, made.finisher, folder, chance)
        finally:
            close_quietly(runner)
        return made

    def _hear(self, runner: Runner, cut: _Cut, finisher: Finisher | None, folder: Path, chance: random.Random) -> None:
        """Have a recording analysed chunk by chunk, in any order, as the worker does, and finished."""
        wanted = runner.info.input
        shuffled = chance.sample(cut.chunks, len(cut.chunks))
        reader = SignalReader(wanted, folder / "slices")
        try:
            for first in range(0, len(shuffled), wanted.max_batch):
                batch = [reader.read(chunk, cut.recording) for chunk in shuffled[first : first + wanted.max_batch]]
                answers = check_answers(batch, runner.predict(batch), self.spec.name, runner.info.labels)
                for signal, answer in zip(batch, answers, strict=True):
                    reader.release(signal)
                    status = answer.status or ("ok" if answer.detections else "no_detections")
                    result = ChunkResult(
                        signal.chunk,
                        cut.recording,
                        status,
                        answer.detections,
                        "kit",
                        extra=answer.extra,
                        finisher="kit",
                    )
                    cut.results.append(to_result(json.loads(json.dumps(document(result, "run")))))
            finished = cut.results if finisher is None else finish(cut.results, finisher)
            cut.heard = [found for result in finished for found in _placed(result)]
        except Exception as error:
            cut.problem = f"{type(error).__name__}: {error.message if isinstance(error, BadcError) else error}"
        finally:
            reader.close()

    # --------------------------------------------------------------------------------------- standard tests

    def test_the_whole_is_heard(self, seams: _Seams) -> None:
        """Recordings in one chunk each are answered, and something is heard in them."""
        for whole in seams.wholes:
            if whole.problem is not None:
                self.broken(f"{whole}: {whole.problem}")
        if not any(whole.heard for whole in seams.wholes):
            self.broken("nothing is heard in any recording; give others with recordings()")

    def _differences(self, seams: _Seams, overlapping: bool) -> Iterator[str]:
        for cut in seams.cuts:
            if cut.overlapping is overlapping:
                whole = seams.whole_of(cut)
                problem = cut.problem or self._difference(whole.heard, cut.heard)
                if problem is not None:
                    yield f"{cut}: {problem}"

    def _difference(self, whole: Sequence[_Heard], cut: Sequence[_Heard]) -> str | None:
        left = list(cut)
        for wanted in whole:
            match = next((found for found in left if self._close(wanted, found)), None)
            if match is None:
                near = [found for found in left if found.label == wanted.label]
                near.sort(key=lambda found: abs((found.begin_ms or 0) - (wanted.begin_ms or 0)))
                instead = f"; nearest is {near[0]}" if near else ""
                return f"the whole has {wanted}, the chunks have not{instead}"
            left.remove(match)
        return f"the chunks have {left[0]}, the whole has not" if left else None

    def _close(self, one: _Heard, other: _Heard) -> bool:
        def near(a: float | None, b: float | None, tolerance: float) -> bool:
            return a is b if a is None or b is None else abs(a - b) <= tolerance

        return (
            one.label == other.label
            and near(one.begin_ms, other.begin_ms, self.time_tolerance_ms)
            and near(one.end_ms, other.end_ms, self.time_tolerance_ms)
            and near(one.confidence, other.confidence, self.tolerance)
        )

    def _need_wholes(self, seams: _Seams) -> None:
        if any(whole.problem for whole in seams.wholes) or not any(whole.heard for whole in seams.wholes):
            pytest.skip("there is nothing to compare with: see test_the_whole_is_heard")

    def test_chunks_give_what_the_whole_gives(self, seams: _Seams) -> None:
        """Cut anywhere, heard in any order, chunks give the whole's labels, times and confidences, each once."""
        self._need_wholes(seams)
        for problem in self._differences(seams, overlapping=False):
            self.broken(problem)

    def test_overlapping_chunks_give_what_the_whole_gives(self, seams: _Seams) -> None:
        """So do chunks that overlap: what two of them hear is told once."""
        self._need_wholes(seams)
        if any(self._differences(seams, overlapping=False)):
            pytest.skip("it differs without overlap, too: see test_chunks_give_what_the_whole_gives")
        for problem in self._differences(seams, overlapping=True):
            self.broken(problem)

    def _finished(self, seams: _Seams) -> Iterator[tuple[_Cut, Finisher]]:
        if seams.finisher is None:
            pytest.skip("it has no finisher")
        for cut in seams.cuts:
            if cut.problem is None:
                yield cut, seams.finisher

    def test_lost_chunks_cost_no_others(self, seams: _Seams) -> None:
        """With chunks that failed, and others of which there is no result, the finisher does the rest."""
        self._need_wholes(seams)
        for cut, finisher in self._finished(seams):
            lost = [
                attrs.evolve(result, status="failed", detections=(), extra={}) if index % 3 == 1 else result
                for index, result in enumerate(sorted(cut.results, key=lambda result: result.chunk.start_ms or 0))
                if index % 5 != 3
            ]
            try:
                finish(lost, finisher)
            except Exception as error:
                self.broken(f"{cut}, some chunks of it lost: the finisher raises {type(error).__name__}: {error}")

    def test_finishing_is_pure(self, seams: _Seams) -> None:
        """The same results, finished again, give the same, and are left as they were."""
        self._need_wholes(seams)
        for cut, finisher in self._finished(seams):
            before = pickle.dumps(cut.results)
            again = [found for result in finish(cut.results, finisher) for found in _placed(result)]
            if again != cut.heard:
                self.broken(f"{cut}: finished again, other detections come out")
            if pickle.dumps(cut.results) != before:
                self.broken(f"{cut}: the finisher changes the results it is given")

    def test_finishing_loads_no_model(self, seams: _Seams) -> None:
        """The finisher imports no model library; looked at in a fresh interpreter."""
        self._need_wholes(seams)
        for cut, _ in self._finished(seams):
            ordered = sorted(cut.results, key=lambda result: result.chunk.start_ms or 0)[:8]
            _, modules = run_python(_FINISHER, pickle.dumps((self.spec.finish, ordered)).hex())
            heavy = heavy_among(modules, MODEL_LIBRARIES)
            if heavy:
                self.broken(f"finishing imports {', '.join(heavy)}")
            return


def _placed(result: ChunkResult) -> Iterator[_Heard]:
    at = result.chunk.start_ms or 0
    for found in result.detections:
        begin = None if found.start_ms is None else at + found.start_ms
        end = None if found.end_ms is None else at + found.end_ms
        yield _Heard(found.label, begin, end, found.confidence)


def _random_chunks(
    recording: Recording, chance: random.Random, lengths_ms: tuple[int, int], overlapping: bool
) -> Iterator[Chunk]:
    """Yield chunks of random lengths that cover a recording; of any two neighbours, one may reach into the other."""
    seams = [0]
    duration_ms = recording.duration_ms or 0
    while seams[-1] < duration_ms:
        seams.append(min(seams[-1] + chance.randint(*lengths_ms), duration_ms))
    before = 0
    for start, end in itertools.pairwise(seams):
        overlap = chance.randint(0, min(before, lengths_ms[1] // 2)) if overlapping and start else 0
        name = f"{recording.recording_id}_{start - overlap}_{end}"
        source = recording.path.absolute()
        yield Chunk(name, recording.recording_id, source, start - overlap, end, overlap, start - overlap)
        before = end - start


def _bursts(rate: int, seconds: float, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return bursts of tones, of random place, length, pitch and loudness, over a hiss."""
    chance = np.random.default_rng(seed)
    frames = round(rate * seconds)
    sound = chance.normal(0, 0.002, frames)
    for _ in range(round(seconds)):
        first, length = int(chance.integers(frames)), int(rate * chance.uniform(0.1, 4))
        time = np.arange(len(sound[first : first + length])) / rate
        tone = np.sin(2 * np.pi * chance.uniform(300, 3500) * time) * np.hanning(length)[: len(time)]
        sound[first : first + length] += chance.uniform(0.05, 0.3) * tone
    return np.clip(sound, -1, 1).astype(np.float32)

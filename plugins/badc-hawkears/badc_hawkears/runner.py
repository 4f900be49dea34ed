"""The runner: chunks in, frame scores and provisional detections out. Lives in HawkEars' own environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from badc_core.errors import RunnerError
from badc_core.model import ChunkResult, Detection, Prediction, Signal
from badc_core.protocols import InputSpec, Runner, RunnerInfo, WorkerContext
from badc_hawkears.engine.chunks import Heard, Scorer
from badc_hawkears.engine.embeddings import EMBEDDINGS, encode_embeddings
from badc_hawkears.engine.frames import KEY, encode
from badc_hawkears.engine.model import Ensemble, load
from badc_hawkears.engine.place import Place, fitted, place_of
from badc_hawkears.engine.selfcheck import check_against_hawkears
from badc_hawkears.finish import finish
from badc_hawkears.modes import open_mode
from badc_hawkears.options import HawkEarsOptions

__all__ = ["HawkEarsRunner", "open_runner"]


def open_runner(options: HawkEarsOptions | None, context: WorkerContext) -> Runner:
    """Load HawkEars, and make sure that it answers here as in its own loop.

    Raises
    ------
    RunnerError
        A part is missing, damaged or of another version; the hint is the next step.
    """
    options = options or HawkEarsOptions()
    if (other := open_mode(options, context)) is not None:
        return other
    try:
        import torch
    except ImportError as error:
        raise RunnerError(
            f"HawkEars needs torch: {error}.",
            hint="Name the interpreter of the environment that has HawkEars: -o python=PATH",
            retry=False,
        ) from error
    if options.threads:
        torch.set_num_threads(options.threads)
    ensemble = load(options, context.device.kind)
    scorer = Scorer(ensemble, options.batch, "embeddings" in options.keep)
    check_against_hawkears(ensemble, scorer, options.precision)
    return HawkEarsRunner(ensemble, scorer, options.readers)


class HawkEarsRunner:
    """HawkEars, loaded.

    Parameters
    ----------
    ensemble
        Its models and tables.
    scorer
        What uses them.
    readers
        How many files are read side by side; 0: the core chooses.
    """

    def __init__(self, ensemble: Ensemble, scorer: Scorer, readers: int = 0) -> None:
        self._ensemble: Ensemble | None = ensemble
        self._scorer: Scorer | None = scorer
        self.info = RunnerInfo(
            identity=ensemble.identity,
            input=InputSpec(
                sample_rate_hz=ensemble.main.grid.sample_rate_hz,
                mono=True,
                halo_ms=ensemble.halo_ms,
                max_batch=scorer.processor.chunks_per_call,
                readers=readers,
            ),
            labels=frozenset(rule.label for rule in ensemble.tables.classes),
        )

    def predict(self, batch: Sequence[Signal]) -> list[Prediction]:
        """Return what was heard in each chunk.

        The detections are those of this chunk's frames alone, and provisional: HawkEars looks at the whole recording
        before it names anything. What it needs for that is kept under ``hawkears_frames``, see
        :mod:`badc_hawkears.engine.frames`.

        Raises
        ------
        RunnerError
            The runner is closed, a signal has no samples, or the device's memory is too small.
        """
        ensemble, scorer = self._ensemble, self._scorer
        if ensemble is None or scorer is None:
            raise RunnerError("HawkEars was asked for an answer after it was closed.", retry=False)
        chunks = []
        for signal in batch:
            if signal.samples is None:
                raise RunnerError(f"HawkEars was given no samples of {signal.chunk.chunk_id!r}.", retry=False)
            place = place_of(signal, ensemble.main.grid, ensemble.halo_ms)
            chunks.append((fitted(signal.samples, place), place))
        return [
            _prediction(ensemble, signal, place, heard)
            for signal, (_, place), heard in zip(batch, chunks, scorer.score_all(chunks), strict=True)
        ]

    def close(self) -> None:
        """Give the models back."""
        self._ensemble = self._scorer = None


def _prediction(ensemble: Ensemble, signal: Signal, place: Place, heard: Heard) -> Prediction:
    import numpy as np

    keeping = ensemble.occurrence.keeping(signal.recording)
    scores = heard.scores
    if scores is None:
        scores = np.zeros((0, len(keeping.classes)), np.float32)
    kept = encode(scores, place.touched[0], place.counted, keeping)
    extra: dict[str, Any] = {KEY: kept}
    if heard.embeddings is not None:
        extra[EMBEDDINGS] = encode_embeddings(heard.first_frames, heard.embeddings, ensemble.main.grid.window)
    return Prediction(_provisional(signal, place, kept), extra=extra)


def _provisional(signal: Signal, place: Place, kept: Mapping[str, Any]) -> list[Detection]:
    """Return what would be heard if the chunk were all that there is of the recording, cut at its end."""
    length_ms = place.end_ms - place.start_ms
    alone = ChunkResult(signal.chunk, signal.recording, "ok", (), "hawkears", extra={KEY: kept})
    return [
        attrs.evolve(found, start_ms=min(found.start_ms or 0, length_ms), end_ms=min(found.end_ms or 0, length_ms))
        for _, found in finish([alone])
    ]

"""The runner: chunks in, windows through the network, detections out. Lives in the process that has torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from badc_core.errors import RunnerError
from badc_core.grids import Part, grid_starts, part_of
from badc_core.halving import in_batches, lacks_memory
from badc_core.model import Detection, Signal
from badc_core.protocols import InputSpec, RunnerInfo, WorkerContext
from badc_torch.card import Card
from badc_torch.findings import Spans, detections, frame_spans, window_spans
from badc_torch.identity import describe
from badc_torch.interpreter import require
from badc_torch.options import TorchOptions
from badc_torch.windows import cut, halo_ms

if TYPE_CHECKING:
    import numpy as np

    from badc_torch.network import Network

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["TorchRunner", "open_runner"]

_CHUNKS_AT_ONCE = (4, 16)
"""At least and at most; with more, results come later, and workers share a short run less evenly."""

_USUAL_CHUNK_S = 60


def open_runner(options: TorchOptions, context: WorkerContext) -> TorchRunner:
    """Load the network.

    Raises
    ------
    RunnerError, UsageError
        A part is missing or damaged, or the network and its card do not fit; the hint is the next step.
    """
    described = describe(options)
    require(None)
    from badc_torch.network import open_network

    card = described.card
    network = open_network(described, options, context.device)
    if describe(options).identity != described.identity:
        raise RunnerError(
            f"{described.model} or its card changed while it was loaded.",
            hint="Run the command again when nobody writes to it any more.",
        )
    filling = math.ceil(network.batch * card.hop / card.sample_rate_hz / _USUAL_CHUNK_S)
    info = RunnerInfo(
        identity=described.identity,
        input=InputSpec(
            sample_rate_hz=card.sample_rate_hz,
            mono=True,
            halo_ms=halo_ms(card.window, card.sample_rate_hz),
            max_batch=min(max(filling, _CHUNKS_AT_ONCE[0]), _CHUNKS_AT_ONCE[1]),
        ),
        labels=frozenset(label.text for label in card.labels) - set(card.ignore),
    )
    return TorchRunner(info, network, card, card.min_score if options.min_score is None else options.min_score)


class TorchRunner:
    """A network, loaded.

    Parameters
    ----------
    info
        What it says of itself.
    network
        The loaded network.
    card
        What it hears, and what its answers mean.
    min_score
        Detections below it are dropped.
    """

    def __init__(self, info: RunnerInfo, network: Network, card: Card, min_score: float) -> None:
        self.info = info
        self._network: Network | None = network
        self._card = card
        self._min_score = min_score
        self.batch = network.batch

    def predict(self, batch: Sequence[Signal]) -> list[list[Detection]]:
        """Return the detections of each chunk, in order of start, best first where starts are equal.

        Raises
        ------
        RunnerError
            The runner is closed, a signal has no samples or such that are no numbers, the network fails, or the
            device's memory does not hold a single window.
        """
        if self._network is None:
            raise RunnerError("The network was asked for an answer after it was closed.", retry=False)
        places = [self._place(signal) for signal in batch]
        starts = [self._starts(place) for place in places]
        jobs = [(index, start) for index, some in enumerate(starts) for start in some]
        answers, self.batch = in_batches(
            jobs,
            lambda some: self._scores(batch, places, some),
            self.batch,
            give_back=self._network.give_back,
        )
        found, at = [], 0
        for place, some in zip(places, starts, strict=True):
            spans = self._spans(some, answers[at : at + len(some)], place)
            found.append(detections(spans, self._card.labels, self._min_score, self._card, place))
            at += len(some)
        return found

    def close(self) -> None:
        """Give the network back."""
        self._network = None

    def _place(self, signal: Signal) -> Part:
        """Return where a chunk lies, and refuse one that cannot be heard."""
        import numpy as np

        if signal.samples is None:
            raise RunnerError(f"The network was given no samples of {signal.chunk.chunk_id!r}.", retry=False)
        place = part_of(signal, self._card.sample_rate_hz)
        if not np.isfinite(signal.samples).all():
            first = int(np.flatnonzero(~np.isfinite(signal.samples))[0])
            at_s = (place.zero + first) / self._card.sample_rate_hz
            raise RunnerError(
                f"{signal.chunk.source_path} holds samples that are no numbers, at {at_s:.3f} s.",
                hint="The file is damaged, or was written by a program that went wrong.",
                retry=False,
            )
        return place

    def _starts(self, place: Part) -> range:
        """Return where the windows begin that a chunk needs: its own, and for frames those that reach into it."""
        card = self._card
        first = place.first if card.frames is None else place.first - card.window + 1
        return grid_starts(first, place.until, place.total, card.window, card.hop, card.least)

    def _scores(self, batch: Sequence[Signal], places: Sequence[Part], jobs: Sequence[tuple[int, int]]) -> FloatArray:
        """Return the scores of some windows, each given by its chunk's index and its beginning."""
        import numpy as np

        assert self._network is not None
        windows = np.zeros((len(jobs), self._card.window), np.float32)
        for window, (index, start) in zip(windows, jobs, strict=True):
            samples: Any = batch[index].samples
            cut(samples, start - places[index].zero, window)
        try:
            made = self._network.scores(windows)
        except RunnerError:
            raise
        except Exception as error:
            if lacks_memory(error):
                raise
            raise RunnerError(f"The network failed: {type(error).__name__}: {str(error).strip()[:1000]}") from error
        if not np.isfinite(made).all():
            who = ", ".join(dict.fromkeys(batch[index].chunk.chunk_id for index, _ in jobs))
            raise RunnerError(
                f"The network's answer for {who} holds values that are no numbers.",
                hint="The samples are numbers: look at what the network does with silence, or with -o precision=half.",
                retry=False,
            )
        return made

    def _spans(self, starts: Sequence[int], answers: Sequence[FloatArray], place: Part) -> Spans:
        if self._card.frames is None:
            return window_spans(starts, answers, self._card)
        return frame_spans(starts, answers, self._card, place)

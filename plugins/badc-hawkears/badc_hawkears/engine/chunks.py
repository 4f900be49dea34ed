"""Frame scores of chunks: exactly those that HawkEars gives the same frames in the whole recording.

Many chunks are computed together: their blocks are transformed together, and a network hears windows of several chunks
in one batch. What it says of a window does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from badc_hawkears.engine.device import Processor
from badc_hawkears.engine.grid import FRAMES_PER_S
from badc_hawkears.engine.model import Ensemble, Networks
from badc_hawkears.engine.networks import Listener
from badc_hawkears.engine.place import Place
from badc_hawkears.engine.spectra import Blocks, low_rate
from badc_hawkears.engine.windows import Hearing, Piece, Said

if TYPE_CHECKING:
    import numpy as np
    import torch

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["Heard", "Scorer"]

_REMEMBERED_PER_MEMBER = 4
"""Two windows of a member can touch the next chunk, too; a worker may have two recordings in hand."""


@frozen(eq=False)
class Heard:
    """What was heard in a chunk.

    Parameters
    ----------
    scores
        Of the frames that the chunk touches, shape ``(frames, classes)``; ``None`` for a recording that is too short
        for any window.
    first_frames
        Where the first member's windows begin; those whose first frame the chunk counts.
    embeddings
        A row for each of them, float16; ``None``: none were wanted, or there is no such window.
    """

    scores: FloatArray | None
    first_frames: Sequence[int] = ()
    embeddings: np.ndarray[Any, np.dtype[np.float16]] | None = None


class Scorer:
    """Turns chunks into frame scores.

    Parameters
    ----------
    ensemble
        The loaded models.
    batch
        How many windows are computed at once, at most; halved where the device's memory is too small. 0: what suits
        the device.
    embeddings
        Whether the first network's embeddings are wanted.
    """

    def __init__(self, ensemble: Ensemble, batch: int = 0, embeddings: bool = False) -> None:
        self.processor = Processor(ensemble.main.device)
        self._ensemble = ensemble
        self._hearing = Hearing(
            self.processor,
            batch or self.processor.windows,
            _REMEMBERED_PER_MEMBER * len(ensemble.main.models),
            Listener(ensemble.main.models[0]) if embeddings else None,
        )

    @property
    def batch(self) -> int:
        """How many windows are computed at once."""
        return self._hearing.batch

    def score(self, samples: FloatArray, place: Place) -> FloatArray | None:
        """Return the scores of the frames that one chunk touches; see :class:`Heard`."""
        (heard,) = self.score_all([(samples, place)])
        return heard.scores

    def score_all(self, chunks: Sequence[tuple[FloatArray, Place]]) -> Iterator[Heard]:
        """Score chunks, in order. While the caller is busy with some of them, a GPU computes the next.

        Parameters
        ----------
        chunks
            Samples with context, at the main networks' rate, and where they lie.

        Raises
        ------
        RunnerError
            The device's memory does not hold a single window.
        """
        waiting: Callable[[], list[Heard]] | None = None
        for first in range(0, len(chunks), self.processor.chunks):
            begun = self._begin(chunks[first : first + self.processor.chunks])
            if waiting is not None:
                yield from waiting()
            waiting = begun
        if waiting is not None:
            yield from waiting()

    def forget(self) -> None:
        """Forget the windows that are remembered for the next chunk."""
        self._hearing.forget()

    def _begin(self, chunks: Sequence[tuple[FloatArray, Place]]) -> Callable[[], list[Heard]]:
        """Have the device compute chunks together; the function returned waits for what it says."""
        import torch

        main, low = self._ensemble.main, self._ensemble.low
        places = [place for _, place in chunks]
        with torch.inference_mode():
            arrays = self.processor.upload([samples for samples, _ in chunks])
            pieces = [self._piece(samples, place) for samples, place in zip(arrays, places, strict=True)]
            said = self._hearing.hear(main, pieces)
            if low is not None:
                self._lift(said, low, pieces, places)
            firsts = [_counted(one, place) for one, place in zip(said, places, strict=True)]
            rows = [
                torch.stack([one.embeddings[first] for first in some]) if some else None
                for one, some in zip(said, firsts, strict=True)
            ]
            scores = self._downloaded([one.scores for one in said])
            vectors = self._downloaded(rows)
        return lambda: [Heard(*one) for one in zip(scores(), firsts, vectors(), strict=True)]

    def _piece(self, samples: torch.Tensor, place: Place) -> Piece:
        blocks = Blocks(self._ensemble.main.grid, samples, place.first_sample, place.total_samples)
        # Silence may have been put in for samples before the chunk that could not be read: nothing others may have.
        asked_ms = place.start_ms - self._ensemble.halo_ms
        whole = place.first_sample <= max(0, asked_ms + 1) * self._ensemble.main.grid.sample_rate_hz // 1000
        return Piece(samples, blocks, place.touched, place.key if whole else None)

    def _lift(self, said: Sequence[Said], low: Networks, pieces: Sequence[Piece], places: Sequence[Place]) -> None:
        """Raise the scores of the grouse to what the low band heard, where that is more."""
        import torch

        there = [number for number, one in enumerate(said) if one.scores is not None]
        lower = self._hearing.hear(low, [self._low_piece(low, pieces[number], places[number]) for number in there])
        for number, lifted in zip(there, lower, strict=True):
            scores = said[number].scores
            if scores is None or lifted.scores is None:
                continue
            for source, target in self._ensemble.low_pairs:
                column = scores[: len(lifted.scores), target]
                torch.maximum(column, lifted.scores[:, source], out=column)

    def _low_piece(self, low: Networks, piece: Piece, place: Place) -> Piece:
        main, grid, total = self._ensemble.main.grid, low.grid, place.total_samples
        low_total = None if total is None else -(-total * grid.sample_rate_hz // main.sample_rate_hz)
        first, stop = place.touched
        if low_total is not None:
            stop = min(stop, grid.frames(low_total))
        block = grid.windows_per_block * grid.window
        begin, end = (
            frame * main.sample_rate_hz // FRAMES_PER_S for frame in (first // block * block, -(-stop // block) * block)
        )
        samples, first_sample = low_rate(
            piece.samples, place.first_sample, main.sample_rate_hz, grid.sample_rate_hz, begin, end
        )
        return Piece(samples, Blocks(grid, samples, first_sample, low_total), (first, max(first, stop)))

    def _downloaded(self, tensors: Sequence[torch.Tensor | None]) -> Callable[[], list[Any]]:
        """Copy tensors of equal width to the host in one go; ``None`` remains what it is."""
        import torch

        there = [one for one in tensors if one is not None]
        if not there:
            return lambda: [None] * len(tensors)
        arriving = self.processor.download(torch.cat(there))

        def apart() -> list[Any]:
            rows = iter(_cut(arriving(), [len(one) for one in there]))
            return [None if one is None else next(rows) for one in tensors]

        return apart


def _counted(said: Said, place: Place) -> list[int]:
    """Return where the windows with embeddings begin that belong to a chunk, and to none of its neighbours."""
    return [first for first in sorted(said.embeddings) if place.counted[0] <= first < place.counted[1]]


def _cut(rows: Any, lengths: Sequence[int]) -> Iterator[Any]:
    """Yield so many rows, then so many, …"""
    at = 0
    for length in lengths:
        yield rows[at : at + length]
        at += length

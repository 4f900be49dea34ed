"""Frame scores of a chunk: exactly those that HawkEars gives the same frames in the whole recording."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from badc_core.errors import RunnerError
from badc_hawkears.engine.grid import FRAMES_PER_S, Member
from badc_hawkears.engine.model import Ensemble, Networks
from badc_hawkears.engine.place import Place
from badc_hawkears.engine.spectra import Blocks, low_rate, prepare

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]
    Windows = dict[int, FloatArray]

__all__ = ["Scorer"]

_log = logging.getLogger(__name__)  # structlog is not in HawkEars' environment

_REMEMBERED_PER_MEMBER = 4
"""Two windows of a member can touch the next chunk, too; a worker may have two recordings in hand."""


class Scorer:
    """Turns chunks into frame scores.

    Parameters
    ----------
    ensemble
        The loaded models.
    batch
        How many windows are computed at once, at most; halved where the device's memory is too small.

    Notes
    -----
    The last windows of a chunk are remembered: the next chunk begins with them. That saves time and changes nothing.
    """

    def __init__(self, ensemble: Ensemble, batch: int) -> None:
        self._ensemble = ensemble
        self.batch = batch
        self._remembered: OrderedDict[tuple[object, ...], FloatArray] = OrderedDict()

    def score(self, samples: FloatArray, place: Place) -> FloatArray | None:
        """Return the scores of the frames that the chunk touches.

        Parameters
        ----------
        samples
            The chunk with its context, at the main networks' rate.
        place
            Where it lies.

        Returns
        -------
        numpy.ndarray or None
            Shape ``(frames, classes)``; ``None`` for a recording that is too short for any window.
        """
        main = self._ensemble.main
        blocks = Blocks(main.audio, main.grid, samples, place.first_sample, place.total_samples)
        whole = self._has_its_context(place)
        maps = []
        for number, (model, member) in enumerate(zip(main.models, main.members, strict=True)):
            starts = main.grid.windows(member, *place.touched, place.total_samples)
            if starts is None:
                continue
            key = (place.key, number) if whole else None
            heard = self._heard(main, [model], starts, blocks, place.total_samples, key)
            maps.append(_averaged(heard, place.touched, len(self._ensemble.tables.classes)))
        if not maps:
            return None
        import numpy as np

        scores: FloatArray = np.mean(maps, axis=0)
        if self._ensemble.low is not None:
            self._lift(scores, self._ensemble.low, samples, place)
        return scores

    def _has_its_context(self, place: Place) -> bool:
        """Whether nothing before the chunk was silence put in for samples that could not be read."""
        asked = place.start_ms - self._ensemble.halo_ms
        return place.first_sample <= max(0, asked + 1) * self._ensemble.main.grid.sample_rate_hz // 1000

    def _heard(
        self,
        networks: Networks,
        models: Sequence[Any],
        starts: Sequence[int],
        blocks: Blocks,
        total: int | None,
        key: tuple[object, ...] | None,
    ) -> Windows:
        """Return the frames of windows, by start, shape ``(classes, frames)`` each; the mean of `models`."""
        heard: Windows = {}
        if key is not None:
            known = {start: self._remembered.get((*key, start)) for start in starts}
            heard = {start: frames for start, frames in known.items() if frames is not None}
        todo = [start for start in starts if start not in heard]
        at = 0
        while at < len(todo):
            some = todo[at : at + self.batch]
            spans = [networks.grid.span(start, total) for start in some]
            specs = prepare([blocks.window(span) for span in spans if span is not None], networks.audio, networks.power)
            frames = self._frames(networks, models, specs)
            if frames is None:  # the batch was too large, and is smaller now
                continue
            heard.update(zip(some, frames, strict=True))
            at += len(some)
        if key is not None:
            self._remember(key, {start: heard[start] for start in starts[-2:]})
        return heard

    def _frames(self, networks: Networks, models: Sequence[Any], specs: FloatArray) -> FloatArray | None:
        """Return scores of shape ``(n, classes, frames)``, or ``None`` when memory ran out and `batch` was halved."""
        import numpy as np

        try:
            answers = [_frame_scores(model, specs, networks) for model in models]
        except (RuntimeError, MemoryError) as error:
            if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            if len(specs) == 1:
                raise RunnerError("The device's memory does not hold a single window of HawkEars.") from error
            self.batch = max(1, len(specs) // 2)
            _log.warning("out of memory: %d windows at once from now on", self.batch)
            _free(networks.device)
            return None
        return answers[0] if len(answers) == 1 else np.mean(answers, axis=0)

    def _remember(self, key: tuple[object, ...], windows: Windows) -> None:
        for start, frames in windows.items():
            self._remembered[(*key, start)] = frames
            self._remembered.move_to_end((*key, start))
        while len(self._remembered) > _REMEMBERED_PER_MEMBER * len(self._ensemble.main.models):
            self._remembered.popitem(last=False)

    def _lift(self, scores: FloatArray, low: Networks, samples: FloatArray, place: Place) -> None:
        """Raise the scores of the grouse to what the low band heard, where that is more."""
        import numpy as np

        main, grid = self._ensemble.main.grid, low.grid
        total = place.total_samples
        low_total = None if total is None else -(-total * grid.sample_rate_hz // main.sample_rate_hz)
        first, stop = place.touched
        if low_total is not None:
            stop = min(stop, grid.frames(low_total))
        starts = grid.windows(Member(0, False), first, stop, low_total)
        if not starts or stop <= first:
            return
        block = grid.windows_per_block * grid.window
        begin, end = (
            frame * main.sample_rate_hz // FRAMES_PER_S for frame in (first // block * block, -(-stop // block) * block)
        )
        resampled, first_sample = low_rate(
            samples, place.first_sample, main.sample_rate_hz, grid.sample_rate_hz, begin, end
        )
        blocks = Blocks(low.audio, grid, resampled, first_sample, low_total)
        heard = self._heard(low, low.models, starts, blocks, low_total, None)
        lifted = _averaged(heard, (first, stop), len(low.models[0].train_class_names))
        for source, target in self._ensemble.low_pairs:
            column = scores[: len(lifted), target]
            np.maximum(column, lifted[:, source], out=column)


def _frame_scores(model: Any, specs: FloatArray, networks: Networks) -> FloatArray:
    import numpy as np

    segment, frames = model.predict(specs, networks.device)
    if frames is None:  # a network without frames: one score for the whole window
        return np.repeat(segment[:, :, None], networks.grid.window, axis=2)
    scores: FloatArray = frames
    return scores


def _averaged(heard: Windows, touched: tuple[int, int], classes: int) -> FloatArray:
    """Lay windows on the frames of a chunk; frames that no window covers are 0."""
    import numpy as np

    first, stop = touched
    total = np.zeros((stop - first, classes), np.float64)
    count = np.zeros((stop - first, 1), np.float64)
    for start, frames in heard.items():
        begin, end = max(start, first), min(start + frames.shape[1], stop)
        total[begin - first : end - first] += frames[:, begin - start : end - start].T
        count[begin - first : end - first] += 1
    return (total / np.maximum(count, 1.0)).astype(np.float32)


def _free(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()

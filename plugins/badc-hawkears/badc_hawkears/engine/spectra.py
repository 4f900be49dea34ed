"""Spectrograms as HawkEars makes them: block by block on the recording's grid, but only those that are needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from badc_hawkears.engine.grid import Grid, Span

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["Blocks", "low_rate", "prepare"]


class Blocks:
    """A part of a recording as columns of spectrogram.

    Parameters
    ----------
    audio
        BriteKit's ``Audio`` with the model's settings; it makes one block.
    grid
        The model's grid.
    samples
        Of the recording, float32. What a block needs and is not there counts as silence.
    first_sample
        Which sample of the recording comes first.
    total_samples
        Length of the recording, or ``None``: beyond all that is asked for.
    """

    def __init__(
        self, audio: Any, grid: Grid, samples: FloatArray, first_sample: int, total_samples: int | None
    ) -> None:
        self._audio = audio
        self._grid = grid
        self._samples = samples
        self._first = first_sample
        self._total = total_samples
        self._single = total_samples is not None and total_samples <= grid.block_samples
        self._made: dict[int, FloatArray] = {}

    def window(self, span: Span) -> FloatArray:
        """Return the spectrogram of a window, shape ``(bands, window_columns)``; power, not normalised."""
        import numpy as np

        width = self._grid.block_columns
        if self._single:
            parts = [self._block(0)[:, span.start : span.stop]]
        else:
            parts = [
                self._block(number)[:, max(0, span.start - number * width) : span.stop - number * width]
                for number in self._grid.blocks(span)
            ]
        window = np.zeros((len(parts[0]), self._grid.window_columns), np.float32)
        at = span.padding
        for part in parts:
            part = part[:, : window.shape[1] - at]
            window[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        return window

    def _block(self, number: int) -> FloatArray:
        made = self._made.get(number)
        if made is None:
            begin = number * self._grid.block_samples
            stop = begin + self._grid.block_samples
            if self._total is not None:
                stop = min(stop, self._total)
            scale = self._audio.cfg.audio.freq_scale
            made = self._audio._compute_spectrogram_chunk(self._between(begin, stop), scale)
            if not self._single:
                made = made[:, : self._grid.block_columns]
            self._made[number] = made
        return made

    def _between(self, begin: int, stop: int) -> FloatArray:
        """Return samples of the recording; a copy, because BriteKit's must be writable."""
        import numpy as np

        samples = np.zeros(stop - begin, np.float32)
        lead = max(0, self._first - begin)
        there = self._samples[max(0, begin - self._first) : max(0, stop - self._first)]
        samples[lead : lead + len(there)] = there
        return samples


def prepare(windows: Sequence[FloatArray], audio: Any, power: float) -> FloatArray:
    """Return what the networks hear: each window from 0 to 1, to the power, shape ``(n, 1, bands, columns)``."""
    import numpy as np

    specs = np.stack(windows)
    audio._normalize(specs)
    prepared: FloatArray = (specs**power)[:, None]
    return prepared


def low_rate(
    samples: FloatArray, first_sample: int, from_hz: int, to_hz: int, begin: int, stop: int
) -> tuple[FloatArray, int]:
    """Resample a part of a recording as HawkEars does for its low band.

    Parameters
    ----------
    samples
        Of the recording, at the higher rate.
    first_sample
        Which sample of the recording comes first.
    from_hz, to_hz
        The two rates.
    begin, stop
        Which samples of the recording, at the higher rate, must be covered; a little more is taken for the filter.

    Returns
    -------
    numpy.ndarray, int
        The samples at the lower rate, and which of the recording's comes first.
    """
    import numpy as np
    import torch
    import torchaudio

    common = math.gcd(from_hz, to_hz)
    down, up = from_hz // common, to_hz // common
    margin = 2 * down  # HawkEars' filter reaches 133 samples of 28 kHz; a multiple of `down` keeps the phase
    first = max(begin // down * down - margin, -(-first_sample // down) * down)
    stop = min(stop + margin, first_sample + len(samples))
    part = torch.from_numpy(np.array(samples[first - first_sample : stop - first_sample]))
    resampled: FloatArray = torchaudio.functional.resample(part, from_hz, to_hz).numpy()
    return resampled, first * up // down

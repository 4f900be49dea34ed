"""Spectrograms as HawkEars makes them: block by block on the recording's grid, but only those that are needed.

They are made where the networks compute, with the transforms that HawkEars has ready there, of many blocks at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from badc_hawkears.engine.grid import Grid, Span

if TYPE_CHECKING:
    import torch

__all__ = ["Blocks", "low_rate", "make", "prepare"]


class Blocks:
    """A part of a recording as columns of spectrogram.

    Parameters
    ----------
    grid
        The model's grid.
    samples
        Of the recording, float32. What a block needs and is not there counts as silence.
    first_sample
        Which sample of the recording comes first.
    total_samples
        Length of the recording, or ``None``: beyond all that is asked for.
    """

    def __init__(self, grid: Grid, samples: torch.Tensor, first_sample: int, total_samples: int | None) -> None:
        self.made: dict[int, torch.Tensor] = {}
        self.total_samples = total_samples
        self._grid = grid
        self._samples = samples
        self._first = first_sample
        self._single = total_samples is not None and total_samples <= grid.block_samples

    def numbers(self, span: Span) -> Iterable[int]:
        """Return which blocks a window needs."""
        return (0,) if self._single else self._grid.blocks(span)

    def samples(self, number: int) -> torch.Tensor:
        """Return the samples of a block, shape ``(samples,)``: shorter at the recording's end."""
        import torch

        begin = number * self._grid.block_samples
        stop = begin + self._grid.block_samples
        if self.total_samples is not None:
            stop = min(stop, self.total_samples)
        there = self._samples[max(0, begin - self._first) : max(0, stop - self._first)]
        lead = min(stop - begin, max(0, self._first - begin))
        return torch.nn.functional.pad(there, (lead, stop - begin - lead - len(there)))

    def window(self, span: Span) -> torch.Tensor:
        """Return the spectrogram of a window, shape ``(bands, window_columns)``; power, not normalised."""
        import torch

        width = self._grid.block_columns
        if self._single:  # HawkEars does not cut its surplus of columns off
            columns = self.made[0][:, span.start : span.stop]
        else:
            parts = [
                self.made[number][:, max(0, span.start - number * width) : min(width, span.stop - number * width)]
                for number in self._grid.blocks(span)
            ]
            columns = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        columns = columns[:, : self._grid.window_columns - span.padding]
        behind = self._grid.window_columns - span.padding - columns.shape[1]
        return torch.nn.functional.pad(columns, (span.padding, behind)) if span.padding or behind else columns


def make(wanted: Iterable[tuple[Blocks, Span]], audio: Any, at_once: int) -> None:
    """Make the blocks that windows need.

    Parameters
    ----------
    wanted
        Windows; of blocks that are there already, none is made again.
    audio
        BriteKit's ``Audio`` with the model's settings, which has the transforms.
    at_once
        How many blocks are transformed together.
    """
    import torch

    by_length: dict[int, list[tuple[Blocks, int, torch.Tensor]]] = defaultdict(list)
    needed = dict.fromkeys((part, number) for part, span in wanted for number in part.numbers(span))
    for blocks, number in needed:
        if number not in blocks.made:
            samples = blocks.samples(number)
            by_length[len(samples)].append((blocks, number, samples))
    for alike in by_length.values():
        for first in range(0, len(alike), at_once):
            some = alike[first : first + at_once]
            spectra = _transformed(torch.stack([samples for _, _, samples in some]), audio)
            for (blocks, number, _), spectrum in zip(some, spectra, strict=True):
                blocks.made[number] = spectrum


def _transformed(samples: torch.Tensor, audio: Any) -> torch.Tensor:
    """Do what BriteKit's ``Audio._compute_spectrogram_chunk`` does, with many and without leaving the device."""
    import torch

    if audio.cfg.audio.freq_scale == "log":
        return torch.matmul(audio.log2_filterbank, audio.linear_transform(samples))
    spectra: torch.Tensor = audio.mel_transform(samples)
    return spectra


def prepare(windows: Sequence[torch.Tensor], power: float) -> torch.Tensor:
    """Return what the networks hear: each window from 0 to 1, to the power, shape ``(n, 1, bands, columns)``.

    A window of silence stays 0. As BriteKit's ``Audio._normalize``.
    """
    import torch

    specs = torch.stack(list(windows))
    specs -= specs.amin((1, 2), keepdim=True)
    highest = specs.amax((1, 2), keepdim=True)
    specs /= torch.where(highest > 0, highest, 1.0)
    return specs.clamp_(0, 1).pow_(power)[:, None]


def low_rate(
    samples: torch.Tensor, first_sample: int, from_hz: int, to_hz: int, begin: int, stop: int
) -> tuple[torch.Tensor, int]:
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
    torch.Tensor, int
        The samples at the lower rate, and which of the recording's comes first.
    """
    import torchaudio

    common = math.gcd(from_hz, to_hz)
    down, up = from_hz // common, to_hz // common
    margin = 2 * down  # HawkEars' filter reaches 133 samples of 28 kHz; a multiple of `down` keeps the phase
    first = max(begin // down * down - margin, -(-first_sample // down) * down)
    stop = min(stop + margin, first_sample + len(samples))
    resampled = torchaudio.functional.resample(samples[first - first_sample : stop - first_sample], from_hz, to_hz)
    return resampled, first * up // down

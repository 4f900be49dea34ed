"""Mel spectrograms, made in torch on the network's device: the common ways to make them, by the card's table [mel]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from badc_torch.card import Mel

if TYPE_CHECKING:
    import numpy as np
    import torch

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["MelMaker", "filters", "normalised"]

_LEAST = 1e-12
"""Added to what is divided by: silence stays silence."""

_SLANEY_LINEAR_HZ, _SLANEY_STEP = 1000.0, math.log(6.4) / 27


class MelMaker:
    """Makes spectrograms of windows.

    Parameters
    ----------
    mel
        What the network was trained on.
    rate
        Sample rate in Hz.
    device
        Where to compute.
    """

    def __init__(self, mel: Mel, rate: int, device: torch.device) -> None:
        import torch

        self._mel = mel
        self._window = torch.hann_window(mel.window_samples or mel.fft_samples, device=device)
        self._filters = torch.from_numpy(filters(mel, rate)).float().to(device)

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        """Return spectrograms, shaped as the network takes them, of windows of shape ``(n, samples)``."""
        import torch

        mel = self._mel
        transformed = torch.stft(
            samples,
            mel.fft_samples,
            hop_length=mel.hop_samples,
            win_length=len(self._window),
            window=self._window,
            center=mel.centered,
            pad_mode="reflect",
            return_complex=True,
        )
        size = transformed.abs()
        made = self._filters @ (size**2 if mel.spectrum == "power" else size)
        made = normalised(_compressed(made, mel), mel.normalise)
        if mel.shape.endswith("frames,bands"):
            made = made.transpose(1, 2)
        return made[:, None] if mel.shape.startswith("n,1,") else made


def _compressed(made: torch.Tensor, mel: Mel) -> torch.Tensor:
    if mel.values == "linear":
        return made
    if mel.values == "ln":
        return (made + mel.floor).log()
    decibels = made.clamp_min(mel.floor).log10() * (10 if mel.spectrum == "power" else 20)
    if mel.top_db is not None:
        decibels = decibels.maximum(decibels.amax((1, 2), keepdim=True) - mel.top_db)
    return decibels


def normalised(values: torch.Tensor, how: str) -> torch.Tensor:
    """Return windows, each brought to one range by itself.

    Parameters
    ----------
    values
        Shape ``(n, …)``.
    how
        ``none``; ``peak``, ``standard`` or ``range``, as a card says.
    """
    if how == "none":
        return values
    flat = values.flatten(1)
    shape = (-1, *[1] * (values.dim() - 1))
    if how == "peak":
        return values / (flat.abs().amax(1).view(shape) + _LEAST)
    if how == "standard":
        return (values - flat.mean(1).view(shape)) / (flat.std(1, correction=0).view(shape) + _LEAST)
    low = flat.amin(1).view(shape)
    return (values - low) / (flat.amax(1).view(shape) - low + _LEAST)


def filters(mel: Mel, rate: int) -> FloatArray:
    """Return the weights of a Fourier transform's bins in each band, shape ``(bands, bins)``.

    Notes
    -----
    Bands are triangles whose corners lie evenly on the mel scale: that of HTK, ``2595 log10(1 + f / 700)`` (Young et
    al., The HTK Book), or that of Slaney's Auditory Toolbox (1998), linear up to 1 kHz and logarithmic above.
    """
    import numpy as np

    low, high = (_to_mel(edge, mel.scale) for edge in (mel.min_hz, mel.max_hz or rate / 2))
    corners = np.array([_to_hz(value, mel.scale) for value in np.linspace(low, high, mel.bands + 2)])
    bins = np.linspace(0, rate / 2, mel.fft_samples // 2 + 1)
    widths = np.diff(corners)[:, None]
    rising = (bins - corners[:-2, None]) / widths[:-1]
    falling = (corners[2:, None] - bins) / widths[1:]
    made: FloatArray = np.maximum(0, np.minimum(rising, falling))
    if mel.equal_area:
        made = made * (2 / (corners[2:] - corners[:-2]))[:, None]
    return made


def _to_mel(hertz: float, scale: str) -> float:
    if scale == "htk":
        return 2595 * math.log10(1 + hertz / 700)
    if hertz < _SLANEY_LINEAR_HZ:
        return 3 * hertz / 200
    return 15 + math.log(hertz / _SLANEY_LINEAR_HZ) / _SLANEY_STEP


def _to_hz(value: float, scale: str) -> float:
    if scale == "htk":
        return float(700 * (10 ** (value / 2595) - 1))
    if value < 15:
        return float(200 * value / 3)
    return float(_SLANEY_LINEAR_HZ * math.exp(_SLANEY_STEP * (value - 15)))

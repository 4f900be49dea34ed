"""Mel spectrograms made in torch, against the same made plainly in numpy; and the filters against known values."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from badc_torch.card import Mel
from badc_torch.mel import filters

RATE_HZ = 16_000
MAKE = """\
import json, sys
import numpy as np, torch
from badc_torch.card import Mel
from badc_torch.mel import MelMaker
torch.set_num_threads(1)
windows = torch.from_numpy(np.load(sys.argv[2] + "/windows.npy"))
for number, told in enumerate(json.loads(sys.argv[1])):
    made = MelMaker(Mel(**told), 16000, torch.device("cpu"))(windows)
    np.save(f"{sys.argv[2]}/{number}.npy", made.numpy())
"""
CASES: list[dict[str, Any]] = [
    {"bands": 40, "fft_samples": 512, "hop_samples": 160},
    {"bands": 20, "fft_samples": 512, "hop_samples": 160, "centered": False, "values": "linear"},
    {"bands": 20, "fft_samples": 512, "hop_samples": 200, "window_samples": 400, "values": "ln", "floor": 1e-6},
    {"bands": 30, "fft_samples": 1024, "hop_samples": 256, "scale": "slaney", "equal_area": True, "top_db": 20.0},
    {"bands": 16, "fft_samples": 256, "hop_samples": 128, "spectrum": "magnitude", "min_hz": 300.0, "max_hz": 6000.0},
    {"bands": 16, "fft_samples": 256, "hop_samples": 128, "normalise": "standard", "shape": "n,frames,bands"},
    {"bands": 16, "fft_samples": 256, "hop_samples": 128, "normalise": "range", "shape": "n,1,frames,bands"},
]


def _plainly(window: np.ndarray, mel: Mel) -> np.ndarray:
    """Return the spectrogram of one window, shape (bands, frames), step by step."""
    size = mel.window_samples or mel.fft_samples
    hann = np.zeros(mel.fft_samples)
    lead = (mel.fft_samples - size) // 2
    hann[lead : lead + size] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    if mel.centered:
        half = mel.fft_samples // 2
        window = np.concatenate([window[half:0:-1], window, window[-2 : -half - 2 : -1]])
    columns = []
    for first in range(0, len(window) - mel.fft_samples + 1, mel.hop_samples):
        size_of_bins = np.abs(np.fft.rfft(window[first : first + mel.fft_samples] * hann))
        columns.append(filters(mel, RATE_HZ) @ (size_of_bins ** (2 if mel.spectrum == "power" else 1)))
    made = np.array(columns).T
    if mel.values == "ln":
        made = np.log(made + mel.floor)
    elif mel.values == "db":
        made = (10 if mel.spectrum == "power" else 20) * np.log10(np.maximum(made, mel.floor))
        made = np.maximum(made, made.max() - (mel.top_db or 1e9))
    if mel.normalise == "standard":
        made = (made - made.mean()) / made.std()
    elif mel.normalise == "range":
        made = (made - made.min()) / (made.max() - made.min())
    return made


def test_spectrograms_are_what_the_card_says(torch_python, search_path, tmp_path):
    chance = np.random.default_rng(3)
    time = np.arange(RATE_HZ) / RATE_HZ
    windows = 0.05 * chance.normal(size=(3, RATE_HZ)) + np.sin(2 * np.pi * np.outer([500, 1500, 4000], time))
    np.save(tmp_path / "windows.npy", windows.astype(np.float32))
    command = [str(torch_python), "-c", MAKE, json.dumps(CASES), str(tmp_path)]
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": search_path}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    for number, told in enumerate(CASES):
        mel = Mel(**told)
        made = np.load(tmp_path / f"{number}.npy")
        expected = np.array([_plainly(window.astype(np.float32).astype(float), mel) for window in windows])
        if mel.shape.endswith("frames,bands"):
            expected = expected.transpose(0, 2, 1)
        if mel.shape.startswith("n,1,"):
            expected = expected[:, None]
        assert made.shape == expected.shape
        scale = np.abs(expected).max() if mel.values == "linear" else 1.0
        assert np.abs(made - expected).max() < 1e-3 * scale, told


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_filters_are_triangles_that_share_their_corners(scale):
    made = filters(Mel(bands=12, fft_samples=4096, hop_samples=1, scale=scale, min_hz=200.0, max_hz=7000.0), RATE_HZ)
    bins = np.linspace(0, RATE_HZ / 2, 2049)
    assert made.shape == (12, 2049)
    assert (made >= 0).all()
    assert made.max(axis=1) == pytest.approx(np.ones(12), abs=0.05)
    peaks = bins[made.argmax(axis=1)]
    inside = (bins > peaks[0]) & (bins < peaks[-1])
    assert made.sum(axis=0)[inside] == pytest.approx(1.0)  # where one falls the next rises
    assert not made[:, (bins < 200) | (bins > 7000)].any()


def test_the_two_scales():
    """HTK: 1000 mel is about 1000 Hz. Slaney: 200/3 Hz a step up to 1 kHz, then 27 steps to each factor of 6.4."""
    from badc_torch.mel import _to_hz, _to_mel

    assert _to_mel(1000, "htk") == pytest.approx(1000, abs=0.1)
    assert [_to_mel(hertz, "slaney") for hertz in (0, 500, 1000, 6400)] == pytest.approx([0, 7.5, 15, 42])
    for scale in ("htk", "slaney"):
        for hertz in (0, 440, 1000, 9999):
            assert _to_hz(_to_mel(hertz, scale), scale) == pytest.approx(hertz)


def test_equal_area():
    plain = Mel(bands=10, fft_samples=8192, hop_samples=1, scale="slaney")
    even = Mel(bands=10, fft_samples=8192, hop_samples=1, scale="slaney", equal_area=True)
    areas = filters(even, RATE_HZ).sum(axis=1) * RATE_HZ / 8192
    assert areas == pytest.approx(np.ones(10), rel=0.02)
    assert filters(plain, RATE_HZ).sum(axis=1)[-1] > 2 * filters(plain, RATE_HZ).sum(axis=1)[0]

"""The reader keeps the contract, as WAV and as FLAC."""

from __future__ import annotations

from pathlib import Path

import soundfile

from badc_core.testing import ReaderContract


class TestWav(ReaderContract):
    entry_module = "badc_audio"


class TestFlac(ReaderContract):
    entry_module = "badc_audio"

    def write_sound(self, path: Path, samples, sample_rate_hz: int) -> None:
        with soundfile.SoundFile(path, "w", sample_rate_hz, samples.shape[1], "PCM_16", format="FLAC") as file:
            file.write(samples)

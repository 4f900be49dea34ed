"""BirdNET on one grid for the whole recording: however that is cut, it hears the same."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from badc_birdnet.options import BirdnetOptions
from badc_core.config import result_options
from badc_core.testing import SeamContract


class _Songs(SeamContract):
    entry_module = "badc_birdnet"
    chunk_lengths_ms = (700, 17_000)
    cuts = 2

    @pytest.fixture(autouse=True)
    def _song(self, request) -> None:
        self.request = request

    def recordings(self, folder: Path) -> Iterable[Path]:
        """A yellowthroat five times over, with pauses: at its own 44.1 kHz, and a length that is not round."""
        song, rate = soundfile.read(self.request.getfixturevalue("yellowthroat"), dtype="float32")
        pauses = [np.zeros(round(seconds * rate), np.float32) for seconds in (0.7, 2.3, 0.1, 1.9, 0.777)]
        path = folder / "yellowthroats.wav"
        soundfile.write(path, np.concatenate([part for pause in pauses for part in (pause, song)]), rate)
        yield path


class TestOnOneGrid(_Songs):
    """The standard tests of seams."""

    options = {"grid": "recording"}  # noqa: RUF012


class TestWithOverlap(_Songs):
    """Windows that share a second."""

    options = {"grid": "recording", "overlap_s": "1"}  # noqa: RUF012


class TestByDefault(_Songs):
    """Each chunk has a grid of its own, as BirdNET-Analyzer has for each file: what is found depends on the cut."""

    xfails = {"test_chunks_give_what_the_whole_gives": "windows begin with the chunk"}  # noqa: RUF012


def test_the_default_grid_leaves_old_results_valid():
    """The option came later: with its default, the fingerprint is what it was."""
    assert "grid" not in result_options(BirdnetOptions())
    assert result_options(BirdnetOptions(grid="recording"))["grid"] == "recording"

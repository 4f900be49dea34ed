"""However a recording is cut, the runner hears the same in it: windows, overlapping ones, joined ones, and frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from badc_core.isolation import RemoteRunner
from badc_core.serde import unstructure
from badc_core.testing import Example, RunnerContract, SeamContract
from badc_torch.options import INTERPRETER_VARIABLE

pytestmark = pytest.mark.slow
RATE_HZ = 44_100


class _OnNetworks:
    """Opens the runner as a worker does, in a child process; without torch, ``check`` says that it is not ready."""

    entry_module = "badc_torch"
    model = "tones.pt2"
    lines = ()

    @pytest.fixture(autouse=True)
    def _network(self, request, card, tmp_path, monkeypatch) -> None:
        self.options = {"model": str(tmp_path / self.model), "threads": "1"}
        with contextlib.suppress(pytest.skip.Exception):
            monkeypatch.setenv(INTERPRETER_VARIABLE, str(request.getfixturevalue("torch_here")))
            path = tmp_path / "card.toml"
            path.write_text(card(*self.lines))
            self.options |= {"model": str(request.getfixturevalue("networks") / self.model), "config": str(path)}

    def open_runner(self, options, context):
        """In a child process."""
        spec = self.spec
        return RemoteRunner(spec.name, spec.open, spec.options, unstructure(options), context, options.python)


class _Bursts(_OnNetworks, SeamContract):
    chunk_lengths_ms = (150, 9_000)
    cuts = 4

    def recordings(self, folder: Path) -> Iterable[Path]:
        """Tones of two pitches and of all lengths; stereo, at another rate, and of a length that is not round."""
        chance = np.random.default_rng(1)
        sound = chance.normal(0, 0.001, (round(RATE_HZ * 31.4159), 2))
        for _ in range(25):
            first, length = int(chance.integers(len(sound))), int(RATE_HZ * chance.uniform(0.2, 3))
            part = sound[first : first + length]
            hertz = chance.choice([1000, 3000])
            part += chance.uniform(0.1, 0.3) * np.sin(2 * np.pi * hertz * np.arange(len(part)) / RATE_HZ)[:, None]
        path = folder / "bursts.wav"
        soundfile.write(path, np.clip(sound, -1, 1), RATE_HZ, subtype="FLOAT")
        yield path


class TestWindows(_Bursts):
    """Windows that follow each other."""


class TestOverlappingWindows(_Bursts):
    """Windows that share three quarters."""

    lines = ("hop_s = 0.25",)


class TestJoinedWindows(_Bursts):
    """Windows of one label are joined, over several chunks where these are short."""

    lines = ("hop_s = 0.5", "join = true")


class TestFrames(_Bursts):
    """Ten frames a window."""

    model = "frames10.pt2"
    lines = ("\n[frames]\nhop_s = 0.1",)


class TestOverlappingFrames(_Bursts):
    """Frames of windows that share a half."""

    model = "frames10.pt2"
    lines = ("hop_s = 0.5", "\n[frames]\nhop_s = 0.1")


class TestContract(_OnNetworks, RunnerContract):
    """The standard tests."""

    def examples(self) -> Iterable[Example]:
        """A tone, and nothing."""
        time = np.arange(32_000) / 16_000
        yield Example("a high tone", (0.3 * np.sin(2 * np.pi * 3000 * time)).astype(np.float32), {"high"})
        yield Example("silence", np.zeros(32_000, np.float32), set())

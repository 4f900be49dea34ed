"""BirdNET in the conformance kit, as every runner."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from badc_core.testing import Example, RunnerContract


class TestBirdnet(RunnerContract):
    """The standard tests, and one song."""

    entry_module = "badc_birdnet"

    @pytest.fixture(autouse=True)
    def _song(self, hear, request) -> None:
        try:
            self.songs = [hear(request.getfixturevalue("yellowthroat")).samples]
        except pytest.skip.Exception:  # the recording is not installed; the other tests do without
            self.songs = []

    def examples(self) -> Iterable[Example]:
        """A yellowthroat."""
        for song in self.songs:
            yield Example("yellowthroat", song, {"Common Yellowthroat"})

"""BirdNET in the conformance kit, as every runner."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from badc_core.testing import Example, RunnerContract


@pytest.mark.usefixtures("needs_weights")
class TestBirdnet(RunnerContract):
    """The standard tests, and one song."""

    entry_module = "badc_birdnet"

    @pytest.fixture(autouse=True)
    def _song(self, hear, yellowthroat) -> None:
        self.song = hear(yellowthroat).samples

    def examples(self) -> Iterable[Example]:
        """A yellowthroat."""
        yield Example("yellowthroat", self.song, {"Common Yellowthroat"})

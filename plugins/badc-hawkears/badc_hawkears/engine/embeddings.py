"""What a network makes of a window before it names anything, kept beside the detections.

The form, under the key ``hawkears_embeddings`` of a result, with ``keep=embeddings``::

    {"window_ms": 3000, "first_ms": [60000, 63000], "size": 1920, "float16": "…"}

`first_ms` says where each window begins in the file that was read; a window belongs to the chunk that counts its first
frame, so none is there twice. `float16` is base64 of little-endian numbers, `size` of them for each window: the first
network's features, averaged over the window as HawkEars' own ``embeddings`` does.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from badc_hawkears.engine.grid import FRAME_MS

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[Any, np.dtype[np.float16]]

__all__ = ["EMBEDDINGS", "decode_embeddings", "encode_embeddings"]

EMBEDDINGS = "hawkears_embeddings"


def encode_embeddings(first_frames: Sequence[int], vectors: Vectors, window: int) -> Mapping[str, Any]:
    """Return embeddings as JSON values.

    Parameters
    ----------
    first_frames
        Where the windows begin.
    vectors
        Shape ``(windows, size)``.
    window
        Length of a window, in frames.
    """
    return {
        "window_ms": window * FRAME_MS,
        "first_ms": [first * FRAME_MS for first in first_frames],
        "size": vectors.shape[1],
        "float16": base64.b64encode(vectors.astype("<f2").tobytes()).decode("ascii"),
    }


def decode_embeddings(told: Mapping[str, Any]) -> Vectors:
    """Return what :func:`encode_embeddings` was given, shape ``(windows, size)``."""
    import numpy as np

    return np.frombuffer(base64.b64decode(told["float16"]), "<f2").reshape(-1, told["size"])

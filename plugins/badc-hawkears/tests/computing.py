"""Compute the same sound in different ways, and print how they differ: run by HawkEars' interpreter.

``python computing.py ROOT`` prints one JSON object, see test_computing.py.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from unittest import mock

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"

import numpy as np
import torch

from badc_hawkears.engine.chunks import Heard, Scorer
from badc_hawkears.engine.device import Processor
from badc_hawkears.engine.grid import counted_frames, touched_frames
from badc_hawkears.engine.model import Ensemble, load
from badc_hawkears.engine.place import Place
from badc_hawkears.engine.selfcheck import check_against_hawkears
from badc_hawkears.engine.spectra import Blocks, make
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.testing.checkpoint import yellowthroat

RATE, LENGTH_S = 28_000, 48
CUTS_MS = [0, 7_300, 19_000, 31_125, 1000 * LENGTH_S]


def sound() -> np.ndarray:
    """Return noise with songs in it."""
    samples = np.random.default_rng(3).normal(0, 0.004, LENGTH_S * RATE).astype(np.float32)
    song = yellowthroat(RATE)
    for start_s in (5, 17, 29, 40):
        samples[start_s * RATE : start_s * RATE + len(song)] += 0.5 * song
    return samples


def chunks(samples: np.ndarray) -> list[tuple[np.ndarray, Place]]:
    """Cut the sound; every chunk has all of it as context."""
    places = [
        Place(("sound", None), start, stop, 0, len(samples), touched_frames(start, stop), counted_frames(start, stop))
        for start, stop in itertools.pairwise(CUTS_MS)
    ]
    return [(samples, place) for place in places]


def scores(heard: list[Heard]) -> np.ndarray:
    """Put the scores of all chunks beneath each other."""
    return np.concatenate([one.scores for one in heard])


def batches(ensemble: Ensemble, cut: list[tuple[np.ndarray, Place]]) -> dict[str, float]:
    """Compare sizes of batches, and chunks together with chunks alone."""
    exact = scores([*Scorer(ensemble).score_all(cut)])
    found = {"highest": float(exact.max())}
    for size in (1, 5, 64):
        found[f"batch {size}"] = apart(exact, scores([*Scorer(ensemble, size).score_all(cut)]))
    with mock.patch.object(Processor, "chunks", 16):
        found["together"] = apart(exact, scores([*Scorer(ensemble).score_all(cut)]))
    alone = [next(Scorer(ensemble).score_all([one])) for one in cut]
    found["alone"] = apart(exact, scores(alone))
    backwards = [*Scorer(ensemble).score_all(cut[::-1])][::-1]
    found["backwards"] = apart(exact, scores(backwards))
    return found


def embeddings(ensemble: Ensemble, cut: list[tuple[np.ndarray, Place]]) -> dict[str, object]:
    """Compare embeddings with HawkEars' own, of the same windows."""
    heard = [*Scorer(ensemble, embeddings=True).score_all(cut)]
    firsts = [first for one in heard for first in one.first_frames]
    ours = np.concatenate([one.embeddings for one in heard if one.embeddings is not None])
    audio, power = ensemble.predictor.audio, ensemble.main.power
    audio.signal, audio.cached = cut[0][0].copy(), None
    specs = np.stack(audio.get_spectrograms([first / 4 for first in firsts])[0])[:, None] ** power
    theirs = ensemble.main.models[0].get_embeddings(specs.astype(np.float32), "cpu")
    within = [
        place.counted[0] <= first < place.counted[1]
        for (_, place), one in zip(cut, heard, strict=True)
        for first in one.first_frames
    ]
    return {
        "firsts": firsts,
        "type": str(ours.dtype),
        "within": all(within),
        "difference": float(np.abs(ours - theirs).max() / np.abs(theirs).max()),
    }


def blocks(ensemble: Ensemble, samples: np.ndarray) -> float:
    """Compare blocks transformed together with each by HawkEars."""
    main = ensemble.main
    part = Blocks(main.grid, torch.from_numpy(samples), 0, len(samples))
    span = main.grid.span(0, len(samples))
    spans = [main.grid.span(start, len(samples)) for start in range(0, 4 * LENGTH_S - 12, 12)]
    make([(part, one) for one in [span, *spans] if one], main.audio, 16)
    worst = 0.0
    for number, made in part.made.items():
        alone = main.audio._compute_spectrogram_chunk(part.samples(number).numpy().copy(), "mel")
        worst = max(worst, float(np.abs(made.numpy() - alone).max() / alone.max()))
    return worst


def halves(ensemble: Ensemble, cut: list[tuple[np.ndarray, Place]]) -> dict[str, object]:
    """Have the precision chosen as on CUDA, by the CPU, which can compute so, too, slowly."""
    chosen = {}
    for precision in ("float32", "auto", "half"):
        scorer = Scorer(ensemble)
        with mock.patch.object(Processor, "gains_by_half", True):
            check_against_hawkears(ensemble, scorer, precision)
        chosen[precision] = scorer.processor.half
    exact, rough = scores([*Scorer(ensemble).score_all(cut)]), scores([*scorer.score_all(cut)])
    for network in ensemble.networks:
        network.to(memory_format=torch.contiguous_format)
    return {"chosen": chosen, "difference": apart(exact, rough)}


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far scores differ at most."""
    return float(np.abs(one - other).max())


def main(root: Path) -> None:
    """Compute it all."""
    torch.set_num_threads(1)
    ensemble = load(HawkEarsOptions(root=root), "cpu")
    samples = sound()
    cut = chunks(samples)
    said = {
        "batches": batches(ensemble, cut),
        "embeddings": embeddings(ensemble, cut),
        "blocks": blocks(ensemble, samples),
        "halves": halves(ensemble, cut),
    }
    print("\n\0" + json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

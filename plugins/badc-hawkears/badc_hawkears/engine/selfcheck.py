"""Asking HawkEars itself: the same sound through its own loop and through ours must give the same frames.

Our loop uses parts of HawkEars that are not public. A build of torch, a changed file or a setting that nobody thought
of would show here, before a run, and not in its results.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any
from unittest import mock

from badc_core.errors import RunnerError
from badc_hawkears.engine.chunks import Scorer
from badc_hawkears.engine.grid import FRAMES_PER_S, members, touched_frames
from badc_hawkears.engine.model import Ensemble
from badc_hawkears.engine.place import Place

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["check_against_hawkears", "hawkears_frames"]

_log = logging.getLogger(__name__)

_LENGTH_S = 13.3
_CUT_MS = 7_600
"""Sound that is longer than a block of either band, cut beside every grid."""

_LEAST = 1e-6
_TOLERANCE = {"cpu": 1e-2, "cuda": 5e-2, "mps": 5e-2}
"""Of log-odds: noise scores near 0, where scores themselves hardly differ."""

_HALF_CHANGES = 1e-3
"""How far half precision may move a score."""


def check_against_hawkears(ensemble: Ensemble, scorer: Scorer, precision: str = "float32") -> None:
    """Compare the two loops on some noise and tones, in two chunks; then choose the precision.

    Parameters
    ----------
    ensemble
        The loaded models.
    scorer
        What uses them.
    precision
        ``half`` computes so on CUDA; ``auto`` does where no score can move by more than 0.001: that is measured here.

    Raises
    ------
    RunnerError
        They differ.
    """
    rate = ensemble.main.grid.sample_rate_hz
    sound = _sound(int(_LENGTH_S * rate), rate)
    theirs = hawkears_frames(ensemble, sound)
    ours = _our_frames(ensemble, scorer, sound)
    if theirs is None or ours is None or theirs.shape != ours.shape:
        raise _differs("they do not even give the same frames")
    worst = _apart(theirs, ours)
    if not worst <= _TOLERANCE[scorer.processor.name]:
        raise _differs(f"log-odds of scores differ by {worst:.1e}")
    if precision != "float32" and scorer.processor.gains_by_half:
        _choose_half(precision, ours, ensemble, scorer, sound)


def _choose_half(precision: str, exact: FloatArray, ensemble: Ensemble, scorer: Scorer, sound: FloatArray) -> None:
    """Compute with half precision where it is asked for, or changes no score noticeably."""
    scorer.processor.use_half(ensemble.networks)
    rough = _our_frames(ensemble, scorer, sound)
    # A score moves by at most a quarter of what its log-odds do; on louder sounds scores lie where they move so.
    moves = float("inf") if rough is None else _apart(exact, rough) / 4
    if precision == "half" or moves <= _HALF_CHANGES:
        _log.info("half precision: scores move by up to %.1e", moves)
        return
    _log.info("float32: half precision would move scores by up to %.1e", moves)
    scorer.processor.half = False


def _our_frames(ensemble: Ensemble, scorer: Scorer, sound: FloatArray) -> FloatArray | None:
    """Return the frames of our loop, the sound cut in two."""
    import numpy as np

    end_ms = -(-len(sound) * 1000 // ensemble.main.grid.sample_rate_hz)
    last = ensemble.main.grid.frames(len(sound))
    first_part, second = touched_frames(0, _CUT_MS), touched_frames(_CUT_MS, end_ms)
    places = [
        Place(("self-check", len(sound)), *times, 0, len(sound), (first, min(stop, last)), (0, 0))
        for times, (first, stop) in (((0, _CUT_MS), first_part), ((_CUT_MS, end_ms), second))
    ]
    scorer.forget()
    scores = [heard.scores for heard in scorer.score_all([(sound, place) for place in places])]
    scorer.forget()
    if scores[0] is None or scores[1] is None:
        return None
    return np.concatenate([scores[0][: second[0]], scores[1]])


def hawkears_frames(ensemble: Ensemble, sound: FloatArray) -> FloatArray | None:
    """Return the frames of HawkEars' own loop over a whole recording, low band included, heuristics not.

    Parameters
    ----------
    ensemble
        Holds that loop.
    sound
        The recording, at the main networks' rate.
    """
    predictor = ensemble.predictor
    audio = predictor.audio
    # As HawkEars' rule has them, not as our networks do: that is what is compared.
    offsets_s = [member.offset / FRAMES_PER_S for member in members(predictor.cfg.infer.max_models)]

    def load(path: str) -> tuple[FloatArray, int]:
        audio.signal, audio.cached = sound.copy(), None
        return audio.signal, ensemble.main.grid.sample_rate_hz

    with mock.patch.object(audio, "load", load):
        frames = predictor.get_overlapping_scores(__file__, offsets_s)
    low = ensemble.handlers.get("LowBandHeuristics")
    if frames is not None and low is not None and low.enabled:
        low(__file__, frames, 0)
        audio.set_config(predictor.cfg, resample=False)
    audio.signal = audio.cached = None
    return frames


def _apart(one: FloatArray, other: FloatArray) -> float:
    """Return how far log-odds differ at most; what is no number differs from all."""
    import numpy as np

    apart = float(np.abs(_log_odds(one) - _log_odds(other)).max())
    return float("inf") if math.isnan(apart) else apart


def _log_odds(scores: FloatArray) -> FloatArray:
    import numpy as np

    within = np.clip(scores, _LEAST, 1 - _LEAST)
    odds: FloatArray = np.log(within / (1 - within))
    return odds


def _sound(length: int, rate: int) -> FloatArray:
    """Return noise with tones that come and go; always the same."""
    import numpy as np

    time_s = np.arange(length) / rate
    rng = np.random.default_rng(0)
    tones = sum(
        np.sin(2 * np.pi * hertz * time_s) * (np.sin(time_s * pace) > 0) for hertz, pace in ((3100, 5), (45, 3))
    )
    sound: FloatArray = (0.02 * rng.standard_normal(length) + 0.1 * tones).astype(np.float32)
    return sound


def _differs(how: str) -> RunnerError:
    return RunnerError(
        f"HawkEars answers differently in its own loop and in the mode warm: {how}.",
        hint="Something in its environment is not as expected: install hawkears and britekit anew.",
        retry=False,
    )

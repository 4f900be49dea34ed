"""Asking HawkEars itself: the same sound through its own loop and through ours must give the same frames.

Our loop uses parts of HawkEars that are not public. A build of torch, a changed file or a setting that nobody thought
of would show here, before a run, and not in its results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from badc_core.errors import RunnerError
from badc_hawkears.engine.chunks import Scorer
from badc_hawkears.engine.grid import touched_frames
from badc_hawkears.engine.model import Ensemble
from badc_hawkears.engine.place import Place

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["check_against_hawkears", "hawkears_frames"]

_LENGTH_S = 20.3
_CUT_MS = 10_600
_LEAST = 1e-6
_TOLERANCE = 1e-2
_TOLERANCE_HALF = 0.5
"""Of log-odds: noise scores near 0, where scores themselves hardly differ. The second is for half precision."""


def check_against_hawkears(ensemble: Ensemble, scorer: Scorer) -> None:
    """Compare the two loops on 20 s of noise and tones, in two chunks.

    Raises
    ------
    RunnerError
        They differ.
    """
    import numpy as np

    rate = ensemble.main.grid.sample_rate_hz
    sound = _sound(int(_LENGTH_S * rate), rate)
    theirs = hawkears_frames(ensemble, sound)
    end_ms = -(-len(sound) * 1000 // rate)
    last = ensemble.main.grid.frames(len(sound))
    parts = []
    for start_ms, stop_ms in ((0, _CUT_MS), (_CUT_MS, end_ms)):
        first, stop = touched_frames(start_ms, stop_ms)
        place = Place(("self-check", len(sound)), start_ms, stop_ms, 0, len(sound), (first, min(stop, last)), (0, 0))
        parts.append(scorer.score(sound, place))
    ours = None
    if theirs is not None and parts[0] is not None and parts[1] is not None:
        cut = touched_frames(_CUT_MS, end_ms)[0]
        ours = np.concatenate([parts[0][:cut], parts[1]])
    if theirs is None or ours is None or theirs.shape != ours.shape:
        raise _differs("they do not even give the same frames")
    worst = float(np.abs(_log_odds(theirs) - _log_odds(ours)).max())
    tolerance = _TOLERANCE if ensemble.main.device == "cpu" else _TOLERANCE_HALF
    if not worst <= tolerance:
        raise _differs(f"log-odds of scores differ by {worst:.1e}")


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

    def load(path: str) -> tuple[FloatArray, int]:
        audio.signal, audio.cached = sound.copy(), None
        return audio.signal, ensemble.main.grid.sample_rate_hz

    with mock.patch.object(audio, "load", load):
        frames = predictor.get_overlapping_scores(__file__, list(ensemble.offsets_s))
    low = ensemble.handlers.get("LowBandHeuristics")
    if frames is not None and low is not None and low.enabled:
        low(__file__, frames, 0)
        audio.set_config(predictor.cfg, resample=False)
    audio.signal = audio.cached = None
    return frames


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

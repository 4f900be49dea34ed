"""The card of a network: a small TOML file that says what it hears and what its answers mean.

:func:`read_card` trusts nothing in it: a key that is misspelt, missing or out of bounds is an error that names the
file, the key and what is allowed. ``docs/reference/torch-model.md`` lists the keys; a test keeps that list true.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen

from badc_core.config import meant
from badc_core.errors import UsageError
from badc_torch.labels import Label, read_labels
from badc_torch.tables import entry, read_table

__all__ = ["Card", "Frames", "Mel", "find_card", "read_card"]

_WHOLE_SAMPLES = 0.01
"""Lengths in seconds are decimal fractions: this far from a whole number of samples is still one."""


def _positive(value: float) -> str | None:
    return None if value > 0 else "must be above 0"


def _within(low: float, high: float) -> Callable[[float], str | None]:
    return lambda value: None if low <= value <= high else f"must be at least {low:g} and at most {high:g}"


@frozen
class Mel:
    """How a mel spectrogram is made of a window; for networks that do not hear samples.

    Parameters
    ----------
    bands
        How many.
    fft_samples, hop_samples
        Length of a Fourier transform, and from one to the next.
    window_samples
        Length of the Hann window; ``None``: that of the transform.
    min_hz, max_hz
        Lower edge of the lowest band, upper edge of the highest; ``None``: half of the sample rate.
    spectrum
        ``power`` or ``magnitude``.
    scale
        ``htk`` or ``slaney``: two formulas for the mel scale.
    equal_area
        Whether bands are weighted by their width (librosa's ``norm="slaney"``).
    centered
        Whether the first transform is centred on the first sample, with the window reflected at both ends.
    values
        ``linear``; ``ln``, of value + `floor`; ``db``, decibels of what is at least `floor`.
    floor
        See `values`.
    top_db
        With ``db``: what lies further below the window's loudest value is raised to that; ``None``: nothing.
    normalise
        ``none``; ``standard``, to mean 0 and deviation 1; ``range``, to 0 to 1. Of each window by itself.
    shape
        What the network takes.
    """

    bands: int = entry(help="number of bands", check=_within(1, 4096))
    fft_samples: int = entry(help="samples of a Fourier transform", check=_within(2, 2**20))
    hop_samples: int = entry(help="samples from one transform to the next", check=_within(1, 2**20))
    window_samples: int | None = entry(None, help="samples of the Hann window", check=_within(2, 2**20))
    min_hz: float = entry(0.0, help="lower edge of the lowest band", check=_within(0, 1e6))
    max_hz: float | None = entry(None, help="upper edge of the highest band", check=_positive)
    spectrum: Literal["power", "magnitude"] = entry("power", help="power or magnitude")
    scale: Literal["htk", "slaney"] = entry("htk", help="formula of the mel scale")
    equal_area: bool = entry(False, help="weight bands by their width")
    centered: bool = entry(True, help="reflect the window at its ends, so that the first transform is centred there")
    values: Literal["linear", "ln", "db"] = entry("db", help="what the network takes")
    floor: float = entry(1e-10, help="smallest value, before a logarithm is taken", check=_positive)
    top_db: float | None = entry(None, help="raise what is further below the loudest value", check=_positive)
    normalise: Literal["none", "standard", "range"] = entry("none", help="what is done to each window's spectrogram")
    shape: Literal["n,1,bands,frames", "n,bands,frames", "n,1,frames,bands", "n,frames,bands"] = entry(
        "n,1,bands,frames", help="what the network takes"
    )


@frozen
class Frames:
    """Scores for short stretches of each window, instead of one for all of it.

    Parameters
    ----------
    hop_s
        From one to the next.
    shape
        What the network gives.
    """

    hop_s: float = entry(help="seconds from one frame to the next", check=_positive)
    shape: Literal["n,frames,labels", "n,labels,frames"] = entry("n,frames,labels", help="what the network gives")


@frozen
class Card:
    """What a network hears, and what its answers mean.

    Parameters
    ----------
    name, version
        Of the model; every result carries them.
    sample_rate_hz
        Sound of other rates is resampled to it.
    window_s, hop_s
        How much sound one answer is about, and from one window to the next; ``None``: windows follow each other.
    labels
        One for each score, in the network's order.
    output
        ``probabilities``, from 0 to 1; or ``logits``, of which `activation` makes them.
    activation
        ``sigmoid``, each label by itself; ``softmax``, exactly one of them.
    ignore
        Labels that are never reported: noise, background.
    min_score
        Detections below it are dropped.
    join
        Whether windows of one label that touch or overlap become one detection.
    least_s
        A window at the end of a recording with less sound is not made; the rest is silence. ``None``: half a window.
    shape
        What a network of samples takes.
    gain
        Samples, from -1 to 1, are multiplied by it.
    normalise
        ``none``; ``peak``, to a greatest absolute value of 1; ``standard``, to mean 0 and deviation 1. Of each window
        by itself.
    output_key
        Which output, by name or number, of a network with several.
    batch
        How many windows the network takes, where it was exported for exactly so many. It changes no result.
    mel
        For networks that hear spectrograms.
    frames
        For networks with several scores a window.
    """

    name: str = entry(help="what the model is called")
    version: str = entry(help="its version")
    sample_rate_hz: int = entry(help="of the sound that it hears", check=_within(100, 10_000_000))
    window_s: float = entry(help="length of a window", check=_within(0.01, 3600))
    labels: tuple[Label, ...] = entry(help="one for each score: a list, or the name of a file")
    output: Literal["probabilities", "logits"] = entry(help="what its scores are")
    hop_s: float | None = entry(None, help="from one window to the next", check=_within(0.01, 3600))
    activation: Literal["sigmoid", "softmax"] | None = entry(None, help="what makes probabilities of logits")
    ignore: tuple[str, ...] = entry((), help="labels that are never reported")
    min_score: float = entry(0.5, help="drop detections below it", check=_within(0, 1))
    join: bool = entry(False, help="join neighbouring windows of one label")
    least_s: float | None = entry(None, help="least sound in the last window", check=_positive)
    shape: Literal["n,samples", "n,1,samples"] = entry("n,samples", help="what the network takes")
    gain: float = entry(1.0, help="what samples are multiplied by", check=_positive)
    normalise: Literal["none", "peak", "standard"] = entry("none", help="what is done to each window's samples")
    output_key: str | int | None = entry(None, help="which output, of several")
    batch: int | None = entry(None, help="windows of an export for a fixed number", check=_within(1, 65536))
    mel: Mel | None = entry(None, help="for networks that hear spectrograms")  # noqa: RUF009 - a field
    frames: Frames | None = entry(None, help="for networks with several scores a window")  # noqa: RUF009

    @property
    def window(self) -> int:
        """Length of a window, in samples."""
        return round(self.window_s * self.sample_rate_hz)

    @property
    def hop(self) -> int:
        """From one window to the next, in samples."""
        return round((self.hop_s or self.window_s) * self.sample_rate_hz)

    @property
    def least(self) -> int:
        """Samples that the last window of a recording must have."""
        return max(1, round((self.least_s or self.window_s / 2) * self.sample_rate_hz))

    @property
    def frame_hop(self) -> int | None:
        """From one frame to the next, in samples; ``None``: the network has one score for a window."""
        return None if self.frames is None else round(self.frames.hop_s * self.sample_rate_hz)

    def meaning(self) -> str:
        """Return all that can change a result, as text: for a digest."""
        told = attrs.asdict(self)
        del told["batch"]
        return json.dumps(told, sort_keys=True)


def find_card(model: Path, named: Path | None) -> Path:
    """Return where the card of a network lies.

    Raises
    ------
    UsageError
        Neither the file that was named nor one of those looked for is there.
    """
    places = [named] if named else [model.with_suffix(".toml"), model.with_name("model.toml")]
    for place in places:
        if place.is_file():
            return place
    raise UsageError(
        f"There is no TOML file that describes {model.name}: looked for {' and '.join(map(str, places))}.",
        hint="Write one: six lines are enough, see docs/how-to/torch-model.md. Or name it: -o config=PATH",
    )


def read_card(path: Path) -> Card:
    """Read a card, and make sure that it makes sense.

    Raises
    ------
    UsageError
        It cannot be read, is no TOML, or a key is unknown, missing or not allowed.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from error
    made: dict[str, Any] = dict(table)
    for name, cls in (("mel", Mel), ("frames", Frames)):
        if name in table:
            if not isinstance(table[name], Mapping):
                raise UsageError(f"{path}: {name} must be a table.", hint=f"Write [{name}], and its keys below.")
            made[name] = read_table(cls, table[name], f"{path}: [{name}]")
    if "labels" in table:
        made["labels"] = read_labels(table["labels"], path)
    card = read_table(Card, made, f"{path}:")
    problem = _misfit(card)
    if problem is not None:
        raise UsageError(f"{path}: {problem}")
    return card


def _misfit(card: Card) -> str | None:
    """Say which keys do not fit together, or ``None``."""
    if card.hop_s is not None and card.hop_s > card.window_s:
        return f"hop_s is {card.hop_s:g}, but must be at most window_s ({card.window_s:g}), or sound would go unheard."
    if card.least_s is not None and card.least_s > card.window_s:
        return f"least_s is {card.least_s:g}, but must be at most window_s ({card.window_s:g})."
    if card.output == "probabilities" and card.activation is not None:
        return 'activation is for output = "logits"; probabilities are taken as they are.'
    known = [label.text for label in card.labels]
    for label in card.ignore:
        if label not in known:
            return f"ignore names {label!r}, which is not among the labels. {meant(label, known[:20])}"
    return _mel_misfit(card) or _frames_misfit(card)


def _mel_misfit(card: Card) -> str | None:
    mel = card.mel
    if mel is None:
        return None
    half = card.sample_rate_hz / 2
    if (mel.max_hz or half) > half:
        return f"[mel] max_hz is {mel.max_hz:g}, but must be at most half of sample_rate_hz ({half:g})."
    if mel.min_hz >= (mel.max_hz or half):
        return f"[mel] min_hz is {mel.min_hz:g}, but must be below max_hz ({mel.max_hz or half:g})."
    if (mel.window_samples or 0) > mel.fft_samples:
        return f"[mel] window_samples is {mel.window_samples}, but must be at most fft_samples ({mel.fft_samples})."
    longest = 2 * (card.window - 1) if mel.centered else card.window
    if mel.fft_samples > longest:
        return f"[mel] fft_samples is {mel.fft_samples}, but a window has only {card.window} samples."
    if card.shape != "n,samples":
        return "shape is for networks that hear samples; with [mel] write shape there."
    return None


def _frames_misfit(card: Card) -> str | None:
    if card.frames is None or card.frame_hop is None:
        return None
    exactly = card.frames.hop_s * card.sample_rate_hz
    if card.frame_hop < 1 or abs(exactly - card.frame_hop) > _WHOLE_SAMPLES:
        near = max(card.frame_hop, 1)
        return (
            f"[frames] hop_s is {exactly:.2f} samples, but must be a whole number of them: "
            f"{near} are {near / card.sample_rate_hz:.9f} s."
        )
    if card.frame_hop > card.window:
        return f"[frames] hop_s is {card.frames.hop_s:g}, but must be at most window_s ({card.window_s:g})."
    if card.hop < card.window and card.hop % card.frame_hop:
        return (
            f"hop_s is {card.hop / card.frame_hop:.3f} frames, but where windows overlap it must be a whole number of "
            "them, so that frames meet."
        )
    return None

"""What HawkEars does with frame scores before it names anything: its rules as plain values, and as JSON.

Results carry the rules of the classes that are in them, so that whoever compiles results needs no HawkEars. A rule is
told by the class it acts upon. What the rules do is in :mod:`badc_hawkears.meaning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from badc_hawkears.engine.grid import FRAMES_PER_S

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["Alike", "ClassRules", "Settings", "from_json", "to_json", "to_runs", "to_text"]

_MILLIONTHS = 1_000_000


@frozen
class Settings:
    """What holds for all classes.

    Parameters
    ----------
    min_score
        Frames below it are no detection.
    segment_s
        Length of labels, all on one grid; ``None``: labels are as long as what they name.
    max_label_s, min_label_s
        Longer labels are split, shorter ones left out; ``None``: no limit.
    merge_s
        When a label is split, a rest up to this long is shared out among the other pieces.
    alike_score
        Frames from it on count for `alike`.
    boost_frames, boost_score
        So many frames above that score confirm a class.
    boost_above, boost_exponent
        Of a confirmed class, scores above the one are raised to the power of the other.
    """

    min_score: float
    segment_s: float | None = None
    max_label_s: float | None = None
    min_label_s: float | None = None
    merge_s: float = 0.5
    alike_score: float = 0.5
    boost_frames: int = 24
    boost_score: float = 0.85
    boost_above: float = 0.35
    boost_exponent: float = 0.4

    @property
    def segment_frames(self) -> int | None:
        """How many frames make a label of fixed length."""
        return None if self.segment_s is None else round(FRAMES_PER_S * self.segment_s)


@frozen
class Alike:
    """A class is often mistaken for another one, whose presence speaks against it.

    Parameters
    ----------
    other
        The other class.
    frames
        How far around a frame the other one counts.
    coverage
        The class goes altogether when at least this part of its high frames has high ones of the other around;
        0: only those frames go that have at least `least` of the other's high frames around.
    independent
        It stays when so many of its high frames have none of the other around.
    least
        See `coverage`; with fewer in the whole recording nothing goes.
    """

    other: str
    frames: int
    coverage: float = 0.0
    independent: int = 0
    least: int = 0


@frozen
class ClassRules:
    """One class that HawkEars knows, and what is done with its scores. Classes are named by the code of the training.

    Parameters
    ----------
    trained_code
        Its name among the rules.
    label
        What HawkEars calls it in its output.
    code, name
        Its code and readable name in the taxonomy of today.
    included
        Whether it is wanted: what is not may still speak against others.
    rare
        Whether it does not occur there and then, so that it is not reported.
    boosted
        Whether it is raised once it is confirmed.
    lowered
        Base of the exponent that lowers it; ``None``: it is not lowered.
    alike
        What speaks against it.
    becomes
        It is rare there and then, and taken for the one of these classes that has most of all frames together.
    """

    trained_code: str
    label: str
    code: str
    name: str
    included: bool = True
    rare: bool = False
    boosted: bool = False
    lowered: float | None = None
    alike: tuple[Alike, ...] = ()
    becomes: tuple[str, ...] = ()

    @property
    def reported(self) -> bool:
        """Whether labels of it come out."""
        return self.included and not self.rare


def to_json(value: Settings | ClassRules) -> dict[str, Any]:
    """Return settings or rules as a JSON object, short: what is ``None``, false or empty is left out.

    Of a class that is not included, that is all that is told. A label or code that is the trained code is left out.
    """
    if isinstance(value, ClassRules) and not value.included:
        return {"included": False}
    entry = attrs.asdict(value, filter=lambda field, told: told is not None and told is not False and told != ())
    if isinstance(value, ClassRules):
        del entry["included"]
        code = entry.pop("trained_code")
        entry = {key: told for key, told in entry.items() if key not in ("label", "code") or told != code}
        entry |= {key: list(entry[key]) for key in ("alike", "becomes") if key in entry}
    return entry


def from_json(kind: type[Any], entry: Mapping[str, Any], **more: Any) -> Any:
    """Return what :func:`to_json` was given; keys that are not known are left alone.

    Parameters
    ----------
    kind
        :class:`Settings` or :class:`ClassRules`.
    entry
        The JSON object.
    **more
        Further values: the `trained_code` of rules.

    Raises
    ------
    TypeError, AttributeError
        It is nothing that :func:`to_json` makes.
    """
    known = {field.name for field in attrs.fields(kind)}
    values = {**more, **{key: told for key, told in entry.items() if key in known}}
    if kind is ClassRules:
        code = values["trained_code"]
        values = {"label": code, "code": code, "name": code, **values}
        values["alike"] = tuple(Alike(**one) for one in values.get("alike", ()))
        values["becomes"] = tuple(values.get("becomes", ()))
    return kind(**values)


def to_text(runs: Iterable[tuple[int, Sequence[float]]]) -> str:
    """Return runs of frames, each its first frame and the scores from there on, in one line.

    Examples
    --------
    >>> to_text([(243, [0.51, 0.9312345]), (310, [1.0])])
    '243:510000,931235 310:1000000'
    """
    return " ".join(
        f"{first}:{','.join(str(round(score * _MILLIONTHS)) for score in scores)}" for first, scores in runs
    )


def to_runs(text: str) -> Iterator[tuple[int, FloatArray]]:
    """Yield the runs of :func:`to_text`.

    Raises
    ------
    ValueError
        It is not such a text.
    """
    import numpy as np

    for run in text.split():
        first, _, scores = run.partition(":")
        yield int(first), (np.array(scores.split(","), np.float64) / _MILLIONTHS).astype(np.float32)

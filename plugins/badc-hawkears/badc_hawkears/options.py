"""What ``-o key=value`` can say to the runner ``hawkears``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import attrs

from badc_core.config import option

__all__ = ["HawkEarsOptions"]

_LEAST_SCORE = 0.05
"""Below it nearly every frame of every class would be kept."""


def _absolute(path: Path | None) -> Path | None:
    """Workers may run in another folder than the command."""
    return None if path is None else path.expanduser().absolute()


def _at_least(low: float, high: float = float("inf")) -> Any:
    """Return a validator for ``low <= value <= high``, which lets ``None`` pass."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is not None and not low <= value <= high:
            upper = "" if high == float("inf") else f" and at most {high:g}"
            raise ValueError(f"{attribute.name} is {value:g}, but must be at least {low:g}{upper}")

    return validate


@attrs.frozen
class HawkEarsOptions:
    """Options of the runner. ``None`` leaves a setting as HawkEars' own configuration has it.

    Parameters
    ----------
    python
        Interpreter of the environment that has HawkEars, badc-core and this plugin; ``None``: the one that
        ``badc hawkears setup`` made, else this one.
    root
        HawkEars' data folder, with ``yaml``, ``data/ckpt``, …; ``None``: ``HAWKEARS_DATA_DIR``, else the one that
        ``badc hawkears setup`` made, else HawkEars' usual place.
        Its path changes no result: what lies there is in the digest of the weights.
    config
        A YAML file in HawkEars' form, on top of those in the data folder. Its path changes no result: what it says is
        in the digest.
    args
        Arguments as HawkEars' own command takes them: ``--min_score 0.7 --region CA-NT``. They come on top of `config`.
    mode
        How HawkEars is used: ``warm``, its models loaded once and fed with samples; ``api``, its public function on
        batches of recordings; ``cli``, its command on batches of recordings.
    script
        HawkEars 1: its ``analyze.py``; ``None`` with ``BADC_HAWKEARS_ROOT`` unset: HawkEars 2.
    preset
        How many members of the ensemble take part: ``fast`` 3, ``balanced`` 6, ``full`` all.
    models
        The same as a number.
    low_band
        Whether the models for drumming grouse are used.
    min_score
        Frames below it are no detection.
    keep
        What to keep beside the detections: ``scores``, frame scores down to `floor`; ``embeddings``, what the
        networks make of each window before they name anything; ``scores,embeddings``.
    floor
        Frames below it are not kept; ``None``: all that can matter to a detection are kept, with ``keep=scores`` those
        from 0.1 on.
    batch
        How many windows are computed at once; halved when the device's memory does not hold them.
    readers
        How many files are read side by side, ahead of the worker; 0 chooses.
    precision
        ``float32``; ``half``: half precision where the device is quicker so; ``auto``: half on CUDA, as HawkEars
        itself. Scores differ by less than 0.001.
    threads
        Threads of one worker; 0: as many as torch takes.
    trust
        Whether a checkpoint may be loaded that is more than numbers and texts. Such a file can run any program.
    """

    python: Path | None = option(
        None, help="interpreter of HawkEars' environment", affects_results=False, converter=_absolute
    )
    root: Path | None = option(None, help="HawkEars' data folder", affects_results=False, converter=_absolute)
    config: Path | None = option(
        None, help="YAML file on top of HawkEars' own", affects_results=False, converter=_absolute
    )
    args: tuple[str, ...] = option((), help="arguments of HawkEars' own command", converter=tuple)
    mode: Literal["warm", "api", "cli"] = option("warm", help="how HawkEars is used: warm, api or cli")
    script: Path | None = option(None, help="analyze.py of HawkEars 1", affects_results=False, converter=_absolute)
    preset: Literal["fast", "balanced", "full"] | None = option(
        None, help="ensemble of 3, 6 or all: fast, balanced, full"
    )
    models: int | None = option(None, help="members of the ensemble: 1 to 6, 9 or 12", validator=_at_least(1, 12))
    low_band: bool | None = option(None, help="whether to listen for drumming grouse, too")
    min_score: float | None = option(
        None, help="drop frames below this score, 0.05 to 1", validator=_at_least(_LEAST_SCORE, 1.0)
    )
    keep: str = option("", help="keep scores, embeddings, or both, beside the detections")
    floor: float | None = option(
        None, help="keep frame scores down to this one, 0.01 to 1", validator=_at_least(0.01, 1.0)
    )
    batch: int = option(16, help="windows computed at once", affects_results=False, validator=_at_least(1))
    readers: int = option(
        0, help="files read ahead side by side; 0 chooses", affects_results=False, validator=_at_least(0)
    )
    precision: Literal["auto", "float32", "half"] = option(
        "auto", help="half precision: auto, float32 or half", affects_results=False
    )
    threads: int = option(0, help="threads per worker; 0 chooses", affects_results=False, validator=_at_least(0))
    trust: bool = option(
        False, help="load checkpoints that could run programs; only from people you trust", affects_results=False
    )

"""What ``-o key=value`` can say to the runner ``hawkears``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import attrs

from badc_core.config import absolute, option, within
from badc_core.errors import UsageError
from badc_hawkears.arguments import ENSEMBLES, FIRST, LEAST_SCORE, SECOND, given, tidied
from badc_hawkears.places import default_root, remembered

__all__ = ["KEPT", "PRESETS", "HawkEarsOptions"]

PRESETS = {"fast": 3, "balanced": 6, "full": None}
"""Members of the ensemble; ``None``: all there are."""

KEPT = ("embeddings", "scores")
"""What can be kept beside the detections."""

_SECOND_ONLY = ("preset", "models", "low_band", "config", "min_score", "keep", "floor")


def _things(texts: str | Iterable[str]) -> tuple[str, ...]:
    """Return what ``keep`` names, sorted: ``keep=scores,embeddings`` and ``keep=embeddings keep=scores`` are one."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    named = {word.strip() for text in texts for word in text.split(",")} - {""}
    if unknown := sorted(named - set(KEPT)):
        raise ValueError(f"keep names {unknown[0]!r}, but only {' and '.join(KEPT)} can be kept")
    return tuple(sorted(named))


def _ensemble(instance: Any, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value not in ENSEMBLES:
        raise ValueError(f"HawkEars has no ensemble of {value} members, only of {', '.join(map(str, ENSEMBLES))}")


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
        How many members of the ensemble take part: ``fast`` 3, ``balanced`` 6, ``full`` all there are. HawkEars'
        documentation says that fewer are quicker and slightly less accurate, and gives no figures.
    models
        The same as a number: 1 to 6, 9 or 12, not more than there are.
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
        How many windows are computed at once; halved when the device's memory does not hold them. 0: what suits the
        device.
    readers
        How many files are read side by side, ahead of the worker; 0 chooses.
    precision
        ``float32``; ``half``: half precision on CUDA; ``auto``: the same, if a measurement at the start finds that it
        moves no score by more than 0.001.
    mps
        Whether the GPU of a Mac is used. It is not told from a CPU otherwise, and scores may differ a little.
    threads
        Threads of one worker; 0: as many as torch takes.
    trust
        Whether a checkpoint may be loaded that is more than numbers and texts. Such a file can run any program.
    """

    python: Path | None = option(
        None, help="interpreter of HawkEars' environment", affects_results=False, converter=absolute
    )
    root: Path | None = option(None, help="HawkEars' data folder", affects_results=False, converter=absolute)
    config: Path | None = option(
        None, help="YAML file on top of HawkEars' own", affects_results=False, converter=absolute
    )
    args: tuple[str, ...] = option(
        (), help="arguments of HawkEars' own command", affects_results=False, converter=tuple
    )
    mode: Literal["warm", "api", "cli"] = option("warm", help="how HawkEars is used: warm, api or cli")
    script: Path | None = option(None, help="analyze.py of HawkEars 1", affects_results=False, converter=absolute)
    preset: Literal["fast", "balanced", "full"] | None = option(
        None,
        help="ensemble of 3, 6 or all members: fast, balanced, full; HawkEars gives no figures of their accuracy",
        affects_results=False,
    )
    models: int | None = option(
        None, help="members of the ensemble: 1 to 6, 9 or 12", affects_results=False, validator=_ensemble
    )
    low_band: bool | None = option(None, help="whether to listen for drumming grouse, too", affects_results=False)
    min_score: float | None = option(
        None,
        help=f"drop frames below this score, {LEAST_SCORE} to 1",
        affects_results=False,
        validator=within(LEAST_SCORE, 1.0),
    )
    keep: tuple[str, ...] = option(
        (), help="keep scores, embeddings, or both, beside the detections", converter=_things
    )
    floor: float | None = option(
        None, help="keep frame scores down to this one, 0.01 to 1", validator=within(0.01, 1.0)
    )
    batch: int = option(0, help="windows computed at once; 0 chooses", affects_results=False, validator=within(0))
    readers: int = option(
        0, help="files read ahead side by side; 0 chooses", affects_results=False, validator=within(0)
    )
    precision: Literal["auto", "float32", "half"] = option(
        "auto", help="half precision: auto, float32 or half", affects_results=False
    )
    mps: bool = option(False, help="use the GPU of a Mac", affects_results=False)
    threads: int = option(0, help="threads per worker; 0 chooses", affects_results=False, validator=within(0))
    trust: bool = option(
        False, help="load checkpoints that could run programs; only from people you trust", affects_results=False
    )

    def __attrs_post_init__(self) -> None:
        """Settle what this place says, because workers may run in another; refuse what makes no sense together.

        Raises
        ------
        UsageError
            Two options contradict each other, or `args` are not HawkEars'.
        """
        folder = os.environ.get("BADC_HAWKEARS_ROOT")
        if folder and self.script is None and self.root is None and self.mode == "warm":
            self._settle("script", Path(folder).expanduser().absolute() / "analyze.py")
        if self.script is not None:
            self._settle("args", tidied(self.args, FIRST))
            _check_first(self)
            return
        self._settle("args", tidied(self.args, SECOND))
        _check_second(self)
        known = remembered() if self.python is None or self.root is None else None
        if self.python is None and known is not None:
            self._settle("python", known.python)
        if self.root is None:
            self._settle("root", default_root(known))

    def _settle(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def _check_first(options: HawkEarsOptions) -> None:
    """Refuse what only HawkEars 2 has."""
    for name in _SECOND_ONLY:
        if getattr(options, name) not in (None, ()):
            raise UsageError(
                f"HawkEars 1 has no option {name}, and {options.script} is HawkEars 1.",
                hint=f"Leave out -o {name}=… (its own arguments go into -o args=…); for HawkEars 2 leave out "
                "-o script=… and unset BADC_HAWKEARS_ROOT.",
            )


def _check_second(options: HawkEarsOptions) -> None:
    """Refuse options of HawkEars 2 that contradict each other."""
    if options.preset is not None and options.models is not None:
        raise UsageError("The options preset and models both say how many members take part.", hint="Give one.")
    if options.keep and options.mode != "warm":
        raise UsageError(
            f"In the mode {options.mode} HawkEars hands out nothing but detections, so keep={','.join(options.keep)} "
            "is not to be had.",
            hint="Leave out -o mode=…, or -o keep=….",
        )
    if options.floor is not None and options.mode != "warm":
        raise UsageError(
            f"In the mode {options.mode} HawkEars hands out no frame scores, so floor has no meaning.",
            hint="Leave out -o mode=…, or -o floor=….",
        )
    named = given(options.args)
    if options.config is not None and "config" in named:
        raise UsageError("The YAML file is named twice, in -o config=… and as --cfg.", hint="Give one of them.")

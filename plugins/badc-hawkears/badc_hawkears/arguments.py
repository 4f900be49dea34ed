"""What HawkEars' own commands understand, and what becomes of it here.

Two tables: the options of ``hawkears analyze`` (HawkEars 2.3) and those of ``analyze.py`` (HawkEars 1). They are read
with click, as HawkEars reads its own, so a spelling that HawkEars does not know is an error before anything runs.
Neither HawkEars nor torch is needed for that.
"""

from __future__ import annotations

import datetime as dt
import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from badc_core.errors import UsageError

__all__ = ["ENSEMBLES", "FIRST", "LEAST_SCORE", "SECOND", "Argument", "given", "settings_given", "tidied"]

LEAST_SCORE = 0.05
"""Below it nearly every frame of every class would be a detection."""

ENSEMBLES = (1, 2, 3, 4, 5, 6, 9, 12)
"""HawkEars knows where the windows of so many members begin."""

_RECORDINGS = "The manifest names the recordings."
_OUTPUT = "BADC writes results where --output-dir says, in its own form."
_PLACES = "Give dates and places as metadata of the recordings: see the guide to recording metadata."
_SPEED = "Workers are chosen with --cpu-workers and --max-gpus, their threads with -o threads=N."
_SHOWN = "BADC shows its own progress and log."


@frozen
class Argument:
    """One option of HawkEars' command.

    Parameters
    ----------
    flags
        As HawkEars spells it, the short one first; a switch and its opposite are parted by ``/``.
    kind
        What it takes; ``None``: nothing, it is a switch.
    sets
        Which of HawkEars' settings it changes: ``infer.min_score``.
    instead
        Why it is refused, and what to use; empty: it is honoured.
    """

    flags: str
    kind: Any = str
    sets: str = ""
    instead: str = ""

    @property
    def name(self) -> str:
        """The long spelling, of a switch the one that turns it on."""
        return self.flags.split("/")[0].split()[-1]


def _file(value: str) -> str:
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return str(path)


def _label(value: str) -> str:
    known = ("codes", "names", "alt_codes", "alt_names")
    plural = value.replace("-", "_") + ("" if value.endswith("s") else "s")
    if plural not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return plural


def _date(value: str) -> str:
    digits = value.replace("-", "") if len(value) == 10 else value
    if value == "file":
        return value
    try:
        dt.datetime.strptime(digits if len(digits) == 8 else f"2024{digits}", "%Y%m%d")
    except ValueError:
        raise ValueError(f"{value!r} is neither YYYY-MM-DD, YYYYMMDD, MMDD nor the word file") from None
    if not digits.isdigit() or len(digits) not in (4, 8):
        raise ValueError(f"{value!r} is neither YYYY-MM-DD, YYYYMMDD, MMDD nor the word file")
    return value


def _quarters(value: str) -> float:
    seconds = float(value)
    if seconds <= 0 or seconds * 4 != round(seconds * 4):
        raise ValueError(f"{value} is no multiple of 0.25 s above 0")
    return seconds


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty")
    return value.strip()


_SCORE = click.FloatRange(LEAST_SCORE, 1.0)
_LATITUDE, _LONGITUDE = click.FloatRange(-90, 90), click.FloatRange(-180, 180)

SECOND: Sequence[Argument] = (
    Argument("-c --cfg", _file, "config"),
    Argument("-m --min_score", _SCORE, "infer.min_score"),
    Argument("--models", click.IntRange(1, 6), "infer.max_models"),
    Argument("--low-band/--no-low-band", None, "hawkears.low_band_classifier"),
    Argument("--label", _label, "infer.label_field"),
    Argument("--seg", click.FloatRange(0.25), "infer.segment_len"),
    Argument("--min-label-length", _quarters, "hawkears.min_label_length"),
    Argument("--max-label-length", click.FloatRange(0, min_open=True), "hawkears.max_label_length"),
    Argument("--include", _file, "hawkears.include_list"),
    Argument("--exclude", _file, "hawkears.exclude_list"),
    Argument("--region", _text, "hawkears.region"),
    Argument("--lat", _LATITUDE, "hawkears.latitude"),
    Argument("--lon", _LONGITUDE, "hawkears.longitude"),
    Argument("--date", _date, "hawkears.date"),
    Argument("--filelist", instead=_PLACES),
    Argument("--start", instead="Chunks say where to begin: make the manifest so."),
    Argument("--threads", instead=_SPEED),
    Argument("-i --input", instead=_RECORDINGS),
    Argument("--recurse", None, instead=_RECORDINGS),
    Argument("-o --output", instead=_OUTPUT),
    Argument("-r --rtype", instead=_OUTPUT),
    Argument("--top", None, instead="`-o keep=scores` keeps the scores of all classes."),
    Argument("--quiet", None, instead=_SHOWN),
    Argument("--debug", None, instead=_SHOWN),
)
"""``hawkears analyze`` of HawkEars 2.3."""

FIRST: Sequence[Argument] = (
    Argument("-p --min_score", click.FloatRange(0, 1), "min_score"),
    Argument("-m --merge", click.IntRange(0, 1), "merge"),
    Argument("-b --band", click.IntRange(0, 1), "band"),
    Argument("--overlap", click.FloatRange(0, 3, max_open=True), "overlap"),
    Argument("--power", float, "power"),
    Argument("--fast", None, "fast"),
    Argument("--unfilt", None, "unfilt"),
    *(
        Argument(f"--{band}pf{part}", float, f"{band}pf{part}")
        for band in ("l", "h", "b")
        for part in ("start", "end", "damp")
    ),
    *(Argument(f"--{band}pf", None, f"{band}pf") for band in ("l", "h", "b")),
    Argument("-r --region", _text, "region"),
    Argument("--lat", _LATITUDE, "lat"),
    Argument("--lon", _LONGITUDE, "lon"),
    Argument("--date", _date, "date"),
    Argument("--filelist", instead=_PLACES),
    Argument("-s --start", instead="Chunks say where to begin and to end: make the manifest so."),
    Argument("-e --end", instead="Chunks say where to begin and to end: make the manifest so."),
    Argument("--threads", instead="Workers are chosen with --cpu-workers and --max-gpus."),
    Argument("-i --input", instead=_RECORDINGS),
    Argument("--recurse", None, instead=_RECORDINGS),
    Argument("-o --output", instead=_OUTPUT),
    Argument("--rtype", instead=_OUTPUT),
    Argument("--embed", None, instead="`-o keep=embeddings` keeps embeddings, with HawkEars 2."),
    Argument("-d --debug", None, instead=_SHOWN),
)
"""``analyze.py`` of HawkEars 1."""


def given(texts: Iterable[str], table: Sequence[Argument] = SECOND) -> Mapping[str, Any]:
    """Read arguments: which settings they change, and how.

    Parameters
    ----------
    texts
        Each holds one word or several; one that begins with ``-`` is split as a shell would.
    table
        The command's options.

    Returns
    -------
    mapping
        :attr:`Argument.sets` → value, in the order of `table`; paths are absolute, labels are spelt as in YAML.

    Raises
    ------
    UsageError
        HawkEars does not know an argument, a value is out of range, or the argument is not the user's to give here.
    """
    found = _parsed(_words(texts), table)
    for argument in table:
        if argument.instead and found[argument.name]:
            raise UsageError(
                f"HawkEars' argument {argument.flags.split()[-1]} is not for use in BADC.", hint=argument.instead
            )
    return {one.sets: found[one.name] for one in table if one.sets and found[one.name] is not None}


def tidied(texts: Iterable[str], table: Sequence[Argument] = SECOND) -> tuple[str, ...]:
    """Return the same arguments word by word: long spellings, paths absolute, each once, in the order of `table`.

    Raises
    ------
    UsageError
        As :func:`given`.
    """
    values = given(texts, table)
    words: list[str] = []
    for argument in table:
        value = values.get(argument.sets) if argument.sets else None
        if value is True or value is False:
            words.append(argument.flags.split("/")[0 if value else 1].split()[-1])
        elif value is not None:
            words += [argument.name, str(value)]
    return tuple(words)


def settings_given(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what arguments of HawkEars 2 set, as YAML would say it: ``{"infer": {"min_score": 0.5}}``.

    ``--cfg``, which names a YAML file, is left out.

    Raises
    ------
    UsageError
        As :func:`given`.
    """
    settings: dict[str, dict[str, Any]] = {}
    for key, value in given(texts).items():
        section, dot, name = key.partition(".")
        if dot:
            settings.setdefault(section, {})[name] = value
    return settings


def _words(texts: Iterable[str]) -> list[str]:
    words: list[str] = []
    for text in texts:
        try:
            words += shlex.split(text) if text.lstrip().startswith("-") else [text]
        except ValueError as error:
            raise UsageError(f"HawkEars' argument {text!r} cannot be split into words: {error}.") from None
    return words


def _parsed(words: list[str], table: Sequence[Argument]) -> Mapping[str, Any]:
    command = click.Command("hawkears", params=[_option(one) for one in table], add_help_option=False)
    try:
        found = command.make_context("hawkears", list(words)).params
    except click.NoSuchOption as error:
        raise UsageError(
            f"HawkEars has no argument {error.option_name}.", hint=_meant(error.option_name, table)
        ) from None
    except click.UsageError as error:
        said = error.format_message().rstrip(".")
        extra = "unexpected extra argument" in said
        hint = f"{_RECORDINGS} A value follows its argument: --region CA-NT" if extra else None
        raise UsageError(f"HawkEars' arguments do not fit: {said}.", hint=hint) from None
    return {one.name: found[_variable(one)] for one in table}


def _option(argument: Argument) -> click.Option:
    names = [argument.flags] if "/" in argument.flags else argument.flags.split()
    if argument.kind is None:
        return click.Option([*names, _variable(argument)], is_flag=True, default=None)
    kind = argument.kind
    convert = kind if isinstance(kind, click.ParamType) or kind in (str, float) else _checked_by(kind)
    return click.Option([*names, _variable(argument)], type=convert)


def _checked_by(check: Callable[[str], Any]) -> Any:
    return click.types.FuncParamType(_telling(check))


def _telling(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let click tell why a value was refused; on its own it would only repeat the value."""

    def convert(value: str) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return convert


def _variable(argument: Argument) -> str:
    return argument.name.strip("-").replace("-", "_")


def _meant(wrong: str, table: Sequence[Argument]) -> str:
    known = {flag: one for one in table for flag in one.flags.replace("/", " ").split() if flag.startswith("--")}
    plain = {flag.strip("-").replace("_", "-"): flag for flag in known}
    close = difflib.get_close_matches(wrong.strip("-").replace("_", "-"), plain, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(plain[name] for name in close)}?"
    return f"It knows: {', '.join(flag for flag, one in known.items() if not one.instead)}."

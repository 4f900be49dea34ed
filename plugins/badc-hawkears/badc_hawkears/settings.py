"""HawkEars' settings as plain data: whether they make sense, and what of them can change an answer.

Settings are what HawkEars' YAML files say, whole and merged: ``{"infer": {"min_score": 0.7, …}, "hawkears": …}``. They
are made where HawkEars is, by :func:`badc_hawkears.engine.config.effective_config`; here they are only looked at.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from badc_core.errors import UsageError
from badc_hawkears.arguments import ENSEMBLES, LEAST_SCORE

__all__ = ["as_yaml", "check_settings", "file_lines", "that_matter"]

Settings = Mapping[str, Mapping[str, Any]]

_OWN_EXCLUDED = "data/exclude.txt"
_LOCATIONS = "data/locations.db"
_COUNTY_LEVEL = 2

_NO_EFFECT = {
    "infer": ("num_threads", "block_size", "openvino_block_size", "autocast", "initial_offsets"),
    "misc": ("ckpt_folder", "search_ckpt_path", "exclude_list", "source_regexes", "force_cpu"),
    "hawkears": (
        "filelist",
        "save_rarities",
        "low_band_ckpt_folder",
        "include_list",
        "exclude_list",
        "taxonomy_file",
        "occurrence_pickle",
    ),
}
"""Speed, what BADC does not write, and paths: what lies there is digested, see :mod:`badc_hawkears.identity`."""


def that_matter(settings: Settings) -> dict[str, Any]:
    """Return the settings that can change an answer, without those that name files."""
    return {
        section: {name: value for name, value in values.items() if name not in _NO_EFFECT.get(section, ())}
        for section, values in settings.items()
        if section != "train"  # of training, checkpoints say what they were trained with
    }


def as_yaml(settings: Settings) -> str:
    """Return the settings as a file for HawkEars' ``--cfg``: JSON, which is YAML, too.

    All settings are in it, so that it overrules whatever HawkEars has for the device it finds.
    """
    return json.dumps(settings, indent=2) + "\n"


def file_lines(path: Path) -> list[str]:
    """Return what a list of classes names, as HawkEars reads it: lines, without blank ones and those with ``#``."""
    lines = map(str.strip, path.read_text(encoding="utf-8").split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def check_settings(settings: Settings, root: Path) -> None:
    """Make sure that HawkEars can do what the settings say; it would be silent about most of what is refused here.

    Parameters
    ----------
    settings
        All of them.
    root
        The data folder.

    Raises
    ------
    UsageError
        One is out of range, contradicts another, or names a place or class that HawkEars does not know.
    """
    infer, hawkears = settings["infer"], settings["hawkears"]
    if not LEAST_SCORE <= infer["min_score"] <= 1:
        raise UsageError(
            f"HawkEars' setting infer.min_score is {infer['min_score']:g}, but must be from {LEAST_SCORE:g} to 1."
        )
    if infer["max_models"] not in ENSEMBLES:
        raise UsageError(
            f"HawkEars' setting infer.max_models is {infer['max_models']}, but HawkEars has no such ensemble.",
            hint=f"It has ensembles of {', '.join(map(str, ENSEMBLES))} members: -o models=N",
        )
    if infer["label_field"] not in ("codes", "names", "alt_codes", "alt_names"):
        raise UsageError(
            f"HawkEars' setting infer.label_field is {infer['label_field']!r}.",
            hint="It can be codes, names, alt_codes or alt_names.",
        )
    if hawkears["filelist"] is not None:
        raise UsageError(
            "HawkEars' setting hawkears.filelist is not for use in BADC.",
            hint="Give dates and places as metadata of the recordings: see the guide to recording metadata.",
        )
    _check_lengths(infer["segment_len"], hawkears)
    _check_place(hawkears, root / _LOCATIONS)
    _check_lists(hawkears, root)


def _check_lengths(segment_s: float | None, hawkears: Mapping[str, Any]) -> None:
    shortest, longest = hawkears.get("min_label_length"), hawkears.get("max_label_length")  # not in HawkEars 2.0
    wrong = ""
    if segment_s is not None and segment_s < 0.25:
        wrong = f"labels of {segment_s:g} s are shorter than a frame of 0.25 s"
    elif segment_s is not None and (shortest is not None or longest is not None):
        wrong = "labels of one length (--seg) can have neither a least nor a greatest length"
    elif longest is not None and longest <= 0:
        wrong = "the greatest length of a label must be above 0"
    elif shortest is not None and (shortest <= 0 or abs(shortest * 4 - round(shortest * 4)) > 1e-9):
        wrong = "the least length of a label must be a multiple of 0.25 s above 0"
    elif shortest is not None and longest is not None and shortest > longest:
        wrong = f"the least length of a label, {shortest:g} s, is above the greatest, {longest:g} s"
    elif hawkears.get("max_label_length_merge_threshold", 0) < 0:
        wrong = "max_label_length_merge_threshold must be at least 0"
    if wrong:
        raise UsageError(f"HawkEars' settings do not fit: {wrong}.")


def _check_place(hawkears: Mapping[str, Any], catalogue: Path) -> None:
    region, latitude, longitude = hawkears["region"], hawkears["latitude"], hawkears["longitude"]
    if (latitude is None) != (longitude is None):
        given, lacking = ("latitude", "--lon") if longitude is None else ("longitude", "--lat")
        raise UsageError(
            f"HawkEars was given a {given} alone, and would ignore it.", hint=f"Add {lacking}, or name a --region."
        )
    if not catalogue.is_file():
        return
    with contextlib.closing(sqlite3.connect(f"{catalogue.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as areas:
        try:
            if region is not None:
                _check_region(str(region), [code for (code,) in areas.execute("SELECT Code FROM AdministrativeArea")])
            elif latitude is not None:
                _check_point(areas, float(latitude), float(longitude))
        except sqlite3.DatabaseError as error:
            raise UsageError(
                f"HawkEars' table of places {catalogue} cannot be read: {error}.",
                hint="Make the data folder anew with hawkears init --dest FOLDER.",
            ) from None


def _check_region(region: str, codes: list[str]) -> None:
    if any(code.startswith(region) for code in codes):  # HawkEars takes the beginning of a code for all areas in it
        return
    alike = [code for code in codes if code.count("-") == region.count("-")]
    close = difflib.get_close_matches(region.upper(), alike, n=3, cutoff=0.5)
    raise UsageError(
        f"HawkEars knows no region {region!r}, and would not filter by place at all.",
        hint=f"Did you mean {' or '.join(close)}?" if close else "Regions are eBird's: CA, CA-ON, CA-ON-OT, …",
    )


def _check_point(areas: sqlite3.Connection, latitude: float, longitude: float) -> None:
    within = areas.execute(
        "SELECT 1 FROM AdministrativeArea WHERE Level = ? AND ? BETWEEN MinLatitude AND MaxLatitude"
        " AND ? BETWEEN MinLongitude AND MaxLongitude LIMIT 1",
        (_COUNTY_LEVEL, latitude, longitude),
    )
    if within.fetchone() is None:
        raise UsageError(
            f"HawkEars knows no county at latitude {latitude:g}, longitude {longitude:g}.",
            hint="It knows Canada and the northern United States; west of Greenwich longitudes are negative.",
        )


def _check_lists(hawkears: Mapping[str, Any], root: Path) -> None:
    for word in ("include", "exclude"):
        named = hawkears[f"{word}_list"]
        if named is None or Path(named) == root / _OWN_EXCLUDED:
            continue
        path = Path(named)
        try:
            names = file_lines(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"HawkEars' list of classes {path} cannot be read: {error}.", hint=f"It was named by --{word}."
            ) from None
        if not names and word == "include":
            raise UsageError(f"{path} names no class, so HawkEars would report nothing.", hint="Name one on each line.")
        _check_names(path, names, _known_spellings(root, hawkears.get("taxonomy_file")))


def _check_names(path: Path, names: Iterable[str], known: frozenset[str]) -> None:
    unknown = [name for name in names if name not in known] if known else []
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        more = f", and neither {len(unknown) - 1} more of them" if len(unknown) > 1 else ""
        raise UsageError(
            f"{path} names {unknown[0]!r}, which is no class of HawkEars{more}.",
            hint=f"Did you mean {close[0]!r}?" if close else "data/classes.csv in its data folder has all of them.",
        )


def _known_spellings(root: Path, taxonomy: str | None) -> frozenset[str]:
    """Return every name and code by which HawkEars finds a class; empty when there is no table of classes."""
    classes = root / "data/classes.csv"
    if not classes.is_file():
        return frozenset()
    known: set[str] = set()
    for path in (classes, *([Path(taxonomy)] if taxonomy else [])):
        if path.is_file():
            with path.open(encoding="utf-8-sig", newline="") as file:
                known.update(value.strip() for row in csv.DictReader(file) for value in row.values() if value)
    return frozenset(known)

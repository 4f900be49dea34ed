"""Who announces plugins: entry points of the group ``badc``, found among what is installed.

:mod:`importlib.metadata` would find them, too, but importing it takes a third of the time of ``badc --help``, for it
brings the parsers of mail and of archives. So folders on ``sys.path`` are looked through here, by the entry points
specification (https://packaging.python.org/en/latest/specifications/entry-points/), and it is asked only for archives.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["Announcement", "announcements", "parse_entry_points"]

_ENDINGS = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}


@frozen
class Announcement:
    """One entry point.

    Parameters
    ----------
    name
        Its name.
    value
        What it leads to: ``package.module`` or ``package.module:attribute``.
    read_metadata
        Returns the text of the distribution's metadata, its core headers first.
    """

    name: str
    value: str
    read_metadata: Callable[[], str] = field(eq=False, repr=False)

    def header(self, name: str) -> str:
        """Return a header of the distribution's metadata, ``?`` where it has none."""
        for line in self.read_metadata().splitlines():
            key, colon, value = line.partition(": ")
            if key == name:
                return value.strip()
            if not colon:
                break
        return "?"


def announcements(group: str, path: Iterable[str] | None = None) -> Iterator[Announcement]:
    """Yield the entry points of a group; of a distribution that is there twice, those of the first copy.

    Parameters
    ----------
    group
        Name of the group.
    path
        Where to look; default: ``sys.path``.
    """
    seen: set[str] = set()
    for place in sys.path if path is None else path:
        found = _in_archive(place) if os.path.isfile(place) else _in_folder(place or ".")  # noqa: PTH113 - hot path
        for name, text, read_metadata in found:
            if name in seen:
                continue
            seen.add(name)
            if group in text:
                for key, value in parse_entry_points(text, group):
                    yield Announcement(key, value, read_metadata)


def parse_entry_points(text: str, group: str) -> list[tuple[str, str]]:
    r"""Return name and value of each entry point of one group in the text of ``entry_points.txt``.

    Examples
    --------
    >>> parse_entry_points("[badc]\nlab = badc_lab [extra]\n[other]\nx = y", "badc")
    [('lab', 'badc_lab')]
    """
    section, found = "", []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == group and line and line[0] not in "#;":
            name, equals, value = line.partition("=")
            if equals:
                found.append((name.strip(), "".join(value.partition("[")[0].split())))
    return found


def _in_folder(folder: str) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Yield the normalised name of every distribution in a folder, its entry points, and how to read its metadata."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        stem, ending = os.path.splitext(name)  # noqa: PTH122 - hot path
        if ending in _ENDINGS:
            inside = f"{folder}/{name}"
            text = _text(f"{inside}/entry_points.txt")
            yield _normal(stem.partition("-")[0]), text, functools.partial(_text, f"{inside}/{_ENDINGS[ending]}")


def _in_archive(path: str) -> Iterator[tuple[str, str, Callable[[], str]]]:
    from importlib.metadata import distributions

    for one in distributions(path=[path]):
        read = functools.partial(_in_archived, one)
        yield _normal(str(one.name)), one.read_text("entry_points.txt") or "", read


def _in_archived(distribution: Distribution) -> str:
    return distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - hot path
            return file.read()
    except OSError:
        return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()

"""Recordings: who made them, where and when; and how to find and name them.

What is told comes from three places: the file's own metadata, its name, and the folders it lies in. Nothing is guessed:
what cannot be read in one way stays empty, and what contradicts itself is reported. The rules are the table
``[recordings]`` of ``badc.toml``, see ``docs/how-to/recording-metadata.md``.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from attrs import evolve, field, frozen

from badc_core.clocks import difference_s, localised, zone_named
from badc_core.config import Settings, fill, option
from badc_core.errors import UsageError
from badc_core.layout import dataset_root
from badc_core.model import Chunk, Instant, LocalTime, Recording, StartTime
from badc_core.protocols import RecordingHints, SignalInfo
from badc_core.recorded_names import NameFacts, name_pattern, read_name, without_window
from badc_core.recording_files import assign_ids, find

__all__ = [
    "DEFAULT_FOLDERS",
    "Description",
    "FolderPattern",
    "RecordingRules",
    "assign_ids",
    "describe",
    "described",
    "find",
    "recording_of_chunk",
    "rules_from",
]

DEFAULT_FOLDERS = ("{study_area}/ARU_data/SM/{site}/*/Data", "{study_area}/{type}/{site}", "{study_area}/{site}")
"""Patterns tried when the user gives none, in this order."""

_FOLDER_FIELDS = ("study_area", "site", "device")
_TOLERANCE_S = 2.0
_NOTHING = RecordingHints()
_NO_NAME = NameFacts()


# ----------------------------------------------------------------------------------------------- rules


@frozen
class FolderPattern:
    """Where the folders of a recording say who and where.

    Parameters
    ----------
    text
        Parts joined by ``/``. ``{study_area}``, ``{site}`` and ``{device}`` name what a part tells,
        ``{anything_else}`` a part that tells nothing of use; ``*`` is one part, ``**`` any number. The pattern stands
        for all folders between the root and the file.
    """

    text: str
    _regex: re.Pattern[str] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_regex", _folder_regex(self.text))

    def match(self, folders: tuple[str, ...]) -> dict[str, str] | None:
        """Return what the folders tell, or ``None`` where they do not fit."""
        found = self._regex.fullmatch("".join(f"{name}/" for name in folders))
        return None if found is None else found.groupdict()


def _folder_regex(text: str) -> re.Pattern[str]:
    parts = [part for part in text.split("/") if part not in ("", ".")]
    regex = "".join("(?:[^/]+/)*" if part == "**" else f"{_part_regex(part, text)}/" for part in parts)
    try:
        made = re.compile(regex)
    except re.error as error:
        raise UsageError(f"The folder pattern {text!r} cannot be used: {error}.") from None
    if not made.groupindex:
        raise UsageError(
            f"The folder pattern {text!r} tells nothing.", hint=f"Name a part: {{{'}, {'.join(_FOLDER_FIELDS)}}}."
        )
    return made


def _part_regex(part: str, text: str) -> str:
    made = ""
    for piece in re.split(r"(\{[^{}]*\}|\*+)", part):
        if piece.startswith("{") and piece.endswith("}"):
            made += _placeholder(piece[1:-1], text)
        elif piece.startswith("*"):
            made += "[^/]*" if piece != part else "[^/]+"
        elif "{" in piece or "}" in piece:
            raise UsageError(f"The folder pattern {text!r} has a brace without its partner.")
        else:
            made += re.escape(piece)
    return made


def _placeholder(name: str, text: str) -> str:
    if name in _FOLDER_FIELDS:
        return f"(?P<{name}>[^/]+?)"
    close = difflib.get_close_matches(name, _FOLDER_FIELDS, n=1, cutoff=0.75)
    if close or not name.isidentifier():
        hint = f"Did you mean {{{close[0]}}}?" if close else f"There are {', '.join(_FOLDER_FIELDS)}."
        raise UsageError(f"The folder pattern {text!r} has an unknown {{{name}}}.", hint=hint)
    return "[^/]+"


@frozen
class RecordingRules:
    """How to read names, folders and clocks.

    Parameters
    ----------
    name_patterns
        The user's patterns for names, from :func:`~badc_core.recorded_names.name_pattern`.
    timezone
        The zone that recorders' clocks kept; ``None``: unknown, and local times stay local.
    folders
        Patterns tried in order; the first that fits counts.
    site_from
        ``folders``, or ``name``: what stands before the time in the file's name.
    """

    name_patterns: tuple[re.Pattern[str], ...] = ()
    timezone: dt.tzinfo | None = None
    folders: tuple[FolderPattern, ...] = field(factory=lambda: tuple(map(FolderPattern, DEFAULT_FOLDERS)))
    site_from: Literal["folders", "name"] = "folders"


@frozen
class _Table:
    """The keys of ``[recordings]``."""

    name_pattern: tuple[str, ...] = option((), help="regular expressions with named groups, for times in names")
    timezone: str | None = option(None, help="the zone that recorders' clocks kept")
    folders: tuple[str, ...] = option(DEFAULT_FOLDERS, help="patterns for folders that tell study area and site")
    site_from: Literal["folders", "name"] = option("folders", help="where the site is told")


def rules_from(settings: Settings) -> RecordingRules:
    """Make the rules that the table ``[recordings]`` of the settings asks for.

    Raises
    ------
    UsageError
        An unknown key, zone, group or placeholder, with what it might have meant; a pattern that cannot be used.
    """
    where = f"table [recordings] of {settings.path}" if settings.path else "table [recordings]"
    table = fill(_Table, settings.table("recordings"), where)
    assert table is not None
    return RecordingRules(
        name_patterns=tuple(map(name_pattern, table.name_pattern)),
        timezone=None if table.timezone is None else zone_named(table.timezone),
        folders=tuple(map(FolderPattern, table.folders)),
        site_from=table.site_from,
    )


# ----------------------------------------------------------------------------------------- descriptions


@frozen
class Description:
    """A recording, and what could not be trusted while it was described.

    Parameters
    ----------
    recording
        What is known.
    problems
        Sentences that name the file, for the user to see once.
    """

    recording: Recording
    problems: tuple[str, ...] = ()


def described(
    path: Path,
    recording_id: str,
    info: SignalInfo | None,
    hints: RecordingHints | None,
    rules: RecordingRules,
    root: Path | None = None,
) -> Description:
    """Say who, where and when, and what is doubtful about it.

    The start is taken from the first of: the file's metadata with a zone, the name with a zone, the metadata without,
    the name without. When the user told the clocks' zone, a time without one becomes an instant.

    Parameters
    ----------
    path
        The file, as given; links are not resolved.
    recording_id
        Its id.
    info
        What its header promises; ``None`` when it was not opened.
    hints
        What its own metadata says; ``None`` when it was not opened.
    rules
        From :func:`rules_from`.
    root
        Folder from which folder patterns count; ``None``: the dataset's, and no patterns without one. In a dataset the
        folder ``audio`` at its top is passed over.
    """
    hints = hints or _NOTHING
    name = read_name(path.stem, rules.name_patterns)
    started_at, problems = _start(hints.started_at, name, rules.timezone)
    places = _told_by_folders(path, root, rules.folders)
    latitude, longitude = (hints.latitude, hints.longitude)
    if latitude is None or longitude is None:
        latitude, longitude = (name.latitude, name.longitude)
    recording = Recording(
        recording_id=recording_id,
        path=path,
        sample_rate_hz=None if info is None else info.sample_rate_hz,
        channels=None if info is None else info.channels,
        duration_ms=None if info is None or not info.sample_rate_hz else info.duration_ms,
        started_at=started_at,
        study_area=places.get("study_area"),
        site=_site(name, places, rules),
        device=hints.device or name.device or places.get("device"),
        latitude=latitude,
        longitude=longitude,
    )
    return Description(recording, tuple(f"{path}: {problem}" for problem in (*hints.problems, *problems)))


def describe(
    path: Path,
    recording_id: str,
    info: SignalInfo | None,
    hints: RecordingHints | None,
    rules: RecordingRules,
    root: Path | None = None,
) -> Recording:
    """Say who, where and when; like :func:`described`, for callers that have nobody to tell of problems."""
    return described(path, recording_id, info, hints, rules, root).recording


def recording_of_chunk(
    chunk: Chunk,
    rules: RecordingRules,
    root: Path | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> Recording:
    """Say of a manifest's row, without opening its file, who, where and when its recording was made.

    For manifests without a file of recordings; call it once per recording. Folders tell something only when the row
    names the recording itself, for those of chunk files are of BADC's making. Of a chunk file the time comes from
    `recording_id`.

    Parameters
    ----------
    chunk
        Any chunk of the recording.
    rules
        From :func:`rules_from`.
    root
        As for :func:`described`.
    on_problem
        Called with every problem, a sentence that names the recording.

    Returns
    -------
    Recording
        Its `path` is the chunk's `source_path`.
    """
    source = chunk.source_path
    cut_out = chunk.offset_ms is None and source.stem == chunk.chunk_id != chunk.recording_id
    name = _NO_NAME if cut_out else read_name(_stem_of_recording(chunk), rules.name_patterns)
    if name.started_at is None and name.problem is None:
        name = read_name(chunk.recording_id, rules.name_patterns)
        if name.prefix is not None:  # an id may begin with names of folders
            name = evolve(name, prefix=name.prefix.rpartition("__")[2])
    started_at, problems = _start(None, name, rules.timezone)
    places: Mapping[str, str] = {} if cut_out else _told_by_folders(source, root, rules.folders)
    if on_problem is not None:
        for problem in problems:
            on_problem(f"{chunk.recording_id}: {problem}")
    return Recording(
        recording_id=chunk.recording_id,
        path=source,
        started_at=started_at,
        study_area=places.get("study_area"),
        site=_site(name, places, rules),
        device=name.device or places.get("device"),
        latitude=name.latitude,
        longitude=name.longitude,
    )


def _stem_of_recording(chunk: Chunk) -> str:
    stem = chunk.source_path.stem
    return stem if chunk.recording_id.endswith(stem) else without_window(stem)


def _site(name: NameFacts, places: Mapping[str, str], rules: RecordingRules) -> str | None:
    prefix = name.prefix if rules.site_from == "name" else None
    return name.site or prefix or places.get("site")


def _told_by_folders(path: Path, root: Path | None, patterns: tuple[FolderPattern, ...]) -> Mapping[str, str]:
    try:
        root = root if root is not None else dataset_root(path)
        in_dataset = root is not None and dataset_root(root) == root.absolute()
    except OSError:  # a folder that may not be looked into; reading the file will say so
        return {}
    if root is None:
        return {}
    # Links stay as they are, so no resolve(): in a dataset they lead to folders whose names mean nothing.
    top = Path(os.path.abspath(root))  # noqa: PTH100
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100
    if not folder.is_relative_to(top):
        return {}
    folders = folder.relative_to(top).parts
    if folders[:1] == ("audio",) and in_dataset:
        folders = folders[1:]
    for pattern in patterns:
        told = pattern.match(folders)
        if told is not None:
            return told
    return {}


def _start(
    header: StartTime | None, name: NameFacts, zone: dt.tzinfo | None
) -> tuple[StartTime | None, tuple[str, ...]]:
    """Choose the start among what metadata and name say, and tell where they contradict each other."""
    stated = [moment for moment in (header, name.started_at) if moment is not None]
    problems = [name.problem] if name.problem and header is None else []
    if not stated:
        return None, tuple(problems)
    chosen = next((moment for moment in stated if isinstance(moment, Instant)), stated[0])
    chosen, problem = localised(chosen, zone)
    if problem:
        problems.append(problem)
    if len(stated) == 2:
        first, second = (localised(moment, zone)[0] for moment in stated)
        if difference_s(first, second) > _TOLERANCE_S:
            said = f"its metadata says it began at {_shown(stated[0])}, its name {_shown(stated[1])}"
            problems.append(f"{said}; used: {_shown(chosen)}")
    return chosen, tuple(problems)


def _shown(moment: StartTime) -> str:
    if isinstance(moment, LocalTime):
        return f"{moment.wall.isoformat(sep=' ')} local time"
    return moment.utc.isoformat(sep=" ")

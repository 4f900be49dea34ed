"""From the results of all chunks of a recording to HawkEars' detections on the whole of it. Needs no HawkEars."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from badc_core.model import Chunk, ChunkResult, Detection
from badc_core.seams import join, own_part
from badc_hawkears.engine.frames import KEY
from badc_hawkears.meaning import Frames, Label, labels
from badc_hawkears.rules import ClassRules, Settings, from_json, to_runs

__all__ = ["DECIMALS", "finish"]

DECIMALS = 5
"""Of a confidence."""


def finish(results: Sequence[ChunkResult]) -> Iterable[tuple[str, Detection]]:
    """Make final detections of a recording's results: a :class:`~badc_core.protocols.Finisher`.

    Parameters
    ----------
    results
        Of one recording, in any order. Chunks that failed or are missing count as silence.

    Returns
    -------
    iterable of (str, Detection)
        Each with the chunk in which it begins. What HawkEars hears in the recording it may end past that.

    Notes
    -----
    Results that hold frame scores (mode ``warm``) are put together again and go through all of HawkEars' rules. Slices
    of a file are parts of it; a chunk that is a file of its own is a recording of its own. Other results hold what
    HawkEars itself said of the whole recording; they need only be joined where a label was cut.
    """
    scored = [result for result in results if KEY in result.extra]
    others = [result for result in results if KEY not in result.extra and not result.failed]
    for _, group in itertools.groupby(sorted(scored, key=_file), key=_file):
        yield from _finished(list(group))
    yield from join(others)


def _file(result: ChunkResult) -> tuple[str, str]:
    """Return which file a chunk is part of; by its name alone, for results may come from several machines."""
    chunk = result.chunk
    return (chunk.source_path.name, "") if chunk.offset_ms is not None else ("", chunk.chunk_id)


def _finished(results: Sequence[ChunkResult]) -> Iterator[tuple[str, Detection]]:
    kept = [result.extra[KEY] for result in results]
    settings = from_json(Settings, kept[0]["settings"])
    rules: dict[str, ClassRules] = {}
    frames = Frames(min(one["first"] for one in kept), max(one["first"] + one["count"] for one in kept))
    for one in kept:
        for code, entry in one["classes"].items():
            rules.setdefault(code, from_json(ClassRules, entry, trained_code=code))
            frames.add(code, to_runs(entry.get("frames", "")))
        for code, score in one.get("rest", {}).items():
            frames.add_rest(code, score)
    parts = _parts(results)
    for label in labels(frames, rules, settings):
        yield _placed(label, rules[label.trained_code], parts)


@frozen
class _Part:
    """What belongs to a chunk and no other, in ms of the file."""

    begin: int
    end: int
    chunk: Chunk


def _parts(results: Sequence[ChunkResult]) -> list[_Part]:
    parts = []
    for result in results:
        begin, end = own_part(result.chunk)
        if end is None:
            told: Mapping[str, Any] = result.extra[KEY]
            end = (told["first"] + told["count"]) * told["frame_ms"]
        parts.append(_Part(begin, end, result.chunk))
    return sorted(parts, key=_end)


def _end(part: _Part) -> int:
    return part.end


def _placed(label: Label, rule: ClassRules, parts: Sequence[_Part]) -> tuple[str, Detection]:
    """Give a label to the chunk in which it begins; else, where that is missing, to the next, from its start on."""
    start_ms, end_ms = round(1000 * label.start_s), round(1000 * label.end_s)
    later = bisect.bisect_right(parts, start_ms, key=_end)
    after = parts[min(later, len(parts) - 1)]
    part = next((part for part in itertools.islice(parts, later, None) if part.begin <= start_ms), after)
    start_ms = min(max(start_ms, part.begin), part.end)
    offset_ms = part.chunk.offset_ms or 0
    return part.chunk.chunk_id, Detection(
        start_ms - offset_ms,
        max(end_ms, start_ms) - offset_ms,
        rule.label,
        label_code=rule.code,
        label_name=rule.name,
        confidence=min(1.0, round(label.score, DECIMALS)),
    )

"""What the demonstration shows, computed from the rows of the detections table. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from badc_demo.dataset import SPECIES, LaidSong, LongFile

__all__ = ["Damage", "Found", "Heard", "damage_of", "extra_detections", "heard", "laid_and_found"]

Row = Mapping[str, str]
"""One row of the CSV file: all values are texts, nulls are empty."""


@frozen
class Heard:
    """One species at one site.

    Parameters
    ----------
    study_area, site, label
        Where, and what.
    detections
        How many 3-s windows.
    first, last
        When, as the recorder's clock showed it.
    best
        The highest confidence.
    """

    study_area: str
    site: str
    label: str
    detections: int
    first: str
    last: str
    best: float


@frozen
class Found:
    """One laid song, and what was heard of it.

    Parameters
    ----------
    file, song
        What was laid where.
    heard_at_ms
        Start of the first detection that meets the song, in the recording; ``None``: not heard.
    confidence
        The best of those detections.
    """

    file: LongFile
    song: LaidSong
    heard_at_ms: int | None
    confidence: float | None

    @property
    def lost(self) -> bool:
        """Whether the song lies in the part of the file that is missing."""
        return self.song.at_ms >= self.file.present_ms


@frozen
class Damage:
    """What a damaged file cost.

    Parameters
    ----------
    whole, partly, missing
        Chunks analysed in full, chunks of which a part was there, and chunks of which nothing was.
    missing_ms
        How much could not be read in those that were analysed in part.
    """

    whole: int
    partly: int
    missing: int
    missing_ms: int


def _detections(rows: Iterable[Row]) -> Iterable[Row]:
    """Return the rows that are detections: a chunk in which nothing was heard has a row without times."""
    return (row for row in rows if row["absolute_time_ms"] and row["label"] != "none")


def heard(rows: Iterable[Row]) -> list[Heard]:
    """Return what was heard where and when, by site, most frequent first."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in _detections(rows):
        groups[row["study_area"], row["site"], row["label"]].append(row)
    found = []
    for (study_area, site, label), members in groups.items():
        times = sorted(row["detected_at"] for row in members)
        best = max(float(row["confidence"]) for row in members)
        found.append(Heard(study_area, site, label, len(members), times[0], times[-1], best))
    return sorted(found, key=lambda item: (item.study_area, item.site, -item.detections, item.label))


def _meets(row: Row, song: LaidSong) -> bool:
    return int(row["absolute_time_ms"]) < song.end_ms and int(row["absolute_end_ms"]) > song.at_ms


def laid_and_found(files: Sequence[LongFile], rows: Iterable[Row]) -> list[Found]:
    """Hold what was laid against what was heard."""
    by_recording: dict[str, list[Row]] = defaultdict(list)
    for row in _detections(rows):
        if row["label"] == SPECIES:
            by_recording[row["source_path"].rpartition("/")[2]].append(row)
    found = []
    for file in files:
        for song in file.songs:
            hits = [row for row in by_recording[file.path.name] if _meets(row, song)]
            first = min((int(row["absolute_time_ms"]) for row in hits), default=None)
            best = max((float(row["confidence"]) for row in hits), default=None)
            found.append(Found(file, song, first, best))
    return found


def extra_detections(files: Sequence[LongFile], rows: Iterable[Row]) -> int:
    """Count the detections in the long files that meet no laid song, or are of another species."""
    songs = {file.path.name: file.songs for file in files}
    return sum(
        row["label"] != SPECIES or not any(_meets(row, song) for song in songs[name])
        for row in _detections(rows)
        if (name := row["source_path"].rpartition("/")[2]) in songs
    )


def damage_of(file: LongFile, rows: Iterable[Row]) -> Damage:
    """Say what became of the chunks of one file."""
    chunks = {row["chunk_id"]: row for row in rows if row["source_path"].rpartition("/")[2] == file.path.name}
    missing = sum(row["status"] == "failed" for row in chunks.values())
    gaps = [int(row["missing_ms"] or 0) for row in chunks.values() if row["status"] != "failed"]
    return Damage(whole=gaps.count(0), partly=len(gaps) - gaps.count(0), missing=missing, missing_ms=sum(gaps))

"""Cutting recordings into chunks: windows, and the chunks made of them, with or without files.

Windows are laid out in whole frames with exact arithmetic, as in BADC 0.1, save for one thing: a last window that lies
wholly inside the one before adds nothing, and is not made.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from attrs import frozen

from badc_core.errors import UsageError
from badc_core.host import Host
from badc_core.manifest import DRY_RUN
from badc_core.model import Chunk, Recording
from badc_core.opening import find_reader, open_signal
from badc_core.protocols import SignalFile, SignalInfo

__all__ = [
    "Window",
    "check_lengths",
    "chunk_files",
    "iter_chunk_metadata",
    "planned_files",
    "virtual_chunks",
    "windows",
]


def _no_one(problem: str) -> None:
    pass


@frozen
class Window:
    """A piece of a recording.

    Parameters
    ----------
    start_frame, end_frame
        In the recording; the end does not belong to it.
    start_ms, end_ms
        The same, rounded down.
    overlap_ms
        How much of it belongs to the window before, too; the same for all windows of a recording.
    """

    start_frame: int
    end_frame: int
    start_ms: int
    end_ms: int
    overlap_ms: int


def check_lengths(duration_s: float, overlap_s: float = 0.0) -> None:
    """Make sure that chunks of this length and overlap can be cut.

    Raises
    ------
    UsageError
        A length that is not above 0, or no number; a negative overlap.
    """
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise UsageError(f"A chunk cannot be {duration_s:g} s long.", hint="Give --chunk-duration in seconds, above 0.")
    if not (math.isfinite(overlap_s) and overlap_s >= 0):
        raise UsageError(f"Chunks cannot overlap by {overlap_s:g} s.", hint="Give --overlap in seconds, from 0 on.")


def windows(frames: int, sample_rate_hz: int, duration_s: float, overlap_s: float = 0.0) -> Iterator[Window]:
    """Yield the windows of a recording, in order; together they cover it without a gap.

    Parameters
    ----------
    frames, sample_rate_hz
        Of the recording.
    duration_s
        Length of a window; the last one ends with the recording.
    overlap_s
        How much consecutive windows share; one as long as a window, or longer, counts as none.

    Raises
    ------
    UsageError
        Lengths that cannot be, or windows that begin less than a millisecond apart, whose ids would be the same.

    Notes
    -----
    ``floor(duration * rate)`` is taken of the decimal number that was given: 2.3 s at 44.1 kHz are 101 430 frames,
    where binary floating point finds one less.
    """
    check_lengths(duration_s, overlap_s)
    length = max(math.floor(Fraction(repr(float(duration_s))) * sample_rate_hz), 1)
    overlap = math.floor(Fraction(repr(float(overlap_s))) * sample_rate_hz)
    step = length - overlap if overlap < length else length
    if step * 1000 < sample_rate_hz and step < frames:
        raise UsageError(
            f"Chunks of {duration_s:g} s that overlap by {overlap_s:g} s begin less than a millisecond apart.",
            hint="Give a longer --chunk-duration or a shorter --overlap.",
        )
    overlap_ms = overlap * 1000 // sample_rate_hz
    for start in range(0, frames, step):
        end = min(start + length, frames)
        yield Window(start, end, start * 1000 // sample_rate_hz, end * 1000 // sample_rate_hz, overlap_ms)
        if end == frames:
            return


def virtual_chunks(
    recording: Recording, info: SignalInfo, duration_s: float, overlap_s: float = 0.0
) -> Iterator[Chunk]:
    """Yield chunks that are slices of the recording: nothing is written.

    Parameters
    ----------
    recording
        What is cut; its path becomes the source.
    info
        What its header promises. A damaged recording is cut over the promised length: what is missing then shows up as
        chunks that failed, not as silence.
    duration_s, overlap_s
        As for :func:`windows`.
    """
    source = recording.path.absolute()
    for window in windows(info.frames, info.sample_rate_hz, duration_s, overlap_s):
        yield Chunk(
            chunk_id=f"{recording.recording_id}_{window.start_ms}_{window.end_ms}",
            recording_id=recording.recording_id,
            source_path=source,
            start_ms=window.start_ms,
            end_ms=window.end_ms,
            overlap_ms=window.overlap_ms,
            offset_ms=window.start_ms,
        )


def planned_files(
    recording_id: str,
    info: SignalInfo,
    duration_s: float,
    overlap_s: float,
    folder: Path,
    suffix: str,
) -> Iterator[tuple[Window, Chunk]]:
    """Yield windows and the chunk files that would be written for them, marked as a dry run."""
    for window in windows(info.frames, info.sample_rate_hz, duration_s, overlap_s):
        chunk_id = f"{recording_id}_chunk_{window.start_ms}_{window.end_ms}"
        yield (
            window,
            Chunk(
                chunk_id=chunk_id,
                recording_id=recording_id,
                source_path=folder.absolute() / f"{chunk_id}{suffix}",
                start_ms=window.start_ms,
                end_ms=window.end_ms,
                overlap_ms=window.overlap_ms,
                notes=DRY_RUN,
            ),
        )


def chunk_files(
    file: SignalFile,
    recording_id: str,
    duration_s: float,
    overlap_s: float,
    folder: Path,
    suffix: str,
    *,
    on_problem: Callable[[str], None] = _no_one,
) -> Iterator[Chunk]:
    """Write chunk files, each before it is yielded.

    Every file is written whole or not at all. Where the recording is damaged, a chunk holds what can be read, and its
    notes say what is missing; one of which nothing can be read is left out.

    Parameters
    ----------
    file
        The open recording.
    recording_id
        Its id.
    duration_s, overlap_s
        As for :func:`windows`.
    folder
        Where the files go.
    suffix
        Of their names.
    on_problem
        Called with a sentence about every chunk that is incomplete or left out.
    """
    rate = file.info.sample_rate_hz
    for window, chunk in planned_files(recording_id, file.info, duration_s, overlap_s, folder, suffix):
        wanted = window.end_frame - window.start_frame
        got = file.export(window.start_frame, wanted, chunk.source_path)
        notes = None
        if got < wanted:
            lost = f"{-(-(wanted - got) * 1000 // rate)} of {wanted * 1000 // rate} ms cannot be read"
            on_problem(f"{chunk.chunk_id}: {lost}" + ("; left out" if not got else ""))
            notes = lost
        if got:
            yield Chunk(
                chunk_id=chunk.chunk_id,
                recording_id=recording_id,
                source_path=chunk.source_path,
                start_ms=chunk.start_ms,
                end_ms=chunk.end_ms,
                overlap_ms=chunk.overlap_ms,
                sha256=_digest(chunk.source_path),
                notes=notes,
            )


def iter_chunk_metadata(
    path: Path,
    chunk_duration: float,
    overlap: float = 0.0,
    output_dir: Path | None = None,
    *,
    recording_id: str | None = None,
    dry_run: bool = False,
    host: Host | None = None,
    on_problem: Callable[[str], None] = _no_one,
) -> Iterator[Chunk]:
    """Cut a recording into chunk files, and yield each when it is written: BADC 0.1's Python interface.

    Parameters
    ----------
    path
        The recording.
    chunk_duration, overlap
        Seconds.
    output_dir
        Where chunk files go; ``None``: ``artifacts/chunks/<recording>`` below the working folder.
    recording_id
        ``None``: the stem of the name as given; links are not resolved.
    dry_run
        Lay out the same chunks, and write nothing.
    host
        Where readers come from.
    on_problem
        As for :func:`chunk_files`.

    Raises
    ------
    RecordingError
        It cannot be opened.
    StoreError
        The system refused to write.
    """
    recording_id = recording_id or path.stem
    folder = output_dir or Path.cwd() / "artifacts" / "chunks" / recording_id
    with contextlib.closing(open_signal(path, host)) as file:
        suffix = find_reader(path, host).export_suffix
        if dry_run:
            planned = planned_files(recording_id, file.info, chunk_duration, overlap, folder, suffix)
            yield from (chunk for _, chunk in planned)
        else:
            yield from chunk_files(file, recording_id, chunk_duration, overlap, folder, suffix, on_problem=on_problem)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

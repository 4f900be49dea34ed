"""What a cut through a recording does to detections, and undoing it: for runners with no finisher of their own.

A runner whose windows lie on a grid of the recording needs nothing else: it declares its halo, answers for what begins
in its own part of the chunk (:func:`own_part`), marks what the chunk's end cuts off, and names
``finish="badc_core.seams:join"`` in its spec. It imports nothing but the core, so any installation can finish.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from badc_core.model import Chunk, ChunkResult, Detection

__all__ = ["CONTINUES", "RUNS_ON_MS", "join", "own_part"]

CONTINUES = "continues"
"""Key of a detection's `extra`, with the value true: the chunk's end cuts it off, and the next chunk tells the rest."""

RUNS_ON_MS = "runs_on_ms"
"""Key of a detection's `extra`: how many milliseconds it runs on past the chunk's end, by the halo."""


def own_part(chunk: Chunk) -> tuple[int, int | None]:
    """Return where, in the file, begins what belongs to this chunk and no other: from and until, in milliseconds.

    What chunks share (``overlap_ms``) belongs to the earlier one; the first of a recording has none before it, whatever
    the manifest says. The end is ``None`` when the manifest does not tell it: then the chunk is the whole file.
    """
    first, length = chunk.offset_ms or 0, chunk.duration_ms
    shared = min(chunk.overlap_ms or 0, length or 0) if first else 0
    return first + shared, None if length is None else first + length


def join(results: Sequence[ChunkResult]) -> Iterable[tuple[str, Detection]]:
    """Mend what chunks cut: a :class:`~badc_core.protocols.Finisher`.

    A detection marked :data:`RUNS_ON_MS` gets its true end. One marked :data:`CONTINUES` is joined with the detection
    of the same label in the next chunk that begins where it ends, or before: that one goes, and the first has the later
    end, the higher confidence and the wider frequency bounds. One that begins later is another, even where the two
    touch. Where the next chunk is missing or failed it ends at the seam; with both marks it runs on over chunks that
    lie wholly before its end. A label that two neighbouring chunks both tell of, with the same beginning (a millisecond
    apart at most, which rounding can cost), is one detection: the first. The marks are taken off.
    """
    open_ends: dict[tuple[str, str | None], tuple[_Piece, Any]] = {}  # with the place of the cut
    pieces: list[_Piece] = []
    told: set[tuple[str, str | None, int | None]] = set()
    for result in results:
        end = result.chunk.end_ms
        still_open = {key: (piece, cut) for key, (piece, cut) in open_ends.items() if end is not None and cut >= end}
        told_here = set()
        for found in result.detections:
            piece = _Piece(result.chunk, found)
            told_here.add((found.label, found.label_code, piece.begin))
            before, cut = open_ends.get((found.label, found.label_code), (None, None))
            if before is not None and piece.begin is not None and before.begin <= piece.begin <= cut:
                before.take(piece)
                piece = before
                still_open.pop((found.label, found.label_code), None)
            elif any((found.label, found.label_code, begin) in told for begin in piece.around()):
                continue
            else:
                pieces.append(piece)
            if found.extra.get(CONTINUES) and piece.begin is not None and piece.end is not None:
                still_open[found.label, found.label_code] = piece, piece.end
        open_ends, told = still_open, told_here
    return [(piece.chunk.chunk_id, piece.whole()) for piece in pieces]


class _Piece:
    """A detection on its way: with its place in the recording."""

    def __init__(self, chunk: Chunk, found: Detection) -> None:
        self.chunk = chunk
        self.found = found
        at = chunk.start_ms
        runs_on = found.extra.get(RUNS_ON_MS, 0)
        self.begin: Any = None if at is None or found.start_ms is None else at + found.start_ms
        self.end: Any = None if at is None or found.end_ms is None else at + found.end_ms + runs_on

    def around(self) -> Iterable[int]:
        """Return where it begins, and the milliseconds beside that."""
        return () if self.begin is None else range(self.begin - 1, self.begin + 2)

    def take(self, other: _Piece) -> None:
        """Become one with a later piece."""
        one, two = self.found, other.found
        self.end = max(self.end, other.end) if other.end is not None else self.end
        self.found = attrs.evolve(
            one,
            confidence=_either(max, one.confidence, two.confidence),
            low_hz=_either(min, one.low_hz, two.low_hz),
            high_hz=_either(max, one.high_hz, two.high_hz),
        )

    def whole(self) -> Detection:
        """Return the detection as it is in the recording, without marks."""
        extra: Mapping[str, Any] = {k: v for k, v in self.found.extra.items() if k not in (CONTINUES, RUNS_ON_MS)}
        end_ms = self.found.end_ms if self.end is None else self.end - self.chunk.start_ms
        return attrs.evolve(self.found, end_ms=end_ms, extra=extra)


def _either(choose: Any, one: float | None, two: float | None) -> float | None:
    known = [value for value in (one, two) if value is not None]
    return choose(known) if known else None

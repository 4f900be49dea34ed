"""Where HawkEars looks: windows, blocks and frames of a recording, as whole numbers. Pure functions.

HawkEars lays three grids over a recording, all from its first sample on, and a chunk must use the recording's:

frame
    250 ms: the unit of its answers. All places and lengths here are in frames unless their name says otherwise.
window
    3 s (12 frames; 4 s for the low band): what a model hears at once. Windows of one member of the ensemble follow each
    other; members begin at different offsets, and their frames are averaged.
block
    9 s (12 s for the low band): what one short-time Fourier transform covers. Each block is padded by reflection on
    its own, so the columns of a window depend on the block it lies in, and on nothing outside that block.

The rules are those of HawkEars 2.3.0 and BriteKit 1.8.4: ``Analyzer._process_recordings``,
``Predictor.get_overlapping_scores`` and ``Audio._get_spectrograms_cached``.
"""

from __future__ import annotations

from attrs import frozen

__all__ = [
    "FRAMES_PER_S",
    "FRAME_MS",
    "Grid",
    "Member",
    "Span",
    "counted_frames",
    "halo_ms",
    "members",
    "touched_frames",
]

FRAME_MS = 250
"""Length of a frame; every model of HawkEars 2 answers four times a second."""

FRAMES_PER_S = 4

_OFFSETS = {
    1: (0,),
    2: (0, 6),
    3: (0, 4, 8),
    4: (0, 4, 8, 0),
    5: (0, 4, 8, 0, 6),
    6: (0, 4, 8),
    9: (0, 2, 4, 6, 8, 10, 0, 4, 8),
    12: (0, 2, 4, 6, 8, 10),
}
"""First windows of the members by size of the ensemble; a seventh member begins as the first, and so on."""

_SLACK_MS = 250
"""Added to the halo: rounding to samples of two rates, and an end that only just lies past the halo."""


@frozen
class Member:
    """One network of the ensemble.

    Parameters
    ----------
    offset
        Where its first whole window begins.
    leads
        Whether one more window is made before it, which begins before the recording and is filled up with zeros.
    """

    offset: int
    leads: bool


@frozen
class Span:
    """Which columns of the recording's spectrogram make a window.

    Parameters
    ----------
    padding
        Columns of zeros in front.
    start, stop
        Columns of the recording; the window is filled up with zeros behind them.
    """

    padding: int
    start: int
    stop: int


@frozen
class Grid:
    """The grids of one kind of model.

    Parameters
    ----------
    sample_rate_hz
        Of the samples it hears.
    window
        Length of a window.
    columns_per_frame
        Columns of a spectrogram.
    windows_per_block
        How many windows one transform covers.
    hop_samples
        Samples from column to column inside a block. HawkEars rounds it down, so a block has a few columns more than
        it needs; they are cut off, except from a recording of a single block.
    fft_samples
        Length of a transform; a last block shorter than that has no columns.
    """

    sample_rate_hz: int
    window: int
    columns_per_frame: int
    windows_per_block: int
    hop_samples: int
    fft_samples: int

    @property
    def window_columns(self) -> int:
        """Columns of a window."""
        return self.window * self.columns_per_frame

    @property
    def block_columns(self) -> int:
        """Columns of a whole block."""
        return self.windows_per_block * self.window_columns

    @property
    def block_samples(self) -> int:
        """Samples of a whole block."""
        return self.windows_per_block * self.window * self.sample_rate_hz // FRAMES_PER_S

    def frames(self, total_samples: int) -> int:
        """Return how many frames a recording has: rounded, halves to the even number."""
        return round(FRAMES_PER_S * total_samples / self.sample_rate_hz)

    def columns(self, total_samples: int) -> int:
        """Return how many columns the spectrogram of a recording has."""
        if total_samples <= self.block_samples:
            return 1 + total_samples // self.hop_samples
        before, last = divmod(total_samples - 1, self.block_samples)
        last += 1
        tail = 0 if last < self.fft_samples else min(self.block_columns, 1 + last // self.hop_samples)
        return before * self.block_columns + tail

    def span(self, start: int, total_samples: int | None) -> Span | None:
        """Return the columns of the window that begins at frame `start`.

        Parameters
        ----------
        start
            May be negative.
        total_samples
            Length of the recording; ``None``: longer than any window asked for.

        Returns
        -------
        Span or None
            ``None`` where less than a second of columns is left: HawkEars makes no such window, and none after it.
        """
        first, stop = start * self.columns_per_frame, (start + self.window) * self.columns_per_frame
        padding, first = max(0, -first), max(0, first)
        if total_samples is not None:
            stop = min(stop, self.columns(total_samples))
        if stop - first < FRAMES_PER_S * self.columns_per_frame:
            return None
        return Span(padding, first, stop)

    def blocks(self, span: Span) -> range:
        """Return the numbers of the blocks that a window's columns lie in, for recordings of several blocks."""
        return range(span.start // self.block_columns, (span.stop - 1) // self.block_columns + 1)

    def windows(self, member: Member, first: int, stop: int, total_samples: int | None) -> list[int] | None:
        """Return where those windows of a member begin that touch the frames `first` to `stop`.

        Parameters
        ----------
        member
            The member.
        first, stop
            Frames of the recording, half-open.
        total_samples
            Length of the recording; ``None``: it goes on for at least a window and a second after `stop`.

        Returns
        -------
        list of int or None
            In order; ``None`` for a member that has no window in the whole recording and so takes no part in the mean.
            An empty list is not the same: such a member counts as silence.
        """
        beginning = member.offset - self.window if member.leads else member.offset
        if self.span(beginning, total_samples) is None:
            return None
        place = beginning + max(0, (first - self.window - beginning) // self.window + 1) * self.window
        found = []
        while place < stop and self._has_window(member, place, total_samples):
            if self.span(place, total_samples) is None:
                break
            found.append(place)
            place += self.window
        return found

    def _has_window(self, member: Member, place: int, total_samples: int | None) -> bool:
        """Whether HawkEars asks for a window there: except for a member's first, a second of sound must be left."""
        if total_samples is None or place <= member.offset:
            return True
        left = FRAMES_PER_S * total_samples - place * self.sample_rate_hz
        return left >= FRAMES_PER_S * self.sample_rate_hz


def members(count: int) -> list[Member]:
    """Return the members of an ensemble of `count` networks.

    Raises
    ------
    ValueError
        HawkEars has no rule for that many.
    """
    offsets = _OFFSETS.get(count)
    if offsets is None:
        raise ValueError(f"an ensemble of {count}: HawkEars takes {', '.join(map(str, _OFFSETS))}")
    places = [index % len(offsets) for index in range(count)]
    return [Member(offsets[place], place > 0 and offsets[place] > 0) for place in places]


def touched_frames(start_ms: int, end_ms: int) -> tuple[int, int]:
    """Return the frames that a stretch of the recording touches, half-open."""
    return start_ms // FRAME_MS, -(-end_ms // FRAME_MS)


def counted_frames(start_ms: int, end_ms: int) -> tuple[int, int]:
    """Return the frames that begin in a stretch of the recording, half-open: of neighbours, each has its own."""
    return -(-start_ms // FRAME_MS), -(-end_ms // FRAME_MS)


def halo_ms(*grids: tuple[Grid, bool]) -> int:
    """Return how much context a chunk needs on both sides.

    Parameters
    ----------
    *grids
        Each with whether all its windows lie inside blocks, as those of a single member do.

    Notes
    -----
    A window that touches the chunk's first frame begins less than a window before it, and its first block less than a
    block before that. Where no window crosses into another block, the blocks that the chunk touches are enough.
    """
    most = max((grid.windows_per_block + (not inside)) * grid.window for grid, inside in grids)
    return most * FRAME_MS + _SLACK_MS

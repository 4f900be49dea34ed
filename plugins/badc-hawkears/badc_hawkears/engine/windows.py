"""Windows of many chunks through the networks, in full batches; and their scores laid on the chunks' frames."""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from badc_core.halving import in_batches
from badc_hawkears.engine.device import Processor
from badc_hawkears.engine.grid import Member, Span
from badc_hawkears.engine.model import Networks
from badc_hawkears.engine.networks import Listener, frame_scores
from badc_hawkears.engine.spectra import Blocks, make, prepare

if TYPE_CHECKING:
    import torch

__all__ = ["Hearing", "Piece", "Said"]

_log = logging.getLogger(__name__)  # structlog is not in HawkEars' environment

_Name = tuple[object, Member, int]


@frozen(eq=False)
class Piece:
    """A chunk as one band's networks hear it.

    Parameters
    ----------
    samples
        With context, on the device, at the networks' rate.
    blocks
        Its spectrogram.
    touched
        Frames that it touches, half-open, on the recording's grid.
    key
        Windows that begin at one place in pieces of one key are the same, and remembered; ``None``: they are not.
    """

    samples: torch.Tensor
    blocks: Blocks
    touched: tuple[int, int]
    key: object = None


@frozen(eq=False)
class Said:
    """What networks say of a piece.

    Parameters
    ----------
    scores
        Mean over the networks, shape ``(frames, classes)``; ``None``: there is no window in the whole recording.
    embeddings
        By the frame where a window begins: what the first network made of it.
    """

    scores: torch.Tensor | None
    embeddings: dict[int, torch.Tensor] = field(factory=dict)


@frozen(eq=False)
class _Window:
    """What networks say of a window: the sum of their scores, shape ``(classes, frames)``; an embedding, if wanted."""

    scores: torch.Tensor
    embedding: torch.Tensor | None


class Hearing:
    """Has networks hear pieces.

    Parameters
    ----------
    processor
        Where.
    batch
        How many windows are computed at once, at most; halved for good where the device's memory is too small.
    remembered
        How many windows are remembered: two of each member can touch the next piece of a recording, too. That saves
        time, and changes nothing.
    listener
        Listens to the first network, where embeddings are wanted.
    """

    def __init__(self, processor: Processor, batch: int, remembered: int, listener: Listener | None) -> None:
        self.batch = batch
        self._processor = processor
        self._most = remembered
        self._listener = listener
        self._remembered: OrderedDict[_Name, _Window] = OrderedDict()

    def hear(self, networks: Networks, pieces: Sequence[Piece]) -> list[Said]:
        """Return what networks say of pieces, their scores still on the device.

        Raises
        ------
        RunnerError
            The device's memory does not hold a single window.
        """
        groups: dict[Member, list[Any]] = defaultdict(list)  # networks that begin at one place hear the same windows
        for model, member in zip(networks.models, networks.members, strict=True):
            groups[member].append(model)
        sums = [_Sum(piece.touched, networks) for piece in pieces]
        for member, models in groups.items():
            starts = [networks.grid.windows(member, *piece.touched, piece.blocks.total_samples) for piece in pieces]
            windows = self._windows(networks, models, member, pieces, [some or () for some in starts])
            for total, some, heard in zip(sums, starts, windows, strict=True):
                if some is not None:
                    total.add(some, heard, len(models))
        return [total.mean() for total in sums]

    def _windows(
        self,
        networks: Networks,
        models: Sequence[Any],
        member: Member,
        pieces: Sequence[Piece],
        starts: Sequence[Sequence[int]],
    ) -> list[list[_Window]]:
        """Return what networks that begin at one place say of windows; each window is computed once."""
        todo: dict[_Name, tuple[Blocks, Span]] = {}
        names: list[list[_Name]] = []
        for number, (piece, some) in enumerate(zip(pieces, starts, strict=True)):
            names.append([(number if piece.key is None else piece.key, member, start) for start in some])
            for name in names[-1]:
                span = networks.grid.span(name[2], piece.blocks.total_samples)
                if name not in self._remembered and span is not None:
                    todo.setdefault(name, (piece.blocks, span))
        make(todo.values(), networks.audio, self._processor.blocks)
        before = self.batch
        answers, self.batch = in_batches(
            list(todo.values()),
            lambda some: self._answers(networks, models, some),
            self.batch,
            give_back=self._processor.give_back,
        )
        if self.batch < before:
            _log.warning("out of memory: %d windows at once from now on", self.batch)
        found = dict(zip(todo, answers, strict=True))
        heard = [[found.get(name) or self._remembered[name] for name in named] for named in names]
        for piece, named, some_windows in zip(pieces, names, heard, strict=True):
            if piece.key is not None:
                self._remember(named[-2:], some_windows[-2:])
        return heard

    def _answers(self, networks: Networks, models: Sequence[Any], some: Sequence[tuple[Blocks, Span]]) -> list[_Window]:
        specs = prepare([blocks.window(span) for blocks, span in some], networks.power)
        scores, *others = (frame_scores(model, specs, networks.grid.window, self._processor) for model in models)
        for more in others:
            scores += more
        made = self._listener.take() if self._listener else None
        return [_Window(*both) for both in zip(scores, [None] * len(some) if made is None else made, strict=True)]

    def _remember(self, names: Sequence[_Name], windows: Sequence[_Window]) -> None:
        for name, window in zip(names, windows, strict=True):
            self._remembered[name] = window
            self._remembered.move_to_end(name)
        while len(self._remembered) > self._most:
            self._remembered.popitem(last=False)

    def forget(self) -> None:
        """Forget what is remembered."""
        self._remembered.clear()


class _Sum:
    """Adds up what the networks say of a piece.

    Parameters
    ----------
    touched
        Its frames.
    networks
        Who says it.
    """

    def __init__(self, touched: tuple[int, int], networks: Networks) -> None:
        self._first = touched[0]
        self._frames = max(0, touched[1] - touched[0])
        self._networks = networks
        self._total: torch.Tensor | None = None
        self._count = 0
        self._embeddings: dict[int, torch.Tensor] = {}

    def add(self, starts: Sequence[int], windows: Sequence[_Window], networks: int) -> None:
        """Add windows, which follow each other; a network without a window here counts as silence."""
        self._count += networks
        for start, window in zip(starts, windows, strict=True):
            if window.embedding is not None:
                self._embeddings[start] = window.embedding
        if windows:
            laid = self._laid_out(starts[0] - self._first, windows)
            self._total = laid if self._total is None else self._total + laid

    def _laid_out(self, begin: int, windows: Sequence[_Window]) -> torch.Tensor:
        """Return windows laid on the piece's frames, shape ``(frames, classes)``; frames beside them are 0."""
        import torch

        row = torch.cat([window.scores for window in windows], dim=1)
        row = row[:, max(0, -begin) :][:, : self._frames - max(0, begin)]
        return torch.nn.functional.pad(row, (max(0, begin), self._frames - max(0, begin) - row.shape[1])).T

    def mean(self) -> Said:
        """Return the mean over all networks that take part."""
        import torch

        if self._total is not None:
            return Said(self._total / self._count, self._embeddings)
        if not self._count:
            return Said(None)
        return Said(torch.zeros(self._frames, self._networks.classes, device=self._networks.device))

"""Whole recordings for HawkEars' own programs, and their labels cut by chunk.

HawkEars' function and its command take recordings, not slices. So a recording is analysed once, when its first chunk is
asked for; the labels of recent ones are kept, and every chunk gets those that lie in it. A label that a chunk's end
cuts is marked, and joined when results are compiled (:mod:`badc_core.seams`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from badc_core.atomic import write_text
from badc_core.errors import BadcError, RecordingError, RunnerError
from badc_core.model import Chunk, Detection, Prediction, Recording, Signal
from badc_core.opening import require_content
from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo
from badc_core.seams import CONTINUES, RUNS_ON_MS, own_part
from badc_hawkears.settings import as_yaml
from badc_hawkears.whereabouts import Whereabouts, without_place

__all__ = [
    "MAX_BATCH",
    "Label",
    "RecordingRunner",
    "Tell",
    "Wanted",
    "changed",
    "cut",
    "recording_error",
    "settings_file",
]

MAX_BATCH = 64
"""Chunks in a batch. HawkEars loads its models for each batch of recordings, so it must not be small; a run that is
stopped loses one batch, so it must not be large."""

_RECENT = 512
"""Recordings whose labels are kept: some kilobytes each."""

_HALF_FRAME_MS = 125


@frozen
class Wanted:
    """A recording to be analysed.

    Parameters
    ----------
    path
        The file, links resolved.
    whereabouts
        Where and when it was made.
    size, modified_ns
        Of the file, so that another one under the same name is noticed.
    chunks
        How many chunks it is worth, for limits of time; as far as one of them can tell.
    """

    path: Path
    whereabouts: Whereabouts
    size: int
    modified_ns: int
    chunks: int = field(default=1, eq=False)


@frozen
class Label:
    """What HawkEars heard in a recording.

    Parameters
    ----------
    start_ms, end_ms
        Within the recording.
    label, code, name
        As in a :class:`~badc_core.model.Detection`.
    confidence
        0 to 1.
    """

    start_ms: int
    end_ms: int
    label: str
    code: str | None
    name: str | None
    confidence: float | None


Tell = Callable[[Wanted, "Sequence[Label] | BadcError"], None]
"""Takes what became of a recording."""


@attrs.define
class _Failure:
    """Why a recording could not be analysed, and which chunks were told so."""

    error: BadcError
    told: set[str] = attrs.Factory(set)


class RecordingRunner:
    """HawkEars on whole recordings.

    Parameters
    ----------
    identify
        Says which HawkEars it is, now; loads nothing.
    hear
        Analyses recordings, each of them once, and tells of each as soon as it is done. It may raise: what it told of
        before counts.
    whereabouts_of
        Where and when a recording was made.
    close
        Gives everything back.
    """

    def __init__(
        self,
        identify: Callable[[], RunnerIdentity],
        hear: Callable[[Sequence[Wanted], Tell], None],
        whereabouts_of: Callable[[Recording], Whereabouts],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._identify = identify
        self._hear = hear
        self._whereabouts_of = whereabouts_of
        self._known: OrderedDict[Wanted, Sequence[Label] | _Failure] = OrderedDict()
        self.info = RunnerInfo(identify(), InputSpec(kind="checked", max_batch=MAX_BATCH))
        self.close = close

    def predict(self, batch: Sequence[Signal]) -> list[Prediction]:
        """Return what HawkEars heard in each chunk.

        Raises
        ------
        RecordingError
            A recording of the batch cannot be read.
        RunnerError
            HawkEars failed on a recording of the batch, or altogether.
        """
        wanted = [self._wanted(signal) for signal in batch]
        missing = dict.fromkeys(
            one for one, signal in zip(wanted, batch, strict=True) if self._must_be_heard(one, signal.chunk)
        )
        if missing:
            self._hear_all([*missing])
        answers = [self._answer(one, signal, len(batch) == 1) for one, signal in zip(wanted, batch, strict=True)]
        while len(self._known) > _RECENT:
            self._known.popitem(last=False)
        return answers

    def _hear_all(self, wanted: Sequence[Wanted]) -> None:
        for one in wanted:
            self._known.pop(one, None)
        try:
            self._hear(wanted, self._tell)
        finally:
            if self._identify() != self.info.identity:  # the models are loaded anew for each batch
                for one in wanted:
                    self._known.pop(one, None)
                raise changed()

    def _wanted(self, signal: Signal) -> Wanted:
        source = signal.chunk.source_path
        require_content(source)
        path = source.resolve()
        status = path.stat()
        whereabouts = self._whereabouts_of(signal.recording)
        return Wanted(path, whereabouts, status.st_size, status.st_mtime_ns, _chunks_of(signal))

    def _must_be_heard(self, wanted: Wanted, chunk: Chunk) -> bool:
        """Whether a recording is new; or failed in a way that may pass, and this chunk knows of that failure."""
        known = self._known.get(wanted)
        if not isinstance(known, _Failure):
            return known is None
        return _may_pass(known.error) and chunk.chunk_id in known.told

    def _tell(self, wanted: Wanted, found: Sequence[Label] | BadcError) -> None:
        self._known[wanted] = _Failure(found) if isinstance(found, BadcError) else found

    def _answer(self, wanted: Wanted, signal: Signal, alone: bool) -> Prediction:
        known = self._known.get(wanted)
        if known is None:
            raise RunnerError(f"HawkEars said nothing of {wanted.path}.")
        self._known.move_to_end(wanted)
        if isinstance(known, _Failure):
            if alone:  # of a larger batch the worker asks again, to learn whose failure it was
                known.told.add(signal.chunk.chunk_id)
            raise known.error
        return Prediction([*cut(known, signal)])


def _chunks_of(signal: Signal) -> int:
    """Return how many chunks of this length the recording has, or as many as reach to the end of this one."""
    chunk, length_ms = signal.chunk, signal.chunk.duration_ms
    if chunk.offset_ms is None or not length_ms:
        return 1
    return -(-max(signal.recording.duration_ms or 0, chunk.offset_ms + length_ms) // length_ms)


def _may_pass(error: BadcError) -> bool:
    return isinstance(error, RunnerError) and error.retry


def cut(labels: Iterable[Label], signal: Signal) -> Iterable[Detection]:
    """Yield what belongs to a chunk: the parts of labels that lie in it, marked where it is not the label's end.

    Parameters
    ----------
    labels
        Of the file.
    signal
        The chunk.
    """
    chunk = signal.chunk
    begin, end = own_part(chunk)
    offset_ms = chunk.offset_ms or 0
    last = chunk.offset_ms is None or (end or 0) >= (signal.recording.duration_ms or math.inf)
    for label in labels:
        beyond = 0 if end is None else label.end_ms - end
        if label.start_ms < begin:  # a rest that is too short to matter belongs to the chunk before
            outside = label.end_ms < begin + _HALF_FRAME_MS
        else:
            outside = end is not None and label.start_ms >= end
        if outside:
            continue
        # HawkEars' last frame may lie past the end of the recording by half its length, its last segment by more.
        mark = {} if beyond <= 0 else {RUNS_ON_MS: beyond} if last or beyond < _HALF_FRAME_MS else {CONTINUES: True}
        yield Detection(
            max(label.start_ms, begin) - offset_ms,
            label.end_ms - max(beyond, 0) - offset_ms,
            label.label,
            label.code,
            label.name,
            label.confidence,
            extra=mark,
        )


def changed() -> RunnerError:
    """Return the error of a HawkEars that is another one than at the beginning."""
    return RunnerError(
        "HawkEars' weights, tables or settings changed while it was at work.",
        hint="Run the command again when they are as they should be.",
        retry=False,
    )


def recording_error(path: Path, said: str) -> RecordingError:
    """Return the error of a recording that HawkEars cannot read."""
    return RecordingError(
        f"HawkEars cannot read {path}: {said}.",
        hint="The others are analysed. If there is a better copy, put it in its place.",
    )


def settings_file(path: Path, settings: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write HawkEars' settings for its own programs, and return the file.

    Places come with the recordings; tables of what was left out by place are not wanted; and one thread, because each
    would load the models for itself.
    """
    adapted = without_place(settings)
    adapted["hawkears"]["save_rarities"] = False
    adapted["infer"]["num_threads"] = 1
    write_text(path, as_yaml(adapted))
    return path

"""From a manifest to the tasks that are left to do: streamed, each chunk looked up in the results."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import define, evolve, field

from badc_core import layout, manifest
from badc_core.errors import ManifestError, MixedResultsError
from badc_core.log import get_logger
from badc_core.model import Chunk, Recording
from badc_core.plan import Task
from badc_core.recordings import RecordingRules, recording_of_chunk
from badc_core.results import Problem, digest
from badc_core.resuming import DoneIndex, State

__all__ = ["Counted", "TaskSource"]

_log = get_logger("planning")

_ANEW = "--replace (of `badc infer orchestrate` and `badc pipeline run`: --rerun-all)"


@define
class Counted:
    """What planning met; filled while tasks are taken.

    Parameters
    ----------
    total
        Chunks in the manifest.
    done
        Finished before.
    failed_before
        Failed in an earlier run; they are done again.
    unconfirmed
        Called done by a summary, but without a result; they are done again.
    replaced
        With a result of another runner, model or options, which is to be replaced.
    repeated
        Rows that name a chunk which an earlier row of the same recording named already; left out.
    damaged
        With a result that cannot be read; done again.
    """

    total: int = 0
    done: int = 0
    failed_before: int = 0
    unconfirmed: int = 0
    replaced: int = 0
    repeated: int = 0
    damaged: int = 0


class _States:
    """Sizes and times of source files, each asked for once in a row."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._state: tuple[int | None, int | None] = (None, None)

    def of(self, path: Path) -> tuple[int | None, int | None]:
        """Return the bytes of a file and when it was last written, in ns; ``None`` where it cannot be reached."""
        if path is not self._path and path != self._path:
            try:
                found = os.stat(path)  # noqa: PTH116 - hot path
                self._state = found.st_size, found.st_mtime_ns
            except OSError:
                self._state = None, None
            self._path = path
        return self._state


@define
class TaskSource:
    """The chunks of a manifest that are left to do.

    Parameters
    ----------
    path
        The manifest.
    output_dir
        What the user asked for.
    fingerprint
        Of the work.
    runner
        Its name, for messages.
    rules
        How to tell who, where and when, for manifests without a table of recordings.
    called_done
        Chunks that a summary calls done: ``(recording_id or None, chunk_id)``.
    replace
        Do chunks again whose result is of another runner, model or options.
    resume
        Leave out what is done; otherwise everything is left to do.
    tidy
        Remove temporary files of killed runs.
    by_place
        Results that were made for another place or time of a recording do not count.
    on_base
        Told of every output folder before it is looked at.
    on_rows
        Called every thousand rows or so.
    """

    path: Path
    output_dir: Path
    fingerprint: str
    runner: str
    rules: RecordingRules
    called_done: frozenset[tuple[str | None, str]] = frozenset()
    replace: bool = False
    resume: bool = True
    tidy: bool = False
    by_place: bool = False
    on_base: Callable[[Path], None] = lambda base: None
    on_rows: Callable[[], None] = lambda: None
    bases: list[Path] = field(factory=list, init=False)
    counted: Counted = field(factory=Counted, init=False)
    problems: list[str] = field(factory=list, init=False)
    _marks: bytearray = field(factory=bytearray, init=False)
    _indexes: list[DoneIndex] = field(factory=list)
    _recordings: manifest.RecordingLookup | None = None
    _source: tuple[Path, Path | None] = (Path(), None)
    _placed: tuple[Path, int] = (Path(), -1)

    def tasks(self) -> Iterator[tuple[Task, int]]:
        """Yield what is left to do, each with the number of its output folder.

        Raises
        ------
        ManifestError
            A row cannot be used, or has the name of one with another window.
        MixedResultsError
            A chunk has a result of another runner, model or options, and `replace` is off.
        """
        self._recordings = manifest.RecordingLookup(self.path)
        counted, states = self.counted, _States()
        seen: set[str | int] = set()
        twice: set[tuple[str, str]] = set()
        met: set[str] = set()
        scattered = False
        last: Recording | None = None
        for number, row in enumerate(manifest.read(self.path)):
            counted.total += 1
            if not number % 1024:
                self.on_rows()
            self._marks.append(0)
            if last is None or row.recording_id != last.recording_id:
                last = self._recording(row)
                if not scattered:
                    scattered = row.recording_id in met
                    met.add(row.recording_id)
                    seen = self._all_before(number) if scattered else set()
            key = _name(row) if scattered else row.chunk_id
            if key in seen:
                self._repeated(row)
                twice.add((row.recording_id, row.chunk_id))
                continue
            seen.add(key)
            chunk = self._resolved(row)
            base = self._base(chunk)
            state = self._indexes[base].state(chunk, last) if self.resume else "missing"
            if self._is_left(chunk, base, state):
                yield Task(chunk, last, self.bases[base], *states.of(chunk.source_path)), base
            else:
                self._marks[-1] = min(base + 1, 255)
        if twice:
            self._check_same(twice)

    def finished(self) -> Iterator[tuple[Chunk, Path | None]]:
        """Yield the chunks that :meth:`tasks` found done, each with its output folder, as far as that was kept.

        Reads the manifest once more, if there are any: a byte per row is all that was remembered.
        """
        if not any(self._marks):
            return
        for number, (row, mark) in enumerate(zip(manifest.read(self.path), self._marks, strict=False)):
            if not number % 1024:
                self.on_rows()
            if mark:
                yield row, self.bases[mark - 1] if mark < 255 else None

    def _all_before(self, number: int) -> set[str | int]:
        """Return the first rows' names: the rows of one recording do not stand together, so all must be remembered."""
        return {_name(row) for row in itertools.islice(manifest.read(self.path), number)}

    def _resolved(self, row: Chunk) -> Chunk:
        # Rows of one source share the very Path object, which makes this a comparison for all but the first.
        if row.source_path is not self._source[0]:
            found = manifest.resolve_source(row.source_path, self.path)
            self._source = (row.source_path, None if found == row.source_path else found)
        source = self._source[1]
        return row if source is None else evolve(row, source_path=source)

    def _recording(self, row: Chunk) -> Recording:
        known = None if self._recordings is None else self._recordings.get(row.recording_id)
        return known or recording_of_chunk(self._resolved(row), self.rules, on_problem=self._doubtful)

    def _doubtful(self, problem: str) -> None:
        _log.warning("something about a recording is doubtful", problem=problem)
        self.problems.append(problem)

    def _base(self, chunk: Chunk) -> int:
        if chunk.source_path is not self._placed[0]:
            path = layout.output_base(chunk.source_path, self.output_dir)
            if path not in self.bases:
                self.on_base(path)
                self.bases.append(path)
                self._indexes.append(self._index(path))
            self._placed = (chunk.source_path, self.bases.index(path))
        return self._placed[1]

    def _index(self, base: Path) -> DoneIndex:
        return DoneIndex(base, self.fingerprint, self._problem, tidy=self.tidy, by_place=self.by_place)

    def _problem(self, problem: Problem) -> None:
        _log.warning("a stored result cannot be used", problem=str(problem))
        self.problems.append(str(problem))

    def _repeated(self, row: Chunk) -> None:
        self.counted.repeated += 1
        self.counted.total -= 1
        _log.warning("the manifest names a chunk twice", recording_id=row.recording_id, chunk_id=row.chunk_id)

    def _check_same(self, names: set[tuple[str, str]]) -> None:
        """Raise if rows of one name refer to different windows; reads the manifest once more, as few have such rows."""
        first: dict[tuple[str, str], tuple[int, Chunk]] = {}
        for number, row in enumerate(manifest.read(self.path), 1):
            name = row.recording_id, row.chunk_id
            if name not in names:
                continue
            before, other = first.setdefault(name, (number, row))
            if _window(other) != _window(row):
                raise ManifestError(
                    f"{self.path}: rows {before} and {number} call different windows chunk {row.chunk_id!r} of "
                    f"recording {row.recording_id!r}.",
                    hint="Results go by these names, so one would be lost: give each its own chunk_id.",
                )

    def _is_left(self, chunk: Chunk, base: int, state: State) -> bool:
        if state == "missing" and not self.called_done:
            return True
        counted = self.counted
        called = bool(self.called_done) and (
            (chunk.recording_id, chunk.chunk_id) in self.called_done or (None, chunk.chunk_id) in self.called_done
        )
        if state == "done" or (state == "unmarked" and called):
            counted.done += 1
            return False
        if state in ("foreign", "elsewhere", "unmarked"):
            if not self.replace:
                raise self._mixed(chunk, base, state)
            counted.replaced += 1
        elif state == "failed":
            counted.failed_before += 1
        elif state == "damaged":
            counted.damaged += 1
        if called and state in ("missing", "damaged"):
            counted.unconfirmed += 1
        return True

    def _mixed(self, chunk: Chunk, base: int, state: State) -> MixedResultsError:
        folder = self.bases[base]
        if state == "unmarked":
            return MixedResultsError(
                f"{folder} holds a result for chunk {chunk.chunk_id} that does not say which model and options "
                "made it, as BADC 0.1 wrote them.",
                hint="To count such results as done, give the summary of their run: --resume-summary FILE. "
                f"To make them anew: {_ANEW}. Or choose another --output-dir.",
            )
        if state == "elsewhere":
            return MixedResultsError(
                f"{folder} holds a result for chunk {chunk.chunk_id} that was made for another place or time of its "
                f"recording than is known now, and what {self.runner} hears depends on both.",
                hint="--replace makes such results anew, and no others. Or choose another --output-dir to keep both.",
            )
        return MixedResultsError(
            f"{folder} holds a result for chunk {chunk.chunk_id} that another runner, model or options made "
            f"(not {self.runner} with fingerprint {self.fingerprint}).",
            hint=f"Choose another --output-dir to keep both, or {_ANEW} to make these results anew.",
        )


def _name(row: Chunk) -> int:
    return digest(f"{row.recording_id}\0{row.chunk_id}")


def _window(row: Chunk) -> tuple[object, ...]:
    """Return what a row refers to."""
    return row.source_path, row.start_ms, row.end_ms, row.offset_ms


def first_source(path: Path) -> Path:
    """Return the source of a manifest's first chunk.

    Raises
    ------
    ManifestError
        The manifest is empty.
    """
    for row in manifest.read(path):
        return manifest.resolve_source(row.source_path, path)
    raise ManifestError(f"{path} lists no chunks.", hint="Make one with `badc chunk manifest`.")

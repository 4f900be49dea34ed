"""HawkEars 1, by the path of its ``analyze.py``: one process for a batch of chunks.

It is run in its own folder as ``analyze.py -i FOLDER -o FOLDER --rtype csv --merge 0 …``, and gives up with status 0.
So the table that it writes at its end decides; a batch without one is halved until the chunk at fault is alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from badc_core.errors import BadcError, RunnerError
from badc_core.log import get_logger
from badc_core.model import Detection, Prediction, Signal
from badc_core.processes import Finished
from badc_core.protocols import InputSpec, RunnerIdentity, RunnerInfo, WorkerContext
from badc_hawkears.csvs import Row, read_table
from badc_hawkears.environment import interpreter
from badc_hawkears.identity import digest_of
from badc_hawkears.modes.programs import (
    Program,
    apart,
    by_halves,
    environment,
    failure,
    fresh_folder,
    last_words,
    link,
)
from badc_hawkears.modes.recordings import changed
from badc_hawkears.options import HawkEarsOptions

__all__ = ["V1Runner", "identity_of_v1", "open_v1"]

MAX_BATCH = 32
"""Chunks in a batch; slices of recordings are written out for it."""

_TABLE = "HawkEars_labels.csv"
_CONTENT = ("core/**/*.py", "model/**/*.py", "data/*.csv", "data/*.txt", "data/*.yaml", "data/ckpt*/**/*")
"""What can change an answer, besides the program itself."""

_log = get_logger("hawkears")


def identity_of_v1(script: Path, options: HawkEarsOptions) -> RunnerIdentity:
    """Return which HawkEars 1 a script belongs to; starts nothing.

    Returns
    -------
    RunnerIdentity
        The version is what its ``version.txt`` says. The digest is of its program, its weights and its tables, and of
        the arguments.

    Raises
    ------
    RunnerError
        There is no such script, or a file cannot be read.
    """
    if not script.is_file():
        raise RunnerError(
            f"HawkEars 1 is not there: there is no file {script}.",
            hint="Name its program: -o script=…/HawkEars/analyze.py, or its folder in BADC_HAWKEARS_ROOT.",
            retry=False,
        )
    whole = hashlib.sha256("\0".join(options.args).encode())
    folder = script.parent
    paths = {path for pattern in _CONTENT for path in folder.glob(pattern) if path.is_file()}
    for path in [script, *sorted(paths)]:
        whole.update(f"{path.relative_to(folder).as_posix()}\0{digest_of(path)}\n".encode())
    try:
        version = (folder / "version.txt").read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        version = None
    return RunnerIdentity("HawkEars", version, whole.hexdigest())


def open_v1(script: Path, options: HawkEarsOptions, context: WorkerContext) -> V1Runner:
    """Return a runner that starts HawkEars 1.

    Raises
    ------
    RunnerError
        It is not there.
    """
    argv = (str(interpreter(options)), str(script))
    program = Program(argv, script.parent, environment(context, options.threads), context)
    return V1Runner(lambda: identity_of_v1(script, options), program, options.args)


class V1Runner:
    """HawkEars 1 on batches of chunk files.

    Parameters
    ----------
    identify
        Says which one it is, now.
    program
        How to start it.
    args
        Its arguments, as the user gave them.
    """

    def __init__(self, identify: Callable[[], RunnerIdentity], program: Program, args: Sequence[str]) -> None:
        self._identify = identify
        self._program = program
        self._args = args
        self._scratch = program.context.scratch
        self._done: dict[tuple[str, str], Prediction | BadcError] = {}
        self.info = RunnerInfo(identify(), InputSpec(kind="file", max_batch=MAX_BATCH), needs_finish=False)

    def predict(self, batch: Sequence[Signal]) -> list[Prediction]:
        """Return what HawkEars heard in each chunk.

        Raises
        ------
        RunnerError
            HawkEars failed on one of them. What it said of the others is kept for when they are asked for again.
        """
        left = [signal for signal in batch if _key(signal) not in self._done]
        for group in apart(left, lambda signal: [*_names(signal)]):
            by_halves(group, self._run, self._give_up)
        if left and self._identify() != self.info.identity:
            self._done.clear()
            raise changed()
        found = [self._done[_key(signal)] for signal in batch]
        failed = next((one for one in found if isinstance(one, BadcError)), None)
        if failed is None or len(batch) == 1:
            for signal in batch:
                del self._done[_key(signal)]
        if failed is not None:
            raise failed
        return [one for one in found if isinstance(one, Prediction)]

    def close(self) -> None:
        """Do nothing: no process outlives its batch."""

    def _give_up(self, signal: Signal, error: BadcError) -> None:
        self._done[_key(signal)] = error

    def _run(self, batch: Sequence[Signal]) -> None:
        chunks, output = fresh_folder(self._scratch / "chunks"), fresh_folder(self._scratch / "output")
        for signal in batch:
            assert signal.path is not None
            link(chunks, signal.path.name, signal.path)
        words = ["-i", str(chunks), "-o", str(output), "--rtype", "csv", "--merge", "0", *self._args]
        ended = self._program.run(words, len(batch))
        table = output / _TABLE
        if ended.returncode == 0 and not table.is_file() and len(batch) == 1:
            self._done[_key(batch[0])] = _no_output(batch[0], ended)
            return
        if ended.returncode != 0 or not table.is_file():
            raise failure(ended, f"wrote no {_TABLE}" if not table.is_file() else f"may not have ended its {_TABLE}")
        found = _by_chunk(read_table(table), batch)
        for signal in batch:
            rows = found[_key(signal)]
            self._done[_key(signal)] = Prediction([_detection(row, signal) for row in rows])


def _key(signal: Signal) -> tuple[str, str]:
    return signal.chunk.recording_id, signal.chunk.chunk_id


def _names(signal: Signal) -> Iterator[str]:
    """Yield the names by which the table may call a chunk's file: its own, and that of the file behind a link."""
    assert signal.path is not None
    yield signal.path.name
    yield signal.path.resolve().name


def _by_chunk(rows: Sequence[Row], batch: Sequence[Signal]) -> Mapping[tuple[str, str], list[Row]]:
    keys = {name: _key(signal) for signal in batch for name in _names(signal)}
    if len(batch) == 1:
        keys[""] = _key(batch[0])
    found: dict[tuple[str, str], list[Row]] = {key: [] for key in keys.values()}
    for row in rows:
        name = Path(row.source).name
        if name not in keys:
            raise RunnerError(f"HawkEars' table names {row.source!r}, which was not in the batch.")
        found[keys[name]].append(row)
    return found


def _detection(row: Row, signal: Signal) -> Detection:
    """Return a row as a detection; HawkEars' last window may lie past the end of the chunk."""
    limit = signal.chunk.duration_ms
    start_ms, end_ms = (at if limit is None else min(at, limit) for at in (row.start_ms, row.end_ms))
    return Detection(start_ms, end_ms, row.code or row.name or "unknown", row.code, row.name, row.score)


def _no_output(signal: Signal, ended: Finished) -> Prediction:
    """Return the answer of BADC 0.1 where HawkEars 1 wrote no table: the word says so."""
    said = last_words(ended)
    _log.warning("HawkEars wrote no table", chunk_id=signal.chunk.chunk_id, said=said)
    return Prediction(status="no_output", output=ended.stderr or ended.stdout)

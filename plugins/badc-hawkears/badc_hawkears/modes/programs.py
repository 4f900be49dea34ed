"""HawkEars' programs as processes: run on a batch, judged by what they wrote, halved until a bad file is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from badc_core.errors import BadcError, Interrupted, RunnerError
from badc_core.processes import Finished, ending_with_us, how_it_ended, run_command
from badc_core.protocols import WorkerContext

__all__ = [
    "Program",
    "apart",
    "by_halves",
    "environment",
    "failure",
    "fresh_folder",
    "last_line",
    "last_words",
    "link",
]

T = TypeVar("T")

_WORDS = 300


@frozen
class Program:
    """A program and where it runs.

    Parameters
    ----------
    argv
        Its first words.
    cwd
        The folder it runs in.
    env
        Added to the environment.
    context
        The worker's: its limit of time for a chunk, and whether it was asked to stop.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    context: WorkerContext

    def run(self, words: Sequence[str], chunks: int | None = None) -> Finished:
        """Run it to its end; a process that takes too long is ended with all that it started.

        Parameters
        ----------
        words
            Further arguments.
        chunks
            How many chunks it works on: each has the limit of time for itself. ``None``: there is no limit.

        Raises
        ------
        Interrupted
            The run was asked to stop, and the process was ended.
        RunnerError
            It cannot be started, or took too long.
        """
        limit = self.context.timeout_s
        limit = None if limit is None or chunks is None else limit * chunks
        argv = [*self.argv, *words]
        if shutil.which(argv[0]) is None:
            raise self._no_start("there is no such program")
        try:
            ended = run_command(
                ending_with_us(argv),
                timeout_s=limit,
                env=self.env,
                cwd=self.cwd,
                stopping=self.context.stopping,
            )
        except OSError as error:
            raise self._no_start(error.strerror) from error
        if ended.stopped:
            raise Interrupted("The run was asked to stop while HawkEars was at work.")
        if ended.timed_out:
            raise RunnerError(
                f"HawkEars took longer than {limit:g} s for {chunks} chunk{'' if chunks == 1 else 's'}, and was ended.",
                hint=_quoted(ended),
                returncode=ended.returncode,
                output=ended.stderr,
            )
        return ended

    def _no_start(self, why: str | None) -> RunnerError:
        return RunnerError(
            f"HawkEars cannot be started with {self.argv[0]} in {self.cwd}: {why}.",
            hint="Name the interpreter of HawkEars' environment: -o python=PATH",
            retry=False,
        )


def environment(context: WorkerContext, threads: int) -> dict[str, str]:
    """Return what a process is told of the worker's device, and of the threads it may use; 0 leaves that to it."""
    device = context.device
    env = {"CUDA_VISIBLE_DEVICES": (device.visible_as or str(device.index)) if device.kind == "gpu" else ""}
    return env | ({"OMP_NUM_THREADS": str(threads)} if threads else {})


def last_words(ended: Finished) -> str:
    """Return the last line that a process wrote on stderr, else on stdout; empty when it said nothing."""
    return last_line(ended.stderr) or last_line(ended.stdout)


def last_line(text: str) -> str:
    """Return the last line that is not blank, or nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_WORDS] if lines else ""


def failure(ended: Finished, what: str) -> RunnerError:
    """Return the error of a process that did not do its work."""
    return RunnerError(
        f"HawkEars {how_it_ended(ended.returncode)} and {what}.",
        hint=_quoted(ended),
        returncode=ended.returncode,
        output=ended.stderr or ended.stdout,
    )


def _quoted(ended: Finished) -> str | None:
    words = last_words(ended)
    return f"Its last words: {words}" if words else None


def by_halves(
    items: Sequence[T], attempt: Callable[[Sequence[T]], None], give_up: Callable[[T, BadcError], None]
) -> None:
    """Work on a batch; where that fails, on its halves, until those at fault are alone.

    Parameters
    ----------
    items
        The batch.
    attempt
        Works on some of them; raises a :class:`~badc_core.errors.BadcError` if it must be as if it had not been.
    give_up
        Told of each that fails alone, with what was raised.

    Raises
    ------
    BadcError
        The run was asked to stop, or an error that no other batch can help.
    """
    try:
        attempt(items)
    except Interrupted:
        raise
    except BadcError as error:
        if isinstance(error, RunnerError) and not error.retry:
            raise
        if len(items) == 1:
            give_up(items[0], error)
            return
        middle = len(items) // 2
        by_halves(items[:middle], attempt, give_up)
        by_halves(items[middle:], attempt, give_up)


def apart(items: Sequence[T], names: Callable[[T], Sequence[str]]) -> list[list[T]]:
    """Put items into groups in which no two share a name, whatever its case; as few groups as that needs.

    Parameters
    ----------
    items
        The items.
    names
        All names of one.

    Examples
    --------
    >>> apart(["a.wav", "b.wav", "A.flac"], lambda name: [name.split(".")[0]])
    [['a.wav', 'b.wav'], ['A.flac']]
    """
    groups: list[tuple[set[str], list[T]]] = []
    for item in items:
        own = {name.casefold() for name in names(item)}
        for taken, group in groups:
            if not own & taken:
                taken |= own
                group.append(item)
                break
        else:
            groups.append((own, [item]))
    return [group for _, group in groups]


def fresh_folder(path: Path) -> Path:
    """Make an empty folder; what is there goes."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def link(folder: Path, name: str, target: Path) -> None:
    """Put a link to a file into a folder."""
    (folder / name).symlink_to(target.absolute())

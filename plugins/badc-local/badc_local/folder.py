"""A folder that is watched for finished recordings."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from attrs import frozen, validators

from badc_core.config import option
from badc_core.errors import RecordingError
from badc_core.log import get_logger
from badc_core.recording_files import find

__all__ = ["FolderOptions", "FolderSource", "open_source"]

_log = get_logger(__name__)


@frozen
class FolderOptions:
    """What the user may choose.

    Parameters
    ----------
    settle_s
        For so long a file must not have changed to count as finished.
    pattern
        Shell pattern for names; letter case does not matter.
    recursive
        Whether to look into subfolders.
    """

    settle_s: float = option(
        10.0, help="seconds without a change after which a file is finished", validator=validators.ge(0)
    )
    pattern: str | None = option(None, help="shell pattern for names, like *.wav; default: all that can be read")
    recursive: bool = option(True, help="look into subfolders, too")


@frozen
class _Look:
    """What a file looked like when it was first seen so."""

    size: int
    changed_ns: int
    since_s: float


class FolderSource:
    """Recordings that are copied into a folder.

    A file is finished when it is not empty and its size and its times have stayed the same for a while: since they were
    first seen so, or, by its times, already before. The second needs clocks, this machine's and the file server's, that
    agree within `settle_s`. Names of unfinished copies (``.part``, ``.tmp``, hidden ones as rsync makes) are passed
    over.

    Parameters
    ----------
    folder
        The folder; it may vanish for a while, as a drive does that is unplugged.
    suffixes
        Of files that can be read, with the dot; empty: all.
    options
        What the user chose.
    clock
        Seconds since 1970, for tests.
    """

    def __init__(
        self,
        folder: Path,
        suffixes: Collection[str],
        options: FolderOptions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._suffixes = suffixes
        self._options = options
        self._clock = clock
        self._waiting: dict[Path, _Look] = {}
        self._empty = 0
        self._given: set[Path] = set()
        self._said: set[str] = set()

    def poll(self) -> Sequence[Path]:
        """Return the files that were finished since the last call, sorted; each is returned once."""
        now = self._clock()
        waiting: dict[Path, _Look] = {}
        finished = []
        self._empty = 0
        for path in self._present():
            look = self._look(path, now)
            if look is None:
                self._empty += 1
                continue
            if now - look.since_s >= self._options.settle_s:
                finished.append(path)
                self._given.add(path)
            else:
                waiting[path] = look
        self._waiting = waiting
        return finished

    def pending(self) -> str:
        """Say how many files the last look found unfinished; empty: none."""
        number = len(self._waiting) + self._empty
        if not number:
            return ""
        what = "1 file is" if number == 1 else f"{number:,} files are"
        return f"{what} not finished yet: empty, or changed within settle_s={self._options.settle_s:g} seconds."

    def close(self) -> None:
        """Forget everything. Idempotent."""
        self._waiting.clear()
        self._given.clear()

    def _present(self) -> list[Path]:
        try:
            found = find(
                self._folder,
                self._suffixes,
                pattern=self._options.pattern,
                recursive=self._options.recursive,
                on_problem=self._report,
                skip_empty=False,
            )
            return [path for path in found if path not in self._given]
        except RecordingError as error:
            self._report(error.message)
            return []

    def _look(self, path: Path, now: float) -> _Look | None:
        """Return how the file looks and since when; ``None`` when it is empty or gone."""
        try:
            about = path.stat()
        except OSError:
            return None
        if about.st_size == 0:
            return None
        # Copying programs set the first of these back to the original's; the second tells when they did.
        changed_ns = max(about.st_mtime_ns, about.st_ctime_ns)
        before = self._waiting.get(path)
        if before is not None and (before.size, before.changed_ns) == (about.st_size, changed_ns):
            return before
        since_s = now if before is not None else min(now, changed_ns / 1e9)
        return _Look(about.st_size, changed_ns, since_s)

    def _report(self, problem: str) -> None:
        if problem not in self._said:
            self._said.add(problem)
            _log.warning(problem)


def open_source(target: str, options: FolderOptions | None) -> FolderSource:
    """Watch a folder for files that an installed reader can open.

    Parameters
    ----------
    target
        The folder.
    options
        ``None``: the defaults.

    Raises
    ------
    RecordingError
        It is not there, or no folder.
    """
    from badc_core.host import default_host
    from badc_core.specs import ReaderSpec

    folder = Path(target).expanduser()
    if not folder.is_dir():
        raise RecordingError(
            f"{folder} is no folder that could be watched.", hint="Make it, or check the path and the drive."
        )
    suffixes = {suffix for reader in default_host().all(ReaderSpec) for suffix in reader.suffixes}
    return FolderSource(folder, suffixes, options or FolderOptions())

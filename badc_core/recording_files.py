"""Finding recordings below a folder, and giving each a name of its own."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from badc_core.errors import RecordingError
from badc_core.layout import SEGMENTS_FOLDER, STATE_FOLDER

__all__ = ["assign_ids", "find", "is_temporary"]

_UNFINISHED = (".part", ".tmp", ".temp", ".filepart", ".partial", ".crdownload", "~")
_LONGEST_ID_BYTES = 200  # leaves room for a chunk's window in names made of it


def _no_one(problem: str) -> None:
    pass


def is_temporary(name: str) -> bool:
    """Whether a file name looks hidden, or like one that a copying program has not finished."""
    return name.startswith(".") or name.lower().endswith(_UNFINISHED)


# --------------------------------------------------------------------------------------------- finding


def find(
    folder: Path,
    suffixes: Collection[str],
    *,
    pattern: str | None = None,
    recursive: bool = True,
    on_problem: Callable[[str], None] = _no_one,
    skip_empty: bool = True,
) -> Iterator[Path]:
    """Yield the recordings below a folder, sorted by path, one folder at a time.

    Left out: hidden files and folders (``.git``, ``.datalad``, ``.badc`` among them), names of unfinished copies, empty
    files (with a problem), and chunk files that BADC wrote (folders ``artifacts/chunks``). Links to files are taken
    under their own names, even when what they point to is not there: reading says so. Links to folders are followed
    once, and not when the folder is found anyway.

    Parameters
    ----------
    folder
        Where to look; a file is taken as the only one found.
    suffixes
        With the dot; letter case does not matter. Empty: all.
    pattern
        Shell pattern (``*``, ``?``, ``[…]``) for the name, or for the path below `folder` when it holds a ``/``; letter
        case does not matter.
    recursive
        Whether to look into subfolders.
    on_problem
        Called with a sentence about what could not be looked at; the search goes on.
    skip_empty
        Whether to leave out files without a byte.

    Raises
    ------
    RecordingError
        There is no such folder.
    """
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            yield folder
            return
    except FileNotFoundError:
        raise RecordingError(f"There is no folder {folder}.") from None
    except OSError as error:
        raise RecordingError(f"Cannot look into {folder}: {error.strerror or error}.") from error
    wanted = {suffix.lower() for suffix in suffixes}
    lowered = pattern.lower() if pattern is not None else None

    def fits(path: Path) -> bool:
        if is_temporary(path.name) or (wanted and path.suffix.lower() not in wanted):
            return False
        if lowered is None:
            return True
        text = str(path.relative_to(folder)) if "/" in lowered else path.name
        return fnmatch.fnmatchcase(text.lower(), lowered)

    yield from _Walk(folder, recursive, fits, on_problem, skip_empty).files(folder)


class _Walk:
    """One search; it knows which folders it was in."""

    def __init__(
        self,
        root: Path,
        recursive: bool,
        fits: Callable[[Path], bool],
        on_problem: Callable[[str], None],
        skip_empty: bool,
    ) -> None:
        self._real_root = Path(os.path.realpath(root))
        self._recursive = recursive
        self._fits = fits
        self._on_problem = on_problem
        self._skip_empty = skip_empty
        self._seen: set[tuple[int, int]] = set()

    def files(self, root: Path) -> Iterator[Path]:
        # A stack of iterators instead of recursion: folders may be nested deeper than Python's calls.
        stack = [iter(self._entries(root))]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            path = Path(entry.path)
            try:
                if entry.is_dir():
                    if self._recursive and self._enters(entry, path):
                        stack.append(iter(self._entries(path)))
                elif self._fits(path) and self._usable(entry, path):
                    yield path
            except OSError as error:
                self._on_problem(f"{path} cannot be looked at ({error.strerror or error}); left out")

    def _entries(self, folder: Path) -> Sequence[os.DirEntry[str]]:
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in self._seen:
                return ()
            self._seen.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._on_problem(f"{folder} cannot be looked into ({error.strerror or error}); left out")
            return ()

    def _enters(self, entry: os.DirEntry[str], path: Path) -> bool:
        if entry.name.startswith(".") or _is_chunk_folder(path):
            return False
        if not entry.is_symlink():
            return True
        target = Path(os.path.realpath(path))
        if target == self._real_root or target in self._real_root.parents:
            return False
        if not target.is_relative_to(self._real_root):
            return True
        hidden = any(part.startswith(".") for part in target.relative_to(self._real_root).parts)
        return hidden and not _is_chunk_folder(target)

    def _usable(self, entry: os.DirEntry[str], path: Path) -> bool:
        try:
            about = entry.stat()
        except FileNotFoundError:
            return entry.is_symlink()  # a link to nothing; else it was deleted just now
        if not stat.S_ISREG(about.st_mode):
            return False
        if about.st_size == 0 and self._skip_empty:
            self._on_problem(f"{path} is empty; left out")
            return False
        return True


def _is_chunk_folder(path: Path) -> bool:
    return path.name == "chunks" and path.parent.name == "artifacts"


# ------------------------------------------------------------------------------------------------- ids


def assign_ids(paths: Iterable[Path], root: Path) -> dict[Path, str]:
    """Give every recording an id that is its own, on file systems that ignore letter case, too.

    The id is the file's stem. Recordings whose stems are the same, or differ in letter case or in how Unicode composes
    their letters only, get the names of their parent folders in front, joined by ``__``: as many as tell them apart,
    the same number for all of them. Files of one folder that differ in their suffixes only keep the suffixes.

    An id depends on the recordings with the same stem and on nothing else. So it stays the same when others come or go,
    and it changes when the first recording of the same stem comes: give manifests made one by one different names, or
    list the whole tree at once.

    Parameters
    ----------
    paths
        The recordings; order does not matter.
    root
        Folder above which names of folders are not used.

    Returns
    -------
    dict
        Path to id, in the order of `paths`; every id passes :func:`~badc_core.layout.check_id` and leaves room for the
        window in a chunk's name.
    """
    order = list(dict.fromkeys(paths))
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in order:
        groups[_key(_clean(path.stem))].append(path)
    ids: dict[Path, str] = {}
    taken: set[str] = set()
    crowded = []
    for members in groups.values():
        if len(members) > 1:
            crowded.append(sorted(members, key=os.fsencode))
            continue
        ids[members[0]] = _safe(members[0].stem, members[0], root)
        taken.add(_key(ids[members[0]]))
    for members in sorted(crowded, key=lambda group: os.fsencode(group[0])):
        names = _distinct(members, root, taken)
        taken.update(map(_key, names))
        ids.update(zip(members, names, strict=True))
    return {path: ids[path] for path in order}


def _distinct(members: list[Path], root: Path, taken: set[str]) -> list[str]:
    """Return an id for each recording of one stem."""
    folders = [_folders(path, root) for path in members]
    siblings: dict[tuple[str, ...], int] = defaultdict(int)
    for parts in folders:
        siblings[parts] += 1
    bases = [path.name if siblings[parts] > 1 else path.stem for path, parts in zip(members, folders, strict=True)]
    for depth in range(0 if len(siblings) == 1 else 1, max(map(len, folders)) + 1):
        names = [
            _safe("__".join((*parts[len(parts) - min(depth, len(parts)) :], base)), path, root)
            for path, parts, base in zip(members, folders, bases, strict=True)
        ]
        keys = {_key(name) for name in names}
        if len(keys) == len(members) and not keys & taken:
            return names
    return [f"{_cut(_clean(path.stem))}~{_digest(path, root)}" for path in members]


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    try:
        return path.parent.relative_to(root).parts
    except ValueError:
        return tuple(part for part in path.parent.parts if part != path.anchor)


def _key(text: str) -> str:
    """Return what file systems that ignore letter case and composition compare."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _safe(text: str, path: Path, root: Path) -> str:
    clean = _clean(text)
    if len(os.fsencode(clean)) > _LONGEST_ID_BYTES or clean in (SEGMENTS_FOLDER, STATE_FOLDER):
        return f"{_cut(clean)}~{_digest(path, root)}"
    return clean


def _clean(text: str) -> str:
    text = text.replace("\\", "_").replace("/", "_").replace("\0", "_")
    return "_" * len(text) if text in (".", "..") else text


def _cut(text: str) -> str:
    while len(os.fsencode(text)) > _LONGEST_ID_BYTES - 9:
        text = text[:-1]
    return text


def _digest(path: Path, root: Path) -> str:
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]

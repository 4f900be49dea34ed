"""What git-annex leaves where a file was: links into its store, and pointers.

A saved file is a link to ``…/annex/objects/…``, whose content is shared with git-annex and read-only; an unlocked file
without its content is a short text that names the content. Nothing here calls git-annex, or needs it.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from badc_core.atomic import replacing
from badc_core.layout import dataset_root

__all__ = ["content_missing", "fetch_command", "fetch_hint", "is_link", "is_pointer", "own_copy"]

_OBJECTS = "annex/objects/"
_POINTER_START = b"/annex/objects/"
_POINTER_BYTES = 1024


def is_link(path: Path) -> bool:
    """Whether a file is a link into git-annex's store, with or without the content behind it."""
    try:
        return _OBJECTS in os.readlink(path)  # noqa: PTH115 - a name that is no link is the usual case
    except OSError:
        return False


def is_pointer(path: Path) -> bool:
    """Whether a file holds the name of its content instead of the content.

    Raises
    ------
    OSError
        It cannot be read.
    """
    if not 0 < path.stat().st_size < _POINTER_BYTES:
        return False
    with path.open("rb") as file:
        return file.read(len(_POINTER_START)) == _POINTER_START


def content_missing(path: Path) -> bool:
    """Whether git-annex knows the file, and keeps its content on another machine."""
    try:
        if is_link(path):
            return not path.exists()
        return path.is_file() and is_pointer(path)
    except OSError:
        return False


def fetch_command(path: Path) -> str:
    """Return the command that gets the content of a file or folder, from wherever it is called."""
    root = dataset_root(path)
    return shlex.join(["datalad", "get", *([] if root is None else ["-d", str(root)]), str(path)])


def fetch_hint(path: Path) -> str:
    """Return the sentence that says how to get the content."""
    return f"Fetch it: {fetch_command(path)}"


def own_copy(path: Path) -> None:
    """Make sure that appending to a file changes nothing in git-annex's store.

    A stored file is read-only, but root may write to it all the same: it would change what git-annex stored, which then
    finds it damaged one day. So a link into the store is replaced by a copy of the content, as ``git annex unlock``
    does; where the content is missing it is removed, as ``datalad run`` does with outputs. Saved later, the file is a
    new version; the earlier one stays in the dataset's history. Any other file is left alone.

    Parameters
    ----------
    path
        The file; need not be there.

    Raises
    ------
    OSError
        It cannot be read or removed.
    StoreError
        The copy cannot be written.
    """
    if content_missing(path):
        path.unlink()
    elif is_link(path):
        with path.open("rb") as content, replacing(path, "wb") as file:
            shutil.copyfileobj(content, file)

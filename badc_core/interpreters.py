"""Other interpreters than this one: whether something changed in their environments."""

from __future__ import annotations

from pathlib import Path

__all__ = ["packages_changed_ns"]


def packages_changed_ns(python: Path) -> int:
    """Return when the packages of an interpreter's environment last changed, as far as that can be told quickly.

    Plugins that ask an interpreter what it has remember the answer together with this; when it differs, they ask anew.

    Parameters
    ----------
    python
        The interpreter, as it is started: a link to it in an environment stands for that environment.

    Returns
    -------
    int
        Nanoseconds since 1970; 0 where no folder of packages is found.
    """
    changed_ns = 0
    for folder in python.parent.parent.glob("lib/python3*/site-packages"):
        try:
            changed_ns = max(changed_ns, folder.stat().st_mtime_ns)
        except OSError:  # gone, or out of sight: starting the interpreter will say it better
            continue
    return changed_ns

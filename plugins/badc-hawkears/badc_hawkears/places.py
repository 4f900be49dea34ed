"""Where ``badc hawkears setup`` put HawkEars: remembered in the user's settings, so that nobody has to say it again."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from attrs import frozen

from badc_core.atomic import write_text
from badc_core.errors import RunnerError

__all__ = ["Places", "default_root", "forget", "memory_file", "remember", "remembered"]


@frozen
class Places:
    """An environment with HawkEars, and its data folder.

    Parameters
    ----------
    python
        The environment's interpreter.
    root
        HawkEars' data folder.
    """

    python: Path
    root: Path


def memory_file() -> Path:
    """Return the file that remembers: ``badc/hawkears.json`` in ``$XDG_CONFIG_HOME``, else in ``~/.config``."""
    settings = os.environ.get("XDG_CONFIG_HOME")
    return (Path(settings) if settings else Path.home() / ".config") / "badc" / "hawkears.json"


def remember(places: Places) -> Path:
    """Write down where HawkEars is, in place of what was known before; return the file.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    file = memory_file()
    entry = {"python": str(places.python), "root": str(places.root)}
    write_text(file, json.dumps(entry, indent=2) + "\n")
    return file


def remembered() -> Places | None:
    """Return where HawkEars is, or ``None`` when nobody said. Whether it is still there is not looked at.

    Raises
    ------
    RunnerError
        The file is there, but says something else.
    """
    file = memory_file()
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        return Places(Path(entry["python"]), Path(entry["root"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunnerError(
            f"{file} does not say where HawkEars is: {type(error).__name__}: {error}.",
            hint=f"Run `badc hawkears setup` again, or delete {file}.",
            retry=False,
        ) from error


def forget() -> None:
    """Forget where HawkEars is."""
    memory_file().unlink(missing_ok=True)


def default_root(known: Places | None) -> Path:
    """Return HawkEars' data folder where no option names one; whether it is there is not looked at.

    That is ``HAWKEARS_DATA_DIR``, else the one that ``badc hawkears setup`` made, else where HawkEars itself puts it on
    this system. HawkEars would take the working folder, too, if it looks like one; workers may run in any folder.

    Parameters
    ----------
    known
        What setup remembers.
    """
    named = os.environ.get("HAWKEARS_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    if known is not None:
        return known.root
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/HawkEars"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share").absolute() / "hawkears"

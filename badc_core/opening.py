"""Opening files of samples: is the content there, and which reader takes it."""

from __future__ import annotations

import contextlib
import shlex
import stat
from pathlib import Path

from badc_core import annex
from badc_core.errors import PluginError, RecordingError
from badc_core.host import Host, default_host, load_object
from badc_core.protocols import RecordingHints, SignalFile, SignalInfo
from badc_core.specs import ReaderSpec

__all__ = ["find_reader", "known_suffixes", "open_signal", "probe", "refuse_folder", "require_content"]


def known_suffixes(host: Host | None = None) -> list[str]:
    """Return the suffixes that some reader takes, sorted."""
    return sorted({suffix for spec in (host or default_host()).all(ReaderSpec) for suffix in spec.suffixes})


def find_reader(path: Path, host: Host | None = None) -> ReaderSpec:
    """Return the reader for a file, by the suffix of its name as given; links are not resolved.

    Raises
    ------
    RecordingError
        Nobody reads such files.
    PluginError
        More than one plugin claims the suffix.
    """
    host = host or default_host()
    suffix = path.suffix.lower()
    takers = [spec for spec in host.all(ReaderSpec) if suffix in spec.suffixes]
    if len(takers) > 1:
        raise PluginError(
            f"Files named {suffix} are claimed by the readers {' and '.join(spec.name for spec in takers)}.",
            hint="Uninstall one of the plugins; badc plugins lists them.",
        )
    if not takers:
        known = known_suffixes(host)
        told = f"Known: {', '.join(known)}." if known else "No reader is installed."
        raise RecordingError(f"No reader for {path}: its name ends in {suffix!r}.", hint=f"{told} See: badc plugins")
    return takers[0]


def open_signal(path: Path, host: Host | None = None) -> SignalFile:
    """Open a file of samples with the reader for its suffix.

    Raises
    ------
    RecordingError
        It is not there, its content was not fetched, nobody reads such files, or it is damaged beyond reading.
    """
    require_content(path)
    spec = find_reader(path, host)
    opened: SignalFile = load_object(spec.open)(path)
    return opened


def probe(path: Path, host: Host | None = None) -> tuple[SignalInfo, RecordingHints]:
    """Return what a file's header promises, and what its own metadata says.

    Raises
    ------
    RecordingError
        As :func:`open_signal`.
    """
    with contextlib.closing(open_signal(path, host)) as file:
        return file.info, file.hints()


def require_content(path: Path) -> None:
    """Make sure that a file is there, with its content.

    Raises
    ------
    RecordingError
        It is missing, a folder, unreadable, or a git-annex link or pointer whose content was not fetched.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreachable(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise _folder(path)
    if stat.S_ISREG(status.st_mode):
        try:
            missing = annex.is_pointer(path)
        except OSError as error:
            raise _unreachable(path, error) from None
        if missing:
            raise _not_fetched(path)


def refuse_folder(path: Path) -> None:
    """Make sure that a path, if it is there at all, is no folder.

    Raises
    ------
    RecordingError
        It is one.
    """
    if path.is_dir():
        raise _folder(path)


def _folder(path: Path) -> RecordingError:
    listing = f"badc chunk manifest {shlex.quote(str(path))} --recursive"
    return RecordingError(f"{path} is a folder, not a recording.", hint=f"List the recordings in it: {listing}")


def _unreachable(path: Path, error: OSError) -> RecordingError:
    if isinstance(error, FileNotFoundError):
        if path.is_symlink():
            if annex.is_link(path):
                return _not_fetched(path)
            return RecordingError(
                f"{path} is a link to {path.readlink()}, which is not there.", hint="Mend or remove the link."
            )
        return RecordingError(
            f"There is no file {path}.",
            hint="Check the path. If the file was moved: put it back, or make its manifest anew.",
        )
    return RecordingError(f"Cannot read {path}: {error.strerror or error}.", hint="Mend its permissions.")


def _not_fetched(path: Path) -> RecordingError:
    return RecordingError(
        f"The content of {path} is not on this machine: git-annex keeps it elsewhere.",
        hint=annex.fetch_hint(path),
    )

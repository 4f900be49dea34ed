"""Which HawkEars it is: the version of its packages, and a digest of all files that can change its answers.

Nothing is loaded, so the same identity is told before a run, in badc's environment, and in HawkEars' own.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from badc_core.errors import RunnerError
from badc_core.protocols import RunnerIdentity
from badc_hawkears.options import HawkEarsOptions

__all__ = ["CHECKPOINTS", "LOW_BAND_CHECKPOINTS", "data_root", "identify", "identity_of", "installed_versions"]

CHECKPOINTS = "data/ckpt"
LOW_BAND_CHECKPOINTS = "data/ckpt-low-band"
_PATTERNS = (
    f"{CHECKPOINTS}/*.ckpt",
    f"{LOW_BAND_CHECKPOINTS}/*.ckpt",
    "yaml/*.yaml",
    "data/classes.csv",
    "data/exclude.txt",
    "data/occurrence.pkl",
    "data/taxonomy.csv",
)
_PACKAGES = ("hawkears", "britekit")
_ASK = (
    "from importlib.metadata import version as v, PackageNotFoundError as e\n"
    "def w(n):\n"
    "    try: return v(n)\n"
    "    except e: return '-'\n"
    f"print(*map(w, {_PACKAGES!r}))"
)


def identify(options: HawkEarsOptions | None) -> RunnerIdentity:
    """Return which model `options` ask for; loads nothing.

    Raises
    ------
    RunnerError
        HawkEars or its data folder is not there.
    """
    options = options or HawkEarsOptions()
    return identity_of(data_root(options), installed_versions(options.python))


def identity_of(root: Path, versions: tuple[str, ...]) -> RunnerIdentity:
    """Return the identity of a data folder under these versions of the packages.

    Raises
    ------
    RunnerError
        A file cannot be read, or there are no checkpoints.
    """
    whole = hashlib.sha256()
    count = 0
    for name, path in _files(root):
        count += name.startswith(f"{CHECKPOINTS}/")
        whole.update(f"{name}\0{_digest_of(path)}\n".encode())
    if not count:
        raise RunnerError(
            f"HawkEars' weights are missing: there is no checkpoint in {root / CHECKPOINTS}.",
            hint=f"Fetch them: hawkears init --dest {root}; or name another data folder: -o root=PATH",
            retry=False,
        )
    version = f"{versions[0]}+britekit.{versions[1]}"
    return RunnerIdentity("HawkEars", version, whole.hexdigest())


def data_root(options: HawkEarsOptions) -> Path:
    """Return HawkEars' data folder: the option, else ``HAWKEARS_DATA_DIR``, else where HawkEars puts it.

    HawkEars itself would take the working folder, too, if it looks like one; workers may run in any folder.

    Raises
    ------
    RunnerError
        There is no such folder.
    """
    named = os.environ.get("HAWKEARS_DATA_DIR")
    if options.root is not None:
        root = options.root
    elif named:
        root = Path(named).expanduser().absolute()
    elif sys.platform == "darwin":
        root = Path.home() / "Library/Application Support/HawkEars"
    else:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share").absolute() / "hawkears"
    if not root.is_dir():
        raise RunnerError(
            f"HawkEars' data folder {root} is not there.",
            hint=f"Make it: hawkears init --dest {root}; or name another: -o root=PATH",
            retry=False,
        )
    return root


def installed_versions(python: Path | None = None) -> tuple[str, ...]:
    """Return the versions of hawkears and britekit that an interpreter finds; ``None``: this one.

    Raises
    ------
    RunnerError
        The interpreter cannot be started, or one of the packages is not installed there.
    """
    path = Path(sys.executable) if python is None else python
    try:
        versions = _ask(str(path), _prefix_time(path))
    except (OSError, subprocess.SubprocessError) as error:
        raise RunnerError(
            f"Cannot ask the interpreter {path} for HawkEars: {error}.", hint="Check -o python=PATH.", retry=False
        ) from error
    for package, version in zip(_PACKAGES, versions, strict=True):
        if version == "-":
            raise RunnerError(
                f"The package {package} is not installed in the environment of {path}.",
                hint="Name the interpreter of the environment that has HawkEars: -o python=PATH",
                retry=False,
            )
    return versions


@functools.lru_cache(maxsize=8)
def _ask(python: str, changed_ns: int) -> tuple[str, ...]:
    """Ask an interpreter; `changed_ns` is there to ask anew when something was installed."""
    answer = subprocess.run(
        [python, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    )
    first, second = answer.stdout.split()
    return first, second


def _prefix_time(python: Path) -> int:
    """Return when the packages of the interpreter's environment last changed, as far as that can be told quickly."""
    folders = [*python.parent.parent.glob("lib/python3*/site-packages")]
    return max((folder.stat().st_mtime_ns for folder in folders), default=0)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for pattern in _PATTERNS:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root).as_posix(), path


def _digest_of(path: Path) -> str:
    try:
        status = path.stat()
        return _digest(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise RunnerError(
            f"HawkEars' file {path} cannot be read: {error.strerror or error}.",
            hint="Check the data folder, or make it anew with hawkears init.",
            retry=False,
        ) from error


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    """Return the SHA-256 of a file; size and time of change are there to notice another file under the same name."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Which HawkEars it is: its packages, its weights, and everything it was told that can change an answer.

No network is loaded, so the same identity is told before a run, in badc's environment, and by the worker in HawkEars'.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from badc_core import digests
from badc_core.errors import RunnerError
from badc_core.protocols import RunnerIdentity
from badc_hawkears.environment import LOOKED, SETUP, Told, fetching, no_weights, tell
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.settings import Settings, file_lines, that_matter

__all__ = ["data_root", "identify", "identity_of", "installed_versions"]

_PACKAGES = ("hawkears", "britekit")
_LOW_BAND_YAML = "yaml/low_band.yaml"
_SHORT = 8


def identify(options: HawkEarsOptions | None) -> RunnerIdentity:
    """Return which model `options` ask for; loads nothing.

    Raises
    ------
    RunnerError
        HawkEars, its data folder or its weights are not there, or not as they should be.
    UsageError
        The options, or the files they name, say what HawkEars cannot do.
    """
    options = options or HawkEarsOptions()
    if options.script is not None:
        from badc_hawkears.modes.v1 import identity_of_v1

        return identity_of_v1(options.script, options)
    data_root(options)
    return identity_of(options, tell(options))


def identity_of(options: HawkEarsOptions, told: Told) -> RunnerIdentity:
    """Return the identity of a data folder under settings.

    Parameters
    ----------
    options
        The runner's.
    told
        What they come to.

    Returns
    -------
    RunnerIdentity
        The version reads ``2.3.0+britekit.1.8.4 6 members+low-band weights 1a2b3c4d config 5e6f7a8b``; the last two are
        the beginnings of digests of the checkpoints and of all else. `weights_digest` is that of both.

    Raises
    ------
    RunnerError
        A file cannot be read, or there are no weights.
    """
    root = data_root(options)
    count, low_count = told.settings["infer"]["max_models"], _low_band_members(told)
    main = _checkpoints(told.settings["misc"]["ckpt_folder"], count, options, told)
    low = _checkpoints(told.settings["hawkears"]["low_band_ckpt_folder"], low_count, options, told) if low_count else []
    weights = hashlib.sha256()
    for band, paths in (("main", main), ("low", low)):
        for path in paths:
            weights.update(f"{band}{path.suffix}\0{digest_of(path)}\n".encode())
    config = hashlib.sha256(json.dumps(that_matter(told.settings), sort_keys=True).encode())
    for name, digest in _tables(root, told.settings, bool(low)):
        config.update(f"{name}\0{digest}\n".encode())
    ensemble = f"{count} member{'' if count == 1 else 's'}{'+low-band' if low else ''}"
    if options.precision == "half":  # it may move scores by more than 0.001
        config.update(b"half")
        ensemble += " half"
    return RunnerIdentity(
        "HawkEars",
        f"{told.versions[0]}+britekit.{told.versions[1]} {ensemble}"
        f" weights {weights.hexdigest()[:_SHORT]} config {config.hexdigest()[:_SHORT]}",
        hashlib.sha256(f"{weights.hexdigest()} {config.hexdigest()}".encode()).hexdigest(),
    )


def data_root(options: HawkEarsOptions) -> Path:
    """Return HawkEars' data folder.

    Raises
    ------
    RunnerError
        There is no such folder.
    """
    root = options.root
    if root is None or not root.is_dir():
        raise RunnerError(
            f"HawkEars' data folder {root} is not there.",
            hint=f"Make it: {fetching(options)}; or name another: -o root=PATH ({LOOKED})",
            retry=False,
        )
    return root


def _low_band_members(told: Told) -> int:
    """Return how many members of the low band take part."""
    hawkears = told.settings["hawkears"]
    used = hawkears["low_band_classifier"] and hawkears["heuristics_manager"] is not None
    return told.low_band_members if used else 0


def _checkpoints(folder: str, count: int, options: HawkEarsOptions, told: Told) -> list[Path]:
    """Return the checkpoints that take part, in the order in which HawkEars takes them."""
    suffixes = (".ckpt", ".onnx") if told.openvino and options.mode != "warm" else (".ckpt",)
    found = [
        path
        for suffix in suffixes
        for path in sorted(Path(folder).glob(f"*{suffix}"), key=lambda path: path.name)[:count]
    ]
    if not found:
        raise no_weights(Path(folder), options)
    return found


def _tables(root: Path, settings: Settings, low_band: bool) -> Iterator[tuple[str, str]]:
    """Yield what else is read: name and digest of each table; those that are not there have none."""
    hawkears: Mapping[str, Any] = settings["hawkears"]
    for name in ("include_list", "exclude_list"):
        if hawkears[name] is not None:  # which classes, not in which order or with which comments
            yield name, _of_text(sorted(set(_lines(Path(hawkears[name])))))
    for name, path in (
        ("classes", root / "data/classes.csv"),
        ("taxonomy", hawkears.get("taxonomy_file")),
        ("occurrence", hawkears["occurrence_pickle"]),
        ("low-band", Path(hawkears["occurrence_pickle"]).parent.parent / _LOW_BAND_YAML if low_band else None),
    ):
        if path is not None and Path(path).is_file():
            yield name, digest_of(Path(path))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file of HawkEars, hex.

    Raises
    ------
    RunnerError
        It cannot be read.
    """
    try:
        return digests.digest_of(path)
    except OSError as error:
        raise RunnerError(
            f"HawkEars' file {path} cannot be read: {error.strerror or error}.",
            hint="Check the data folder, or make it anew with hawkears init --dest FOLDER.",
            retry=False,
        ) from error


def _lines(path: Path) -> list[str]:
    try:
        return file_lines(path)
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerError(f"HawkEars' list of classes {path} cannot be read: {error}.", retry=False) from error


def _of_text(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def installed_versions() -> tuple[str, str]:
    """Return the versions of hawkears and britekit in this environment.

    Raises
    ------
    RunnerError
        One is not installed.
    """
    found = []
    for package in _PACKAGES:
        try:
            found.append(version(package))
        except PackageNotFoundError:
            raise RunnerError(
                f"The package {package} is not installed in this environment.",
                hint=f"Make an environment that has it: {SETUP}; or name another interpreter: -o python=PATH",
                retry=False,
            ) from None
    return found[0], found[1]

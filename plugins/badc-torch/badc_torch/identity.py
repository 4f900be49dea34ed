"""Which network it is: name and version by its card, and a digest of its file and of what the card says.

Nothing is loaded, so the same identity is told before a run, without torch, and in the process that runs the network.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from attrs import frozen

from badc_core.digests import digest_of
from badc_core.errors import RunnerError, UsageError
from badc_core.protocols import RunnerIdentity
from badc_torch.card import Card, find_card, read_card
from badc_torch.interpreter import require
from badc_torch.options import TorchOptions

__all__ = ["SUFFIXES", "Described", "describe", "identify"]

SUFFIXES = {".pt2": "exported", ".ts": "scripted", ".pt": "scripted"}
"""What a file's suffix says of its form: a :func:`torch.export` archive, or TorchScript."""


@frozen
class Described:
    """A network, described but not loaded.

    Parameters
    ----------
    model
        Its file.
    card
        What its card says.
    identity
        Which one it is.
    """

    model: Path
    card: Card
    identity: RunnerIdentity


def identify(options: TorchOptions) -> RunnerIdentity:
    """Return which network `options` ask for; loads nothing.

    Raises
    ------
    RunnerError, UsageError
        The network or its card is not there or makes no sense, or the interpreter cannot run it.
    """
    described = describe(options)
    require(options.python)
    return described.identity


def describe(options: TorchOptions) -> Described:
    """Find the network that `options` ask for, read its card, and take its digest.

    Raises
    ------
    RunnerError, UsageError
        See :func:`identify`.
    """
    model = options.model
    if model.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"The model {model} has the suffix {model.suffix!r}, but must be one of {', '.join(SUFFIXES)}.",
            hint="Export it with torch.export.save (.pt2) or torch.jit.save (.ts).",
        )
    digest = _digest_of(model)
    card = read_card(find_card(model, options.config))
    whole = hashlib.sha256(f"{digest}\n{card.meaning()}".encode()).hexdigest()
    return Described(model, card, RunnerIdentity(card.name, f"{card.name} {card.version}", whole))


def _digest_of(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise RunnerError(
            f"The model {path} cannot be read: {error.strerror or error}.", hint="Check -o model=PATH.", retry=False
        ) from error

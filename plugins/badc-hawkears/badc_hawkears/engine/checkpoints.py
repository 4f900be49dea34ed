"""Reading checkpoints: without running what a pickle may hold, and without taking a wrong one for a right one.

HawkEars loads with ``weights_only=False``, and with ``strict=False``: tensors that a file lacks stay random, and nobody
is told. So the files are read here, once, checked, and handed to HawkEars' own loader.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from badc_core.errors import RunnerError

__all__ = ["Checkpoints", "check_folders", "checkpoint_paths", "known_classes", "main"]

_PARTS = ("hyper_parameters", "state_dict", "training_cfg")
_OF_ANY_VERSION = ("hyper_parameters",)
_REASON = re.compile(r"WeightsUnpickler error: *([^\n]*?)(?: was not|\n|$)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Checkpoints:
    """Checkpoints that were read and found to be whole.

    Parameters
    ----------
    trust
        Whether to load a file that is more than numbers and texts.
    parts
        What must be in each of them.
    """

    def __init__(self, trust: bool = False, parts: Sequence[str] = _PARTS) -> None:
        import torch

        self._trust = trust
        self._parts = parts
        self._torch_load = torch.load  # as it is before `handed_out`
        self._read: dict[Path, dict[str, Any]] = {}

    def read(self, path: Path) -> dict[str, Any]:
        """Return a checkpoint's content; each file is read once.

        Raises
        ------
        RunnerError
            It is torn, no checkpoint of BriteKit, or more than numbers and texts.
        """
        path = path.resolve()
        found = self._read.get(path)
        if found is None:
            found = self._read[path] = self._load(path)
        return found

    def _load(self, path: Path) -> dict[str, Any]:
        import pickle

        try:
            with path.open("rb") as file:
                found = self._torch_load(file, map_location="cpu", weights_only=not self._trust)
        except pickle.UnpicklingError as error:
            raise RunnerError(
                f"The checkpoint {path} holds more than numbers and texts, or is no checkpoint: {_brief(error)}",
                hint="Such a file can run programs. If it comes from people you trust: -o trust=yes",
                retry=False,
            ) from error
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
            raise RunnerError(
                f"The checkpoint {path} cannot be read: {_brief(error)}",
                hint="It is damaged or only half there: fetch it anew with hawkears init --dest FOLDER.",
                retry=False,
            ) from error
        lacking = [part for part in self._parts if not isinstance(found, Mapping) or part not in found]
        if lacking:
            raise RunnerError(
                f"The file {path} is no checkpoint of HawkEars 2: it has no {lacking[0]}.",
                hint="Only HawkEars' own checkpoints belong into this folder.",
                retry=False,
            )
        return dict(found)

    def check_classes(self, paths: Sequence[Path], expected: Sequence[str] | None) -> None:
        """Make sure that checkpoints answer for the same classes, in the same order.

        Parameters
        ----------
        paths
            The members of one ensemble.
        expected
            Names of the classes; ``None``: those of the first member.

        Raises
        ------
        RunnerError
            One differs: its scores would be given to wrong names.
        """
        for path in paths:
            names = list(self.read(path)["hyper_parameters"].get("train_class_names", ()))
            expected = names if expected is None else list(expected)
            if names != expected:
                raise RunnerError(
                    f"The checkpoint {path} was trained for other classes: {_difference(names, expected)}.",
                    hint="Keep the checkpoints and data/classes.csv of one release together in a data folder.",
                    retry=False,
                )

    def check_tensors(self, path: Path, model: Any) -> None:
        """Make sure that a checkpoint had every tensor of the model made from it.

        Raises
        ------
        RunnerError
            Some are missing, and random numbers stand in for them.
        """
        missing = sorted(set(model.state_dict()) - set(self.read(path)["state_dict"]))
        if missing:
            raise RunnerError(
                f"The checkpoint {path} lacks {len(missing)} of the model's tensors, {missing[0]} among them.",
                hint="It was made by another version of BriteKit: fetch the one that belongs to this HawkEars.",
                retry=False,
            )

    @contextlib.contextmanager
    def handed_out(self) -> Iterator[None]:
        """Let HawkEars' own loader get its checkpoints from here, in the block."""
        import torch

        def load(path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
            return dict(self.read(Path(path)))

        with mock.patch.object(torch, "load", load):
            yield


def check_folders(settings: Mapping[str, Mapping[str, Any]], root: Path, trust: bool) -> None:
    """Make sure of all checkpoints before a program of HawkEars itself loads them.

    It would run what a pickle holds, and give wrong names to the scores of a checkpoint of another release.

    Parameters
    ----------
    settings
        HawkEars'.
    root
        Its data folder.
    trust
        Whether files may hold more than numbers and texts.

    Raises
    ------
    RunnerError
        One cannot be read, holds a program, or was trained for other classes.
    """
    folders = [(settings["misc"]["ckpt_folder"], known_classes(root))]
    if settings["hawkears"]["low_band_classifier"]:
        folders.append((settings["hawkears"]["low_band_ckpt_folder"], None))
    for folder, expected in folders:
        Checkpoints(trust, _OF_ANY_VERSION).check_classes(checkpoint_paths(Path(folder)), expected)


def main() -> None:
    """Tell what is wrong with checkpoints, as JSON on the last line of stdout; what to check comes as JSON on stdin."""
    wanted = json.load(sys.stdin)
    answer: dict[str, Any] = {}
    try:
        check_folders(wanted["settings"], Path(wanted["root"]), wanted["trust"])
    except RunnerError as error:
        answer = {"error": error.message, "hint": error.hint}
    print(f"\n{json.dumps(answer)}")


def checkpoint_paths(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder in the order in which HawkEars takes them."""
    return sorted(folder.glob("*.ckpt"), key=lambda path: path.name)


def known_classes(root: Path) -> list[str] | None:
    """Return the names in ``data/classes.csv`` of a data folder, in order; ``None`` when there is no such file."""
    path = root / "data/classes.csv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row["Name"] for row in csv.DictReader(file) if row.get("Name")]


def _difference(names: Sequence[str], expected: Sequence[str]) -> str:
    if len(names) != len(expected):
        return f"it has {len(names)} classes, not {len(expected)}"
    number = next(index for index, (one, other) in enumerate(zip(names, expected, strict=True)) if one != other)
    return f"number {number} is {names[number]!r}, not {expected[number]!r}"


def _brief(error: Exception) -> str:
    """Return one line of what torch says; of its advice to load such a file in another way, nothing."""
    said = _COLOURS.sub("", str(error)).strip()
    if isinstance(error, KeyError | AttributeError):
        return "it is of another kind"
    if found := _REASON.search(said):
        return found[1].strip()[:200] or "it is of another kind"
    return (said.partition("\n")[0] or type(error).__name__)[:200]

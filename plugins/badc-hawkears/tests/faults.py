"""Break HawkEars' parts one by one, and print what the engine says: run by HawkEars' interpreter.

``python faults.py ROOT SCRATCH`` prints one JSON object: for each fault the error's message, hint and whether a further
attempt may help; and what comes of a device whose memory is too small.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"

import attrs
import numpy as np
import torch

from badc_core.errors import RunnerError
from badc_hawkears.engine.chunks import Scorer
from badc_hawkears.engine.grid import Member
from badc_hawkears.engine.model import Ensemble, load
from badc_hawkears.engine.place import Place
from badc_hawkears.engine.selfcheck import check_against_hawkears
from badc_hawkears.options import HawkEarsOptions


class Program:
    """What a pickle can do: run a program when it is loaded."""

    def __reduce__(self) -> tuple:
        """Make a file."""
        return Path.touch, (Path(sys.argv[2]) / "it ran",)


def tear(path: Path) -> None:
    """Leave the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(what: Callable[[dict], object]) -> Callable[[Path], None]:
    """Change a checkpoint's content."""

    def changed(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        what(content)
        torch.save(content, path)

    return changed


def swap_classes(content: dict) -> None:
    """Exchange the first two names."""
    names = content["hyper_parameters"]["train_class_names"]
    names[:2] = names[1::-1]


FAULTS = {
    "torn": tear,
    "text": lambda path: path.write_text("<html>404</html>"),
    "empty": lambda path: path.write_bytes(b""),
    "program": change(lambda content: content.update(more=Program())),
    "other thing": lambda path: torch.save({"weights": torch.zeros(3)}, path),
    "other classes": change(swap_classes),
    "fewer classes": change(lambda content: content["hyper_parameters"]["train_class_names"].pop()),
    "missing tensor": change(lambda content: content["state_dict"].pop("head.frame_head.weight")),
    "gone": Path.unlink,
}


def error_of(call: Callable[[], object]) -> dict[str, object]:
    """Return what a call's error says."""
    try:
        call()
    except RunnerError as error:
        return {"message": error.message, "hint": error.hint, "retry": error.retry}
    except ValueError as error:
        return {"message": str(error)}
    return {"message": "no error"}


def broken(root: Path, scratch: Path, name: str) -> dict[str, object]:
    """Load a copy of the data folder of which one checkpoint is broken."""
    copy = scratch / name.replace(" ", "-")
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("*.ckpt"))
    (copy / "data/ckpt").mkdir(exist_ok=True)
    path = copy / "data/ckpt/a.ckpt"
    shutil.copy(min(root.glob("data/ckpt/*.ckpt")), path)
    FAULTS[name](path)
    return error_of(lambda: load(HawkEarsOptions(root=copy, models=1, low_band=False), "cpu"))


def memory(ensemble: Ensemble) -> dict[str, object]:
    """Score with all the memory there is, with memory for two windows, and with none."""
    sound = np.random.default_rng(0).normal(0, 0.1, 28_000 * 60).astype(np.float32)
    place = Place(("sound", len(sound)), 0, 60_000, 0, len(sound), (0, 240), (0, 240))
    plenty = Scorer(ensemble, 16).score(sound, place)
    (model, *_) = ensemble.main.models
    forward = model.forward

    def with_room_for(windows: int) -> Callable[..., object]:
        def small(specs: torch.Tensor) -> object:
            if len(specs) > windows:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return forward(specs)

        return small

    little = Scorer(ensemble, 16)
    with mock.patch.object(model, "forward", with_room_for(2)):
        scores = little.score(sound, place)
    with mock.patch.object(model, "forward", with_room_for(0)):
        none = error_of(lambda: Scorer(ensemble, 16).score(sound, place))
    return {"batch": little.batch, "difference": float(np.abs(scores - plenty).max()), "none": none["message"]}


def main(root: Path, scratch: Path) -> None:
    """Break everything."""
    said = {name: broken(root, scratch, name) for name in FAULTS}
    ensemble = load(HawkEarsOptions(root=root, models=1, low_band=False), "cpu")
    check_against_hawkears(ensemble, Scorer(ensemble, 16))
    for name, main_networks in {
        "offset": attrs.evolve(ensemble.main, members=[Member(2, False)]),
        "length": attrs.evolve(ensemble.main, grid=attrs.evolve(ensemble.main.grid, window=8)),
        "power": attrs.evolve(ensemble.main, power=1.0),
    }.items():
        other = attrs.evolve(ensemble, main=main_networks)
        said[name] = error_of(lambda other=other: check_against_hawkears(other, Scorer(other, 16)))
    said["no gpu"] = error_of(lambda: load(HawkEarsOptions(root=root), "gpu")) if not torch.cuda.is_available() else {}
    said["memory"] = memory(ensemble)
    said["ran"] = (scratch / "it ran").exists()
    print("\n\0" + json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

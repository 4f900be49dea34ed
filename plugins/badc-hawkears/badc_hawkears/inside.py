"""What ``badc hawkears setup`` does with HawkEars' own interpreter: ``python -m badc_hawkears.inside WHAT …``.

What was found goes to stdout as one JSON object, on the last line; talk goes to stderr. Nothing of HawkEars is
imported before it is needed: ``mend`` is there to make its packages importable.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from badc_core.atomic import write_bytes, write_text

__all__ = ["data", "example", "main", "mend", "weights"]

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"  # before BriteKit is imported, or it wants lightning

_EXAMPLE_HZ = 28_000
_EXAMPLE_S = 12
_SONG_S = 3
_TIMEOUT_S = 60.0
_FOR_COMPILED = re.compile(r'^(@torch\.library\.register_fake\("torchvision::)', re.MULTILINE)


def mend() -> dict[str, Any]:
    """Make torchaudio and torchvision importable beside a torch that they were not built for.

    HawkEars uses what is pure Python in them, but both load compiled parts, or describe them, when they are imported.
    Packages that can be imported are left alone, so this may be done any number of times.

    Returns
    -------
    dict
        What was mended, and which torch this is: ``mended``, ``torch``, ``cuda`` (its version, or ``None``), ``gpus``.

    Raises
    ------
    ImportError
        A package cannot be imported even so.
    """
    mended = []
    if _complaint("torchaudio"):
        for library in (_folder("torchaudio") / "lib").glob("_torchaudio*.so"):
            library.unlink()  # linked against another torch; torchaudio does without
            mended.append(library.name)
    if _complaint("torchvision"):
        file = _folder("torchvision") / "_meta_registrations.py"
        write_text(file, _FOR_COMPILED.sub(r"# \1", file.read_text(encoding="utf-8")))
        mended.append(file.name)
    for package in ("torchaudio", "torchvision", "timm", "hawkears", "britekit"):
        if complaint := _complaint(package):
            raise ImportError(f"{package} cannot be imported: {complaint}")
    import torch

    return {
        "mended": mended,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": torch.cuda.device_count() if torch.cuda.is_available() else 0,
    }


def _complaint(package: str) -> str:
    """Return why a package cannot be imported in a new process, or nothing."""
    done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"


def _folder(package: str) -> Path:
    """Return where a package lies, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"{package} is not installed")
    return Path(found.submodule_search_locations[0])


def data(root: Path) -> dict[str, Any]:
    """Lay out HawkEars' data folder, as far as that goes without a network: all but the weights."""
    from hawkears.core.initializer import initialize

    initialize(root, downloader=lambda url, folder: None)
    return {"root": str(root)}


def weights(root: Path) -> dict[str, Any]:
    """Fetch the weights that are missing or out of date, from where HawkEars' own ``init`` gets them.

    Returns
    -------
    dict
        ``fetched``, the bundles that were, and ``problem``, what went wrong, or ``None``.
    """
    import socket

    from hawkears.core.initializer import download_and_extract, get_initialization_status
    from hawkears.core.package_regions import default_package_region

    socket.setdefaulttimeout(_TIMEOUT_S)  # a firewall that says nothing would make us wait for ever
    for left in (root / "data").glob(".ckpt*-*"):  # of a download that was killed
        if not left.name.endswith("-previous"):
            shutil.rmtree(left)
    status = get_initialization_status(root)
    missing = {*status.missing_bundles, *status.outdated_bundles}
    fetched = []
    for bundle in default_package_region().bundles:
        if bundle.name not in missing:
            continue
        try:
            download_and_extract(bundle.url, root / bundle.default_directory, expected_sha256=bundle.sha256)
        except (OSError, ValueError) as error:  # URLError and a torn archive are among them
            return {"fetched": fetched, "problem": f"{bundle.url}: {error}"}
        fetched.append(bundle.name)
    return {"fetched": fetched, "problem": None}


def example(folder: Path) -> dict[str, Any]:
    """Make a data folder with a small model that truly detects, and a sound for it.

    Returns
    -------
    dict
        ``root``, the data folder; ``samples``, a file of float32, mono, and its ``sample_rate_hz``; the ``code`` of
        what sings in it from ``song_ms`` on.
    """
    import numpy as np

    from badc_hawkears.testing.checkpoint import make_root, yellowthroat

    make_root(folder / "root", ("bknet.1",), examples=96)
    sound = np.random.default_rng(7).normal(0, 0.002, _EXAMPLE_S * _EXAMPLE_HZ).astype(np.float32)
    song = yellowthroat(_EXAMPLE_HZ)
    begin = _SONG_S * _EXAMPLE_HZ
    sound[begin : begin + len(song)] += song[: len(sound) - begin]
    write_bytes(folder / "sound.f32", sound.tobytes())
    return {
        "root": str(folder / "root"),
        "samples": str(folder / "sound.f32"),
        "sample_rate_hz": _EXAMPLE_HZ,
        "code": "COYE",
        "song_ms": _SONG_S * 1000,
    }


_WHAT: Mapping[str, Callable[..., dict[str, Any]]] = {
    "mend": mend,
    "data": lambda root, version: data(Path(root)),
    "weights": lambda root: weights(Path(root)),
    "example": lambda folder: example(Path(folder)),
}


def main(words: Sequence[str] | None = None) -> None:
    """Do what the first word says, and print what came of it."""
    what, *rest = sys.argv[1:] if words is None else words
    print("\n" + json.dumps(_WHAT[what](*rest)))


if __name__ == "__main__":
    main()

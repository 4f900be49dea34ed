"""What an environment with HawkEars is made of, as commands: pure functions, for doing it and for ``--dry-run``.

HawkEars itself asks for 6.8 GB. Running its models takes a third of that: torch, HawkEars and BriteKit without most of
what they ask for (training, plots, a graphical desktop), and the libraries that are left.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from badc_hawkears.environment import NEEDED, WARM

__all__ = ["ENVIRONMENT", "GB", "Interpreter", "Recipe", "Step", "needed_bytes", "steps"]

TORCH = {"cpu": "2.13.0", "cuda": "2.11.0"}
"""For CUDA the version that torchaudio and torchvision below were built for; on a CPU both are mended to fit."""

HAWKEARS = (f"hawkears=={WARM[0]}", f"britekit=={WARM[1]}", "timm==1.0.31")
SIBLINGS = ("torchaudio==2.11.0", "torchvision==0.26.0")
LIBRARIES = (
    "av<19",
    "click<8.3",
    "httpx",
    "huggingface_hub==1.16.1",
    "librosa<2",
    "numpy<2.4",
    "omegaconf<3",
    "pandas<3",
    "pillow",
    "polars<2",
    "psutil<8",
    "pyarrow<25",  # HawkEars' own command splits long labels with it, and does not ask for it
    "pyyaml",
    "rich",
    "safetensors",
    "scipy<2",
    "soundfile<1",
)
ENVIRONMENT = ("venv", "torch", "hawkears", "libraries", "badc")
"""Steps that pip takes part in. After one that was broken off, or would be different now, all are done anew."""

GB = 10**9
NEEDS_BYTES = {"cpu": 25 * GB // 10, "cuda": 9 * GB}
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "--no-warn-conflicts")


@frozen
class Interpreter:
    """A Python that environments can be made with.

    Parameters
    ----------
    path
        The program.
    version
        ``(3, 11, 7)``.
    packages
        Where packages lie in an environment of it, from the environment's folder on.
    """

    path: Path
    version: tuple[int, int, int]
    packages: Path


@frozen
class Recipe:
    """What is wanted.

    Parameters
    ----------
    path
        The folder for all of it.
    interpreter
        What the environment is made with.
    kind
        ``cpu`` or ``cuda``.
    cuda
        The version of CUDA that torch must be built for, like ``12.8``; ``None``: whichever comes.
    torch
        Another version of torch than the one that was tested.
    index_url
        Where pip finds the build of torch that is wanted; ``None``: where it finds all packages.
    weights
        Whether to fetch HawkEars' weights.
    sources
        The folders of the packages ``badc_core`` and ``badc_hawkears`` that are running now.
    """

    path: Path
    interpreter: Interpreter
    sources: tuple[Path, ...]
    kind: str = "cpu"
    cuda: str | None = None
    torch: str | None = None
    index_url: str | None = None
    weights: bool = True

    @property
    def environment(self) -> Path:
        """The folder of the virtual environment."""
        return self.path / "env"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.environment / "bin" / "python"

    @property
    def root(self) -> Path:
        """HawkEars' data folder."""
        return self.path / "root"


@frozen
class Step:
    """Something to do, and how to know whether it was done.

    Parameters
    ----------
    name
        One word.
    title
        For people, as a heading.
    commands
        Each a program with its arguments.
    lasting
        It stays done when an earlier step is done again.
    always
        It finds out for itself whether there is anything to do.
    """

    name: str
    title: str
    commands: tuple[tuple[str, ...], ...]
    lasting: bool = False
    always: bool = False

    @property
    def digest(self) -> str:
        """Tells this step from another of the same name."""
        return hashlib.sha256(json.dumps(self.commands).encode()).hexdigest()[:16]

    def lines(self) -> list[str]:
        """Return the commands as a shell takes them."""
        return [shlex.join(command) for command in self.commands]


def steps(recipe: Recipe) -> tuple[Step, ...]:
    """Return everything that makes an environment with HawkEars and its data folder, in order."""
    python = str(recipe.python)
    root = str(recipe.root)
    version = ".".join(map(str, recipe.interpreter.version))
    made = [
        Step("venv", f"Environment of Python {version}", (_venv(recipe),)),
        Step("torch", f"torch {_torch(recipe)}", _install_torch(recipe)),
        Step("hawkears", f"HawkEars {WARM[0]}", (_install(python, "--no-deps", *HAWKEARS),)),
        Step("libraries", "Libraries that HawkEars uses", (_install(python, *LIBRARIES),)),
        Step("badc", "BADC, from where it runs now", (_install(python, *NEEDED), *_links(recipe))),
        Step("mend", "Packages made to fit each other", (_inside(python, "mend"),)),
        # The version is there to lay the folder out anew for another HawkEars.
        Step("data", "Data folder", (_inside(python, "data", root, HAWKEARS[0]),), lasting=True),
        Step("check", "Check: a small model hears a bird", (_inside(python, "example", "FOLDER"),)),
    ]
    if recipe.weights:  # the last, so that all else is ready where they cannot be had
        made.append(Step("weights", "Weights", (_inside(python, "weights", root),), always=True))
    return tuple(made)


def _venv(recipe: Recipe) -> tuple[str, ...]:
    return (str(recipe.interpreter.path), "-m", "venv", "--clear", str(recipe.environment))


def _torch(recipe: Recipe) -> str:
    return recipe.torch or TORCH[recipe.kind]


def _install_torch(recipe: Recipe) -> tuple[tuple[str, ...], ...]:
    python = str(recipe.python)
    index = () if recipe.index_url is None else ("--index-url", recipe.index_url)
    # torchaudio and torchvision ask for one version of torch exactly; without --no-deps pip would bring that, too.
    return (
        _install(python, *index, f"torch=={_torch(recipe)}"),
        _install(python, "--no-deps", *index, *SIBLINGS),
    )


def _links(recipe: Recipe) -> list[tuple[str, ...]]:
    """Put the packages that are running now on the environment's path.

    That needs no package index, and the environment always has the BADC that made it, after an upgrade, too. The links
    lie in a folder of their own: through links among its packages, pip would write into what they lead to.
    """
    folder = recipe.path / "badc"
    named = recipe.environment / recipe.interpreter.packages / "badc.pth"
    return [
        ("mkdir", "-p", str(folder)),
        *(("ln", "-sfn", str(source), str(folder / source.name)) for source in recipe.sources),
        ("sh", "-c", 'echo "$0" > "$1"', str(folder), str(named)),
    ]


def _install(python: str, *words: str) -> tuple[str, ...]:
    return (python, *_PIP, *words)


def _inside(python: str, *words: str) -> tuple[str, ...]:
    return (python, "-m", "badc_hawkears.inside", *words)


def needed_bytes(recipe: Recipe, missing: Sequence[str]) -> int:
    """Return how much disk is needed, generously, when steps of these names are still to do."""
    return NEEDS_BYTES[recipe.kind] if "torch" in missing else 0

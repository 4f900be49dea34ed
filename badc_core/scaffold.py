"""Texts of a new plugin, ready to install, list and test.

The texts lie in ``templates/``, one module and one test for each kind; here they only get their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from attrs import frozen

from badc_core.atomic import write_text
from badc_core.errors import UsageError
from badc_core.host import KINDS

__all__ = ["KIND_WORDS", "Made", "check_name", "render", "write"]

KIND_WORDS: tuple[str, ...] = tuple(kind.word for kind in KINDS)
"""All kinds of plugins, as people call them."""

_TAKEN = {"core", "audio", "duckdb", "hawkears", "local", "slurm", "stub", "telemetry"}

_USAGE = {
    "runner": "    badc infer run MANIFEST --runner $name",
    "exporter": "    badc infer aggregate RESULTS --export $name=FILE",
    "scheduler": "    badc infer run MANIFEST --scheduler $name",
    "sink": "    badc infer run MANIFEST --telemetry $name=FILE",
    "sampler": "    badc gpus",
    "reader": "    badc chunk manifest FILE.$name",
    "source": "    badc watch FOLDER --source $name",
    "command": "    badc $name",
}

_NEEDS_NUMPY = {"runner", "reader"}


def check_name(name: str) -> str:
    """Return the short name of a plugin: ``badc-`` at its beginning is taken off.

    Raises
    ------
    UsageError
        It cannot be the name of a distribution and a module, or it is a name of BADC's own.
    """
    short = name.removeprefix("badc-").removeprefix("badc_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", short) or len(short) > 60:
        raise UsageError(
            f"A plugin cannot be named {name!r}.",
            hint="Use lower-case letters and digits, with single hyphens between: my-lab.",
        )
    if short in _TAKEN:
        raise UsageError(f"badc-{short} is a part of BADC.", hint="Choose another name.")
    return short


def render(name: str, kind: str) -> Mapping[str, str]:
    """Return the files of a new plugin. A pure function.

    Parameters
    ----------
    name
        As users will choose it: ``my-lab``.
    kind
        One of :data:`KIND_WORDS`.

    Returns
    -------
    Mapping
        Path within the plugin's folder, and text.

    Raises
    ------
    UsageError
        The name cannot be used, or there is no such kind.
    """
    short = check_name(name)
    if kind not in KIND_WORDS:
        raise UsageError(f"There is no kind of plugin named {kind!r}.", hint=f"There are: {', '.join(KIND_WORDS)}.")
    words = short.split("-")
    title = " ".join(words).capitalize()
    names = {
        "name": short,
        "kind": kind,
        "distribution": f"badc-{short}",
        "entry_point": short.replace("-", "_"),
        "module": f"badc_{short.replace('-', '_')}",
        "class_name": "".join(word.capitalize() for word in words),
        "title": title,
        "summary": f"{title}, a {kind} of BADC",
        "dependencies": ", ".join(f'"{need}"' for need in _dependencies(kind)),
        "usage": Template(_USAGE[kind]).substitute(name=short),
    }
    module = names["module"]
    texts = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}.py": f"{kind}.py",
        f"tests/test_{module}.py": f"test_{kind}.py",
    }
    return {path: Template(_template(text)).substitute(names) for path, text in texts.items()}


@frozen
class Made:
    """What was written.

    Parameters
    ----------
    folder
        The plugin's folder.
    files
        All files in it.
    """

    folder: Path
    files: tuple[Path, ...]


def write(folder: Path, name: str, kind: str) -> Made:
    """Write a new plugin into a folder that does not exist yet, or is empty.

    Raises
    ------
    UsageError
        There is something already, the name cannot be used, or the folder cannot be made.
    """
    texts = render(name, kind)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already; nothing was written.", hint="Name another folder: --folder DIR")
    paths = {folder / path: text for path, text in texts.items()}
    try:
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
    except OSError as error:
        raise UsageError(f"Cannot write the plugin into {folder}: {error.strerror}.") from error
    return Made(folder, tuple(paths))


def _dependencies(kind: str) -> list[str]:
    return ["badc-core>=0.2", *(["numpy"] if kind in _NEEDS_NUMPY else [])]


def _template(name: str) -> str:
    return (files("badc_core") / "templates" / f"{name}.txt").read_text(encoding="utf-8")

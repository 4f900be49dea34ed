"""Asking HawkEars' interpreter, from badc's: what is installed there, and what its configuration comes to."""

from __future__ import annotations

import functools
import importlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from badc_core import __version__
from badc_core.errors import RunnerError, UsageError
from badc_core.interpreters import packages_changed_ns
from badc_core.serde import unstructure
from badc_hawkears.options import HawkEarsOptions

__all__ = [
    "LOOKED",
    "NEEDED",
    "SETUP",
    "WARM",
    "Told",
    "ask",
    "fetching",
    "interpreter",
    "needed_line",
    "no_weights",
    "tell",
]

NEEDED = ("attrs", "cattrs", "orjson", "pluggy", "click")
"""What badc-core and this plugin import in HawkEars' environment; numpy is there with HawkEars."""

SETUP = "badc hawkears setup"

WARM = ("2.3.0", "1.8.4")
"""The versions of hawkears and britekit that the mode ``warm`` knows from within."""

_WATCHED = ("yaml", "yaml/default.yaml", "yaml/low_band.yaml", "data/ckpt")
_PACKAGES = ("badc_core", "badc_hawkears")
_LIMIT_S = 120.0
"""The first start from a slow shared disk takes long."""

LOOKED = (
    "it is looked for in -o root=…, HAWKEARS_DATA_DIR, where `badc hawkears setup` put it, and HawkEars' usual place"
)

_OURS = {"badc_core", "badc_hawkears", "attr", "attrs", "cattrs", "orjson", "pluggy", "click", "typing_extensions"}
_GUARDED = """
import importlib.util, json
try:
    {statement}
except ImportError as error:
    there = importlib.util.find_spec("hawkears") is not None
    print("\\n" + json.dumps({{"lacks": error.name, "said": str(error), "hawkears": there}}))
"""


@frozen
class Told:
    """What HawkEars' environment says of itself, and of what options come to.

    Parameters
    ----------
    versions
        Of hawkears and britekit.
    settings
        All of HawkEars' settings, see :mod:`badc_hawkears.settings`.
    low_band_members
        How many members the low band would have.
    openvino
        Whether OpenVINO is installed there; HawkEars then takes other files of weights on a CPU.
    """

    versions: tuple[str, str]
    settings: Mapping[str, Mapping[str, Any]]
    low_band_members: int = 2
    openvino: bool = False


def interpreter(options: HawkEarsOptions) -> Path:
    """Return the interpreter that has HawkEars: the one that the options name, else this one."""
    return options.python or Path(sys.executable)


def tell(options: HawkEarsOptions) -> Told:
    """Return what `options` come to; HawkEars is asked once for the same options, as long as no file changes.

    Raises
    ------
    RunnerError
        The environment cannot be used as it is; the hint is the line that mends it.
    UsageError
        The options, or the files they name, say what HawkEars cannot do.
    """
    python = interpreter(options)
    files = [Path(word) for word in options.args if word.startswith("/")]
    files += [options.config] if options.config else []
    files += [options.root / name for name in _WATCHED] if options.root else []
    return _told(python, options, (packages_changed_ns(python), *(_modified_ns(path) for path in files)))


@functools.lru_cache(maxsize=8)
def _told(python: Path, options: HawkEarsOptions, changed: tuple[int, ...]) -> Told:
    """Ask; `changed` is there to ask anew when something was installed or edited."""
    wanted = json.dumps(unstructure(evolve(options, python=python)))
    answer = ask(python, "from badc_hawkears.engine.config import main; main()", wanted)
    if "error" in answer:
        if answer["usage"]:
            raise UsageError(answer["error"], hint=answer["hint"])
        raise RunnerError(answer["error"], hint=answer["hint"], retry=False)
    first, second = answer["versions"]
    return Told((first, second), answer["settings"], answer["low_band_members"], answer["openvino"])


def ask(python: Path, statement: str, text: str = "", *, limit_s: float = _LIMIT_S) -> dict[str, Any]:
    """Run a statement in an interpreter; return the JSON object on the last line that it prints.

    Parameters
    ----------
    python
        The interpreter.
    statement
        One line of Python.
    text
        For its stdin.
    limit_s
        It is stopped after that.

    Raises
    ------
    RunnerError
        It cannot be started, lacks a package, takes too long, or fails.
    """
    command = [str(python), "-c", _GUARDED.format(statement=statement)]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise RunnerError(f"The interpreter {python} gave no answer within {limit_s:g} s.") from None
    except OSError as error:
        raise RunnerError(
            f"HawkEars' interpreter {python} cannot be started: {error.strerror or error}.",
            hint=f"Make an environment that has it: {SETUP}; or name another interpreter: -o python=PATH",
            retry=False,
        ) from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2][:200]
        raise RunnerError(
            f"HawkEars' interpreter {python} could not be asked: {last or f'it ended with status {done.returncode}'}",
            hint="`badc doctor` says what it lacks.",
            retry=False,
            returncode=done.returncode,
            output=done.stderr[-2000:],
        ) from None
    if "lacks" in answer:
        raise _lacking(python, answer["lacks"] if answer["hawkears"] else None, answer["said"])
    return answer


def _lacking(python: Path, module: str | None, said: str) -> RunnerError:
    """Return the error for an interpreter that cannot import something; `module` is ``None`` where no HawkEars is."""
    top = (module or "").partition(".")[0]
    if top in _OURS:
        return RunnerError(
            f"HawkEars' interpreter {python} lacks what BADC needs there: {said}.",
            hint=f"Install it: {needed_line(python)}",
            retry=False,
        )
    return RunnerError(
        f"HawkEars cannot be imported with the interpreter {python}: {said}.",
        hint=f"Make an environment that has it: {SETUP}; or name another interpreter: -o python=PATH",
        retry=False,
    )


def needed_line(python: Path, packages: Sequence[str] = NEEDED) -> str:
    """Return the command that puts BADC's side into HawkEars' environment, and touches nothing else in it."""
    return shlex.join([str(python), "-m", "pip", "install", "--no-deps", *map(_source, _PACKAGES), *packages])


def fetching(options: HawkEarsOptions) -> str:
    """Return the commands that make HawkEars' data folder and fetch its weights: ours, and HawkEars' own."""
    own = interpreter(options).parent / "hawkears"
    if not own.is_file():
        return SETUP
    return f"{SETUP}; or with HawkEars' own command: {shlex.join([str(own), 'init', '--dest', str(options.root)])}"


def no_weights(folder: Path, options: HawkEarsOptions) -> RunnerError:
    """Return the error for a folder without checkpoints."""
    return RunnerError(
        f"HawkEars' weights are missing: there is no checkpoint in {folder}.",
        hint=f"Fetch them: {fetching(options)}; or name the data folder that has them: -o root=PATH ({LOOKED})",
        retry=False,
    )


def _source(package: str) -> str:
    """Return what pip installs a package of ours from: the source tree that runs now, else the same version of it."""
    folder = Path(importlib.import_module(package).__path__[0]).parent
    if (folder / "pyproject.toml").is_file():
        return str(folder)
    return f"{package.replace('_', '-')}=={__version__}"


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0

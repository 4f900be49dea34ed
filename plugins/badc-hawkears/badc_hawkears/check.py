"""Whether the runner ``hawkears`` can be used here, for ``badc doctor``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from badc_core import __version__
from badc_core.errors import BadcError
from badc_core.protocols import Readiness
from badc_hawkears.environment import SETUP, WARM, Told, ask, interpreter, needed_line, tell
from badc_hawkears.identity import data_root
from badc_hawkears.options import HawkEarsOptions

__all__ = ["check", "readiness"]

_LIMIT_S = 90.0


def check() -> Readiness:
    """Look for an interpreter with HawkEars, for all that is needed in its environment, and for its weights.

    What is found is that of a run without options: as ``badc hawkears setup`` remembered it, or the environment
    variables ``HAWKEARS_DATA_DIR`` and ``BADC_HAWKEARS_ROOT`` say.
    """
    try:
        options = HawkEarsOptions()
    except BadcError as error:
        return Readiness(False, error.message, error.hint or "")
    if options.script is not None:
        return _first(options.script)
    python = interpreter(options)
    if options.python is None and importlib.util.find_spec("hawkears") is None:
        return Readiness(False, "no environment with HawkEars is known, and it is not installed here", SETUP)
    try:
        found = ask(python, "from badc_hawkears.engine.about import main; main()", limit_s=_LIMIT_S)
    except BadcError as error:
        return Readiness(False, error.message.rstrip("."), _line(error))
    if found["badc"] != __version__:
        detail = f"badc-core is {found['badc']} in the environment of {python}, and {__version__} here"
        return Readiness(False, detail, needed_line(python, ()))
    try:
        root = data_root(options)
        told = tell(options)
    except BadcError as error:
        return Readiness(False, error.message.rstrip("."), _line(error))
    return readiness(found, told, root)


def readiness(found: dict[str, Any], told: Told, root: Path) -> Readiness:
    """Return what to say of an environment and a data folder that can both be used.

    Parameters
    ----------
    found
        What :mod:`badc_hawkears.engine.about` says.
    told
        What HawkEars' configuration comes to.
    root
        The data folder.
    """
    count = told.settings["infer"]["max_models"]
    ensemble = f"{count} member{'' if count == 1 else 's'}"
    low_band = "low band" if told.settings["hawkears"]["low_band_classifier"] else "no low band"
    gpus = ", ".join(found["gpus"]) or ("no GPU" if found["cuda"] is None else f"CUDA {found['cuda']}, no GPU")
    hawkears, britekit = told.versions
    detail = f"HawkEars {hawkears}, BriteKit {britekit}, torch {found['torch']} ({gpus}), {ensemble}, {low_band}"
    if told.versions != WARM:
        detail += f"; the mode warm knows HawkEars {WARM[0]} with BriteKit {WARM[1]} only"
        return Readiness(False, f"{detail}; in {root}", f"{SETUP}, or -o mode=api")
    return Readiness(True, f"{detail}, in {root}")


def _first(script: Path) -> Readiness:
    if script.is_file():
        return Readiness(True, f"HawkEars 1: {script}")
    return Readiness(False, f"HawkEars 1 is not there: {script}", "unset BADC_HAWKEARS_ROOT, or correct it")


def _line(error: BadcError) -> str:
    """Return the command of an error's hint."""
    hint = error.hint or ""
    return hint.partition(": ")[2].partition(";")[0] or hint or SETUP

"""Run configurations: a TOML file that says what ``badc infer run`` is to do.

The keys are told in ``docs/reference/formats/run-config.md``.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from badc_core.config import Settings, meant
from badc_core.errors import UsageError

__all__ = ["RUNNER_KEYS", "read_run_config"]

RUNNER_KEYS: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    "manifest": ("manifest", str),
    "use_hawkears": ("use_hawkears", bool),
    "runner_cmd": ("runner_cmd", str),
    "runner": ("runner", str),
    "max_gpus": ("max_gpus", int),
    "cpu_workers": ("cpu_workers", int),
    "max_retries": ("max_retries", int),
    "output_dir": ("output_dir", str),
    "telemetry_log": ("telemetry_log", str),
    "layout": ("result_layout", str),
    "timeout": ("timeout", (int, float)),
    "fail_fast": ("fail_fast", bool),
    "scheduler": ("scheduler", str),
}
"""Keys of ``[runner]``: the name of the command's parameter, and the type of the value."""

_PATHS = {"output_dir", "telemetry_log"}


def read_run_config(settings: Settings) -> tuple[Path, dict[str, Any]]:
    """Return the manifest, and values by the names of the command's parameters.

    Parameters
    ----------
    settings
        The file, read.

    Raises
    ------
    UsageError
        ``[runner] manifest`` is missing, a value is of the wrong type, or two runners are named.
    """
    table = settings.table("runner")
    options = settings.table("runner", "options")
    table.pop("options", None)
    for key, value in table.items():
        if key not in RUNNER_KEYS:
            raise UsageError(f"{settings.path}: [runner] has no key {key!r}.", hint=meant(key, RUNNER_KEYS))
        kind = RUNNER_KEYS[key][1]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(f"{settings.path}: [runner] {key} = {value!r} is of the wrong type.")
    if "manifest" not in table:
        raise UsageError(f"{settings.path} names no manifest.", hint='Add to [runner]: manifest = "manifests/REC.csv"')
    if table.get("runner_cmd") and table.get("use_hawkears"):
        raise UsageError(f"{settings.path} has both runner_cmd and use_hawkears = true.", hint="Keep one of them.")
    values = {RUNNER_KEYS[key][0]: Path(value) if key in _PATHS else value for key, value in table.items()}
    manifest = Path(values.pop("manifest"))
    if not values.get("use_hawkears"):
        values.pop("use_hawkears", None)
    values["options"] = tuple(
        f"{key}={one}" for key, value in options.items() for one in (value if isinstance(value, list) else [value])
    )
    extra = settings.table("hawkears").get("extra_args", [])
    if values.get("use_hawkears"):
        values["hawkears_args"] = tuple(shlex.split(extra)) if isinstance(extra, str) else tuple(map(str, extra))
    return manifest, values

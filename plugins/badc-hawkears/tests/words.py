"""Ask HawkEars' own command what it makes of arguments, and compare: run by HawkEars' interpreter.

``python words.py ROOT SCRATCH`` reads from stdin a JSON list of lists of words. Each is given to ``hawkears analyze``,
stopped when it has its configuration, and to the runner's ``effective_config``. Printed is, for each, what differs,
``{"infer.min_score": [theirs, ours]}``: with HawkEars on a GPU; and with HawkEars on a CPU, Metal or a GPU that is told
ours as a YAML file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

os.environ["BRITEKIT_INFERENCE_ONLY"] = "1"

from britekit.core import util
from hawkears.commands._analyze import _analyze_cmd
from hawkears.core import analyzer

from badc_hawkears.arguments import SECOND
from badc_hawkears.engine.config import effective_config, plain
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.settings import as_yaml


class Caught(Exception):  # noqa: N818 - it is no error
    """Carries HawkEars' configuration out of its command."""


class Catcher:
    """Stands where HawkEars would begin to work."""

    def __init__(self, config: Any, include_names: object = None) -> None:
        self.config = config

    def run(self, *given: object, **_: object) -> None:
        """Stop; the fourth argument is the date, which HawkEars hands on beside its configuration."""
        if given[3] is not None:
            self.config.hawkears.date = given[3]
        raise Caught(self.config)


def theirs(words: list[str], root: Path, scratch: Path, device: str) -> dict[str, Any]:
    """Return the configuration with which HawkEars' own command would work on a device."""
    command = [*words, "--input", str(scratch), "--output", str(scratch), "--quiet"]
    found = mock.Mock(return_value=device)
    with mock.patch.object(analyzer, "Analyzer", Catcher), mock.patch.object(util, "get_device", found):
        os.chdir(root)
        try:
            _analyze_cmd.main(command, standalone_mode=False)
        except Caught as caught:
            return plain(caught.args[0])
    raise AssertionError(f"HawkEars' command did not get as far with {words}")


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, list[Any]]:
    """Return settings that differ; to JSON a tuple is a list."""
    one, other = (json.loads(json.dumps(settings)) for settings in (one, other))
    return {
        f"{section}.{name}": [one[section][name], other[section][name]]
        for section in one
        for name in one[section]
        if one[section][name] != other[section][name]
    }


def same_table() -> dict[str, Any]:
    """Return which arguments only one of the two knows."""
    installed = {flag for p in _analyze_cmd.params if p.param_type_name == "option" for flag in p.opts}
    installed |= {flag for p in _analyze_cmd.params for flag in p.secondary_opts}
    known = {flag for one in SECOND for flag in one.flags.replace("/", " ").split()}
    return {"unknown to us": sorted(installed - known - {"--help"}), "unknown to them": sorted(known - installed)}


def main(root: Path, scratch: Path) -> None:
    """Compare all."""
    direct, told = [], []
    for words in json.load(sys.stdin):
        options = HawkEarsOptions(root=root, args=words)
        ours = plain(effective_config(options, root))
        direct.append(differences(theirs(words, root, scratch, "cuda"), ours))
        file = scratch / "ours.yaml"
        file.write_text(as_yaml(ours))
        devices = ("cpu", "mps", "cuda")
        told.append([differences(theirs(["-c", str(file)], root, scratch, device), ours) for device in devices])
    print("\n\0" + json.dumps({"table": same_table(), "direct": direct, "told": told}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

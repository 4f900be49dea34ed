"""What ``badc --help`` and ``badc plugins`` may import: little, so that they answer at once."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = {
    "numpy",
    "torch",
    "pyarrow",
    "duckdb",
    "soundfile",
    "soxr",
    "cattrs",
    "structlog",
    "rich",
    "orjson",
    "pynvml",
    "ai_edge_litert",
    "asyncio",
}

PROBE = """
import json, sys
from badc_core.cli import main
code = main(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
"""


def imported_by(*args: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROBE, *args], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert done.stdout.strip()
    return set(modules)


@pytest.mark.parametrize("args", [["--help"], ["plugins"], ["plugins", "--json"], ["version"], ["infer", "--help"]])
def test_no_heavy_module_is_imported(args: list[str]) -> None:
    modules = imported_by(*args)
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    announced = {point.module for point in entry_points(group="badc")}
    ours = {name for name in modules if name.partition(".")[0] in {name.partition(".")[0] for name in announced}}
    assert ours == announced & modules, "a plugin's entry module imports more of its own"


def test_the_probe_sees_what_is_imported() -> None:
    """The test above must be able to fail."""
    assert "badc_core.doctor" in imported_by("gpus")

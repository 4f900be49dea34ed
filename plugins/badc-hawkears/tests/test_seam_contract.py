"""The kit's own test of seams, on the real HawkEars: chunks give what the whole recording gives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from badc_core.isolation import RemoteRunner
from badc_core.protocols import Runner, WorkerContext
from badc_core.serde import unstructure
from badc_core.testing import SeamContract
from badc_hawkears.places import Places, remember

HERE = Path(__file__).parent


def _named(variable: str, made: str) -> Path:
    """Return what a variable names, else what `make hawkears-env` made; see ``conftest.py``."""
    return Path(os.environ.get(variable) or HERE.parents[2] / ".venv-hawkears" / made)


PYTHON = _named("BADC_TEST_HAWKEARS_PYTHON", "hawkears/env/bin/python")
ROOT = _named("BADC_TEST_HAWKEARS_ROOT", "fitted")
if not (PYTHON.exists() and ROOT.exists()):  # the kit lets no single test be skipped
    pytest.skip("needs the real HawkEars: make hawkears-env", allow_module_level=True)

pytestmark = pytest.mark.slow


class TestHawkEarsSeams(SeamContract):
    """Yellowthroats and drumming, mono and stereo, at two rates."""

    entry_module = "badc_hawkears"
    name = "hawkears"
    options = {  # noqa: RUF012
        "python": str(PYTHON),
        "root": str(ROOT),
        "models": "3",
        "low_band": "true",
        "threads": "1",
    }
    cuts = 3

    @pytest.fixture(autouse=True)
    def _set_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As after `badc hawkears setup`: without it, the kit is told that HawkEars is not ready here."""
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.delenv("HAWKEARS_DATA_DIR", raising=False)
        monkeypatch.delenv("BADC_HAWKEARS_ROOT", raising=False)
        remember(Places(PYTHON, ROOT))

    def recordings(self, folder: Path) -> Iterable[Path]:
        """Yield two of the recordings of the other tests."""
        script = [PYTHON, HERE / "vendor.py", ROOT, folder, "{}"]
        subprocess.run([*map(str, script)], check=True, capture_output=True)
        yield from (folder / "r44100x2_27_07.wav", folder / "r28000x1_18_1.wav")

    def open_runner(self, options: Any, context: WorkerContext) -> Runner:
        """Open it as a worker does, in HawkEars' own interpreter."""
        return RemoteRunner(
            self.spec.name, self.spec.open, self.spec.options, unstructure(options), context, options.python
        )

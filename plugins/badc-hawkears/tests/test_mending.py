"""Packages that were built for another torch, and are mended so that they can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return packages that complain in the way of those that were built for another torch."""
    place = tmp_path / "packages"
    body = {
        "torch": "class library:\n    def register_fake(name):\n"
        "        raise RuntimeError(f'operator {name} does not exist')\n"
        "class version: cuda = None\nclass cuda: is_available = staticmethod(lambda: False)\n__version__ = '2.13.0'\n",
        "torchaudio": "from pathlib import Path\n"
        "if [*Path(__file__).parent.glob('lib/*.so')]: raise OSError('libcudart.so')\n",
        "torchvision": "from . import _meta_registrations\n",
        "timm": "import torchvision\n",
        "hawkears": "",
        "britekit": "import torchaudio\n",
    }
    for name, text in body.items():
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(text)
    (place / "torchaudio/lib").mkdir()
    (place / "torchaudio/lib/_torchaudio.abi3.so").touch()
    (place / "torchaudio/lib/libother.so.txt").touch()
    (place / "torchvision/_meta_registrations.py").write_text(
        'import torch\n\n\n@torch.library.register_fake("torchvision::nms")\ndef meta_nms():\n    pass\n'
    )
    return place


def mend(packages: Path) -> subprocess.CompletedProcess[str]:
    """Mend them in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "badc_hawkears.inside", "mend"],
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_are_mended_once(packages):
    first = json.loads(mend(packages).stdout.splitlines()[-1])
    assert first == {
        "mended": ["_torchaudio.abi3.so", "_meta_registrations.py"],
        "torch": "2.13.0",
        "cuda": None,
        "gpus": 0,
    }
    changed = {path: path.stat().st_mtime_ns for path in packages.rglob("*.py")}
    assert json.loads(mend(packages).stdout.splitlines()[-1])["mended"] == []
    assert {path: path.stat().st_mtime_ns for path in packages.rglob("*.py")} == changed
    assert (packages / "torchaudio/lib/libother.so.txt").exists()


def test_packages_that_fit_are_left_alone(packages):
    (packages / "torch/__init__.py").write_text(
        (packages / "torch/__init__.py").read_text().replace("raise RuntimeError", "return lambda f: f  #")
    )
    (packages / "torchaudio/__init__.py").write_text("")
    assert json.loads(mend(packages).stdout.splitlines()[-1])["mended"] == []
    assert (packages / "torchaudio/lib/_torchaudio.abi3.so").exists()


def test_what_cannot_be_mended_is_told(packages):
    (packages / "hawkears/__init__.py").write_text("import somewhere_else")
    done = mend(packages)
    assert done.returncode == 1
    assert "hawkears cannot be imported: ModuleNotFoundError: No module named 'somewhere_else'" in done.stderr

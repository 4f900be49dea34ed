"""The tutorial "Your first plugin" builds exactly ``contrib/badc-example-lab``, and every command in it works.

In the page, ``<!-- add: NAME -->`` before a block means: put it at the end of that file, two empty lines below what is
there. ``<!-- try -->`` means: run it in a shell. They are not the marks of :mod:`doc_examples`, whose tests would
install the plugin into this very environment; here it goes into a virtual environment of its own.
"""

from __future__ import annotations

import os
import re
import shlex
import site
import sys
import venv
from pathlib import Path

import pytest
from doc_examples import run_page
from repository import REPOSITORY

PAGE = REPOSITORY / "docs/tutorials/first-plugin.md"
LAB = REPOSITORY / "contrib/badc-example-lab"
_ADD = re.compile(r"^<!-- add: (?P<name>\S+) -->\n```\w+\n(?P<text>.*?)\n```$", re.MULTILINE | re.DOTALL)


def built(page: str) -> dict[str, str]:
    """Return the files that a reader has at the end of the page."""
    made: dict[str, str] = {}
    for block in _ADD.finditer(page):
        before = made.get(block["name"])
        made[block["name"]] = (f"{before}\n\n" if before else "") + block["text"] + "\n"
    return made


def runnable(page: str) -> str:
    """Return the page with the marks of :mod:`doc_examples`; a file is written anew whenever a piece is added."""
    so_far: dict[str, str] = {}

    def as_file(block: re.Match[str]) -> str:
        before = so_far.get(block["name"])
        so_far[block["name"]] = (f"{before}\n\n\n" if before else "") + block["text"]
        return f"<!-- file: {block['name']} -->\n```text\n{so_far[block['name']]}\n```"

    return _ADD.sub(as_file, page).replace("<!-- try -->", "<!-- run -->")


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with `python`, `pip`, `badc` and `pytest` of a new environment that sees this one's libraries."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({folder!r})" for folder in site.getsitepackages()]
    (packages / "zz_libraries.pth").write_text("\n".join(lines) + "\n")  # after the plugin's own
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    python = shlex.quote(str(home / "bin/python"))
    bodies = {
        "python": f'exec {python} "$@"',
        "badc": f'exec {python} -m badc_core "$@"',
        "pytest": f'exec {python} -m pytest -p no:cacheprovider "$@"',
        "pip": f'test "$2" = pytest || {python} -m pip -q install --no-deps --no-build-isolation --no-index -e .',
    }
    for name, body in bodies.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_ / name).chmod(0o755)
    return bin_


def test_the_tutorial_builds_the_example():
    made = built(PAGE.read_text("utf-8"))
    made.pop("make_night.py")
    files = {str(path.relative_to(LAB)) for path in LAB.rglob("*") if path.suffix in {".py", ".toml", ".md"}}
    assert set(made) == files
    for name, text in made.items():
        assert text.encode() == (LAB / name).read_bytes(), name


def test_the_tutorial_can_be_followed(commands, tmp_path):
    first = f"<!-- run -->\n```sh\nexport PATH={shlex.quote(str(commands))}:$PATH\n```\n\n"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    run_page(first + runnable(PAGE.read_text("utf-8")), tmp_path / "reader", environment)
    heard = (tmp_path / "reader/work/badc-example-lab/heard.csv").read_text()
    assert heard.count("POND_20260503_031300") == 2


def test_the_new_environment_has_the_plugin_of_the_tutorial(commands, tmp_path):
    """Otherwise the test above would try the example that is installed here."""
    import subprocess

    folder = tmp_path / "lab"
    (folder / "tests").mkdir(parents=True)
    for name, text in built(PAGE.read_text("utf-8")).items():
        (folder / name).write_text(text)
    subprocess.run([commands / "pip", "install"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    ask = "import badc_example_lab; print(badc_example_lab.__file__)"
    found = subprocess.run([commands / "python", "-P", "-c", ask], cwd=tmp_path, capture_output=True, text=True)
    assert Path(found.stdout.strip()) == folder / "badc_example_lab.py"
    assert sys.version_info >= (3, 11)

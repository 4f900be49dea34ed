"""The definition of the container image: it copies what its installation needs, and the installation works."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
from pathlib import Path

import pytest
from repository import PROJECTS, REPOSITORY

DEFINITION = REPOSITORY / "containers/badc.def"
TEXT = DEFINITION.read_text("utf-8")
KNOWN = {"arguments", "files", "post", "environment", "runscript", "test", "help"}


def sections() -> dict[str, str]:
    """Return the sections of the definition, by name; ``header`` is what stands before the first."""
    parts = re.split(r"^%(\w+)$", TEXT, flags=re.MULTILINE)
    return {"header": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def arguments() -> dict[str, str]:
    pairs = (line.strip().partition("=") for line in sections()["arguments"].splitlines() if line.strip())
    return {name: value for name, _, value in pairs}


def filled(text: str, **given: str) -> str:
    """Put values in the place of ``{{ name }}``, as Apptainer does with arguments."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: {**arguments(), **given}[found[1]], text)


def copied() -> dict[str, str]:
    """Return what is copied into the image: from, to."""
    lines = (line.split() for line in sections()["files"].splitlines() if line.strip())
    return dict(lines)


def test_it_is_of_the_form_that_apptainer_reads():
    assert sections().keys() == KNOWN | {"header"}
    wanted = [line for line in sections()["header"].splitlines() if line.strip() and not line.startswith("#")]
    assert [line.split(": ")[0] for line in wanted] == ["Bootstrap", "From"]
    assert set(re.findall(r"\{\{ (\w+) \}\}", TEXT)) == arguments().keys()


def test_what_is_copied_is_here_and_is_all_that_is_installed():
    assert [source for source in copied() if not (REPOSITORY / source).exists()] == []
    assert all(target == f"/opt/src/{source}" for source, target in copied().items())
    places = {project.place.removeprefix("./").split("/")[0] for project in PROJECTS}
    assert (places - {"."}) | {"badc_core", "pyproject.toml"} <= copied().keys()
    assert "-c constraints.txt -r requirements.txt" in sections()["post"]


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_shellcheck_has_no_complaint(section: str, tmp_path: Path):
    path = tmp_path / "section.sh"
    path.write_text("#!/bin/sh\n" + filled(sections()[section], weights="x==1", **{"with": "./contrib/badc-birdnet"}))
    ours = ["--exclude=SC2157"]  # an argument is compared with nothing
    done = subprocess.run(["shellcheck", *ours, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_installation_works(tmp_path: Path):
    """Its commands, done in a folder instead of an image; what comes from elsewhere is there already."""
    root, tools = tmp_path / "opt", tmp_path / "tools"
    for source, target in copied().items():
        place = root / target.removeprefix("/opt/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / source).is_dir():
            shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__", "tests"))
        else:
            shutil.copy(REPOSITORY / source, place)
    tools.mkdir()
    (tools / "apt-get").write_text(f"#!/bin/sh\necho \"$@\" >> '{tmp_path}/apt.txt'\n")
    (tools / "apt-get").chmod(0o755)
    given = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": site.getsitepackages()[0],
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip takes this for: no isolation
        "PIP_IGNORE_INSTALLED": "1",
    }
    post = filled(sections()["post"], **{"with": "./contrib/badc-birdnet"})
    script = (post + sections()["test"]).replace("/opt/", f"{root}/").replace("/var/lib/apt", f"{tmp_path}/apt")
    done = subprocess.run(["sh", "-c", script], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "install -qq" in (tmp_path / "apt.txt").read_text()
    assert not (root / "src").exists()
    installed = {path.name.split("-")[0] for path in root.glob("badc/lib/python*/site-packages/badc_*.dist-info")}
    assert {p.package.stem for p in PROJECTS if not p.place.startswith("./contrib")} | {"badc_birdnet"} == installed
    assert "birdnet" in done.stdout

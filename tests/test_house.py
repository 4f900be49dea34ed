"""The rules of the house: small files, an honest core, complete and light plugins, one version."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import PROJECTS, REPOSITORY, Project, parsed, python_files

import badc_core

LONGEST_FILE = 500  # 400 is the aim
LONGEST_FUNCTION = 80  # 50 is the aim
HEAVY = {"ai_edge_litert", "cattrs", "duckdb", "guano", "numpy", "orjson", "pandas", "pyarrow", "pynvml", "rich"}
HEAVY |= {"soundfile", "soxr", "structlog", "tensorflow", "torch"}

CORE = python_files("badc_core")
PLUGINS = [project for project in PROJECTS if project.place != "."]
MAY_SAY = {  # files of the core that write test files, or keep a default of BADC 0.1
    "badc_core/cli/chunk_orchestrate.py": {"wav"},
    "badc_core/testing/oracle.py": {"wav"},
    "badc_core/testing/runner.py": {"wav"},
    "badc_core/testing/seams.py": {"wav"},
}
MAY_BE_ABSENT = {"hypothesis", "pytest", "pyarrow", "soundfile"}
"""What the core uses only where somebody else brought it: the conformance kit, Arrow columns, `badc doctor`."""


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


# ---------------------------------------------------------------------------------------------- sizes


def test_files_are_short():
    lengths = {_name(path): path.read_text("utf-8").count("\n") for path in python_files()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_functions_are_short():
    long = []
    for path in python_files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                last = node.end_lineno or node.lineno
                has_docstring = ast.get_docstring(node, clean=False) is not None
                lines = last - ((node.body[0].end_lineno or 0) if has_docstring else node.lineno)
                if lines > LONGEST_FUNCTION:
                    long.append(f"{_name(path)}:{node.lineno} {node.name} has {lines} lines")
    assert long == []


# ----------------------------------------------------------------------------------------------- core


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("path", CORE, ids=_name)
def test_core_prints_only_in_its_command_line(path: Path):
    if "cli" in path.relative_to(REPOSITORY).parts:
        return
    calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    printing = {"print", "click.echo", "click.secho", "sys.stdout.write"}
    assert [f"{_name(path)}:{call.lineno}" for call in calls if ast.unparse(call.func) in printing] == []


@pytest.mark.parametrize("path", CORE, ids=_name)
def test_core_imports_no_plugin(path: Path):
    plugins = {project.package.stem for project in PLUGINS}
    assert {name.split(".")[0] for name in _imports(parsed(path))} & plugins == set()


_OTHER_WORLDS = re.compile(r"\b(birds?|wav|audio files?)\b", re.IGNORECASE)


@pytest.mark.parametrize("path", CORE, ids=_name)
def test_core_is_not_only_about_birds_and_one_file_format(path: Path):
    said = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        words = {word.lower() for word in _OTHER_WORLDS.findall(line)}
        if words - MAY_SAY.get(_name(path), set()):
            said.append(f"{number}: {line.strip()}")
    assert said == []


def test_allowed_words_are_still_needed():
    for name, words in MAY_SAY.items():
        text = (REPOSITORY / name).read_text("utf-8")
        assert words == words & {word.lower() for word in _OTHER_WORLDS.findall(text)}, name


# ------------------------------------------------------------------------------------------- plugins


@pytest.fixture(params=PROJECTS, ids=lambda project: project.table["name"])
def project(request: pytest.FixtureRequest) -> Project:
    return request.param


def test_one_version_for_all(project: Project):
    assert "version" in project.table["dynamic"]
    found = re.findall(r'^__version__ = "(.*)"$', project.entry.read_text("utf-8"), re.MULTILINE)
    assert found == [badc_core.__version__]


def test_project_is_complete(project: Project):
    table = project.table
    assert table["name"] == project.package.stem.replace("_", "-")
    assert table["license"] == "MIT"
    assert table["requires-python"] == ">=3.11"
    assert "description" in table["dynamic"] or table["description"].strip()
    assert project.entry.exists()
    if project.package.is_dir():
        assert (project.package / "py.typed").exists()
    if project.place != ".":
        assert "badc-core" in {canonicalize_name(Requirement(text).name) for text in table["dependencies"]}
        assert [value.split(":")[0] for value in table["entry-points"]["badc"].values()] == [project.package.stem]


def test_project_names_what_it_imports(project: Project):
    """A package that is only there because something else brought it will be missing one day."""
    files = python_files(_name(project.package)) if project.package.is_dir() else [project.package]
    provided = importlib.metadata.packages_distributions()
    wanted = {canonicalize_name(Requirement(text).name) for text in project.table.get("dependencies", [])}
    extras = project.table.get("optional-dependencies", {})
    wanted |= {canonicalize_name(Requirement(text).name) for texts in extras.values() for text in texts}
    wanted |= {canonicalize_name(project.table["name"])}
    if project.place == ".":
        wanted |= MAY_BE_ABSENT
    imported = {name.split(".")[0] for file in files for name in _imports(parsed(file))}
    owners = {name: {canonicalize_name(d) for d in provided[name]} for name in imported if name in provided}
    core = {canonicalize_name(Requirement(text).name) for text in PROJECTS[0].table["dependencies"]}
    assert {name for name, who in owners.items() if not who & (wanted | core)} == set()


def test_entry_modules_are_light():
    modules = sorted(project.package.stem for project in PLUGINS)
    code = f"import {', '.join(modules)}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert set(modules) <= loaded
    assert loaded & HEAVY == set()


# -------------------------------------------------------------------------------------- requirements


def _requirements(name: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (REPOSITORY / name).read_text("utf-8").splitlines())
    return [line for line in lines if line]


def test_requirements_are_the_core_and_every_plugin():
    assert _requirements("requirements.txt") == [p.place for p in PROJECTS if not p.place.startswith("./contrib")]


def test_development_requirements_are_everything_editable():
    editable = [line.removeprefix("-e ") for line in _requirements("requirements-dev.txt") if line.startswith("-e ")]
    assert sorted(editable) == sorted(project.place for project in PROJECTS)


def _needed() -> set[str]:
    """Return the names of all distributions that a development install consists of."""
    found: set[str] = set()
    waiting = [canonicalize_name(p.table["name"]) for p in PROJECTS]
    waiting += [canonicalize_name(line) for line in _requirements("requirements-dev.txt") if not line.startswith("-")]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return found - {canonicalize_name(p.table["name"]) for p in PROJECTS}


def test_everything_installed_is_pinned():
    pinned = {canonicalize_name(line.split("==")[0]) for line in _requirements("constraints.txt")}
    assert _needed() - pinned == set()

"""``badc plugins new``: what it writes installs, is listed, and passes its own tests."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from badc_core.cli.plugins_new import new
from badc_core.errors import UsageError
from badc_core.scaffold import KIND_WORDS, check_name, render, write


def run(*command: str, cwd: Path, site: Path) -> str:
    """Run this interpreter with what was installed into `site`; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_and_try(folder: Path, kind: str) -> None:
    done = CliRunner().invoke(new, ["my-lab", "--kind", kind, "--folder", str(folder / "plugin")])
    assert done.exit_code == 0, done.output
    assert f"pytest {folder / 'plugin'}" in done.output
    site = folder / "site"
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    run(*pip, str(folder / "plugin"), cwd=folder, site=site)
    listed = json.loads(run("-m", "badc_core", "plugins", "--json", cwd=folder, site=site))
    (row,) = [row for row in listed["plugins"] if row["name"] == "my-lab"]
    assert (row["kind"], row["distribution"], row["version"]) == (kind, "badc-my-lab", "0.1.0")
    assert not [broken for broken in listed["broken"] if broken["distribution"] == "badc-my-lab"]
    (folder / "plugin" / "badc_my_lab.py").unlink()  # the installed one must do
    printed = run("-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=folder / "plugin", site=site)
    assert " passed" in printed
    assert "failed" not in printed


def test_a_new_runner_installs_is_listed_and_passes(tmp_path):
    build_and_try(tmp_path, "runner")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KIND_WORDS if kind != "runner"])
def test_a_new_plugin_of_every_kind_installs_is_listed_and_passes(tmp_path, kind):
    build_and_try(tmp_path, kind)


@pytest.mark.parametrize("kind", KIND_WORDS)
def test_texts_are_complete(kind):
    texts = render("night-jar", kind)
    assert set(texts) == {"pyproject.toml", "README.md", "badc_night_jar.py", "tests/test_badc_night_jar.py"}
    for path, text in texts.items():
        assert "$" not in text, path
        assert text.endswith("\n"), path
        assert all(len(line) <= 120 for line in text.splitlines()), path
        if path.endswith(".py"):
            assert ast.get_docstring(ast.parse(text)), path
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["name"] == "badc-night-jar"
    assert project["entry-points"]["badc"] == {"night_jar": "badc_night_jar"}
    assert render("night-jar", kind) == texts


@pytest.mark.parametrize(
    ("name", "short"), [("my-lab", "my-lab"), ("badc-my-lab", "my-lab"), ("badc_lab", "lab"), ("a1", "a1")]
)
def test_names(name, short):
    assert check_name(name) == short


@pytest.mark.parametrize(
    "name", ["", "My", "1st", "a b", "a/b", "..", "a--b", "-a", "a-", "ä", "core", "a" * 61, "a_b"]
)
def test_bad_names_are_refused(name):
    with pytest.raises(UsageError):
        render(name, "runner")


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="no kind of plugin named 'bird'"):
        render("lab", "bird")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write(tmp_path, "lab", "runner")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="exists already"):
        write(tmp_path / "notes.txt", "lab", "runner")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Cannot write the plugin"):
        write(tmp_path / "file" / "plugin", "lab", "runner")


def test_the_default_folder_is_named_like_the_distribution(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(new, ["badc-lab"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "badc-lab" / "badc_lab.py").is_file()

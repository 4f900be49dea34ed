"""``badc data`` with real Git and real DataLad: nothing is lost, and the registry tells what is where."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datalad_tools import identify, needs_tools, tool

from badc_core import annex, connecting, datalad
from badc_core.registry import registry_path

NAME = "my set's"


@pytest.fixture
def source(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a Git repository to clone."""
    identify(monkeypatch)
    root = isolated / "far/source"
    root.mkdir(parents=True)
    tool("git", "init", "-q", "-b", "main", at=root)
    commit(root, "one.txt")
    return root


@pytest.fixture
def dataset(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a DataLad dataset to clone, with an annexed file."""
    identify(monkeypatch)
    root = isolated / "far/set"
    root.parent.mkdir()
    tool("datalad", "create", root, at=isolated)
    (root / "sound.bin").write_bytes(b"\0" * 1000)
    tool("datalad", "save", "-m", "sound", at=root)
    return root


def commit(root: Path, name: str) -> None:
    (root / name).write_text(name)
    tool("git", "add", name, at=root)
    tool("git", "commit", "-qm", name, at=root)


def registered(name: str = NAME) -> dict[str, Any]:
    """Return what the registry says of a dataset."""
    found = tomllib.loads((Path.home() / ".config/badc/data.toml").read_text())
    entry: dict[str, Any] = found["datasets"][name]
    return entry


def test_cloned_then_brought_up_to_date(cli: Callable[..., Any], isolated: Path, source: Path):
    where = isolated / "data/datalad" / NAME
    said = cli("data", "connect", NAME, "--url", "far/source", "--method", "git").ok().stdout
    assert f"{NAME}: cloned, in {where}" in said
    entry = registered()
    assert entry.pop("last_connected").endswith("+00:00")
    assert entry == {"path": str(where), "url": str(source), "method": "git", "status": "connected"}
    commit(source, "two.txt")
    cli("data", "connect", NAME, "--method", "git", "--no-pull").ok()
    assert not (where / "two.txt").exists()
    cli("data", "connect", NAME, "--method", "git").ok()  # it knows from where
    assert (where / "two.txt").exists()
    assert registered()["url"] == str(source)


def test_brought_back_from_where_it_was(cli: Callable[..., Any], isolated: Path, source: Path):
    cli("data", "connect", "x", "--url", source, "--method", "git", "--path", "sets").ok()
    cli("data", "disconnect", "x", "--drop-content").ok()
    assert not (isolated / "sets/x").exists()
    assert registered("x")["status"] == "disconnected"
    assert {"last_connected", "last_disconnected"} <= registered("x").keys()
    cli("data", "connect", "x", "--method", "git", "--path", "sets").ok()
    assert (isolated / "sets/x/one.txt").exists()


@pytest.mark.parametrize("what", ["changed file", "new file", "commit", "stash", "branch"])
def test_nothing_is_deleted_that_is_nowhere_else(cli: Callable[..., Any], isolated: Path, source: Path, what: str):
    cli("data", "connect", "x", "--url", source, "--method", "git").ok()
    root = isolated / "data/datalad/x"
    if what in ("changed file", "stash"):
        (root / "one.txt").write_text("changed")
    if what == "stash":
        tool("git", "stash", at=root)
    if what == "new file":
        (root / "new.txt").write_text("new")
    if what == "branch":
        tool("git", "checkout", "-qb", "other", at=root)
    if what in ("commit", "branch"):
        commit(root, "more.txt")
    if what == "branch":
        tool("git", "checkout", "-q", "main", at=root)
    done = cli("data", "disconnect", "x", "--drop-content")
    assert done.code == 1
    assert "Nothing was deleted" in done.stderr
    assert (root / "one.txt").exists()
    assert registered("x")["status"] == "connected"
    cli("data", "disconnect", "x", "--drop-content", "--force").ok()
    assert not root.exists()


def test_content_is_kept_unless_told_otherwise(cli: Callable[..., Any], isolated: Path, source: Path):
    cli("data", "connect", "x", "--url", source, "--method", "git").ok()
    cli("data", "disconnect", "x").ok()
    assert (isolated / "data/datalad/x/one.txt").exists()
    assert registered("x")["status"] == "disconnected"


def test_nothing_happens_in_a_dry_run(cli: Callable[..., Any], isolated: Path, source: Path):
    said = cli("data", "connect", "x", "--url", source, "--method", "git", "--dry-run").ok().stdout
    assert said == f"Would run: git clone -- {source} {isolated}/data/datalad/x\n"
    assert not (isolated / "data").exists()
    assert not (Path.home() / ".config").exists()
    cli("data", "connect", "x", "--url", source, "--method", "git", "--apply").ok()
    said = cli("data", "disconnect", "x", "--drop-content", "--dry-run").ok().stdout
    assert said == f"Would delete: {isolated}/data/datalad/x\n"
    assert (isolated / "data/datalad/x/one.txt").exists()
    assert registered("x")["status"] == "connected"


def test_a_tool_that_fails_gives_its_exit_status(cli: Callable[..., Any], isolated: Path):
    done = cli("data", "connect", "x", "--url", "/nowhere/at/all", "--method", "git")
    assert done.code == 128
    assert "git ended with status 128" in done.stderr
    assert not (Path.home() / ".config").exists()


@pytest.mark.parametrize("url", ["--upload-pack=touch owned", "ext::sh -c 'touch owned'"])
def test_an_address_is_no_option_and_no_command(cli: Callable[..., Any], isolated: Path, url: str):
    assert cli("data", "connect", "x", f"--url={url}", "--method", "git").code != 0
    assert not list(isolated.rglob("owned"))


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_names_that_lead_elsewhere_are_refused(cli: Callable[..., Any], isolated: Path, name: str):
    assert cli("data", "connect", name, "--url", "x").code == 1
    assert cli("data", "disconnect", name, "--drop-content", "--force").code == 1


def test_what_is_unknown_is_told(cli: Callable[..., Any], isolated: Path):
    assert "Say it: --url URL" in cli("data", "connect", "bogus").stderr
    assert "no dataset 'bogus'" in cli("data", "disconnect", "bogus").stderr
    (isolated / "data/datalad/bogus").mkdir(parents=True)
    (isolated / "data/datalad/bogus/mine.txt").touch()
    done = cli("data", "connect", "bogus", "--url", "x")
    assert done.code == 2
    assert "no Git repository" in done.stderr
    assert cli("data", "disconnect", "bogus", "--drop-content").code == 1
    assert (isolated / "data/datalad/bogus/mine.txt").exists()


def test_addresses_may_come_from_the_settings(cli: Callable[..., Any], isolated: Path, source: Path):
    Path("badc.toml").write_text(f'[datasets.bogus]\nurl = "{source}"\n')
    cli("data", "connect", "bogus", "--method", "git").ok()
    assert registered("bogus")["url"] == str(source)


def test_a_submodule_belongs_to_its_repository(
    cli: Callable[..., Any], isolated: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    for number, value in enumerate(("protocol.file.allow", "always")):
        monkeypatch.setenv(("GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0")[number], value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    tool("git", "init", "-q", at=isolated)
    tool("git", "submodule", "--quiet", "add", source, "data/datalad/x", at=isolated)
    tool("git", "commit", "-qm", "submodule", at=isolated)
    assert "exists" in cli("data", "connect", "x").ok().stdout
    assert registered("x")["method"] == "git-submodule"
    cli("data", "disconnect", "x", "--drop-content").ok()
    assert list((isolated / "data/datalad/x").iterdir()) == []
    assert "cloned" in cli("data", "connect", "x").ok().stdout
    assert (isolated / "data/datalad/x/one.txt").exists()


def test_a_registry_that_was_edited_by_hand(cli: Callable[..., Any], isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """No path, a path that is none, and one that begins at home."""
    monkeypatch.setenv("HOME", str(isolated))
    (isolated / "kept").mkdir()
    (isolated / "kept/file").touch()
    registry_path().parent.mkdir(parents=True, exist_ok=True)
    texts = ("[datasets.a]\npath = 5\nurl = 5\n", "[datasets.b]\n", '[datasets.c]\npath = "~/kept"\n')
    registry_path().write_text("".join(texts))
    told = json.loads(cli("data", "status", "--json").ok().stdout)
    assert {name: entry["present"] for name, entry in told.items()} == {"a": False, "b": False, "c": True}
    cli("data", "status", "--details", "--show-siblings").ok()
    refused = cli("data", "disconnect", "a")
    assert (refused.code, "the path of the dataset 'a' is no text: 5" in refused.stderr) == (1, True)
    assert "data.toml" in refused.stderr
    assert cli("data", "connect", "a", "--dry-run").code == 0
    cli("data", "disconnect", "c").ok()


def test_status_of_all(cli: Callable[..., Any], isolated: Path, source: Path):
    assert "No datasets in" in cli("data", "status").ok().stdout
    cli("data", "connect", "x", "--url", source, "--method", "git").ok()
    cli("data", "connect", "y", "--url", source, "--method", "git").ok()
    shutil.rmtree(isolated / "data/datalad/y")
    said = cli("data", "status").ok().stdout.splitlines()
    assert said[0] == f"x [present] connected  {isolated}/data/datalad/x"
    assert said[1] == f"y [missing] connected  {isolated}/data/datalad/y"
    said = cli("data", "status", "--details", "--show-siblings", "--summary").ok().stdout
    assert "method: git" not in said
    said = cli("data", "status", "--details", "--show-siblings").ok().stdout
    assert "  method: git" in said
    assert f"  sibling origin: {source}" in said
    found = json.loads(cli("data", "status", "--json").ok().stdout)
    assert [found[name]["present"] for name in ("x", "y")] == [True, False]


# ------------------------------------------------------------------------------------------------ DataLad


@needs_tools
def test_a_dataset_is_cloned_and_merged_by_datalad(cli: Callable[..., Any], isolated: Path, dataset: Path):
    cli("data", "connect", "s", "--url", dataset).ok()
    here = isolated / "data/datalad/s"
    assert annex.content_missing(here / "sound.bin")
    assert registered("s")["method"] == "datalad"
    (dataset / "more.txt").write_text("more")
    tool("datalad", "save", "-m", "more", at=dataset)
    cli("data", "connect", "s").ok()
    assert annex.is_link(here / "more.txt")
    said = cli("data", "status", "--show-siblings", "--hide-siblings").ok().stdout
    assert "sibling" not in said
    said = cli("data", "status", "--show-siblings").ok().stdout
    assert f"  sibling origin: {dataset}" in said


@needs_tools
@pytest.mark.slow
def test_datalad_drops_only_what_is_elsewhere(cli: Callable[..., Any], isolated: Path, dataset: Path):
    here = isolated / "data/datalad/s"
    cli("data", "connect", "s", "--url", dataset).ok()
    tool("datalad", "get", "sound.bin", at=here)
    (here / "mine.bin").write_bytes(b"\1" * 1000)
    tool("datalad", "save", "-m", "mine", at=here)
    done = cli("data", "disconnect", "s", "--drop-content")
    assert done.code != 0
    assert (here / "mine.bin").read_bytes() == b"\1" * 1000
    assert registered("s")["status"] == "connected"
    cli("data", "disconnect", "s", "--drop-content", "--force").ok()
    assert not here.exists()
    cli("data", "connect", "s").ok()
    tool("datalad", "get", "sound.bin", at=here)
    cli("data", "disconnect", "s", "--drop-content").ok()
    assert not here.exists()


@needs_tools
def test_content_of_a_dataset_is_safe_without_its_tool(
    cli: Callable[..., Any], isolated: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
):
    here = isolated / "data/datalad/s"
    cli("data", "connect", "s", "--url", dataset).ok()
    tool("datalad", "get", "sound.bin", at=here)
    monkeypatch.setattr(connecting, "_has", lambda name: name == "git")
    done = cli("data", "disconnect", "s", "--drop-content")
    assert done.code == 1
    assert "content of git-annex" in done.stderr
    cli("data", "disconnect", "s", "--drop-content", "--force").ok()
    assert not here.exists()


def test_git_takes_over_where_datalad_is_not_installed(
    cli: Callable[..., Any], isolated: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    tools = isolated / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git") or "")
    monkeypatch.setattr(datalad, "environment", lambda: {**os.environ, "PATH": str(tools)})
    cli("data", "connect", "x", "--url", source).ok()
    assert registered("x")["method"] == "git"
    done = cli("data", "connect", "y", "--url", source, "--method", "datalad")
    assert done.code == 1
    assert "datalad is not installed" in done.stderr

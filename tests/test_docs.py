"""The documentation says what the code does: pages made from it are up to date, hooks and commands are described."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import generate
import pytest
from repository import REPOSITORY, text_files

from badc_core import hookspecs, protocols, scheduling, specs
from badc_core.host import KINDS, default_host

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
_CODE = re.compile(r"^(\s*)(`{3,}).*?^\1\2\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")


@pytest.fixture(scope="module")
def commands():
    return list(generate.described_commands())


# ------------------------------------------------------------------------------------- generated pages


@pytest.mark.parametrize("name", sorted(generate.MAKERS))
def test_generated_page_is_up_to_date(name: str):
    assert (DOCS / name).read_text("utf-8") == generate.MAKERS[name](), "out of date; run: make reference"


def test_commands_of_the_core_are_described(commands):
    paths = {item.path for item in commands}
    assert {"badc", "badc chunk run", "badc infer run", "badc plugins", "badc version"} <= paths


def test_every_command_has_help(commands):
    assert [item.path for item in commands if not (item.command.help or "").strip()] == []


def test_every_option_has_help(commands):
    silent = [f"{item.path} {o.opts[0]}" for item in commands for o in item.options if not (o.help or "").strip()]
    assert silent == []


def test_every_command_and_option_is_in_the_reference(commands):
    page = (DOCS / "reference/cli.md").read_text("utf-8")
    parts = dict(re.findall(r"^##+ (badc[^\n]*)\n(.*?)(?=^##+ |\Z)", page, re.MULTILINE | re.DOTALL))
    wanted = {item.path: {name for o in item.options for name in (*o.opts, *o.secondary_opts)} for item in commands}
    assert parts.keys() == wanted.keys()
    missing = {path: {n for n in names if f"`{n}`" not in parts[path]} for path, names in wanted.items()}
    assert {path: names for path, names in missing.items() if names} == {}


# ---------------------------------------------------------------------------------------------- hooks


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.hook)
def test_hook_has_an_example_that_yields_its_spec(kind):
    test = doctest.DocTestFinder().find(getattr(hookspecs, kind.hook), kind.hook, globs={})[0]
    assert test.examples, f"{kind.hook} has no example"
    result = doctest.DocTestRunner(verbose=False).run(test, clear_globs=False)
    assert result.failed == 0
    yielded = list(test.globs[kind.hook]())
    assert yielded
    assert all(type(spec) is kind.spec for spec in yielded)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.hook)
def test_hook_is_used_by_a_plugin_here(kind):
    local = generate.local_distributions()
    used = [p for p in default_host().provided(kind.spec) if p.provider.distribution in local]
    assert used, f"no installed plugin of this repository uses {kind.hook}"


def test_every_hook_has_its_place_in_the_reference():
    assert generate.OPENS.keys() == {kind.hook for kind in KINDS}
    page = (DOCS / "reference/hooks.md").read_text("utf-8")
    titles = set(re.findall(r"^##+ (\S+)$", page, re.MULTILINE))
    announced, said = set(specs.__all__), {*protocols.__all__, *scheduling.__all__}
    assert {kind.hook for kind in KINDS} | announced | said <= titles


# ---------------------------------------------------------------------------------------------- pages


def _anchors(page: Path) -> set[str]:
    text = _CODE.sub("", page.read_text("utf-8"))
    titles = re.findall(r"^#+ +(.*?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(page: Path):
    broken = []
    for target in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_has_a_place_in_the_contents():
    contents = (DOCS / "index.md").read_text("utf-8")
    globs = re.findall(r"^([\w/-]+\*)$", contents, re.MULTILINE)
    listed = {page for pattern in globs for page in DOCS.glob(pattern + ".md")}
    assert [str(p) for p in PAGES[1:] if p not in listed and p != DOCS / "index.md"] == []


# Written so that this file does not name what it looks for.
_ELSEWHERE = re.compile(
    r"(?<![\w.*-])/(?:work|root|opt/pypi)/|/tmp/" + r"(?:w|venv|wk)\b|\.\./" + r"shared\b|"
    r"py" + r"pi\.org|python" + r"hosted\.org|debian" + r"\.org|npm" + r"js\.org|crates" + r"\.io"
)


def test_nothing_names_this_machine_or_a_registry():
    found = []
    for file in text_files():
        for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), start=1):
            if _ELSEWHERE.search(line):
                found.append(f"{file.relative_to(REPOSITORY)}:{number}: {line.strip()[:100]}")
    assert found == []

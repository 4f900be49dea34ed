"""What the documentation tells readers to type works; see doc_examples.py for how blocks are marked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from doc_examples import blocks, missing_output, run_page

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def _runnable():
    for page in PAGES:
        found = list(blocks(page.read_text("utf-8")))
        if found:
            marks = [pytest.mark.slow] if any(block.slow for block in found) else []
            yield pytest.param(page, id=str(page.relative_to(REPOSITORY)), marks=marks)


@pytest.mark.parametrize("page", list(_runnable()))
def test_examples_of_page_run(page: Path, tmp_path: Path):
    run_page(page.read_text("utf-8"), tmp_path)


PAGE = """
Text.

<!-- run -->
```console
$ mkdir sub && cd sub
$ name=world
$ echo "hello $name"; \\
> echo unimportant; echo "it took 12 s"
hello world
it took ... s
```

<!-- file: notes/a.txt -->
```text
one "two" $three
```

<!-- run -->
```sh
cd ..
grep -q 'one "two" $three' sub/notes/a.txt
```

<!-- run exit=3 -->
```console
$ (exit 3)
```

```console
$ false, but not marked
```
"""


def test_harness_runs_marked_blocks_in_one_shell(tmp_path: Path):
    run_page(PAGE, tmp_path)
    assert (tmp_path / "work/sub/notes/a.txt").read_text() == 'one "two" $three\n'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hello $name", "bye $name", "does not print 'hello world'"),
        ('it took 12 s"', 'done"', "does not print 'it took"),
        ("mkdir sub", "false", "line 4 failed"),
        ('one "two" $three\n```', "something else\n```", "line 19 failed"),
        ("(exit 3)", "true", "line 25 failed"),
        ("(exit 3)", "(exit 4)", "exit status 4"),
    ],
)
def test_harness_notices(tmp_path: Path, old: str, new: str, said: str):
    with pytest.raises(AssertionError) as caught:
        run_page(PAGE.replace(old, new, 1), tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "page", ["<!-- run -->\ntext", "<!-- run fast -->\n```sh\ntrue\n```", "<!-- run -->\n```sh\n```"]
)
def test_marks_that_would_do_nothing_are_refused(page: str):
    with pytest.raises(ValueError, match="line 1"):
        list(blocks(page))


def test_a_page_that_hangs_is_ended(tmp_path: Path):
    with pytest.raises(subprocess.TimeoutExpired):
        run_page("<!-- run -->\n```sh\nsleep 60; true\n```\n", tmp_path, timeout_s=1)


def test_output_must_come_in_order():
    assert missing_output(("a", "b"), "a\nx\nb") is None
    assert missing_output(("b", "a"), "a\nx\nb") == "a"
    assert missing_output(("...", "a  b"), "z\n  a b  ") is None

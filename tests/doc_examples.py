"""Running the examples of documentation pages, so that they stay true.

An HTML comment, which no reader sees, stands before a fenced block and says what to do with it:

``<!-- run -->``
    Run it. In a ``console`` block the lines that begin with ``$`` are commands (``>`` goes on with the one above), and
    the other lines are output that must appear, in this order, among what the commands print; ``...`` or ``…`` stands
    for anything, and lines left out do not matter. In a ``sh`` or ``bash`` block everything is a command.
``<!-- run exit=3 -->``
    Run it; its last command must end with this exit status.
``<!-- run slow -->``
    Run it; makes the whole page's test a slow one.
``<!-- file: NAME -->``
    Write the block's text to that file, in the folder where the commands before it ended.

The blocks of a page run in order, in one shell that starts in an empty folder with an empty home and stops at the first
error; a page can therefore change folders and set variables as a reader would.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

__all__ = ["Block", "blocks", "missing_output", "run_page", "script"]

_MARK = re.compile(r"^\s*<!--\s*(?P<what>run|file:)\s*(?P<rest>.*?)\s*-->\s*$")
_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|:{3,})\s*(?:\{code-block\}\s*)?(?P<language>[\w-]*)\s*$")
_END = "END-OF-DOCUMENTED-FILE"


@frozen
class Block:
    """One marked block.

    Parameters
    ----------
    line
        Where it begins in its page, from 1.
    commands
        Shell lines to run; empty for a file.
    output
        Lines that must be printed.
    file
        Name of the file to write; ``None`` for commands.
    text
        What to write.
    exit_status
        That the last command must have.
    slow
        Whether it takes long.
    """

    line: int
    commands: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    file: str | None = None
    text: str = ""
    exit_status: int = 0
    slow: bool = False


@frozen
class _Fenced:
    language: str
    lines: tuple[str, ...] = field(factory=tuple)


def _fenced(lines: list[str], start: int) -> _Fenced | None:
    """Return the fenced block that begins at or, after empty lines, behind `start`."""
    while start < len(lines) and not lines[start].strip():
        start += 1
    opening = _FENCE.match(lines[start]) if start < len(lines) else None
    if opening is None:
        return None
    body, indent = [], len(opening["indent"])
    for line in lines[start + 1 :]:
        if line.strip() == opening["fence"]:
            return _Fenced(opening["language"], tuple(body))
        body.append(line[indent:])
    return None


def _session(lines: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split a console session into commands and output."""
    commands: list[str] = []
    output: list[str] = []
    for line in lines:
        if line.startswith("$ "):
            commands.append(line[2:])
        elif line.startswith("> ") and commands and not output:
            commands[-1] += "\n" + line[2:]
        elif line.strip():
            output.append(line.strip())
    return tuple(commands), tuple(output)


def blocks(text: str) -> Iterator[Block]:
    """Yield the marked blocks of a page.

    Raises
    ------
    ValueError
        A mark that no block follows, or words in it that mean nothing.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        mark = _MARK.match(line)
        if mark is None:
            continue
        fenced = _fenced(lines, number)
        if fenced is None:
            raise ValueError(f"line {number}: no fenced block follows {line.strip()}")
        if mark["what"] == "file:":
            yield Block(number, file=mark["rest"], text="\n".join(fenced.lines) + "\n")
            continue
        words = dict(word.partition("=")[::2] for word in mark["rest"].split())
        if set(words) - {"exit", "slow"}:
            raise ValueError(f"line {number}: cannot understand {line.strip()}")
        if fenced.language == "console":
            commands, output = _session(fenced.lines)
        else:
            commands, output = ("\n".join(fenced.lines),), ()
        if not any(command.strip() for command in commands):
            raise ValueError(f"line {number}: the block holds no command")
        yield Block(number, commands, output, exit_status=int(words.get("exit", 0)), slow="slow" in words)


def script(page: list[Block], notes: Path) -> str:
    """Return the shell script that runs the blocks of a page.

    Parameters
    ----------
    page
        Its blocks.
    notes
        Folder for what each block printed: ``LINE.out``.
    """
    parts = ["set -euo pipefail", "exec </dev/null"]
    for block in page:
        into = shlex.quote(str(notes / f"{block.line}.out"))
        if block.file is not None:
            name = shlex.quote(block.file)
            parts.append(f"mkdir -p \"$(dirname {name})\"\ncat > {name} <<'{_END}'\n{block.text}{_END}")
            continue
        *first, last = block.commands
        for command in first:
            parts.append(_must_end_with_0(command, into))
        if block.exit_status:
            parts.append(f"status=0\n{{\n{last}\n}} >> {into} 2>&1 || status=$?")
            parts.append(f'((status == {block.exit_status})) || {{ echo "exit status $status" >> {into}; exit 1; }}')
        else:
            parts.append(_must_end_with_0(last, into))
    return "\n".join(parts) + "\n"


def _must_end_with_0(command: str, into: str) -> str:
    """Return `command` with a check that also sees what ``set -e`` does not: ``false && true`` in the middle."""
    return f"{{\n{command}\n[[ $? == 0 ]]\n}} >> {into} 2>&1"


def missing_output(wanted: tuple[str, ...], printed: str) -> str | None:
    """Return the first wanted line that does not appear after the ones before it, or ``None``."""
    rest = iter(" ".join(line.split()) for line in printed.splitlines())
    for line in wanted:
        pieces = re.split(r"\.\.\.|…", " ".join(line.split()))
        pattern = re.compile(".*".join(re.escape(piece) for piece in pieces))
        if line.strip(".… ") and not any(pattern.fullmatch(candidate.strip()) for candidate in rest):
            return line
    return None


def run_page(text: str, folder: Path, environment: Mapping[str, str] | None = None, timeout_s: float = 280) -> None:
    """Run the marked blocks of a page.

    Parameters
    ----------
    text
        The page.
    folder
        An empty folder; ``home``, ``work`` and ``notes`` are made in it.
    environment
        To start from; default: this process's.
    timeout_s
        For the whole page.

    Raises
    ------
    AssertionError
        A block failed or did not print what the page says; the message names its line and shows what was printed.
    """
    page = list(blocks(text))
    home, work, notes = folder / "home", folder / "work", folder / "notes"
    for made in (home, work, notes):
        made.mkdir(parents=True)
    variables = {k: v for k, v in (environment or os.environ).items() if not k.startswith(("BADC_", "XDG_"))}
    variables |= {"HOME": str(home), "COLUMNS": "120", "NO_COLOR": "1"}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables.get('PATH', '/usr/bin:/bin')}"
    file = notes / "page.sh"
    file.write_text(script(page, notes), "utf-8")
    status = _run(file, work, variables, timeout_s)
    for block in page:
        out = notes / f"{block.line}.out"
        ran = out.exists()
        printed = out.read_text("utf-8", "replace") if ran else ""
        later = any((notes / f"{other.line}.out").exists() for other in page if other.line > block.line)
        if status and ran and not later:
            raise AssertionError(f"line {block.line} failed:\n{chr(10).join(block.commands)}\n---\n{printed}")
        lost = missing_output(block.output, printed) if ran else None
        if lost is not None:
            raise AssertionError(f"line {block.line} does not print {lost!r} there, but:\n{printed}")
    if status:
        raise AssertionError(f"the page failed with status {status}:\n{file.with_suffix('.log').read_text('utf-8')}")


def _run(file: Path, folder: Path, variables: Mapping[str, str], timeout_s: float) -> int:
    """Run a script and return its exit status; when it takes too long, end it with everything it started."""
    with file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", file], cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return process.wait(timeout_s)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

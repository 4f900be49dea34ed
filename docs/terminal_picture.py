"""Draw what a command printed on a terminal as an SVG.

``script -qc "badc demo" said.txt; python docs/terminal_picture.py OUT.svg "badc demo" < said.txt``

The picture in the README is made so, from a real run. rich draws it; its template is replaced by one that fetches no
fonts.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_TEMPLATE = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def settled(text: str) -> str:
    """Return the lines that stay on the terminal: of a line of progress its last state, without cursor moves."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        line = re.sub(r"\x1b\[(\?25[lh]|\d*[AK])", "", line.rpartition("\r")[2])
        if not line.startswith(("Script started", "Script done")):
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def draw(text: str, title: str) -> str:
    """Return an SVG of terminal output, as wide as its longest line."""
    lines = Text.from_ansi(text).split()
    width = max(60, *(line.cell_len for line in lines))
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True)
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
    return console.export_svg(title=title, theme=MONOKAI, code_format=_TEMPLATE, unique_id="badc")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(settled(sys.stdin.read()), sys.argv[2]))

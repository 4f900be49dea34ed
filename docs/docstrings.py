"""Reading docstrings in NumPy style: sections, entries, and their text as Markdown. Pure functions."""

from __future__ import annotations

import inspect
import re
import textwrap

__all__ = ["entries", "markdown", "sections"]

_HEADING = re.compile(r"^(?P<title>[A-Z][A-Za-z ]+)\n-{3,}[ ]*$", re.MULTILINE)
_ROLE = re.compile(r":[a-z:]+:`(?:[^`<]*<)?(?P<target>~?[^`>]+)>?`")
_LITERAL = re.compile(r"``(?P<text>.+?)``", re.DOTALL)


def sections(docstring: str | None) -> dict[str, str]:
    """Split a docstring at its underlined headings.

    Parameters
    ----------
    docstring
        As it stands in the source; ``None`` is an empty one.

    Returns
    -------
    dict
        Text by heading, without indentation. What comes before the first heading has the key ``""``.
    """
    text = inspect.cleandoc(docstring or "")
    found = list(_HEADING.finditer(text))
    parts = {"": text[: found[0].start()].strip() if found else text.strip()}
    ends = [match.start() for match in found[1:]] + [len(text)]
    for match, end in zip(found, ends, strict=False):
        parts[match["title"]] = text[match.end() : end].strip("\n").rstrip()
    return parts


def entries(section: str) -> list[tuple[list[str], str]]:
    """Split a section such as *Parameters* or *Raises* into its entries.

    Parameters
    ----------
    section
        Text of the section: names at the margin, descriptions indented.

    Returns
    -------
    list
        Names (``a, b : int`` gives ``["a", "b"]``) and description of each entry.
    """
    found: list[tuple[list[str], list[str]]] = []
    for line in section.splitlines():
        if line and not line[0].isspace():
            names = line.split(" : ")[0].split(",")
            found.append(([name.strip() for name in names], []))
        elif found:
            found[-1][1].append(line)
    return [(names, textwrap.dedent("\n".join(lines)).strip()) for names, lines in found]


def markdown(text: str) -> str:
    """Return text with its reStructuredText roles and literals turned into Markdown; examples become code blocks."""
    text = _ROLE.sub(lambda match: f"`{_short(match['target'])}`", text)
    text = _LITERAL.sub(lambda match: f"`{match['text']}`", text)
    return "\n\n".join(_block(paragraph) for paragraph in re.split(r"\n{2,}", text.strip()))


def _short(target: str) -> str:
    return target.rsplit(".", 1)[-1] if target.startswith("~") else target


def _block(paragraph: str) -> str:
    if paragraph.startswith(">>>"):
        return f"```pycon\n{paragraph}\n```"
    if paragraph.startswith("    "):
        return f"```text\n{textwrap.dedent(paragraph)}\n```"
    return paragraph.removesuffix("::") + ":" if paragraph.endswith("::") else paragraph

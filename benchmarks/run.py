"""``make bench``: measure, and print a table beside BADC 0.1's figures.

``python benchmarks/run.py [CASE ...] [--save]``; without cases, all of them. ``--save`` puts the table at the top of
``benchmarks/RESULTS.md``. Figures are CPU seconds, medians of several runs; machines are noisy, so trust ratios.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cases import CASES, commit
from rows import Row

_RESULTS = Path(__file__).with_name("RESULTS.md")
_HEADS = ("what", "measured", "to reach", "BADC 0.1", "")


def machine() -> str:
    """Return a line about this machine."""
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = names[0] if names else platform.processor() or platform.machine()
    python = platform.python_version()
    return f"{os.cpu_count()} cores ({name}), {memory_gib:.0f} GiB, {platform.system()}, Python {python}"


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def table(rows: list[Row]) -> str:
    """Return rows as a Markdown table."""
    marks = {True: "reached", False: "**missed**", None: ""}
    cells = [_HEADS, tuple("---" for _ in _HEADS)]
    cells += [(row.what, row.measured, row.goal, row.before, marks[row.reached]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    lines = []
    for line in cells:
        filled = (cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(line, widths, strict=True))
        lines.append("| " + " | ".join(filled) + " |")
    return "\n".join(lines)


def save(text: str) -> None:
    """Put a table at the top of the results, below the title."""
    title = "# Results of the benchmarks\n"
    old = _RESULTS.read_text() if _RESULTS.exists() else title
    _RESULTS.write_text(f"{title}\n{text}\n{old.removeprefix(title)}")


def about(name: str) -> str:
    """Return the first line that a case says of itself."""
    return f"{name}: {(CASES[name].__doc__ or '').partition(chr(10))[0]}"


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(
        description="Measure speed and memory, and print a table beside BADC 0.1's figures.",
        epilog="cases:\n" + "\n".join(f"  {about(name)}" for name in CASES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("cases", nargs="*", metavar="CASE", help="what to measure; default: all of the cases below")
    made.add_argument(
        "--save", action="store_true", help=f"put the table at the top of benchmarks/{_RESULTS.name}, too"
    )
    return made


def main(arguments: list[str]) -> int:
    """Run the cases named, or all."""
    given = parser().parse_args(arguments)
    unknown = [name for name in given.cases if name not in CASES]
    if unknown:
        parser().error(f"there is no case {', '.join(unknown)}; there are: {', '.join(CASES)}")
    rows = []
    for name in given.cases or CASES:
        print(about(name), file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="badc-bench-") as folder:
            for row in CASES[name](Path(folder)):
                print(f"  {row.what}: {row.measured}", file=sys.stderr, flush=True)
                rows.append(row)
    made = table(rows)
    print(made)
    if given.save:
        save(f"## {dt.date.today().isoformat()}, commit {commit()}\n\n{machine()}\n\n{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What the file system alone costs: a bare loop that makes, writes and renames files as layout ``files`` does.

``python bare_files.py COUNT``, in an empty folder; nothing is made durable, and nothing is deleted.
"""

from __future__ import annotations

import os
import sys


def main(count: int) -> None:
    """Make files of 600 bytes in ten new folders."""
    base = f"bare-{os.getpid()}"
    for number in range(10):
        os.makedirs(f"{base}/{number}")  # noqa: PTH103 - bare on purpose
    for number in range(count):
        folder = f"{base}/{number * 10 // count}"
        handle = os.open(f"{folder}/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(handle, b"x" * 600)
        os.close(handle)
        os.rename(f"{folder}/new", f"{folder}/{number}.json")  # noqa: PTH104


if __name__ == "__main__":
    main(int(sys.argv[1]))

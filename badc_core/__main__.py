"""``python -m badc_core`` is ``badc``."""

from __future__ import annotations

import io
import os
import sys
import threading


def entry() -> None:
    """Run the command line and leave with its status: the console script ``badc``."""
    from badc_core.cli import main
    from badc_core.errors import ExitCode

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that are no UTF-8
    status = main()
    if status == ExitCode.RESUME and threading.active_count() > 1:
        # A thread hangs, say in a read from a dead network folder; the interpreter would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    entry()

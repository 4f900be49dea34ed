"""``python -m badc_core`` is ``badc``."""

from __future__ import annotations

import sys


def entry() -> None:
    """Run the command line and leave with its status: the console script ``badc``."""
    from badc_core.cli import main

    sys.exit(main())


if __name__ == "__main__":
    entry()

"""Sphinx: how the pages in this folder become a site. ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from badc_core import __version__

project = "BADC"
author = "The BADC developers"
copyright = author
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"BADC {version}"
html_show_sourcelink = False
highlight_language = "text"
smartquotes = False  # `--flag` must not become a dash

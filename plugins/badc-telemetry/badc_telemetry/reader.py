"""Reading telemetry logs; the functions live in the core, where ``badc telemetry`` needs them too."""

from __future__ import annotations

from badc_core.telemetry_log import count_lines, read_log, tail

__all__ = ["count_lines", "read_log", "tail"]

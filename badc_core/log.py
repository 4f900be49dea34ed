"""Diagnostics through structlog, on stderr, apart from what commands print.

structlog costs more to import than ``badc --help`` may take, so it is loaded at the first message that is wanted.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Literal

__all__ = ["Logger", "configure", "get_logger"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_state = {"level": "warning", "format": "console"}

Level = Literal["debug", "info", "warning", "error"]


def configure(level: str = "warning", format: str = "console") -> None:
    """Choose how much is said, and how.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``.
    format
        ``console`` for people, ``json`` for one object a line.
    """
    _state.update(level=level.lower(), format=format)
    _structlog.cache_clear()


@functools.cache
def _structlog() -> Any:
    import structlog

    renderer: Any
    if _state["format"] == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks
            if _state["format"] == "json"
            else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger()


class _StderrLogger:
    """Writes to whatever ``sys.stderr`` is at that moment, one write per line."""

    def __init__(self, *args: Any) -> None:
        pass

    def msg(self, message: str) -> None:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = msg


class Logger:
    """Says things with a name attached; costs one comparison when nobody wants to hear.

    Parameters
    ----------
    name
        The module that speaks.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def _say(self, level: Level, event: str, values: dict[str, Any]) -> None:
        if _LEVELS[level] >= _LEVELS[_state["level"]]:
            getattr(_structlog(), level)(event, logger=self._name, **values)

    def debug(self, event: str, **values: Any) -> None:
        """Say what only a developer wants to know."""
        self._say("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        """Say what happens."""
        self._say("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        """Say what should be looked at."""
        self._say("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        """Say what went wrong."""
        self._say("error", event, values)


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(name)

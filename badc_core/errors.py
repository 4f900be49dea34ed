"""Every error BADC raises on purpose, and the exit codes of its commands.

An error names the thing, the place and the next step: three short sentences that a user can act on.
Anything that is not a :class:`BadcError` is a defect of ours or of a plugin.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What a command's exit status says; documented in ``docs/reference/exit-codes.md``."""

    OK = 0
    """Everything asked for is done."""
    ERROR = 1
    """The command could not do its work; the message says why."""
    USAGE = 2
    """The command line or a configuration file cannot be understood."""
    SOME_FAILED = 3
    """The run went to its end, but some chunks ended as ``failed``."""
    HELD = 4
    """Another run holds the output folder, or another process follows the run."""
    RESUME = 75
    """Stopped early on request (signal, time limit); run the same command again to go on."""


class BadcError(Exception):
    """Base of all errors a user can act on.

    Parameters
    ----------
    message
        What is wrong, with the name of the thing and the place.
    hint
        The next step, one sentence; shown on a line of its own.
    """

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class UsageError(BadcError):
    """A command line, option or configuration file cannot be understood."""

    exit_code = ExitCode.USAGE


class PluginError(BadcError):
    """A plugin is missing, broken, or named twice."""


class ManifestError(BadcError):
    """A manifest, plan or status file cannot be read as what it claims to be."""


class RecordingError(BadcError):
    """A recording cannot be read: missing, empty, damaged, or of no known format.

    The same file fails in the same way again, so a chunk that meets this error is not retried.
    """


class RunnerError(BadcError):
    """A runner broke its contract, died, or hung; the message names the runner.

    Parameters
    ----------
    message
        What happened.
    hint
        The next step.
    retry
        Whether another attempt can help. ``False`` for answers that break the contract: the same input gives
        the same nonsense.
    returncode
        Exit status of the process behind the runner, where there is one.
    output
        The last of what the process wrote, for the log.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry: bool = True,
        returncode: int | None = None,
        output: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry
        self.returncode = returncode
        self.output = output


class StoreError(BadcError):
    """Results cannot be written or read; nothing half-written counts as done."""


class HeldError(StoreError):
    """Another run holds the output folder, or another process follows the run."""

    exit_code = ExitCode.HELD


class MixedResultsError(StoreError):
    """The output folder holds results of another runner, model or options for the same chunks."""


class Interrupted(BadcError):  # noqa: N818 - it is a request, not a fault
    """The run was asked to stop; what was committed stays, the rest is done by the same command."""

    exit_code = ExitCode.RESUME

"""SLURM's commands: called with a limit of time, and their answers taken apart."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from badc_core.errors import StoreError
from badc_core.log import get_logger

__all__ = ["Client", "Row", "SlurmError", "read_sacct", "read_squeue"]

_log = get_logger("slurm")
_SQUEUE = "%F_%K|%T|%N|%j|%A|%r"
_SACCT = "JobID,State,NodeList"
_JOBS_A_CALL = 500
_NO_ACCOUNTING = "accounting storage is disabled"


class SlurmError(StoreError):
    """SLURM refused, or gave no answer.

    Parameters
    ----------
    message, hint
        As for every error of ours.
    answered
        Whether it was SLURM that said no; otherwise nobody knows what it did.
    """

    def __init__(self, message: str, *, hint: str | None = None, answered: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.answered = answered


@frozen
class Row:
    """What SLURM says of one array task.

    Parameters
    ----------
    state
        SLURM's word, ``RUNNING`` or ``OUT_OF_MEMORY``.
    node
        Where; may be empty.
    name
        Of the job; empty from accounting.
    reason
        Why it waits or ended, SLURM's word.
    raw_id
        The id that SLURM's own messages call it by; empty from accounting.
    """

    state: str
    node: str = ""
    name: str = ""
    reason: str = ""
    raw_id: str = ""


def read_squeue(text: str) -> dict[str, Row]:
    """Take apart what ``squeue -r -h -o '%F_%K|%T|%N|%j|%A|%r'`` prints, by ``JOB_INDEX``; other jobs are left out."""
    found = {}
    for line in text.splitlines():
        fields = line.split("|", 5)
        if len(fields) == 6 and re.fullmatch(r"\d+_\d+", fields[0]):
            task, state, node, name, raw_id, reason = fields
            found[task] = Row(state, node, name, "" if reason == "None" else reason, raw_id)
    return found


def read_sacct(text: str) -> dict[str, Row]:
    """Take apart what ``sacct -X -n -P -o JobID,State,NodeList`` prints.

    Only rows with an index of their own count: for some seconds an array may stand there as one line, under its bare
    id, with the state of one of its tasks.
    """
    found = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) >= 3 and re.fullmatch(r"\d+_\d+", fields[0]):
            state = fields[1].split(" ")[0].rstrip("+")  # CANCELLED by 1000
            found[fields[0]] = Row(state, "" if fields[2] == "None assigned" else fields[2])
    return found


class Client:
    """Calls SLURM's commands.

    Parameters
    ----------
    patience_s
        How long to wait for an answer.
    """

    def __init__(self, patience_s: float = 60.0) -> None:
        self._patience_s = patience_s
        self._no_accounting = False

    def _call(self, *words: str, cwd: Path | None = None) -> str:
        """Call a command, and return what it prints.

        Raises
        ------
        SlurmError
            It is not there, gives no answer in time, or says no.
        """
        environment = {**os.environ, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
        began = time.monotonic()
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                cwd=cwd,
                timeout=self._patience_s,
                start_new_session=True,  # Ctrl-C is for badc, not for a submission that is just being answered
                check=False,
            )
        except FileNotFoundError as error:
            raise SlurmError(
                f"There is no {words[0]} here.",
                hint="Call badc on a login node of the cluster, where SLURM's commands are.",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise SlurmError(
                f"{words[0]} gave no answer within {self._patience_s:g} s.",
                hint="The cluster's controller may be down. Try again later: badc jobs resume RUN.",
                answered=False,
            ) from error
        _log.debug(
            "asked", command=" ".join(words[:6]), status=done.returncode, took_s=round(time.monotonic() - began, 3)
        )
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}"
            raise SlurmError(
                f"{words[0]} says: {said}", answered=done.returncode > 0 and not _may_have_been_heard(said)
            )
        return done.stdout

    def submit(self, script: Path, workdir: Path, words_of_slurm: Path) -> str:
        """Submit a script and return the job's id.

        Parameters
        ----------
        script
            The array script.
        workdir
            Where tasks begin.
        words_of_slurm
            File for what SLURM itself has to say of tasks: that their time is over, or that they took too much memory.

        Raises
        ------
        SlurmError
            It was refused, or nobody knows.
        """
        words = ["sbatch", "--parsable"]
        if "\\" not in str(words_of_slurm):  # sbatch has its own idea of that
            words.append("--output=" + str(words_of_slurm).replace("%", "%%"))
        words.append(str(script))
        answer = self._call(*words, cwd=workdir if workdir.is_dir() else None)
        job_id = answer.strip().splitlines()[-1].partition(";")[0] if answer.strip() else ""
        if not job_id.isdigit():
            raise SlurmError(f"sbatch answers {answer.strip()!r}, which is no job id.", answered=False)
        return job_id

    def named(self, name: str) -> str | None:
        """Return the id of the job with a name that nobody else uses; ``None``: SLURM knows none.

        Raises
        ------
        SlurmError
            It gives no answer.
        """
        found = self._call("squeue", "-h", "-t", "all", f"--name={name}", "-o", "%F").split()
        if not found:
            found = self._accounts("-X", "-n", "-P", f"--name={name}", "-S", "now-30days", "-o", "JobID").split()
            found = [task.partition("_")[0] for task in found]
        return found[0] if found and found[0].isdigit() else None

    def queue(self, names: Sequence[str], user: int | None = None) -> dict[str, Row]:
        """Return all tasks of some jobs that SLURM's controller knows, in one question.

        Parameters
        ----------
        names
            Of the jobs.
        user
            Whose they are, where that is known: the controller then sends only that user's, of perhaps many thousands.

        Raises
        ------
        SlurmError
            It gives no answer.
        """
        if not names:
            return {}
        whose = () if user is None else (f"--user={user}",)
        wanted = ("-h", "-r", "-t", "all", *whose, f"--name={','.join(names)}")
        return read_squeue(self._call("squeue", *wanted, "-o", _SQUEUE))

    def accounts(self, job_ids: Iterable[str]) -> dict[str, Row]:
        """Return what accounting says of some jobs' tasks; nothing where there is no accounting."""
        ids = sorted(set(job_ids))
        found: dict[str, Row] = {}
        for first in range(0, len(ids), _JOBS_A_CALL):
            some = ",".join(ids[first : first + _JOBS_A_CALL])
            found |= read_sacct(self._accounts("-X", "-n", "-P", "-j", some, "-o", _SACCT))
        return found

    def _accounts(self, *words: str) -> str:
        if self._no_accounting:
            return ""
        try:
            return self._call("sacct", *words)
        except SlurmError as error:
            if _NO_ACCOUNTING in error.message or "There is no sacct" in error.message:
                self._no_accounting = True
            else:
                _log.warning("accounting gives no answer", error=error.message)
            return ""

    def largest_array(self) -> int:
        """Return how many tasks an array may have at most.

        Raises
        ------
        SlurmError
            The controller gives no answer.
        """
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", self._call("scontrol", "show", "config"), re.MULTILINE)
        return int(found[1]) if found else 1001

    def cancel(self, names: Sequence[str]) -> None:
        """End all tasks of some jobs; harmless for those that are over.

        Raises
        ------
        SlurmError
            The controller gives no answer.
        """
        for name in names:
            self._call("scancel", f"--name={name}")


def _may_have_been_heard(said: str) -> bool:
    """Whether a submission may have been taken although sbatch complains."""
    return any(word in said for word in ("timed out", "Unable to contact", "Connection", "Zero Bytes", "Transport"))

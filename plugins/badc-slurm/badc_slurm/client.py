"""SLURM's commands: called with a limit of time, and their answers taken apart."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from badc_core.errors import StoreError
from badc_core.log import get_logger

__all__ = ["Client", "Row", "SlurmError", "clean", "read_sacct", "read_squeue"]

_log = get_logger("slurm")
_SQUEUE = "%F_%K|%T|%N|%j|%A|%r"
_SACCT = "JobID,State,NodeList"
_JOBS_A_CALL = 500
_NO_ACCOUNTING = "accounting storage is disabled"
_DOWN = "The cluster's controller may be down. Try again later: badc jobs resume RUN."

_SLURMS = re.compile(r"(SLURM|SLURMD|SBATCH|SALLOC|SRUN|SQUEUE|SINFO|SACCT|SCANCEL|SCONTROL)_")
_WHICH_CLUSTER = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"}
_DEFAULTS = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_WCKEY": "wckey",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_MEM_PER_CPU": "mem-per-cpu",
    "SBATCH_MEM_PER_GPU": "mem-per-gpu",
}
"""What sites and people set on purpose, and the option that it stands for."""
_MEMORY = {"mem", "mem-per-cpu", "mem-per-gpu"}

_FULL = re.compile(r"temporarily (unable|disabled)|queue full|SubmitJobs?(Per\w+)?Limit")
"""sbatch's words where another job would be one too many; of the first two it tells, waits, and tries again itself."""
_LOOK_S = 0.05
_SURELY_ASLEEP_S = 0.5
"""sbatch sleeps for a second at least before it tries again."""
STOP_S = 1.0
"""How long an answer is waited for once somebody asked to stop."""


def clean(environment: Mapping[str, str], chosen: Collection[str] = ()) -> dict[str, str]:
    """Return an environment for SLURM's commands, without what would change their meaning behind our back.

    Parameters
    ----------
    environment
        Of this process, which may itself run in a job.
    chosen
        Options of sbatch that are said already; sbatch lets its environment override the lines of a script.

    Notes
    -----
    What says which cluster stays, and so do the defaults that people set for sbatch, where nothing else was chosen.
    """
    said = set(chosen) | (_MEMORY if _MEMORY & set(chosen) else set())
    kept = {
        name: value
        for name, value in environment.items()
        if not _SLURMS.match(name) or name in _WHICH_CLUSTER or (name in _DEFAULTS and _DEFAULTS[name] not in said)
    }
    return {**kept, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}


class SlurmError(StoreError):
    """SLURM refused, or gave no answer.

    Parameters
    ----------
    message, hint
        As for every error of ours.
    answered
        Whether it was SLURM that said no; otherwise nobody knows what it did.
    full
        It takes no more just now.
    """

    def __init__(self, message: str, *, hint: str | None = None, answered: bool = True, full: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.answered = answered
        self.full = full


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

    Attributes
    ----------
    stopping
        Says whether somebody asked to stop: then no answer is waited for.
    """

    def __init__(self, patience_s: float = 60.0) -> None:
        self._patience_s = patience_s
        self._no_accounting = False
        self.stopping: Callable[[], bool] = lambda: False

    def _call(self, *words: str) -> str:
        """Call a command, and return what it prints.

        Raises
        ------
        SlurmError
            It is not there, gives no answer in time, or says no.
        """
        began = time.monotonic()
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=clean(os.environ),
                timeout=self._patience_s,
                start_new_session=True,  # Ctrl-C is for badc, not for a question that is just being answered
                check=False,
            )
        except FileNotFoundError as error:
            raise _not_here(words[0]) from error
        except subprocess.TimeoutExpired as error:
            raise SlurmError(
                f"{words[0]} gave no answer within {self._patience_s:g} s.", hint=_DOWN, answered=False
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

    def submit(
        self,
        script: Path,
        workdir: Path,
        words_of_slurm: Path,
        *,
        after: Sequence[str] = (),
        sending: Callable[[int], None] = lambda pid: None,
    ) -> str:
        """Submit a script and return the job's id.

        Parameters
        ----------
        script
            The array script.
        workdir
            Where tasks begin.
        words_of_slurm
            File for what SLURM itself has to say of tasks: that their time is over, or that they took too much memory.
        after
            Jobs that must have ended before a task of this one begins.
        sending
            Told of the process that submits, which may live longer than this one.

        Raises
        ------
        SlurmError
            It was refused, or nobody knows.
        """
        words = ["sbatch", "--parsable"]
        if after:
            words.append(f"--dependency=afterany:{':'.join(after)}")
        if "\\" not in str(words_of_slurm):  # sbatch has its own idea of that
            words.append("--output=" + str(words_of_slurm).replace("%", "%%"))
        words.append(str(script))
        answer = self._send(words, workdir if workdir.is_dir() else None, _chosen(script), sending)
        job_id = answer.strip().splitlines()[-1].partition(";")[0] if answer.strip() else ""
        if not job_id.isdigit():
            raise SlurmError(f"sbatch answers {answer.strip()!r}, which is no job id.", answered=False)
        return job_id

    def _send(self, words: list[str], cwd: Path | None, chosen: Collection[str], sending: Callable[[int], None]) -> str:
        """Call sbatch and hear what it says while it waits."""
        # Files, not pipes: where this process is killed, sbatch shall not fail for want of a reader.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:

            def said() -> str:
                return os.pread(err.fileno(), 1 << 16, 0).decode("utf-8", "replace").strip()

            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=clean(os.environ, chosen),
                    cwd=cwd,
                    start_new_session=True,  # Ctrl-C is for badc, not for a submission that is just being answered
                )
            except FileNotFoundError as error:
                raise _not_here(words[0]) from error
            sending(process.pid)
            self._wait(process, said)
            if process.returncode != 0:
                heard = said() or f"status {process.returncode}"
                answered = process.returncode > 0 and not _may_have_been_heard(heard)
                raise SlurmError(f"sbatch says: {heard}", answered=answered, full=bool(_FULL.search(heard)))
            return os.pread(out.fileno(), 1 << 16, 0).decode("utf-8", "replace")

    def _wait(self, process: subprocess.Popen[bytes], said: Callable[[], str]) -> None:
        """Wait for sbatch's end: not for ever, and not for the end of a queue that is full."""
        until = time.monotonic() + self._patience_s
        looked = time.monotonic()
        while process.poll() is None:
            try:
                process.wait(_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                pass
            now = time.monotonic()
            if self.stopping():
                until = min(until, now + STOP_S)
            heard = said()
            if _FULL.search(heard):
                _end(process)
                asleep = time.monotonic() - looked < _SURELY_ASLEEP_S
                raise SlurmError(f"sbatch says: {heard.splitlines()[-1]}", answered=asleep, full=True)
            if now > until:
                _end(process)
                words = f" It says: {heard}" if heard else ""
                raise SlurmError(
                    f"sbatch gave no answer within {self._patience_s:g} s.{words}", hint=_DOWN, answered=False
                )
            looked = now

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

    def active(self, names: Sequence[str]) -> list[str]:
        """Return the ids of those among some jobs that have tasks under way, or waiting.

        Raises
        ------
        SlurmError
            It gives no answer.
        """
        found = self._call("squeue", "-h", f"--name={','.join(names)}", "-o", "%F").split() if names else []
        return list(dict.fromkeys(job_id for job_id in found if job_id.isdigit()))

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


def _not_here(command: str) -> SlurmError:
    return SlurmError(
        f"There is no {command} here.", hint="Call badc on a login node of the cluster, where SLURM's commands are."
    )


def _chosen(script: Path) -> set[str]:
    """Return the options that a script's own lines choose."""
    return set(re.findall(r"^#SBATCH --([a-z-]+)", script.read_text("utf-8", "surrogateescape"), re.MULTILINE))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _may_have_been_heard(said: str) -> bool:
    """Whether a submission may have been taken although sbatch complains."""
    return any(word in said for word in ("timed out", "Unable to contact", "Connection", "Zero Bytes", "Transport"))

"""One record in the dataset for a run: made when all came together, by the process that saw the end.

Tasks never call DataLad: two of its records made at once in one clone lose work. When the run has ended, its results,
log, summary and the facts of its tasks are saved in one commit. The commit's message is that of ``datalad run``, so
``datalad rerun`` knows what to do: the same command again, which does what is missing.

A run in this process is recorded in the same way, not by a ``datalad run`` around it. So it shows its progress, prints
its outcome and ends as without a record; and runs in one clone wait for each other only to be saved, not to work.

``record.json`` in the run folder holds what is to be recorded, and later which commit it became.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import evolve, frozen

from badc_core import datalad, layout
from badc_core.annex import is_link
from badc_core.atomic import explain, write_bytes
from badc_core.errors import BadcError, ExitCode, ManifestError, StoreError, UsageError
from badc_core.json_text import dump_json, load_json
from badc_core.log import get_logger
from badc_core.plan import Plan
from badc_core.provenance import Record, record_of
from badc_core.run_folders import REQUEST_FILE, note_ended
from badc_core.runs import RunRequest, RunSummary
from badc_core.serde import structure, unstructure

__all__ = ["RECORD_FILE", "Wanted", "check_recordable", "intend", "message", "read_wanted", "record", "recorded"]

RECORD_FILE = "record.json"
_LOCK_FILE = "badc-record.lock"
_TURN_S = 0.2
"""How often to look whether another run's record is made."""
_log = get_logger("record")


@frozen
class Wanted:
    """What is to be recorded of a run, and what became of that.

    Parameters
    ----------
    record
        What the dataset is to remember.
    commit
        The commit that holds it; ``None``: there is none yet.
    """

    record: Record
    commit: str | None = None


# --------------------------------------------------------------------------------------------- beforehand


def intend(request: RunRequest, plan: Plan, folder: Path, log: Path) -> Wanted | None:
    """Note in the run folder what is to be recorded when the run has ended; ``None`` where nothing is.

    Parameters
    ----------
    request
        The run.
    plan
        Names its output folders.
    folder
        The run folder.
    log
        The run's telemetry log.

    Raises
    ------
    UsageError
        A record was asked for, and cannot be made.
    """
    if request.record is False:
        return None
    try:
        made = _record(request, plan, log)
    except BadcError as error:
        if request.record:
            raise UsageError(error.message, hint=error.hint) from error
        _log.info("the run will not be recorded", reason=error.message)
        return None
    wanted = Wanted(made)
    _write(folder, wanted)
    return wanted


def check_recordable(dataset: Path) -> None:
    """Check that work can be recorded in a dataset, as far as that can be told beforehand.

    Raises
    ------
    UsageError
        It cannot.
    """
    if not datalad.may_record(dataset):
        raise UsageError(
            "Nothing can be recorded here: datalad is not installed, or BADC_DISABLE_DATALAD is set.",
            hint="pip install datalad git-annex",
        )
    if not (dataset / ".git").exists() or shutil.which("git-annex", path=datalad.environment()["PATH"]) is None:
        raise UsageError(
            f"Nothing can be recorded in {dataset}: it is no Git repository, or git-annex is not installed.",
            hint="pip install git-annex. A folder becomes a dataset with: datalad create --force",
        )


def _record(request: RunRequest, plan: Plan, log: Path) -> Record:
    manifest = Path(os.path.normpath(request.manifest.expanduser().absolute()))
    bases = [Path(os.path.normpath(base)) for base in plan.bases]
    around = (folder for folder in manifest.parents if all(base.is_relative_to(folder) for base in bases))
    dataset = next((folder for folder in around if layout.dataset_root(folder) == folder), None)
    if dataset is None:
        raise BadcError(
            f"The manifest {request.manifest} and the results are not in one DataLad dataset.",
            hint="Choose an --output-dir in the dataset of the manifest, or leave --record-datalad away.",
        )
    check_recordable(dataset)
    if len(bases) > 1:
        raise BadcError(
            f"The results go to {len(bases)} folders, which no single command would find again.",
            hint="Choose one: --output-dir",
        )
    if request.share and request.layout != "files":
        raise BadcError(  # what is saved must not be written any more
            f"The results in {bases[0]} lie in files beside those of other runs, which may still be writing theirs.",
            hint="Share an --output-dir with --layout files, or leave --record-datalad away.",
        )
    if request.record is None and datalad.within_run():
        raise BadcError("This is part of a `datalad run`, which makes the record.")
    return record_of(evolve(request, manifest=manifest, output_dir=bases[0], telemetry_log=log), dataset)


def _write(folder: Path, wanted: Wanted) -> None:
    write_bytes(folder / RECORD_FILE, dump_json(unstructure(wanted), indent=True) + b"\n")


def read_wanted(folder: Path) -> Wanted | None:
    """Read what is to be recorded of a run; ``None``: nothing.

    Raises
    ------
    ManifestError
        ``record.json`` cannot be read.
    """
    try:
        return structure(load_json((folder / RECORD_FILE).read_bytes()), Wanted)
    except FileNotFoundError:
        return None
    except Exception as error:
        raise ManifestError(f"{folder / RECORD_FILE} cannot be read: {error}.") from error


# --------------------------------------------------------------------------------------------- afterwards


def message(record: Record, dataset_id: str, exit_code: int) -> str:
    """Return the commit message that ``datalad rerun`` understands.

    Parameters
    ----------
    record
        What was done.
    dataset_id
        DataLad's name of the dataset.
    exit_code
        How it ended.

    Notes
    -----
    The form is the one that ``datalad run`` writes, as DataLad 1.7 does.
    """
    import json
    import shlex

    facts = {
        "chain": [],
        "cmd": shlex.join(record.command),
        "dsid": dataset_id,
        "exit": exit_code,
        "extra_inputs": [],
        "inputs": [datalad.exact(path) for path in record.inputs],
        "outputs": [_output(record.dataset, path) for path in record.outputs],
        "pwd": ".",
    }
    return "\n".join(
        (
            f"[DATALAD RUNCMD] {record.message}",
            "",
            "=== Do not change lines below ===",
            json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False),
            "^^^ Do not change lines above ^^^",
            "",
        )
    )


def _output(dataset: Path, path: str) -> str:
    """Return the pattern of an output; of a folder what lies in it, but not our own hidden one, which Git ignores."""
    return datalad.exact(path) + ("/*" if (dataset / path).is_dir() else "")


def recorded(summary: RunSummary, stopping: Callable[[], bool] = lambda: False) -> RunSummary:
    """Record a run that has come to its end, where that is wanted; that it cannot be done does not undo the run.

    Parameters
    ----------
    summary
        How it ended.
    stopping
        As for :func:`record`.

    Returns
    -------
    RunSummary
        The same, with the commit, or with the reason why there is none.
    """
    folder = summary.folder
    if folder is None:
        return summary
    try:
        if (folder / RECORD_FILE).exists() and not (folder / REQUEST_FILE).exists():
            note_ended(folder, "complete", failures=summary.counts.failures)  # so that it can be recorded later, too
        return evolve(summary, commit=record(folder, summary.exit_code, stopping))
    except BadcError as error:
        return evolve(summary, unrecorded=error.message)


def record(folder: Path, exit_code: int = ExitCode.OK, stopping: Callable[[], bool] = lambda: False) -> str | None:
    """Save what a run made, in one commit of its dataset, and return that; ``None`` where no record is wanted.

    Done again it changes nothing.

    Parameters
    ----------
    folder
        The run folder.
    exit_code
        How the run ended.
    stopping
        Whether to give up waiting for other runs that are being recorded.

    Raises
    ------
    StoreError
        It cannot be saved now. The results are there all the same.
    """
    wanted = read_wanted(folder)
    if wanted is None or wanted.commit is not None:
        return None if wanted is None else wanted.commit
    made = wanted.record
    with _alone(made.dataset, stopping):
        dataset_id = _ask(["git", "config", "--file", ".datalad/config", "datalad.dataset.id"], made.dataset)
        before = _ask(["git", "rev-parse", "HEAD"], made.dataset)
        with (
            _at_rest(made) as paths,
            tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape", suffix=".txt") as file,
        ):
            file.write(message(made, dataset_id, exit_code))
            file.flush()
            if paths:  # without any it would save all there is
                _ask(["datalad", "save", "-d", str(made.dataset), "-F", file.name, "--", *paths], made.dataset)
        commit = _ask(["git", "rev-parse", "HEAD"], made.dataset)
    if commit == before:
        _log.info("nothing was left to save", run=folder.name)
    _write(folder, evolve(wanted, commit=commit))
    return commit


@contextlib.contextmanager
def _alone(dataset: Path, stopping: Callable[[], bool]) -> Iterator[None]:
    """Wait until no other run is being recorded in this clone."""
    git = dataset / _ask(["git", "rev-parse", "--git-dir"], dataset)
    try:
        handle = os.open(git / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise explain(error, git) from error
    try:
        while not _locked(handle):
            if stopping():
                raise StoreError(f"Stopped while another run was being recorded in {dataset}.")
            time.sleep(_TURN_S)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _at_rest(made: Record) -> Iterator[list[str]]:
    """Yield the outputs that nobody writes to, and see that it stays so.

    Another run may append to the same log. A file that grows after git-annex has stored it is damaged; the other run
    saves it when it ends.
    """
    with contextlib.ExitStack() as stack:
        found = []
        for output in made.outputs:
            path = made.dataset / output
            if not os.path.lexists(path):
                continue
            if path.is_file() and not is_link(path):
                try:
                    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                    stack.callback(os.close, handle)
                    if not _locked(handle):
                        _log.info("another run writes to it, and will save it", path=str(path))
                        continue
                except OSError:
                    pass  # not ours to write to, or a file system without locks
            found.append(output)
        yield found


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ask(argv: Sequence[str], dataset: Path) -> str:
    """Call a tool in the dataset's folder, and return what it prints."""
    try:
        done = datalad.captured(argv, dataset)
    except OSError as error:
        raise StoreError(f"{argv[0]} cannot be called here: {error}.", hint="pip install datalad git-annex") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise StoreError(
            f"{argv[0]} {argv[1]} ended with status {done.returncode}: {said}",
            hint="Results are not touched by that. See what is not saved: datalad status",
        )
    return done.stdout.strip()

"""One record in the dataset for a run that went on by itself: made when all came together, by whoever followed it.

Tasks never call DataLad: two of its records made at once in one clone lose work. When the run has ended, its results,
log, summary and the facts of its tasks are saved in one commit. The commit's message is that of ``datalad run``, so
``datalad rerun`` knows what to do: the same command again, which does what is missing.

``record.json`` in the run folder holds what is to be recorded, and later which commit it became.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import evolve, frozen

from badc_core import datalad, layout
from badc_core.atomic import explain, write_bytes, write_text
from badc_core.errors import BadcError, ExitCode, ManifestError, StoreError, UsageError
from badc_core.json_text import dump_json, load_json
from badc_core.log import get_logger
from badc_core.plan import Plan
from badc_core.provenance import Record, record_of
from badc_core.runs import RunRequest
from badc_core.serde import structure, unstructure

__all__ = ["RECORD_FILE", "Wanted", "intend", "message", "read_wanted", "record"]

RECORD_FILE = "record.json"
_LOCK_FILE = "badc-record.lock"
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
    for base in plan.bases:
        ignored = base / layout.STATE_FOLDER / ".gitignore"  # claims, run folders: what changes must not become links
        if not ignored.exists():
            ignored.parent.mkdir(parents=True, exist_ok=True)
            write_text(ignored, "*\n")
    return wanted


def _record(request: RunRequest, plan: Plan, log: Path) -> Record:
    manifest = Path(os.path.normpath(request.manifest.expanduser().absolute()))
    bases = [Path(os.path.normpath(base)) for base in plan.bases]
    dataset = layout.dataset_root(manifest)
    if dataset is None or not all(base.is_relative_to(dataset) for base in bases):
        raise BadcError(
            f"The manifest {request.manifest} and the results are not in one DataLad dataset.",
            hint="Choose an --output-dir in the dataset of the manifest, or leave --record-datalad away.",
        )
    if not datalad.may_record(dataset):
        raise BadcError(
            "Nothing can be recorded here: datalad is not installed, or BADC_DISABLE_DATALAD is set.",
            hint="pip install datalad git-annex",
        )
    if len(bases) > 1:
        raise BadcError(
            f"The results go to {len(bases)} folders, which no single command would find again.",
            hint="Choose one: --output-dir",
        )
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


def record(folder: Path, exit_code: int = ExitCode.OK) -> str | None:
    """Save what a run made, in one commit of its dataset, and return that; ``None`` where no record is wanted.

    Done again it changes nothing.

    Parameters
    ----------
    folder
        The run folder.
    exit_code
        How the run ended.

    Raises
    ------
    StoreError
        It cannot be saved now. The results are there all the same.
    """
    wanted = read_wanted(folder)
    if wanted is None or wanted.commit is not None:
        return None if wanted is None else wanted.commit
    made = wanted.record
    with _alone(made.dataset):
        dataset_id = _ask(["git", "config", "--file", ".datalad/config", "datalad.dataset.id"], made.dataset)
        paths = [path for path in made.outputs if os.path.lexists(made.dataset / path)]
        before = _ask(["git", "rev-parse", "HEAD"], made.dataset)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape", suffix=".txt") as file:
            file.write(message(made, dataset_id, exit_code))
            file.flush()
            _ask(["datalad", "save", "-d", str(made.dataset), "-F", file.name, "--", *paths], made.dataset)
        commit = _ask(["git", "rev-parse", "HEAD"], made.dataset)
    if commit == before:
        _log.info("nothing was left to save", run=folder.name)
    _write(folder, evolve(wanted, commit=commit))
    return commit


@contextlib.contextmanager
def _alone(dataset: Path) -> Iterator[None]:
    """Wait until no other run is being recorded in this clone."""
    git = dataset / _ask(["git", "rev-parse", "--git-dir"], dataset)
    try:
        handle = os.open(git / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise explain(error, git) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _ask(argv: Sequence[str], dataset: Path) -> str:
    """Call a tool in the dataset's folder, and return what it prints."""
    try:
        done = subprocess.run(
            [*argv],
            cwd=dataset,
            env=datalad.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except OSError as error:
        raise StoreError(f"{argv[0]} cannot be called here: {error}.", hint="pip install datalad git-annex") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise StoreError(
            f"{argv[0]} {argv[1]} ended with status {done.returncode}: {said}",
            hint="Results are not touched by that. See what is not saved: datalad status",
        )
    return done.stdout.strip()

"""Run folders of detached schedulers: what was asked, which shards are settled, and how it ended.

Besides the plan and the submission such a folder holds, all of it plain JSON that anybody may read:

* ``request.json``: what a later process needs to follow the run;
* ``shards/000012.done.json``: all results of shard 12 are committed; ``shards/000012.LIFE.error.json``: why a worker
  ended without that;
* ``events/``: what the workers tell, see :mod:`badc_core.relay`;
* ``ended.json``: nobody needs to look after this run any longer.
"""

from __future__ import annotations

import datetime as dt
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from badc_core.atomic import write_bytes
from badc_core.errors import ManifestError, UsageError
from badc_core.host import Host
from badc_core.json_text import dump_json, load_json
from badc_core.layout import DEFAULT_OUTPUT, STATE_FOLDER, output_base
from badc_core.plan import PLAN_FILE, read_plan
from badc_core.planning import Counted
from badc_core.scheduling import DetachedScheduler, Scheduler, ShardState, Submission
from badc_core.serde import structure, unstructure

__all__ = [
    "ENDED_FILE",
    "SUBMISSION_FILE",
    "Asked",
    "UnderWay",
    "all_runs",
    "ask",
    "error_path",
    "find_run",
    "in_flight",
    "in_words",
    "is_done",
    "may_meet",
    "measured_speed",
    "named",
    "note_done",
    "note_elsewhere",
    "note_ended",
    "note_undone",
    "read_asked",
    "read_ended",
    "read_submission",
    "run_folders",
    "scheduler_of",
    "settled_shards",
    "under_way",
    "write_asked",
    "write_submission",
]

REQUEST_FILE = "request.json"
SUBMISSION_FILE = "submission.json"
ENDED_FILE = "ended.json"
ELSEWHERE_FILE = "elsewhere.json"
SHARDS_FOLDER = "shards"
_DONE = ".done.json"
FINAL = frozenset({"done", "failed", "cancelled"})


@frozen
class Asked:
    """What was asked of a run, and what planning met.

    Parameters
    ----------
    scheduler, scheduler_options
        Where it runs; the options as texts or TOML values.
    telemetry, telemetry_log
        Sinks besides the log, and the log.
    counted, problems
        What planning met.
    asked_at
        ISO 8601, UTC.
    share
        Name of its share of the output folder; ``None``: it has the whole.
    """

    scheduler: str
    scheduler_options: Mapping[str, Any]
    telemetry_log: Path
    telemetry: tuple[str, ...] = ()
    counted: Counted = field(factory=Counted)
    problems: tuple[str, ...] = ()
    asked_at: str = ""
    share: str | None = None


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _write(path: Path, value: Any) -> None:
    write_bytes(path, dump_json(value, indent=True) + b"\n")


def _read(path: Path) -> Any:
    try:
        found = load_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise ManifestError(f"{path} holds no JSON object.")
    return found


def write_asked(folder: Path, asked: Asked) -> None:
    """Write ``request.json``: from now on somebody may work in this folder."""
    _write(folder / REQUEST_FILE, unstructure(asked))


def read_asked(folder: Path) -> Asked:
    """Read ``request.json``.

    Raises
    ------
    ManifestError
        There is none, or it cannot be read.
    """
    entry = _read(folder / REQUEST_FILE)
    if entry is None:
        raise ManifestError(
            f"{folder} is no run that goes on by itself.",
            hint="Runs on this machine end with their command; running it again does what is left.",
        )
    return structure(entry, Asked)


def write_submission(folder: Path, submission: Submission) -> None:
    """Write ``submission.json``."""
    _write(folder / SUBMISSION_FILE, unstructure(submission))


def read_submission(folder: Path) -> Submission | None:
    """Read ``submission.json``; ``None`` when the run was never handed over, or not to its end."""
    entry = _read(folder / SUBMISSION_FILE)
    return None if entry is None else structure(entry, Submission)


def ask(folder: Path, host: Host) -> tuple[DetachedScheduler, Submission]:
    """Return a run's scheduler, and what to ask it with, even where its submission did not come to its end.

    Raises
    ------
    BadcError
        The run is none that goes on by itself, or its scheduler is not installed here.
    """
    asked = read_asked(folder)
    submission = read_submission(folder)
    if submission is None:
        submission = Submission(asked.scheduler, read_plan(folder).shards, {"folder": str(folder)})
    return scheduler_of(asked, host), submission


def note_elsewhere(base: Path, folder: Path) -> None:
    """Leave word in a run's further output folders of where its run folder lies."""
    _write(base / STATE_FOLDER / folder.name / ELSEWHERE_FILE, {"run_folder": str(folder)})


def note_ended(folder: Path, how: str, **facts: Any) -> None:
    """Write ``ended.json``: workers that still come do nothing more, and other runs may use the output folder."""
    _write(folder / ENDED_FILE, {"ended_at": _now(), "how": how, **facts})


def read_ended(folder: Path) -> Mapping[str, Any]:
    """Return what ``ended.json`` says; nothing while the run goes on."""
    return _read(folder / ENDED_FILE) or {}


# ---------------------------------------------------------------------------------------------- shards


def note_done(folder: Path, shard: int, **facts: Any) -> None:
    """Note that all results of a shard are committed."""
    _write(folder / SHARDS_FOLDER / f"{shard:06d}{_DONE}", {"shard": shard, "done_at": _now(), **facts})


def note_undone(folder: Path, shard: int) -> None:
    """Take back that all results of a shard are committed."""
    (folder / SHARDS_FOLDER / f"{shard:06d}{_DONE}").unlink(missing_ok=True)


def is_done(folder: Path, shard: int) -> bool:
    """Whether all results of a shard are committed."""
    return (folder / SHARDS_FOLDER / f"{shard:06d}{_DONE}").exists()


def done_facts(folder: Path, shard: int) -> Mapping[str, Any]:
    """Return what the worker said that finished a shard."""
    try:
        found: Mapping[str, Any] = _read(folder / SHARDS_FOLDER / f"{shard:06d}{_DONE}") or {}
    except ManifestError:
        return {}
    return found


def error_path(folder: Path, shard: int, life: str) -> Path:
    """Return where a worker says why it ended without its shard done."""
    return folder / SHARDS_FOLDER / f"{shard:06d}.{life}.error.json"


def settled_shards(folder: Path) -> tuple[set[int], dict[int, list[str]]]:
    """Return the shards that are done, and per shard the names of the errors that its workers left, in one look."""
    done: set[int] = set()
    errors: dict[int, list[str]] = {}
    try:
        names = os.listdir(folder / SHARDS_FOLDER)
    except FileNotFoundError:
        return done, errors
    for name in names:
        number = name.partition(".")[0]
        if name.endswith(_DONE) and number.isdigit():
            done.add(int(number))
        elif name.endswith(".error.json") and number.isdigit():
            errors.setdefault(int(number), []).append(name)
    return done, errors


def error_text(folder: Path, names: list[str], life: str = "") -> str:
    """Return what the last of a shard's workers said of its end, or the one of a given life; empty: nothing."""
    wanted = [name for name in names if f".{life}" in name] if life else names
    texts = []
    for name in wanted:
        try:
            found = _read(folder / SHARDS_FOLDER / name) or {}
        except ManifestError:
            continue
        texts.append((str(found.get("at", "")), str(found.get("error", ""))))
    return max(texts)[1] if texts else ""


def note_error(folder: Path, shard: int, life: str, error: BaseException) -> None:
    """Note why a worker ended without its shard done."""
    message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
    entry = {"at": _now(), "error": message, "hint": getattr(error, "hint", None), "kind": type(error).__name__}
    _write(error_path(folder, shard, life), entry)


def in_words(states: Iterable[ShardState]) -> str:
    """Return how many shards stand where: ``3 running, 5 waiting (Resources), 12 done``."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for state in states:
        counts[state.state] += 1
        if state.state == "waiting" and state.detail:
            reasons[state.detail] += 1
    words = []
    for word in ("running", "waiting", "unknown", "failed", "cancelled", "done"):
        if counts[word]:
            why = f" ({reasons.most_common(1)[0][0]})" if word == "waiting" and reasons else ""
            words.append(f"{counts[word]:,} {word}{why}")
    return ", ".join(words) or "nothing to do"


# -------------------------------------------------------------------------------------------- all runs


def run_folders(base: Path) -> list[Path]:
    """Return the run folders below an output folder, oldest first."""
    state = base / STATE_FOLDER
    try:
        names = sorted(os.listdir(state))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [state / name for name in names if (state / name / PLAN_FILE).exists()]


def find_run(text: str, base: Path) -> Path:
    """Return the run folder that a user means.

    Parameters
    ----------
    text
        A run folder; the beginning of a run id below `base`; or ``last``.
    base
        An output folder.

    Raises
    ------
    UsageError
        There is none, or more than one.
    """
    given = Path(text).expanduser()
    if (given / PLAN_FILE).exists():
        return given.absolute()
    known = run_folders(base)
    detached = [folder for folder in known if (folder / REQUEST_FILE).exists()]
    if text == "last":
        found = detached[-1:]
    else:
        found = [folder for folder in known if folder.name.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{text!r} begins {len(found)} runs in {base}.", hint=f"Say more of it: {found[-1].name}")
    raise UsageError(
        f"There is no run {text!r} in {base}.",
        hint="`badc jobs list` shows the runs; --output-dir says where results go, or name the run's folder.",
    )


def scheduler_of(asked: Asked, host: Host) -> DetachedScheduler:
    """Return the scheduler of a run.

    Raises
    ------
    BadcError
        It is not installed here, or cannot be opened.
    """
    from badc_core.preparing import open_scheduler

    found: Scheduler = open_scheduler(asked.scheduler, asked.scheduler_options, host)
    return found  # type: ignore[return-value]


def in_flight(folder: Path) -> bool:
    """Whether somebody must still look after a run of a detached scheduler."""
    return (folder / REQUEST_FILE).exists() and not (folder / ENDED_FILE).exists()


def may_meet(folder: Path, share: str | None) -> bool:
    """Whether a run can get in the way of one that has a share of the output folder, or with ``None`` the whole."""
    other = read_asked(folder).share
    return share is None or other is None or other == share


@frozen
class UnderWay:
    """A run that somebody must still look after.

    Parameters
    ----------
    folder
        The run folder.
    fingerprint
        Of its work.
    """

    folder: Path
    fingerprint: str


def under_way(base: Path) -> Mapping[Path, UnderWay]:
    """Return the runs in an output folder that somebody must still look after, by their manifests."""
    plans = ((folder, read_plan(folder)) for folder in run_folders(base) if in_flight(folder))
    return {plan.manifest: UnderWay(folder, plan.fingerprint) for folder, plan in plans}


def all_runs(base: Path) -> Iterator[Path]:
    """Yield the folders of runs that write below an output folder, wherever they lie."""
    yield from run_folders(base)
    for path in (base / STATE_FOLDER).glob(f"*/{ELSEWHERE_FILE}"):
        entry = _read(path) or {}
        yield Path(entry.get("run_folder", path.parent))


def named(folder: Path) -> str:
    """Return how to name a run after ``badc jobs …``, for people who copy it into a shell in the same folder."""
    base = folder.parent.parent
    if base == output_base(Path.cwd() / "x", DEFAULT_OUTPUT):
        return folder.name
    return f"{folder.name} --output-dir {shlex.quote(str(base))}"


def measured_speed(base: Path, fingerprint: str) -> float | None:
    """Return seconds of recording per second and worker, as the last run of the same work measured it."""
    for folder in reversed(run_folders(base)):
        entry = _read(folder / ENDED_FILE) or {}
        if entry.get("fingerprint") == fingerprint and isinstance(entry.get("speed"), int | float):
            return float(entry["speed"])
    return None

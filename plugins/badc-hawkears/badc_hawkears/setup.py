"""Making an environment with HawkEars: what ``badc hawkears setup`` does, step by step, as often as it takes.

The folder holds ``env`` (the environment), ``root`` (HawkEars' data folder), ``badc`` (links to what is running now),
``setup.json`` (what was done already) and ``setup.log`` (what all commands said). A step is noted before it begins and
when it has ended; what was broken off in between is done again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field, frozen

from badc_core import __version__
from badc_core.atomic import TEMPORARY_PREFIX, explain, write_text
from badc_core.devices import open_samplers, worker_slots
from badc_core.errors import BadcError, HeldError, UsageError
from badc_core.host import default_host
from badc_core.model import Device
from badc_hawkears.places import Places, remember
from badc_hawkears.recipe import ENVIRONMENT, GB, Interpreter, Recipe, Step, needed_bytes, steps
from badc_hawkears.trial import listen, problem_with

__all__ = ["Done", "Ended", "default_path", "interpreter", "setup", "sources"]

T = TypeVar("T")

_STAMP = "setup.json"
_LOG = "setup.log"
_LOCK = ".lock"
_OWN = {_STAMP, _LOG, _LOCK}
_TRIAL = ".check-"
_OF_DATA = "yaml/default.yaml"
_LAST_WORDS = 12
_LEAST_PYTHON = (3, 11)
_ASK = (
    "import json, os, sys, sysconfig\n"
    "real = os.path.realpath(sys._base_executable)\n"  # of a virtual environment: what that was made with
    "place = sysconfig.get_path('purelib', 'venv', {'base': '', 'installed_base': ''})\n"
    "print(json.dumps([real, *sys.version_info[:3], place.lstrip('/')]))"
)


class _BrokenOffError(BadcError):
    """A command ended in the middle of its work, and may have left half of it."""


@frozen
class Ended:
    """How a step ended.

    Parameters
    ----------
    seconds
        What it took; ``None``: it was done before.
    problem
        What could not be done, and hinders nothing else.
    """

    seconds: float | None = None
    problem: str | None = None


@frozen
class Done:
    """What a setup came to.

    Parameters
    ----------
    places
        Where HawkEars is now.
    torch, cuda
        Version of torch, and of the CUDA it was built for; ``None``: for CPUs only.
    gpus
        How many GPUs it sees.
    weights
        Why the weights are not there; ``None``: they are, or nobody asked for them.
    memory
        The file that remembers the places; ``None``: they are not remembered.
    """

    places: Places
    torch: str
    cuda: str | None
    gpus: int
    weights: str | None
    memory: Path | None


@define
class _Stamp:
    """What was done in a folder, kept in its ``setup.json``."""

    file: Path
    begun: str | None = None
    done: dict[str, str] = field(factory=dict)
    found: dict[str, Any] = field(factory=dict)

    @classmethod
    def read(cls, file: Path) -> _Stamp:
        try:
            entry = json.loads(file.read_text(encoding="utf-8"))
            return cls(file, entry["begun"], dict(entry["done"]), dict(entry["found"]))
        except FileNotFoundError:
            return cls(file)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{file} was not written by `badc hawkears setup`: {type(error).__name__}: {error}.",
                hint="Choose another folder with --path, or delete this one.",
            ) from error

    def write(self) -> None:
        entry = {"by": f"badc hawkears setup {__version__}", "begun": self.begun, "done": self.done}
        write_text(self.file, json.dumps({**entry, "found": self.found}, indent=2) + "\n")

    def begin(self, step: Step, later: Sequence[Step]) -> None:
        """Note that a step begins; what comes after it is to be done again."""
        self.begun = step.name
        for other in (step, *(other for other in later if not other.lasting)):
            self.done.pop(other.name, None)
        self.write()

    def end(self, step: Step, *, well: bool) -> None:
        self.begun = None
        if well and not step.always:
            self.done[step.name] = step.digest
        self.write()


def default_path() -> Path:
    """Return where HawkEars goes when nobody says: ``badc/hawkears`` in ``$XDG_DATA_HOME`` or ``~/.local/share``."""
    share = os.environ.get("XDG_DATA_HOME")
    return (Path(share) if share else Path.home() / ".local/share") / "badc" / "hawkears"


def sources() -> tuple[Path, ...]:
    """Return the folders of the packages of BADC that are running."""
    import badc_core
    import badc_hawkears

    return tuple(Path(package.__path__[0]).absolute() for package in (badc_core, badc_hawkears))


def interpreter(name: str | None = None) -> Interpreter:
    """Return a Python that environments can be made with.

    Parameters
    ----------
    name
        A program; ``None``: the one that is running.

    Raises
    ------
    UsageError
        It is not there, no Python, or too old.
    """
    program = sys.executable if name is None else shutil.which(str(Path(name).expanduser()))
    if program is None:
        raise UsageError(f"There is no program {name}.", hint="Name an interpreter: --python python3.12")
    path = Path(program).absolute()
    try:
        told = subprocess.run([path, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        real, major, minor, micro, packages = json.loads(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        hint = f"HawkEars needs Python {'.'.join(map(str, _LEAST_PYTHON))} or newer: --python python3.12"
        raise UsageError(f"{path} is no Python that can be used: {error}.", hint=hint) from error
    if (major, minor) < _LEAST_PYTHON:
        raise UsageError(
            f"{path} is Python {major}.{minor}, and HawkEars needs {'.'.join(map(str, _LEAST_PYTHON))} or newer.",
            hint="Name another: --python python3.12",
        )
    return Interpreter(Path(real), (major, minor, micro), Path(packages))


def setup(recipe: Recipe, on_step: Callable[[Step, Ended | None], None], *, memorize: bool = True) -> Done:
    """Make everything that is not there yet, try it, and remember where it is.

    Parameters
    ----------
    recipe
        What is wanted, and where.
    on_step
        Told of each step, with ``None`` when it begins, and once more when it ended.
    memorize
        Whether the runner shall use it from now on, unless told otherwise.

    Raises
    ------
    UsageError
        The folder holds something else.
    HeldError
        Another setup is at work there.
    BadcError
        A command failed, or the disk is too small; the same call goes on where it ended.
    """
    with _held(recipe.path):
        stamp = _Stamp.read(recipe.path / _STAMP)
        stamp.write()
        _clean(recipe.path)
        wanted = steps(recipe)
        if not _stands(recipe, stamp, wanted):
            stamp.done = {name: digest for name, digest in stamp.done.items() if name == "data"}
        if not (recipe.root / _OF_DATA).is_file():
            stamp.done.pop("data", None)
        _check_space(recipe, stamp, wanted)
        found = dict(stamp.found)
        for number, step in enumerate(wanted):
            on_step(step, None)
            if not step.always and stamp.done.get(step.name) == step.digest:
                on_step(step, Ended())
                continue
            began = time.monotonic()
            stamp.begin(step, wanted[number + 1 :])
            try:
                found.update(_do(recipe, step))
            except BadcError as error:  # not on a signal: what pip was doing then is unknown
                if not isinstance(error, _BrokenOffError):
                    stamp.end(step, well=False)
                raise
            stamp.found = {key: value for key, value in found.items() if key in ("torch", "cuda", "gpus")}
            stamp.end(step, well=True)
            on_step(step, Ended(time.monotonic() - began, found.get("problem") if step.always else None))
        if found.get("fetched") and not found["problem"]:
            found["problem"] = _with_folder(recipe, lambda folder: problem_with(recipe.python, recipe.root, folder))
    places = Places(recipe.python, recipe.root)
    memory = remember(places) if memorize else None
    return Done(places, found["torch"], found["cuda"], found["gpus"], found.get("problem"), memory)


def _with_folder(recipe: Recipe, use: Callable[[Path], T]) -> T:
    """Call with a folder that is there for the time being."""
    with tempfile.TemporaryDirectory(prefix=_TRIAL, dir=recipe.path) as folder:
        return use(Path(folder))


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Make the folder, and keep others out as long as we or a program that we started are at work."""
    _refuse_foreign(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise explain(error, path) from error
    try:
        os.set_inheritable(handle, True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise HeldError(
                    f"Another setup is at work in {path}.",
                    hint="Wait for it. If it was killed, a program that it started still ends what it was doing.",
                ) from None
            # else: a file system without locks, as some clusters have
        yield
    finally:
        os.close(handle)


def _refuse_foreign(path: Path) -> None:
    """Make sure that nothing of anybody else's is in the folder."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UsageError(f"{path} is a file.", hint="Choose a folder with --path.")
    names = {entry.name for entry in path.iterdir()}
    if _STAMP not in names and any(n not in _OWN and not n.startswith(TEMPORARY_PREFIX) for n in names):
        raise UsageError(
            f"{path} holds something that `badc hawkears setup` did not make, and would be in its way.",
            hint="Choose another folder, which need not be there: --path DIR",
        )


def _clean(path: Path) -> None:
    """Remove what a killed setup left behind."""
    for left in path.glob(f"{_TRIAL}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in path.glob(f"{TEMPORARY_PREFIX}*"):
        left.unlink(missing_ok=True)


def _stands(recipe: Recipe, stamp: _Stamp, wanted: Sequence[Step]) -> bool:
    """Whether what is in the environment can be built upon; a half-installed package cannot."""
    if stamp.begun in ENVIRONMENT:
        return False
    if any(stamp.done.get(s.name, s.digest) != s.digest for s in wanted if s.name in ENVIRONMENT and s.name != "badc"):
        return False
    if "venv" not in stamp.done:
        return True
    try:  # its interpreter may have been removed, or replaced by a newer one
        return subprocess.run([recipe.python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _check_space(recipe: Recipe, stamp: _Stamp, wanted: Sequence[Step]) -> None:
    needed = needed_bytes(recipe, [step.name for step in wanted if step.name not in stamp.done])
    free = shutil.disk_usage(recipe.path).free
    if free < needed:
        raise BadcError(
            f"{recipe.path} has {free / GB:.1f} GB left, and HawkEars' environment needs {needed / GB:.1f} GB.",
            hint="Free some space, or choose a folder on another disk: --path DIR",
        )


def _do(recipe: Recipe, step: Step) -> Mapping[str, Any]:
    """Do a step, and return what its last command found."""
    if step.name == "check":
        return _with_folder(recipe, lambda folder: _try_out(recipe, step, folder))
    said = ""
    for command in step.commands:
        said = _run(recipe.path, step, command)
    found = _answer(said)
    if step.name == "mend":
        _check_cuda(recipe, found)
    return found


def _try_out(recipe: Recipe, step: Step, folder: Path) -> Mapping[str, Any]:
    """Have a small model listen to a sound, the way a run does it, on every kind of device that is there."""
    command = [str(folder) if word == "FOLDER" else word for word in step.commands[0]]
    example = _answer(_run(recipe.path, step, command))
    devices = [Device()]
    if recipe.kind == "cuda":
        devices += worker_slots(open_samplers(default_host()), 1, 0)
    for device in dict.fromkeys(devices):
        listen(recipe.python, example, folder, device)
    return {}


def _check_cuda(recipe: Recipe, found: Mapping[str, Any]) -> None:
    """Make sure that this torch is built for the CUDA that was asked for."""
    built = found["cuda"]
    if recipe.cuda is None or (built is not None and f"{built}.".startswith(f"{recipe.cuda}.")):
        return
    what = "CPUs only" if built is None else f"CUDA {built}"
    raise BadcError(
        f"The torch that pip found, {found['torch']}, is built for {what}, not for CUDA {recipe.cuda}.",
        hint="PyTorch has a package index of its own for each CUDA; its installation page names it. Say: "
        f"--cuda {recipe.cuda} --index-url URL",
    )


def _run(path: Path, step: Step, command: Sequence[str]) -> str:
    """Run a command, keep what it says, and return it."""
    line = shlex.join(command)
    try:
        # It inherits the lock: as long as it works, nobody else does, even if we are killed.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=False
        )
    except OSError as error:
        raise BadcError(f"Cannot run {line}: {error.strerror}.", hint="Install it, then run this again.") from error
    said = done.stdout.decode("utf-8", "replace")
    with (path / _LOG).open("a", encoding="utf-8") as log:
        log.write(f"$ {line}\n{said}\n")
    if done.returncode:
        kind = _BrokenOffError if done.returncode < 0 or os.strerror(errno.ENOSPC) in said else BadcError
        raise kind(f"{step.title}: a command failed.\n{_last_words(line, said)}", hint=_hint(path, step, said))
    return said


def _last_words(line: str, said: str) -> str:
    lines = [text for text in said.splitlines() if text.strip()]
    return "\n".join([f"$ {line}", *lines[-_LAST_WORDS:]])


def _hint(path: Path, step: Step, said: str) -> str:
    again = f"Then run the same line again: it goes on from here. All that was said is in {path / _LOG}."
    if step.name == "venv" and "ensurepip" in said:
        return f"This Python cannot make environments. On Debian and Ubuntu: sudo apt-get install python3-venv. {again}"
    if step.name in ENVIRONMENT:
        return f"pip needs its package index: is there a network, or a login node that has one? {again}"
    return again


def _answer(said: str) -> dict[str, Any]:
    """Return the JSON object that a command of :mod:`badc_hawkears.inside` printed last; others print none."""
    last = said.rstrip().rpartition("\n")[2]
    return dict(json.loads(last)) if last.startswith("{") else {}

"""What is installed and what can run here: the facts behind ``badc doctor`` and ``badc gpus``."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, field, frozen

from badc_core import __version__
from badc_core.errors import BadcError
from badc_core.host import KINDS, Host, load_object
from badc_core.model import Device
from badc_core.protocols import Readiness
from badc_core.specs import RunnerSpec, SamplerSpec, Spec

__all__ = ["Checked", "Findings", "Gpus", "look", "look_at_gpus"]

LIBRARIES = ("soundfile", "soxr", "numpy", "pyarrow", "duckdb", "nvidia-ml-py")
"""Distributions whose versions matter when something goes wrong."""

TOOLS = ("git", "git-annex", "datalad", "sbatch", "squeue", "sacct", "nvidia-smi")
"""Programs that commands use when they are there."""

T = TypeVar("T")


@frozen
class Checked:
    """One thing that was asked whether it can be used.

    Parameters
    ----------
    name
        The runner or sampler.
    readiness
        Its answer.
    broken
        The question itself failed: the plugin, not the machine, is at fault.
    """

    name: str
    readiness: Readiness
    broken: bool = False


@frozen
class Gpus:
    """The GPUs that may be used, and what their samplers say.

    Parameters
    ----------
    devices
        In the order of their indices.
    samplers
        What each sampler says of itself.
    """

    devices: Sequence[Device] = ()
    samplers: Sequence[Checked] = ()


@frozen
class Findings:
    """Everything ``badc doctor`` tells.

    Parameters
    ----------
    badc, python, system
        Versions.
    plugins
        Distribution, version, module and problem of each.
    conflicts
        Per kind of plugin, names that are claimed more than once, and by whom.
    gpus
        Devices and samplers.
    runners
        Whether each can run here.
    libraries
        Versions; ``None``: not installed.
    tools
        Where each lies; ``None``: not found.
    folder, free_bytes
        The working folder and the space left in it.
    """

    badc: str
    python: str
    system: str
    plugins: Sequence[Mapping[str, str | None]]
    conflicts: Mapping[str, Mapping[str, Sequence[str]]]
    gpus: Gpus
    runners: Sequence[Checked]
    libraries: Mapping[str, str | None]
    tools: Mapping[str, str | None]
    folder: Path = field(converter=Path)
    free_bytes: int | None = None

    @property
    def broken(self) -> bool:
        """Whether something that is installed does not work, whatever the machine lacks."""
        return (
            any(plugin["problem"] for plugin in self.plugins)
            or bool(self.conflicts)
            or any(checked.broken for checked in [*self.runners, *self.gpus.samplers])
        )

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        found = asdict(self)
        return {**found, "folder": str(self.folder), "broken": self.broken}


def look(host: Host, folder: Path) -> Findings:
    """Ask everything that is installed how it is.

    Parameters
    ----------
    host
        The plugins.
    folder
        Whose space is measured: the working folder.
    """
    return Findings(
        badc=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        plugins=[
            {
                "distribution": provider.distribution,
                "version": provider.version,
                "module": provider.module,
                "problem": provider.error,
            }
            for provider in host.providers
        ],
        conflicts=_conflicts(host),
        gpus=look_at_gpus(host),
        runners=[_check(spec, spec.check) for spec in host.all(RunnerSpec)],
        libraries={**{name: _version(name) for name in LIBRARIES}, "libsndfile": _libsndfile()},
        tools={name: shutil.which(name) for name in TOOLS},
        folder=folder,
        free_bytes=_free_bytes(folder),
    )


def look_at_gpus(host: Host) -> Gpus:
    """Ask every sampler for its devices, and why it has none."""
    devices: list[Device] = []
    samplers: list[Checked] = []
    for spec in host.all(SamplerSpec):
        found, checked = _devices(spec), _check(spec, spec.check)
        if isinstance(found, Checked):
            checked = found
        else:
            devices += found
        samplers.append(checked)
    return Gpus(devices, samplers)


def _devices(spec: SamplerSpec) -> list[Device] | Checked:
    """Return a sampler's GPUs, or what went wrong."""

    def ask() -> list[Device]:
        sampler = load_object(spec.open)()
        if sampler is None:
            return []
        try:
            return [device for device in sampler.devices() if device.kind == "gpu"]
        finally:
            sampler.close()

    return _trying(spec, ask)


def _check(spec: Spec, check: str | None) -> Checked:
    """Ask a plugin whether it can be used; one without a check can, once what opens it can be imported."""

    def ask() -> Checked:
        if check is None:
            load_object(spec.open)  # type: ignore[attr-defined]
            return Checked(spec.name, Readiness(True))
        answer = load_object(check)()
        if not isinstance(answer, Readiness):
            raise TypeError(f"{check} returned {type(answer).__name__}, not Readiness")
        return Checked(spec.name, answer)

    return _trying(spec, ask)


def _trying(spec: Spec, ask: Callable[[], T]) -> T | Checked:
    """Return an answer, or the fault of a plugin that could not give one."""
    try:
        return ask()
    except BadcError as error:
        return Checked(spec.name, Readiness(False, error.message, error.hint or ""), broken=True)
    except (Exception, SystemExit) as error:
        return Checked(spec.name, Readiness(False, f"{type(error).__name__}: {error}"), broken=True)


def _conflicts(host: Host) -> dict[str, dict[str, list[str]]]:
    found = {
        kind.word: {name: [str(who) for who in claims] for name, claims in host.conflicts(kind.spec).items()}
        for kind in KINDS
    }
    return {word: names for word, names in found.items() if names}


def _version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _libsndfile() -> str | None:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package is there, the library is not
        return None
    return str(soundfile.__libsndfile_version__)


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None

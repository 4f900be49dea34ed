"""Which worker slots a run gets: one per GPU that may be used, and as many CPU slots as asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from badc_core.host import Host, load_object
from badc_core.log import get_logger
from badc_core.model import Device
from badc_core.protocols import Sampler
from badc_core.specs import SamplerSpec

__all__ = ["close_samplers", "listed_gpus", "open_samplers", "worker_slots"]

_log = get_logger("devices")


def open_samplers(host: Host) -> list[tuple[str, Sampler]]:
    """Open every sampler that is available here; one that fails is named in the log, and left out."""
    opened: list[tuple[str, Sampler]] = []
    for spec in host.all(SamplerSpec):
        try:
            sampler = load_object(spec.open)()
        except (Exception, SystemExit) as error:
            _log.warning("a sampler cannot be opened", sampler=spec.name, error=str(error))
            continue
        if sampler is not None:
            opened.append((spec.name, sampler))
    return opened


def close_samplers(samplers: Iterable[tuple[str, Sampler]]) -> None:
    """Close samplers, those that cannot even do that, too."""
    for name, sampler in samplers:
        try:
            sampler.close()
        except (Exception, SystemExit) as error:
            _log.warning("a sampler cannot be closed", sampler=name, error=str(error))


def listed_gpus(environment: Mapping[str, str]) -> list[Device]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` lists, as who allotted them to this process wrote them."""
    entries = [entry.strip() for entry in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    known = itertools.takewhile(lambda entry: entry not in ("", "-1", "NoDevFiles"), entries)  # CUDA stops there, too
    return [Device("gpu", index, visible_as=entry) for index, entry in enumerate(known)]


def worker_slots(
    samplers: Sequence[tuple[str, Sampler]],
    max_gpus: int | None,
    cpu_workers: int,
    listed: Sequence[Device] = (),
) -> tuple[Device, ...]:
    """Return the slots of a run.

    Parameters
    ----------
    samplers
        They know the GPUs that this process may use.
    max_gpus
        Use at most so many; ``None``: all.
    cpu_workers
        CPU slots besides; where there would be no slot at all, there is one CPU slot.
    listed
        GPUs to take where no sampler knows any.
    """
    gpus: list[Device] = []
    if max_gpus is None or max_gpus > 0:
        for name, sampler in samplers:
            try:
                gpus += [device for device in sampler.devices() if device.kind == "gpu"]
            except Exception as error:
                _log.warning("a sampler cannot list its devices", sampler=name, error=str(error))
        gpus = gpus or list(listed)
    if max_gpus is not None:
        gpus = gpus[:max_gpus]
    cpus = [Device("cpu", index) for index in range(cpu_workers)]
    return tuple([*gpus, *cpus] or [Device("cpu", 0)])

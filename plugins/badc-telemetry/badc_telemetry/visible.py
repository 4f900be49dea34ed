"""What ``CUDA_VISIBLE_DEVICES`` means: a pure function of its text and of the devices there are.

The rules are those of the CUDA driver (CUDA Programming Guide, "CUDA Environment Variables"): the list ends at the
first entry that names no device; a device named twice leaves none; the kind of the first entry (number, ``GPU-…``,
``MIG-…``) is the kind of all; an identifier may be cut short while it is unambiguous; of a number only its leading
digits count.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

__all__ = ["Gpu", "MigSlice", "choose"]

_NUMBER = re.compile(r"\s*\+?(\d+)")


@frozen
class MigSlice:
    """A slice of a GPU.

    Parameters
    ----------
    uuid
        ``MIG-…``.
    legacy
        ``MIG-GPU-<uuid>/<GPU instance>/<compute instance>``, as drivers before R470 named it; ``None`` when unknown.
    """

    uuid: str
    legacy: str | None = None


@frozen
class Gpu:
    """A GPU as NVML lists it, for choosing.

    Parameters
    ----------
    uuid
        ``GPU-…``.
    slices
        Its MIG slices, empty unless MIG is on.
    """

    uuid: str
    slices: tuple[MigSlice, ...] = ()


def choose(text: str | None, gpus: Sequence[Gpu]) -> list[tuple[str, str]]:
    """Return the devices that may be used, in order.

    Parameters
    ----------
    text
        The variable's value; ``None``: it is not set.
    gpus
        All that NVML lists, in its order.

    Returns
    -------
    list
        UUID of the GPU or slice, and what to put into ``CUDA_VISIBLE_DEVICES`` for it alone.

    Examples
    --------
    >>> two = [Gpu("GPU-aa"), Gpu("GPU-bb")]
    >>> choose("1,0", two)
    [('GPU-bb', '1'), ('GPU-aa', '0')]
    >>> choose("1,-1,0", two)
    [('GPU-bb', '1')]
    """
    if text is None:
        # By UUID, because CUDA numbers GPUs by speed and NVML by slot.
        return [(uuid, uuid) for gpu in gpus for uuid in ([s.uuid for s in gpu.slices] or [gpu.uuid])]
    entries = [entry.strip() for entry in text.split(",")]
    find = _finder(entries[0], gpus)
    chosen: list[tuple[str, str]] = []
    for entry in entries:
        uuid = find(entry)
        if uuid is None:
            break
        if any(uuid == other for other, _ in chosen):
            return []
        chosen.append((uuid, entry))
    return chosen


def _finder(first: str, gpus: Sequence[Gpu]) -> Callable[[str], str | None]:
    """Return what finds the device that an entry names; the first entry decides how."""
    if first.startswith("GPU-"):
        return functools.partial(_by_name, "GPU-", {gpu.uuid: gpu.uuid for gpu in gpus})
    if first.startswith("MIG-"):
        slices = [mig for gpu in gpus for mig in gpu.slices]
        names = {mig.uuid: mig.uuid for mig in slices} | {mig.legacy: mig.uuid for mig in slices if mig.legacy}
        return functools.partial(_by_name, "MIG-", names)
    return functools.partial(_by_number, gpus)


def _by_number(gpus: Sequence[Gpu], entry: str) -> str | None:
    number = _NUMBER.match(entry)
    index = int(number[1]) if number else -1
    return gpus[index].uuid if 0 <= index < len(gpus) else None


def _by_name(prefix: str, names: Mapping[str, str], entry: str) -> str | None:
    if not entry.startswith(prefix):
        return None
    if entry in names:
        return names[entry]
    found = {uuid for name, uuid in names.items() if name.startswith(entry)}
    return found.pop() if len(found) == 1 else None

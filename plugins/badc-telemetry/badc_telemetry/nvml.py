"""The sampler ``nvml``: NVIDIA GPUs through the driver's management library.

Quiet where there is no GPU, honest where a question is refused: the value is then ``None``, and the refusal is reported
once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen

from badc_core.log import get_logger
from badc_core.model import Device, Measurement
from badc_core.protocols import Readiness
from badc_telemetry.visible import Gpu, MigSlice, choose

__all__ = ["NvmlSampler", "check", "open_sampler"]

VARIABLE = "CUDA_VISIBLE_DEVICES"
_MIB = 1 << 20
_log = get_logger(__name__)


@frozen
class _Slot:
    """A device that may be used, and NVML's handle of it."""

    device: Device
    handle: Any


class NvmlSampler:
    """Lists and measures the GPUs that this process may use.

    A device is a GPU, or a MIG slice of one. Its index is its place in ``CUDA_VISIBLE_DEVICES``, as for CUDA. Several
    MIG slices are several devices here although one process can use only the first it sees: each worker's own process
    is given one.

    Parameters
    ----------
    nvml
        The module ``pynvml``, initialised; closed by :meth:`close`.
    visible
        Value of ``CUDA_VISIBLE_DEVICES``; ``None``: not set.
    """

    def __init__(self, nvml: Any, visible: str | None) -> None:
        self._nvml = nvml
        self._reported: set[tuple[str, str]] = set()
        self._closed = False
        handles: dict[str, Any] = {}
        gpus = list(self._list(handles))
        names = {uuid: self._ask("name", nvml.nvmlDeviceGetName, handles[uuid]) for uuid in handles}
        chosen = choose(visible, gpus)
        self._warn_of_order(visible, [names[gpu.uuid] for gpu in gpus])
        self._slots = [
            self._slot(index, uuid, entry, names[uuid], handles[uuid]) for index, (uuid, entry) in enumerate(chosen)
        ]

    def devices(self) -> Sequence[Device]:
        """Return the devices this process may use."""
        return [slot.device for slot in self._slots]

    def sample(self) -> Iterable[Measurement]:
        """Look at every device; what the driver refuses to tell is ``None``."""
        if self._closed:
            return []
        return [self._measure(slot) for slot in self._slots]

    def close(self) -> None:
        """Let go of the library. Idempotent."""
        if not self._closed:
            self._closed = True
            self._ask("end", self._nvml.nvmlShutdown)

    def _ask(self, question: str, function: Callable[..., Any], *args: Any) -> Any:
        """Return the driver's answer, ``None`` for a refusal, which is reported once a question and reason."""
        try:
            answer = function(*args)
        except self._nvml.NVMLError as error:
            reason = str(error)
            if (question, reason) not in self._reported:
                self._reported.add((question, reason))
                _log.warning("the GPU driver does not answer", question=question, reason=reason)
            return None
        return answer.decode(errors="replace") if isinstance(answer, bytes) else answer

    def _list(self, handles: dict[str, Any]) -> Iterator[Gpu]:
        """Yield the GPUs in NVML's order, and keep their handles and their slices' by UUID.

        A GPU that this process may not touch is left out and has no number, as for CUDA: so do job schedulers fence in
        their jobs.
        """
        nvml = self._nvml
        refused: dict[int, str] = {}
        for index in range(self._ask("number of GPUs", nvml.nvmlDeviceGetCount) or 0):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                uuid = nvml.nvmlDeviceGetUUID(handle)
            except nvml.NVMLError as error:
                refused[index] = str(error)
                continue
            uuid = uuid.decode() if isinstance(uuid, bytes) else uuid
            handles[uuid] = handle
            yield Gpu(uuid, tuple(self._slices(uuid, handle, handles)))
        if refused:
            say = _log.info if handles else _log.warning
            say("there are GPUs that this process may not use", gpus=list(refused), reason=next(iter(refused.values())))

    def _slices(self, gpu_uuid: str, gpu: Any, handles: dict[str, Any]) -> Iterator[MigSlice]:
        nvml = self._nvml
        try:
            if not nvml.nvmlDeviceGetMigMode(gpu)[0]:
                return
            places = nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)
        except nvml.NVMLError:
            return  # most GPUs know no MIG
        for place in range(places):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, place)
            except nvml.NVMLError:
                continue  # an empty place
            uuid = self._ask("UUID", nvml.nvmlDeviceGetUUID, handle)
            if uuid:
                handles[uuid] = handle
                yield MigSlice(uuid, self._legacy(gpu_uuid, handle))

    def _legacy(self, gpu_uuid: str, handle: Any) -> str | None:
        try:
            instance = self._nvml.nvmlDeviceGetGpuInstanceId(handle)
            return f"MIG-{gpu_uuid}/{instance}/{self._nvml.nvmlDeviceGetComputeInstanceId(handle)}"
        except self._nvml.NVMLError:
            return None

    def _slot(self, index: int, uuid: str, entry: str, name: str | None, handle: Any) -> _Slot:
        memory = self._ask("memory", self._nvml.nvmlDeviceGetMemoryInfo, handle)
        total = memory.total // _MIB if memory else None
        return _Slot(Device("gpu", index, name, uuid, entry, total), handle)

    def _measure(self, slot: _Slot) -> Measurement:
        use = self._ask("load", self._nvml.nvmlDeviceGetUtilizationRates, slot.handle)
        memory = self._ask("memory", self._nvml.nvmlDeviceGetMemoryInfo, slot.handle)
        return Measurement(
            slot.device.index,
            use.gpu if use else None,
            memory.used // _MIB if memory else None,
            memory.total // _MIB if memory else slot.device.memory_total_mib,
        )

    def _warn_of_order(self, visible: str | None, names: Sequence[str | None]) -> None:
        if visible is None or "-" in visible or len(set(names)) < 2:
            return
        if os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            _log.warning(
                "the GPUs here differ, and CUDA may number them otherwise than the driver does; "
                "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name GPUs by UUID",
                variable=f"{VARIABLE}={visible}",
            )


def _load() -> tuple[Any, Readiness]:
    """Return the library, initialised, and what to say of it; ``None`` where it cannot be used."""
    try:
        import pynvml
    except ImportError:
        return None, Readiness(False, "nvidia-ml-py is not installed", "pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return None, Readiness(False, "no NVIDIA driver here")
    except pynvml.NVMLError as error:
        fix = {
            pynvml.NVML_ERROR_NO_PERMISSION: "ask for access to /dev/nvidia*",
            pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "restart the machine: the driver was updated while in use",
        }.get(error.value, "see what nvidia-smi says")
        return None, Readiness(False, f"the NVIDIA driver cannot be asked: {error}", fix)
    return pynvml, Readiness(True)


def open_sampler() -> NvmlSampler | None:
    """Open the library; ``None`` where there is no GPU that may be used."""
    nvml, readiness = _load()
    if nvml is None:
        if readiness.fix:
            _log.warning("GPUs cannot be used", reason=readiness.detail, fix=readiness.fix)
        return None
    sampler = NvmlSampler(nvml, os.environ.get(VARIABLE))
    if not sampler.devices():
        sampler.close()
        return None
    return sampler


def check() -> Readiness:
    """Say whether GPUs can be seen."""
    nvml, readiness = _load()
    if nvml is None:
        return readiness
    visible = os.environ.get(VARIABLE)
    sampler = NvmlSampler(nvml, visible)
    try:
        return describe(nvml.nvmlSystemGetDriverVersion(), len(sampler.devices()), visible)
    except nvml.NVMLError as error:
        return Readiness(False, f"the NVIDIA driver cannot be asked: {error}", "see what nvidia-smi says")
    finally:
        sampler.close()


def describe(driver: str | bytes, usable: int, visible: str | None) -> Readiness:
    """Return what to say of a driver that answers and of the number of GPUs that may be used."""
    version = driver.decode(errors="replace") if isinstance(driver, bytes) else driver
    if usable:
        return Readiness(True, f"NVIDIA driver {version}")
    if visible is not None:
        detail = f"NVIDIA driver {version}, but {VARIABLE}={visible!r} leaves no GPU"
        return Readiness(False, detail, f"unset {VARIABLE}, or name a GPU that is there")
    return Readiness(False, f"NVIDIA driver {version}, but no GPU")

"""The NVML sampler: against the real library where it can be had, and against a fake for what no test machine offers.

The fake stands for the module ``pynvml`` because refused permissions, unsupported questions, MIG and a GPU that
vanishes cannot be brought about at will. It raises the real library's exceptions. ``test_real_gpu.py`` keeps it honest.
"""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from badc_core.host import Host, load_object
from badc_core.model import Device, Measurement
from badc_core.specs import SamplerSpec
from badc_telemetry import nvml as module
from badc_telemetry.nvml import NvmlSampler, check, describe, open_sampler

MIB = 1 << 20


class FakeNvml:
    """What ``pynvml`` does on a machine with the given GPUs: dicts of uuid, name, used, total, load, slices, refuse."""

    NVMLError = pynvml.NVMLError

    def __init__(self, *gpus: dict[str, Any]) -> None:
        self.gpus = list(gpus)
        self.shutdowns = 0

    def _asked(self, handle: dict[str, Any], question: str) -> None:
        code = handle.get("refuse", {}).get(question) or handle.get("refuse", {}).get("all")
        if code is not None:
            raise pynvml.NVMLError(code)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        self._asked(self.gpus[index], "handle")
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str:  # noqa: N802
        self._asked(handle, "uuid")
        return handle["uuid"]

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> bytes | str:  # noqa: N802
        self._asked(handle, "name")
        return handle.get("name", "NVIDIA H200")

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> list[int]:  # noqa: N802
        if "slices" not in handle:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], place: int) -> dict[str, Any]:  # noqa: N802
        if place not in handle["slices"]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return handle["slices"][place]

    def nvmlDeviceGetGpuInstanceId(self, handle: dict[str, Any]) -> int:  # noqa: N802
        return handle["gi"]

    def nvmlDeviceGetComputeInstanceId(self, handle: dict[str, Any]) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> Any:  # noqa: N802
        self._asked(handle, "memory")
        return SimpleNamespace(used=handle.get("used", 0) * MIB, total=handle.get("total", 1000) * MIB)

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> Any:  # noqa: N802
        self._asked(handle, "load")
        return SimpleNamespace(gpu=handle.get("load", 0), memory=0)

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.shutdowns += 1


def gpu(letter: str, **more: Any) -> dict[str, Any]:
    return {"uuid": f"GPU-{letter}", **more}


# ---------------------------------------------------------------------------------------- the real library


def test_it_is_announced_without_importing_the_library() -> None:
    code = (
        "import sys, badc_telemetry; list(badc_telemetry.badc_telemetry_samplers()); sys.exit('pynvml' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert load_object(Host().find(SamplerSpec, "nvml").open) is open_sampler


def test_the_real_library_is_quiet_where_there_is_no_driver(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert open_sampler() is None
        assert check().ready is False
        assert capsys.readouterr().err == ""
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has an NVIDIA driver: see test_real_gpu.py")


# ------------------------------------------------------------------------------------------------ devices


def test_all_devices_are_listed_by_uuid_when_nothing_is_said() -> None:
    sampler = NvmlSampler(FakeNvml(gpu("a", name=b"NVIDIA H200", total=143_771), gpu("b")), None)
    assert sampler.devices() == [
        Device("gpu", 0, "NVIDIA H200", "GPU-a", "GPU-a", 143_771),
        Device("gpu", 1, "NVIDIA H200", "GPU-b", "GPU-b", 1000),
    ]


def test_the_index_is_the_place_in_cuda_visible_devices() -> None:
    sampler = NvmlSampler(FakeNvml(gpu("a", load=10), gpu("b", load=20), gpu("c", load=30)), "2,0")
    assert [(d.index, d.uuid, d.visible_as, d.label) for d in sampler.devices()] == [
        (0, "GPU-c", "2", "gpu-0"),
        (1, "GPU-a", "0", "gpu-1"),
    ]
    assert [(m.device_index, m.utilization_percent) for m in sampler.sample()] == [(0, 30), (1, 10)]


def test_mig_slices_are_devices() -> None:
    slices = {0: {"uuid": "MIG-x", "gi": 7, "total": 10_000, "name": "H200 MIG 1g"}, 3: {"uuid": "MIG-y", "gi": 8}}
    for one in slices.values():
        one["refuse"] = {"load": pynvml.NVML_ERROR_NOT_SUPPORTED}
    fake = FakeNvml(gpu("a"), gpu("b", slices=slices))
    assert [d.uuid for d in NvmlSampler(fake, None).devices()] == ["GPU-a", "MIG-x", "MIG-y"]
    (device,) = NvmlSampler(fake, "MIG-GPU-b/7/0").devices()
    assert (device.uuid, device.visible_as, device.memory_total_mib) == ("MIG-x", "MIG-GPU-b/7/0", 10_000)
    (seen,) = NvmlSampler(fake, "MIG-y").sample()
    assert seen == Measurement(0, None, 0, 1000)


def test_gpus_of_different_kinds_by_number_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = FakeNvml(gpu("a", name="Quadro P400"), gpu("b"))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    NvmlSampler(mixed, "0")
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    NvmlSampler(mixed, None)
    NvmlSampler(mixed, "GPU-a")
    assert capsys.readouterr().err == ""
    NvmlSampler(mixed, "0")
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ honesty


def test_a_look_tells_load_and_memory() -> None:
    sampler = NvmlSampler(FakeNvml(gpu("a", load=97, used=40_000, total=81_559)), None)
    assert list(sampler.sample()) == [Measurement(0, 97, 40_000, 81_559)]


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_NOT_SUPPORTED])
def test_what_is_refused_is_none_and_said_once(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    refuse = {"load": code, "memory": code}
    sampler = NvmlSampler(FakeNvml(gpu("a", refuse=refuse), gpu("b", refuse=refuse)), None)
    for _ in range(5):
        assert list(sampler.sample()) == [Measurement(0), Measurement(1)]
    said = capsys.readouterr().err
    assert said.count("question=load") == 1
    assert said.count("question=memory") == 1
    assert str(pynvml.NVMLError(code)) in said


def test_a_gpu_that_vanishes_does_not_disturb_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeNvml(gpu("a", load=10), gpu("b", load=20))
    sampler = NvmlSampler(fake, None)
    assert [m.utilization_percent for m in sampler.sample()] == [10, 20]
    fake.gpus[0]["refuse"] = {"all": pynvml.NVML_ERROR_GPU_IS_LOST}
    for _ in range(3):
        assert list(sampler.sample()) == [Measurement(0, None, None, 1000), Measurement(1, 20, 0, 1000)]
    assert capsys.readouterr().err.count("GPU is lost") == 2  # load and memory, once each


def test_a_gpu_that_may_not_be_touched_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    fenced = gpu("a", refuse={"handle": pynvml.NVML_ERROR_NO_PERMISSION})
    for visible in ("0", None):
        sampler = NvmlSampler(FakeNvml(fenced, gpu("b", load=5)), visible)
        assert [(d.index, d.uuid) for d in sampler.devices()] == [(0, "GPU-b")]
        assert [m.utilization_percent for m in sampler.sample()] == [5]
    assert capsys.readouterr().err == ""
    assert NvmlSampler(FakeNvml(fenced, fenced), None).devices() == []
    assert "Insufficient Permissions" in capsys.readouterr().err


def test_close_is_idempotent_and_ends_looking() -> None:
    fake = FakeNvml(gpu("a"))
    sampler = NvmlSampler(fake, None)
    sampler.close()
    sampler.close()
    assert fake.shutdowns == 1
    assert list(sampler.sample()) == []


# ------------------------------------------------------------------------------------------- opening it


def test_a_driver_that_refuses_is_told_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    assert open_sampler() is None
    assert "restart the machine" in capsys.readouterr().err
    assert (check().ready, "restart" in check().fix) == (False, True)


def test_no_visible_gpu_means_no_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(gpu("a"))
    monkeypatch.setattr(module, "_load", lambda: (fake, None))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert open_sampler() is None
    assert fake.shutdowns == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert open_sampler() is not None


def test_what_is_said_of_a_driver_that_answers() -> None:
    assert describe(b"570.1", 2, None).ready
    hidden = describe("570.1", 0, "")
    assert (hidden.ready, "CUDA_VISIBLE_DEVICES=''" in hidden.detail) == (False, True)
    assert describe("570.1", 0, None).detail.endswith("no GPU")

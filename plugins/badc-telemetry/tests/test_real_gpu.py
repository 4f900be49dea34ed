"""The NVML sampler on real GPUs; skipped where NVML finds none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pynvml
import pytest

from badc_core.telemetry import Hub
from badc_telemetry.nvml import check, open_sampler


def _why_not() -> str | None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"NVML cannot be used here: {error}"
    try:
        return None if pynvml.nvmlDeviceGetCount() else "NVML finds no GPU here"
    finally:
        pynvml.nvmlShutdown()


REASON = _why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(autouse=True)
def _everything_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_devices_are_those_of_nvidia_smi() -> None:
    sampler = open_sampler()
    assert sampler is not None
    try:
        found = [device for device in sampler.devices() if (device.uuid or "").startswith("GPU-")]
    finally:
        sampler.close()
    try:
        query = ["nvidia-smi", "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
        listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nvidia-smi cannot be asked: {error}")
    told = {tuple(field.strip() for field in line.split(",")) for line in listed.splitlines()}
    for device in found:
        ((_, name, total),) = [row for row in told if row[0] == device.uuid]
        assert device.name == name
        assert abs(int(total) - (device.memory_total_mib or 0)) <= 1
        assert device.visible_as == device.uuid


def test_a_look_gives_figures_that_can_be_true() -> None:
    sampler = open_sampler()
    assert sampler is not None
    try:
        for seen, device in zip(sampler.sample(), sampler.devices(), strict=True):
            assert seen.device_index == device.index
            assert seen.utilization_percent is None or 0 <= seen.utilization_percent <= 100
            if seen.memory_used_mib is not None:
                assert 0 <= seen.memory_used_mib <= (seen.memory_total_mib or 0)
    finally:
        sampler.close()
    assert list(sampler.sample()) == []


def test_a_look_costs_little() -> None:
    sampler = open_sampler()
    assert sampler is not None
    try:
        list(sampler.sample())
        began = time.perf_counter()
        for _ in range(20):
            list(sampler.sample())
        assert (time.perf_counter() - began) / 20 < 0.1 * len(sampler.devices())
    finally:
        sampler.close()


def test_cuda_visible_devices_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = open_sampler()
    assert sampler is not None
    first = sampler.devices()[0]
    sampler.close()
    for value in ("", "-1", "99", "GPU-00000000"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert open_sampler() is None
        assert not check().ready
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(first.visible_as))
    sampler = open_sampler()
    assert sampler is not None
    assert [(d.index, d.uuid) for d in sampler.devices()] == [(0, first.uuid)]
    sampler.close()
    assert check().ready


def test_two_samplers_do_not_close_each_other() -> None:
    one, other = open_sampler(), open_sampler()
    assert one is not None
    assert other is not None
    one.close()
    assert list(other.sample())
    other.close()


def test_the_hub_knows_the_last_look() -> None:
    sampler = open_sampler()
    assert sampler is not None
    with Hub(samplers=[("nvml", sampler)], interval_s=0.1) as hub:
        until = time.monotonic() + 10
        while hub.latest(0) is None:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_badc_gpus_lists_them() -> None:
    env = {**os.environ}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-m", "badc_core", "gpus", "--json"], capture_output=True, text=True, check=True, env=env
    )
    found = json.loads(done.stdout)
    assert found["devices"]
    assert found["samplers"][0]["readiness"]["ready"]

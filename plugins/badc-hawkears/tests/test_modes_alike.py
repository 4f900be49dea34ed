"""The modes warm, api and cli give one answer: the real HawkEars, from ``badc infer run`` to the table."""

from __future__ import annotations

import csv
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from attrs import frozen

from badc_core import manifest
from badc_core.errors import RecordingError
from badc_core.isolation import RemoteRunner
from badc_core.model import Chunk, Device, LocalTime, Recording, Signal
from badc_core.protocols import Runner, WorkerContext
from badc_core.recordings_table import write_recordings
from badc_core.serde import unstructure
from badc_core.signals import probe
from badc_hawkears.modes import isolation
from badc_hawkears.options import HawkEarsOptions
from badc_hawkears.runner import open_runner

pytestmark = pytest.mark.slow

MODES = ("warm", "api", "cli")
TOLERANCE = 1e-3
FRAME_MS = 250

CASES = {
    "as HawkEars comes": ((), ("long", "torn", "quiet", "short", "cut", "far", "site-b")),
    "pieces of one length, somewhere": (
        ("--seg 3", "--region CA-ON-OT", "--date 20260615", "--no-low-band"),
        ("long", "far", "stereo"),
    ),
}
"""Arguments for HawkEars, and the recordings that are heard with them."""

FAR = {"latitude": 45.4, "longitude": -75.7}
WINTER = LocalTime(dt.datetime(2026, 1, 15, 6, 0))
"""In January no yellowthroat is there."""


@frozen
class Answer:
    """What came of one mode.

    Parameters
    ----------
    rows
        Recording, label, code, name, start, end → score, on the recording's clock.
    statuses
        Of each chunk, as aggregated; and how much of it could not be read.
    errors
        Of each chunk that failed.
    version
        Of the model.
    """

    rows: dict[tuple[str, str, str, str, int, int], float]
    statuses: dict[str, tuple[str, str]]
    errors: dict[str, str]
    version: set[str]


@pytest.fixture(scope="module")
def sounds(in_hawkears, hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings: with songs, silent, too short, damaged, cut off, of one name in two folders, one far away."""
    folder = tmp_path_factory.mktemp("sounds")
    in_hawkears("vendor.py", hawkears_root, folder, "{}")
    whole = (folder / "r44100x2_27_07.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: int(0.61 * len(whole))])
    (folder / "b").mkdir()
    (folder / "far").mkdir()
    torn, quiet = folder / "torn.wav", folder / "quiet.wav"
    torn.write_bytes(b"RIFF, and then no sound at all" * 50)
    soundfile.write(quiet, np.random.default_rng(1).normal(0, 1e-4, 28_000 * 12), 28_000)
    (folder / "b/r48000x1_47_126.wav").symlink_to(folder / "r28000x1_18_1.wav")  # one name, another recording
    (folder / "far/winter.wav").symlink_to(folder / "r28000x1_18_1.wav")
    return {
        "long": folder / "r48000x1_47_126.wav",
        "stereo": folder / "r44100x2_27_07.wav",
        "site-b": folder / "b/r48000x1_47_126.wav",
        "far": folder / "far/winter.wav",
        "quiet": quiet,
        "short": folder / "r48000x1_0_6.wav",
        "torn": torn,
        "cut": folder / "cut.wav",
    }


def chunks_of(name: str, path: Path, length_ms: int) -> Iterator[Chunk]:
    """Yield chunks that share nothing."""
    total = 9_000 if name == "torn" else probe(path)[0].duration_ms
    for at in range(0, total, length_ms):
        end = min(at + length_ms, total)
        yield Chunk(f"{name}_{at}_{end}", name, path, at, end, 0, at)


@pytest.fixture(scope="module", params=list(CASES))
def answers(request, sounds, hawkears_python, hawkears_root, tmp_path_factory) -> dict[str, Answer]:
    """Return what each mode answers; the order of chunks is not that of recordings."""
    arguments, names = CASES[request.param]
    folder = tmp_path_factory.mktemp("modes")
    chunks = [chunk for number, name in enumerate(names) for chunk in chunks_of(name, sounds[name], 7_300 + number)]
    manifest.write(folder / "m.csv", chunks)
    places = {"far": {**FAR, "started_at": WINTER}}
    lengths = {name: probe(sounds[name])[0].duration_ms for name in names if name != "torn"}
    write_recordings(
        folder / "m.csv",
        [Recording(name, sounds[name], duration_ms=lengths.get(name), **places.get(name, {})) for name in names],
    )
    options = [f"python={hawkears_python}", f"root={hawkears_root}", "threads=1"]
    return {mode: answer_of(folder, mode, [*options, f"mode={mode}"], arguments) for mode in MODES}


def answer_of(folder: Path, mode: str, options: list[str], arguments: tuple[str, ...]) -> Answer:
    """Run a mode, and read the table."""
    words = ["infer", "run", "m.csv", "--use-hawkears", *(word for one in options for word in ("-o", one))]
    words += [f"--hawkears-arg={one}" for one in arguments]
    words += ["--cpu-workers", "1", "--max-gpus", "0", "--max-retries", "0", "--quiet", "--output-dir", mode]
    badc(folder, words, (0, 3))
    table = folder / f"{mode}.csv"
    badc(folder, ["infer", "aggregate", mode, "--manifest", "m.csv", "--output", table], (0,))
    with table.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    results = [json.loads(path.read_text()) for path in (folder / mode).glob("*/*.json")]
    return Answer(
        {
            (
                *(row[key] for key in ("recording_id", "label", "label_code", "label_name")),
                int(row["absolute_time_ms"]),
                int(row["absolute_end_ms"]),
            ): float(row["confidence"])
            for row in rows
            if row["label"] != "none"
        },
        {row["chunk_id"]: (row["status"], row["missing_ms"]) for row in rows},
        {result["chunk_id"]: result["error"] for result in results if result["status"] == "failed"},
        {result["model_version"] for result in results},
    )


def badc(folder: Path, words: list[object], statuses: tuple[int, ...]) -> None:
    """Run a command of badc."""
    command = [sys.executable, "-m", "badc_core", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400)
    assert done.returncode in statuses, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("mode", ["api", "cli"])
def test_the_rows_are_the_same(answers, mode):
    """Labels, codes, names, and times; scores within a thousandth, as far as tables tell them."""
    warm, other = answers["warm"].rows, answers[mode].rows
    assert set(other) == set(warm)
    assert max(abs(warm[key] - other[key]) for key in warm) <= TOLERANCE
    assert len(warm) > 10


@pytest.mark.parametrize("mode", ["api", "cli"])
def test_every_chunk_has_the_same_status(answers, mode):
    """Nothing heard, too short, in the middle of a label, cut off, failed."""
    assert answers[mode].statuses == answers["warm"].statuses
    assert answers[mode].errors == answers["warm"].errors
    assert answers[mode].version == answers["warm"].version


@pytest.fixture(params=["api", "cli"])
def runner(request, hawkears_python, hawkears_root, tmp_path: Path) -> Iterator[Runner]:
    """A mode, opened as a worker opens it."""
    options = {"python": hawkears_python, "root": hawkears_root, "threads": 1, "mode": request.param, "models": 1}
    options = HawkEarsOptions(**options, low_band=False)
    context = WorkerContext(Device(), "cpu-0", tmp_path)
    where = "badc_hawkears.runner:open_runner", "badc_hawkears.options:HawkEarsOptions"
    if isolation(options) == "process":
        opened = RemoteRunner("hawkears", *where, unstructure(options), context, hawkears_python)
    else:
        opened = open_runner(options, context)
    yield opened
    opened.close()


def test_a_recording_that_hawkears_cannot_read_is_named(runner, sounds):
    """It ends HawkEars' work on the batch; the others are heard all the same, as the worker asks for them."""
    batch = []
    for name in ("long", "torn", "stereo"):
        chunk = Chunk(name, name, sounds[name], 0, 3_000, 0, 0)
        batch.append(Signal(chunk, Recording(name, sounds[name])))
    for some in (batch, batch[1:2]):
        with pytest.raises(RecordingError, match=r"HawkEars cannot read .*torn\.wav"):
            runner.predict(some)
    long, stereo = runner.predict([batch[0], batch[2]])
    assert [found.label for found in (*long.detections, *stereo.detections)].count("COYE") >= 2

"""HawkEars' command as a process for each batch; with a stand-in for HawkEars."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path

import attrs
import pytest
import sounds

from badc_core.errors import Interrupted, RecordingError, RunnerError
from badc_core.model import Chunk, Device, Recording, Signal
from badc_core.protocols import RunnerIdentity, WorkerContext
from badc_hawkears.modes.command import Command, switches
from badc_hawkears.modes.programs import Program
from badc_hawkears.modes.recordings import RecordingRunner
from badc_hawkears.whereabouts import whereabouts_of

IDENTITY = RunnerIdentity("HawkEars", "2")


def signal_of(path: Path, **facts: object) -> Signal:
    """Return a whole file, with what is known of it."""
    return Signal(Chunk(path.stem, path.stem, path), Recording(path.stem, path, **facts))


@pytest.fixture
def program(tmp_path: Path):
    """Return the stand-in for HawkEars' command as a program; keywords are for the worker's context."""
    script = tmp_path / "bin/hawkears"
    script.parent.mkdir()
    shutil.copy(Path(__file__).with_name("standin.py"), script)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "root").mkdir()

    def make(**context: object) -> Program:
        worker = WorkerContext(Device(), "cpu-0", tmp_path / "scratch", **context)
        return Program((sys.executable, str(script), "analyze"), tmp_path / "root", {}, worker)

    return make


@pytest.fixture
def command(program, log, tmp_path: Path):
    """Return a runner that uses the stand-in."""

    def make(settings: dict[str, object] | None = None, **context: object) -> RecordingRunner:
        words = ("--cfg", "x.yaml", "--quiet")
        used = Command(program(**context), words, tmp_path / "scratch", {})
        return RecordingRunner(lambda: IDENTITY, used.hear, lambda recording: whereabouts_of(recording, settings or {}))

    return make


def heard(runner: RecordingRunner, paths: list[Path]) -> list[list[tuple[int | None, int | None]]]:
    """Have whole recordings heard; return starts and ends."""
    answers = runner.predict([signal_of(path) for path in paths])
    return [[(d.start_ms, d.end_ms) for d in one.detections] for one in answers]


def processes(log) -> list[list[str]]:
    """Return the recordings that each process was given."""
    return [[name for name in entry["files"] if name != "badc-silence.wav"] for entry in log()]


def test_a_batch_is_one_process(command, log, tmp_path):
    paths = [sounds.write_loud(tmp_path / f"r{n}.wav", 10, (n, n + 1)) for n in range(5)]
    assert heard(command(), paths) == [[(1000 * n, 1000 * n + 2000)] for n in range(5)]
    (entry,) = log()
    assert entry["cwd"] == str(tmp_path / "root")
    assert entry["argv"][5:7] == ["--rtype", "csv"]
    assert entry["argv"][7:] == ["--cfg", "x.yaml", "--quiet"]


def test_two_recordings_of_one_name_take_two_processes(command, log, tmp_path):
    paths = [sounds.write_loud(tmp_path / place / "night.wav", 5, (at,)) for at, place in enumerate(["a", "b", "c"])]
    paths.append(sounds.write_loud(tmp_path / "c/Night.flac", 5, (4,)))
    assert heard(command(), paths) == [[(0, 1000)], [(1000, 2000)], [(2000, 3000)], [(4000, 5000)]]
    assert processes(log) == [["night.wav"]] * 3 + [["Night.flac"]]


def test_links_and_odd_names_are_heard(command, tmp_path):
    """The table tells the name of the file behind a link, as of a git-annex key; and a key may have no ending."""
    key = sounds.write_loud(tmp_path / "objects/SHA256-s100--abc", 5, (3,))
    (tmp_path / "night.wav").symlink_to(key)
    assert heard(command(), [tmp_path / "night.wav"]) == [[(3000, 4000)]]


def test_nothing_heard_and_too_short(command, tmp_path):
    paths = [sounds.write_loud(tmp_path / "quiet.wav", 5), sounds.write_loud(tmp_path / "short.wav", 0.3)]
    assert heard(command(), paths) == [[], []]
    assert heard(command(), paths[1:]) == [[]]


@pytest.mark.parametrize(("word", "count"), [("BAD", 2), ("MUTE", 7)])
def test_one_bad_recording_costs_the_others_nothing(command, log, tmp_path, word, count):
    """One that HawkEars names is left out at once; without a name it is found by halving: 8, 4 + 4, 2 + 2, 1 + 1."""
    paths = [sounds.write_loud(tmp_path / f"r{n}.wav", 5, (n % 5,)) for n in range(8)]
    (tmp_path / "r5.wav").write_text(f"{word}\n")
    runner = command()
    error = RecordingError if word == "BAD" else RunnerError
    with pytest.raises(error, match="r5" if word == "BAD" else "wrote no table"):
        heard(runner, paths)
    assert len(log()) == count
    del paths[5]
    assert heard(runner, paths) == [[(1000 * at, 1000 * at + 1000)] for at in (0, 1, 2, 3, 4, 1, 2)]
    assert len(log()) == count, "what was heard before counts"


def test_a_killed_process_is_told(command, log, tmp_path):
    paths = [sounds.write_loud(tmp_path / f"r{n}.wav", 5, (n,)) for n in range(2)]
    (tmp_path / "r2.wav").write_text("KILL")
    runner = command()
    with pytest.raises(RunnerError, match="HawkEars was ended by SIGKILL and wrote no table") as caught:
        heard(runner, [*paths, tmp_path / "r2.wav"])
    assert caught.value.returncode == -9
    assert caught.value.retry
    assert heard(runner, paths) == [[(0, 1000)], [(1000, 2000)]]


def test_a_process_that_hangs_is_ended(command, log, tmp_path):
    path = sounds.write_loud(tmp_path / "r1.wav", 5)
    (tmp_path / "r2.wav").write_text("HANG")
    with pytest.raises(RunnerError, match=r"took longer than 0\.7 s for 1 chunk,"):
        heard(command(timeout_s=0.7), [path, tmp_path / "r2.wav"])
    assert not any(alive(entry["pid"]) for entry in log())


def test_a_run_that_is_stopped_ends_its_process(command, log, tmp_path):
    (tmp_path / "r.wav").write_text("HANG")
    stop = threading.Event()
    threading.Timer(0.7, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        heard(command(stopping=stop.is_set), [tmp_path / "r.wav"])
    assert time.monotonic() - began < 10
    assert not any(alive(entry["pid"]) for entry in log())


def alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    return Path(f"/proc/{pid}").exists()


def test_places_are_told_by_recording(command, log, tmp_path):
    """Recordings of which no place is known are heard apart, and not filtered."""
    paths = [sounds.write_loud(tmp_path / f"r{n}.wav", 5) for n in range(3)]
    here = [{"latitude": 60.5, "longitude": -114.25}, {}, {"latitude": 45.0, "longitude": -75.0}]
    signals = [signal_of(path, **place) for path, place in zip(paths, here, strict=True)]
    command({"date": "20260601"}).predict(signals)
    told, untold = log()
    assert untold.get("places") is None
    assert processes(lambda: [told, untold]) == [["r0.wav", "r2.wav"], ["r1.wav"]]
    assert told["places"].splitlines()[:3] == [
        "filename,latitude,longitude,region,recording_date",
        f"{paths[0]},60.5,-114.25,,20260601",
        f"{paths[2]},45.0,-75.0,,20260601",
    ]


def test_a_command_that_fails_on_silence_is_an_error_at_once(program, tmp_path):
    broken = attrs.evolve(program(), argv=(sys.executable, "-c", "import sys; sys.exit('weights are torn')"))
    with pytest.raises(RunnerError, match="even on silence: HawkEars ended with status 1") as caught:
        Command(broken, (), tmp_path / "scratch", {}).try_out()
    assert caught.value.hint == "Its last words: weights are torn"
    assert not caught.value.retry


def test_a_command_that_lacks_an_option_is_an_error_before_anything_runs(program, log, monkeypatch):
    assert switches(program(), "2.3.0") == ("--quiet",)
    monkeypatch.setenv("STANDIN_OPTIONS", "--cfg")
    with pytest.raises(RunnerError, match=r"HawkEars 2\.0\.0 has no option --filelist"):
        switches(program(), "2.0.0")
    assert log() == []


def test_a_command_that_is_not_there(program):
    with pytest.raises(RunnerError, match="cannot be started with /nowhere/python"):
        switches(attrs.evolve(program(), argv=("/nowhere/python",)), "2.3.0")

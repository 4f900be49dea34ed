"""Whole recordings cut by chunk, and HawkEars' programs as processes; with a stand-in for HawkEars."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
import struct
import sys
import threading
import time
import wave
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badc_core.errors import Interrupted, RecordingError, RunnerError
from badc_core.finishing import finish
from badc_core.model import Chunk, ChunkResult, Device, LocalTime, Recording, Signal
from badc_core.protocols import RunnerIdentity, WorkerContext
from badc_hawkears.finish import finish as finisher
from badc_hawkears.modes import isolation
from badc_hawkears.modes.command import Command, switches
from badc_hawkears.modes.names import class_names
from badc_hawkears.modes.occurrence import NOWHERE, Occurrence, occurrence_of
from badc_hawkears.modes.programs import Program
from badc_hawkears.modes.recordings import Label, RecordingRunner, cut
from badc_hawkears.options import HawkEarsOptions

RATE = 1000
IDENTITY = RunnerIdentity("HawkEars", "2")


def write_wav(path: Path, seconds: float, loud: tuple[int, ...] = ()) -> Path:
    """Write a recording that is loud in some of its seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        levels = [30_000 if at // RATE in loud else 10 for at in range(round(seconds * RATE))]
        file.writeframes(struct.pack(f"<{len(levels)}h", *levels))
    return path


def signal_of(path: Path, start_ms: int | None = None, end_ms: int | None = None, **place: object) -> Signal:
    """Return a slice of a recording, or a file that is a chunk."""
    recording = Recording(path.stem, path, **place)
    chunk = Chunk(f"{path.stem}_{start_ms}", path.stem, path, start_ms or 0, end_ms, 0, start_ms)
    return Signal(chunk, recording)


# ---------------------------------------------------------------------------------------- labels cut by chunk


def label(start_ms: int, end_ms: int, code: str = "COYE") -> Label:
    """Return a label."""
    return Label(start_ms, end_ms, code, code, code, 0.9)


def pieces(labels: list[Label], borders: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cut labels by chunks, finish the results, and return what came of them on the recording's clock."""
    results = []
    for start_ms, end_ms in borders:
        signal = signal_of(Path("r.wav"), start_ms, end_ms)
        found = tuple(cut(labels, signal))
        assert all(0 <= one.start_ms <= one.end_ms <= end_ms - start_ms for one in found)
        results.append(ChunkResult(signal.chunk, signal.recording, "ok", found, "hawkears"))
    done = finish(results, finisher)
    return sorted(
        (one.chunk.start_ms + d.start_ms, one.chunk.start_ms + d.end_ms) for one in done for d in one.detections
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_however_a_recording_is_cut_its_labels_are_the_same(data):
    """Labels on HawkEars' grid, some of which touch; chunks of any length, down to less than a frame."""
    total = data.draw(st.integers(1, 400)) * 50
    edges = sorted(data.draw(st.sets(st.integers(0, total // 250), max_size=8)))
    labels = [label(250 * a, 250 * b) for a, b in itertools.pairwise(edges) if data.draw(st.booleans())]
    borders = sorted(data.draw(st.sets(st.integers(1, total), max_size=6)) | {0, total})
    chunks = [*itertools.pairwise(borders)]
    assert pieces(labels, chunks) == [(one.start_ms, one.end_ms) for one in labels]


def test_the_last_frame_may_lie_past_the_end():
    assert pieces([label(9_750, 10_100)], [(0, 5_000), (5_000, 10_000)]) == [(9_750, 10_100)]
    assert pieces([label(4_750, 5_100)], [(0, 5_000), (5_000, 10_000)]) == [(4_750, 5_100)]


def test_a_segment_may_lie_past_the_end():
    """By more than half a frame; so it matters where the recording ends, as far as that is known."""
    long = {"duration_ms": 10_000}
    (known,) = cut([label(9_000, 12_000)], signal_of(Path("r.wav"), 5_000, 10_000, **long))
    (unknown,) = cut([label(9_000, 12_000)], signal_of(Path("r.wav"), 5_000, 10_000))
    (between,) = cut([label(4_000, 7_000)], signal_of(Path("r.wav"), 0, 5_000, **long))
    assert [known.end_ms, unknown.end_ms, between.end_ms] == [5_000] * 3
    assert [known.extra, unknown.extra, between.extra] == [{"runs_on_ms": 2_000}, *[{"continues": True}] * 2]


def test_what_lies_outside_all_chunks_is_not_told():
    """A manifest may list every tenth minute only."""
    labels = [label(0, 1_000), label(9_000, 12_000), label(18_000, 21_000), label(30_000, 31_000)]
    assert pieces(labels, [(10_000, 20_000)]) == [(10_000, 12_000), (18_000, 20_000)]


def test_what_chunks_share_is_told_once():
    results = []
    for start_ms, shared in ((0, 0), (8_000, 2_000)):
        chunk = Chunk(f"c{start_ms}", "r", Path("r.wav"), start_ms, start_ms + 10_000, shared, start_ms)
        signal = Signal(chunk, Recording("r", Path("r.wav")))
        results.append(ChunkResult(chunk, signal.recording, "ok", tuple(cut([label(8_500, 11_000)], signal)), "h"))
    first, second = finish(results, finisher)
    assert [(d.start_ms, d.end_ms) for d in first.detections] == [(8_500, 11_000)]
    assert not second.detections


def test_a_file_of_its_own_is_a_recording_of_its_own():
    (found,) = cut([label(500, 3_100)], signal_of(Path("r_chunk.wav"), None, 3_000))
    assert (found.start_ms, found.end_ms, found.extra) == (500, 3_000, {"runs_on_ms": 100})
    (found,) = cut([label(500, 3_100)], signal_of(Path("r_chunk.wav")))
    assert (found.start_ms, found.end_ms, found.extra) == (500, 3_100, {})


# ------------------------------------------------------------------------------------- recordings, each once


class Hearing:
    """Says of every recording what it was told to, and remembers what it was asked."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.identity = IDENTITY
        self.asked: list[list[str]] = []

    def hear(self, wanted, tell) -> None:
        """Tell of all recordings, up to one that is an exception to be raised."""
        self.asked.append([one.path.stem for one in wanted])
        for one in wanted:
            answer = self.answers.get(one.path.stem, [])
            if isinstance(answer, ZeroDivisionError):
                raise answer
            tell(one, answer)

    def runner(self) -> RecordingRunner:
        """Return a runner that asks here."""
        return RecordingRunner(lambda: self.identity, self.hear, lambda recording: NOWHERE)


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three recordings."""
    return [write_wav(tmp_path / f"{name}.wav", 4) for name in "abc"]


def slices(path: Path, *starts_s: int) -> list[Signal]:
    """Return slices of one second."""
    return [signal_of(path, 1000 * at, 1000 * at + 1000) for at in starts_s]


def test_a_recording_is_heard_once(three):
    hearing = Hearing(a=[label(1_000, 2_000)])
    runner = hearing.runner()
    answers = runner.predict([*slices(three[0], 0, 1), *slices(three[1], 0)])
    assert [[d.start_ms for d in one.detections] for one in answers] == [[], [0], []]
    runner.predict(slices(three[0], 2, 3))
    assert hearing.asked == [["a", "b"]]
    write_wav(three[0], 5)
    runner.predict(slices(three[0], 0))
    assert hearing.asked == [["a", "b"], ["a"]]


def test_the_worker_finds_the_bad_one_without_hearing_the_others_again(three):
    """It halves a batch that failed; what was told of the other recordings still counts."""
    hearing = Hearing(b=RecordingError("torn"))
    runner = hearing.runner()
    batch = [signal for path in three for signal in slices(path, 0, 1)]
    for some in (batch, batch[:3], batch[3:], batch[2:3], batch[3:4]):
        with pytest.raises(RecordingError, match="torn"):
            runner.predict(some)
    assert len(runner.predict(batch[:2] + batch[4:])) == 4
    assert hearing.asked == [["a", "b", "c"]]


def test_a_failure_that_may_pass_is_tried_again_once_for_all_chunks(three):
    hearing = Hearing(a=RunnerError("gone"))
    runner = hearing.runner()
    for _ in range(2):
        for one in slices(three[0], 0, 1, 2):
            with pytest.raises(RunnerError, match="gone"):
                runner.predict([one])
    assert hearing.asked == [["a"], ["a"]]
    hearing.answers = {}
    assert len(runner.predict(slices(three[0], 0, 1, 2))) == 3


def test_what_was_told_before_the_end_counts(three):
    hearing = Hearing(b=ZeroDivisionError())
    runner = hearing.runner()
    with pytest.raises(ZeroDivisionError):
        runner.predict([signal for path in three for signal in slices(path, 0)])
    runner.predict(slices(three[0], 0))
    assert hearing.asked == [["a", "b", "c"]]


def test_weights_that_change_meanwhile(three):
    """They are loaded anew for each batch."""
    hearing = Hearing(a=[label(0, 1_000)])
    runner = hearing.runner()
    runner.predict(slices(three[0], 0))
    hearing.identity = RunnerIdentity("HawkEars", "3")
    for _ in range(2):
        with pytest.raises(RunnerError, match="changed while it was at work") as caught:
            runner.predict([*slices(three[0], 0), *slices(three[1], 0)])
        assert not caught.value.retry
    assert hearing.asked == [["a"], ["b"], ["b"]]
    assert runner.predict(slices(three[0], 0))[0].detections, "what was heard before still counts"


def test_a_recording_that_is_not_there(tmp_path):
    with pytest.raises(RecordingError, match="There is no file"):
        Hearing().runner().predict([signal_of(tmp_path / "nowhere.wav")])


# ------------------------------------------------------------------------------------------ where and when


ALL = {"region": None, "latitude": 60.0, "longitude": -114.0, "date": "20260601"}


@pytest.mark.parametrize(
    ("own", "configured", "expected"),
    [
        ({}, {}, NOWHERE),
        ({"started_at": LocalTime(dt.datetime(2026, 6, 2, 23, 0))}, ALL, Occurrence("2026-06-02", 60.0, -114.0)),
        ({}, ALL, Occurrence("20260601", 60.0, -114.0)),
        ({}, {**ALL, "region": "CA-NT"}, Occurrence("20260601", region_code="CA-NT")),
        ({"latitude": 1.0, "longitude": 2.0}, {**ALL, "region": "CA-NT"}, Occurrence("20260601", 1.0, 2.0)),
        ({"latitude": 1.0}, ALL, Occurrence("20260601", 60.0, -114.0)),
        ({}, {**ALL, "date": "file"}, Occurrence("2026-05-31", 60.0, -114.0)),
    ],
)
def test_a_recordings_own_place_counts_more_than_that_of_all(own, configured, expected):
    recording = Recording("r", Path("20260531_043000.wav"), **own)
    assert occurrence_of(recording, configured) == expected


def test_a_date_that_is_not_in_the_name():
    with pytest.raises(RunnerError, match=r"the date of 'r\.wav' from its name"):
        occurrence_of(Recording("r", Path("r.wav")), {**ALL, "date": "file"})


def test_names_of_today(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/classes.csv").write_text("Name,Code,AltName,AltCode\nBarred Owl,BADO,Strix varia,brdowl\n")
    assert class_names(tmp_path)["BADO"] == ("BADO", "Barred Owl")
    (tmp_path / "data/taxonomy.csv").write_text("model_code,name,code,alt_name,alt_code\nBADO,,BAOW,,\n")
    names = class_names(tmp_path)
    assert names == dict.fromkeys(["BAOW", "Barred Owl", "Strix varia", "brdowl"], ("BAOW", "Barred Owl"))
    assert class_names(tmp_path / "nowhere") == {}


def test_only_the_command_lives_beside_other_workers(tmp_path):
    root = tmp_path.absolute()
    assert isolation(HawkEarsOptions(mode="cli", root=root, python=root)) == "thread"
    assert isolation(HawkEarsOptions(mode="api", root=root, python=root)) == "process"
    assert isolation(HawkEarsOptions(root=root, python=root)) == "process"
    assert isolation(HawkEarsOptions(script=root / "analyze.py")) == "thread"


# --------------------------------------------------------------------------------------- HawkEars' command


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what each process of the stand-in noted."""
    path = tmp_path / "standin.log"
    monkeypatch.setenv("STANDIN_LOG", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
        return RecordingRunner(lambda: IDENTITY, used.hear, lambda recording: occurrence_of(recording, settings or {}))

    return make


def heard(runner: RecordingRunner, paths: list[Path]) -> list[list[tuple[int | None, int | None]]]:
    """Have whole recordings heard; return starts and ends."""
    answers = runner.predict([signal_of(path) for path in paths])
    return [[(d.start_ms, d.end_ms) for d in one.detections] for one in answers]


def processes(log) -> list[list[str]]:
    """Return the recordings that each process was given."""
    return [[name for name in entry["files"] if name != "badc-silence.wav"] for entry in log()]


def test_a_batch_is_one_process(command, log, tmp_path):
    paths = [write_wav(tmp_path / f"r{n}.wav", 10, (n, n + 1)) for n in range(5)]
    assert heard(command(), paths) == [[(1000 * n, 1000 * n + 2000)] for n in range(5)]
    (entry,) = log()
    assert entry["cwd"] == str(tmp_path / "root")
    assert entry["argv"][5:7] == ["--rtype", "csv"]
    assert entry["argv"][7:] == ["--cfg", "x.yaml", "--quiet"]


def test_two_recordings_of_one_name_take_two_processes(command, log, tmp_path):
    paths = [write_wav(tmp_path / place / "night.wav", 5, (at,)) for at, place in enumerate(["a", "b", "c"])]
    paths.append(write_wav(tmp_path / "c/Night.flac", 5, (4,)))
    assert heard(command(), paths) == [[(0, 1000)], [(1000, 2000)], [(2000, 3000)], [(4000, 5000)]]
    assert processes(log) == [["night.wav"]] * 3 + [["Night.flac"]]


def test_links_and_odd_names_are_heard(command, tmp_path):
    """The table tells the name of the file behind a link, as of a git-annex key; and a key may have no ending."""
    key = write_wav(tmp_path / "objects/SHA256-s100--abc", 5, (3,))
    (tmp_path / "night.wav").symlink_to(key)
    assert heard(command(), [tmp_path / "night.wav"]) == [[(3000, 4000)]]


def test_nothing_heard_and_too_short(command, tmp_path):
    paths = [write_wav(tmp_path / "quiet.wav", 5), write_wav(tmp_path / "short.wav", 0.3)]
    assert heard(command(), paths) == [[], []]
    assert heard(command(), paths[1:]) == [[]]


@pytest.mark.parametrize(("word", "count"), [("BAD", 2), ("MUTE", 7)])
def test_one_bad_recording_costs_the_others_nothing(command, log, tmp_path, word, count):
    """One that HawkEars names is left out at once; without a name it is found by halving: 8, 4 + 4, 2 + 2, 1 + 1."""
    paths = [write_wav(tmp_path / f"r{n}.wav", 5, (n % 5,)) for n in range(8)]
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
    paths = [write_wav(tmp_path / f"r{n}.wav", 5, (n,)) for n in range(2)]
    (tmp_path / "r2.wav").write_text("KILL")
    runner = command()
    with pytest.raises(RunnerError, match="HawkEars was ended by SIGKILL and wrote no table") as caught:
        heard(runner, [*paths, tmp_path / "r2.wav"])
    assert caught.value.returncode == -9
    assert caught.value.retry
    assert heard(runner, paths) == [[(0, 1000)], [(1000, 2000)]]


def test_a_process_that_hangs_is_ended(command, log, tmp_path):
    path = write_wav(tmp_path / "r1.wav", 5)
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
    paths = [write_wav(tmp_path / f"r{n}.wav", 5) for n in range(3)]
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

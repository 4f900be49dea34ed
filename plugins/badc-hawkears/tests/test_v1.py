"""HawkEars 1 through ``badc infer run``, with a stand-in that keeps its contract: arguments, folder, table, status."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sounds

from badc_core import manifest
from badc_core.errors import Interrupted, RunnerError
from badc_core.model import Chunk, Device, Recording, Signal
from badc_core.protocols import WorkerContext
from badc_hawkears.modes.v1 import identity_of_v1, open_v1
from badc_hawkears.options import HawkEarsOptions


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    """What the machine knows of HawkEars must not matter."""
    monkeypatch.delenv("BADC_HAWKEARS_ROOT", raising=False)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A folder like HawkEars'."""
    path = tmp_path / "HawkEars/analyze.py"
    (path.parent / "data/ckpt").mkdir(parents=True)
    (path.parent / "data/ckpt/model.ckpt").write_bytes(b"weights")
    (path.parent / "version.txt").write_text("1.0.3+\n")
    shutil.copy(Path(__file__).with_name("standin.py"), path)
    return path


@pytest.fixture
def run(tmp_path: Path, script: Path):
    """Run chunks; return exit status, results by chunk, and what was said."""

    def go(chunks: list[Chunk], *more: str, env: dict[str, str] | None = None):
        manifest.write(tmp_path / "m.csv", chunks)
        words = ["infer", "run", "m.csv", "--use-hawkears", "-o", f"script={script}", "--cpu-workers", "1", *more]
        done = subprocess.run(
            [sys.executable, "-m", "badc_core", *words, "--quiet", "--output-dir", "out"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        results = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("[!.]*/*.json")]
        return done.returncode, {entry["chunk_id"]: entry for entry in results}, done.stdout + done.stderr

    return go


def files(tmp_path: Path, count: int) -> list[Chunk]:
    """Return chunk files, each loud in another second."""
    paths = [sounds.write_loud(tmp_path / f"chunks/c{n}.wav", 6, (n % 5,)) for n in range(count)]
    return [Chunk(path.stem, "r", path, 6000 * n, 6000 * n + 6000) for n, path in enumerate(paths)]


def labels(entry) -> list[tuple[int, int, str, str, str, float]]:
    """Return a result's detections."""
    keys = ("timestamp_ms", "end_ms", "label", "label_code", "label_name", "confidence")
    return [tuple(found[key] for key in keys) for found in entry["detections"]]


def coye(second: int) -> tuple[int, int, str, str, str, float]:
    """Return what is heard in a loud second."""
    return (1000 * second, 1000 * second + 1000, "COYE", "COYE", "Common Yellowthroat", 0.916)


def test_a_batch_of_chunk_files_is_one_process(run, log, tmp_path, script):
    chunks = [
        *files(tmp_path, 4),
        Chunk("quiet", "r", sounds.write_loud(tmp_path / "chunks/quiet.wav", 6), 24_000, 30_000),
    ]
    status, results, said = run(chunks, "--hawkears-arg", "--min_score 0.7")
    assert status == 0, said
    assert [labels(results[f"c{n}"]) for n in range(4)] == [[coye(n)] for n in range(4)]
    assert [results[name]["status"] for name in ("c0", "quiet")] == ["ok", "no_detections"]
    assert {entry["model_version"] for entry in results.values()} == {"1.0.3+"}
    assert {entry["runner"] for entry in results.values()} == {"hawkears"}
    assert not any("finisher" in entry for entry in results.values())
    (entry,) = log()
    assert entry["cwd"] == str(script.parent)
    argv = entry["argv"]
    assert (argv[0], argv[2]) == ("-i", "-o")
    assert Path(argv[1]).is_absolute()
    assert Path(argv[3]).is_absolute()
    assert argv[4:] == ["--rtype", "csv", "--merge", "0", "--min_score", "0.7"]
    assert entry["files"] == [f"c{n}.wav" for n in range(4)] + ["quiet.wav"]


def test_slices_of_a_recording_become_files(run, log, tmp_path):
    path = sounds.write_loud(tmp_path / "night.wav", 12.5, (1, 6, 12))
    chunks = [Chunk(f"n{at}", "night", path, at, min(at + 5000, 12_500), 0, at) for at in (0, 5000, 10_000)]
    status, results, said = run(chunks)
    assert status == 0, said
    assert [labels(results[f"n{at}"]) for at in (0, 5000)] == [[coye(1)], [coye(1)]]
    assert labels(results["n10000"])[0][:2] == (2000, 2500), "its last window lies past the end"
    assert len(log()) == 1


def test_the_table_may_name_the_file_behind_a_link(run, log, tmp_path, monkeypatch):
    """As BADC 0.1 saw it with git-annex; two chunks of one content have one key."""
    monkeypatch.setenv("STANDIN_RESOLVES", "1")
    key = sounds.write_loud(tmp_path / "objects/MD5E-s1--ab.wav", 6, (2,))
    other = sounds.write_loud(tmp_path / "objects/MD5E-s1--cd.wav", 6, (4,))
    chunks = []
    for name, target in (("c0", key), ("c1", other), ("c2", key)):
        link = tmp_path / f"{name}.wav"
        link.symlink_to(target)
        chunks.append(Chunk(name, "r", link))
    status, results, said = run(chunks)
    assert status == 0, said
    assert [labels(results[f"c{n}"]) for n in range(3)] == [[coye(2)], [coye(4)], [coye(2)]]
    assert [entry["files"] for entry in log()] == [["c0.wav", "c1.wav"], ["c2.wav"]]


def test_chunks_of_one_name_take_two_processes(run, log, tmp_path):
    chunks = []
    for n, site in enumerate("ab"):
        path = sounds.write_loud(tmp_path / site / "chunk.wav", 6, (n,))
        chunks.append(Chunk("chunk", site, path))
    status, _, said = run(chunks)
    assert status == 0, said
    found = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/*.json")}
    assert {site: labels(entry) for site, entry in found.items()} == {"a": [coye(0)], "b": [coye(1)]}
    assert len(log()) == 2


def test_no_output_is_a_result_as_in_01(run, log, tmp_path):
    """HawkEars gives up with status 0; the others of the batch are found by halving: 5, 2 + 3, 1 + 2, 1 + 1."""
    chunks = files(tmp_path, 5)
    chunks[3].source_path.write_text("BAD\n")
    status, results, said = run(chunks)
    assert status == 0, said
    assert results["c3"]["status"] == "no_output"
    assert [labels(results[f"c{n}"]) for n in (0, 1, 2, 4)] == [[coye(n)] for n in (0, 1, 2, 4)]
    assert [len(entry["files"]) for entry in log()] == [5, 2, 3, 1, 2, 1, 1]


def test_one_that_kills_it_fails_and_no_other(run, log, tmp_path):
    chunks = files(tmp_path, 4)
    chunks[1].source_path.write_text("KILL")
    status, results, said = run(chunks, "--max-retries", "1")
    assert status == 3, said
    assert results["c1"]["status"] == "failed"
    assert "HawkEars was ended by SIGKILL and wrote no HawkEars_labels.csv" in results["c1"]["error"]
    assert results["c1"]["meta"]["attempt"] == 2
    assert [labels(results[f"c{n}"]) for n in (0, 2, 3)] == [[coye(n)] for n in (0, 2, 3)]
    assert [len(entry["files"]) for entry in log()] == [4, 2, 1, 1, 2, 1], "the last is the second attempt"


def test_one_that_hangs_is_ended(run, log, tmp_path):
    chunks = files(tmp_path, 2)
    chunks[1].source_path.write_text("HANG")
    status, results, said = run(chunks, "--max-retries", "0", "--timeout", "1")
    assert status == 3, said
    assert "took longer than 1 s for 1 chunk," in results["c1"]["error"]
    assert labels(results["c0"]) == [coye(0)]


def test_the_rows_reach_the_table(run, tmp_path):
    run(files(tmp_path, 2))
    words = ["infer", "aggregate", "out", "--manifest", "m.csv", "--output", "all.csv"]
    subprocess.run([sys.executable, "-m", "badc_core", *words], cwd=tmp_path, check=True, capture_output=True)
    with (tmp_path / "all.csv").open() as file:
        rows = [(row["label"], row["absolute_time_ms"]) for row in csv.DictReader(file)]
    assert rows == [("COYE", "0"), ("COYE", "7000")]


def test_it_is_not_there(run, script, tmp_path):
    script.unlink()
    status, results, said = run(files(tmp_path, 1))
    assert status == 1
    assert "HawkEars 1 is not there: there is no file" in said
    assert not results


def test_its_folder_may_come_from_the_environment(script, monkeypatch):
    monkeypatch.setenv("BADC_HAWKEARS_ROOT", str(script.parent))
    assert HawkEarsOptions().script == script


def test_identity_is_of_program_weights_and_arguments(script):
    options = HawkEarsOptions(script=script)
    first = identity_of_v1(script, options)
    assert (first.model, first.version) == ("HawkEars", "1.0.3+")
    assert identity_of_v1(script, HawkEarsOptions(script=script, threads=3)) == first
    other = identity_of_v1(script, HawkEarsOptions(script=script, args=("--min_score 0.5",)))
    assert other.weights_digest != first.weights_digest
    (script.parent / "data/ckpt/model.ckpt").write_bytes(b"better weights")
    second = identity_of_v1(script, options)
    assert second.weights_digest not in (first.weights_digest, other.weights_digest)
    (script.parent / "version.txt").unlink()
    assert identity_of_v1(script, options).version is None


def runner(script: Path, scratch: Path, **context: object):
    """Open the runner."""
    scratch.mkdir()
    return open_v1(script, HawkEarsOptions(script=script), WorkerContext(Device(), "cpu-0", scratch, **context))


def signal_of(chunk: Chunk) -> Signal:
    """Return a chunk file as a runner gets it."""
    return Signal(chunk, Recording(chunk.recording_id, chunk.source_path), path=chunk.source_path)


def test_a_run_that_is_stopped_ends_its_process(script, log, tmp_path):
    (chunk,) = files(tmp_path, 1)
    chunk.source_path.write_text("HANG")
    stop = threading.Event()
    threading.Timer(0.7, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        runner(script, tmp_path / "scratch", stopping=stop.is_set).predict([signal_of(chunk)])
    assert time.monotonic() - began < 10
    assert not any(Path(f"/proc/{entry['pid']}").exists() for entry in log())


def test_killed_in_the_middle(script, log, tmp_path, run):
    """``kill -9`` of badc ends HawkEars, too; the same command does what is left."""
    chunks = files(tmp_path, 2)
    good = chunks[1].source_path.read_bytes()
    chunks[1].source_path.write_text("HANG")
    manifest.write(tmp_path / "m.csv", chunks)
    words = ["infer", "run", "m.csv", "--use-hawkears", "-o", f"script={script}", "--cpu-workers", "1"]
    badc = subprocess.Popen([sys.executable, "-m", "badc_core", *words, "--output-dir", "out"], cwd=tmp_path)
    until = time.monotonic() + 30
    while not log() and time.monotonic() < until:
        time.sleep(0.05)
    badc.kill()
    badc.wait(10)
    (pid,) = [entry["pid"] for entry in log()]
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    chunks[1].source_path.write_bytes(good)
    status, results, said = run(chunks)
    assert status == 0, said
    assert [labels(results[f"c{n}"]) for n in range(2)] == [[coye(n)] for n in range(2)]


def test_weights_that_change_meanwhile(script, log, tmp_path):
    (chunk,) = files(tmp_path, 1)
    opened = runner(script, tmp_path / "scratch")
    (script.parent / "data/ckpt/model.ckpt").write_bytes(b"other weights")
    with pytest.raises(RunnerError, match="changed while it was at work"):
        opened.predict([signal_of(chunk)])


def test_a_row_of_nobody_is_an_error(script, tmp_path):
    (chunk,) = files(tmp_path, 1)
    program = script.read_text().replace("else path.name", 'else "other.wav"')
    script.write_text(program)
    with pytest.raises(RunnerError, match=r"table names 'other\.wav', which was not in the batch"):
        runner(script, tmp_path / "scratch").predict([signal_of(chunk)])


def test_a_row_without_a_name_belongs_to_the_only_chunk(script, log, tmp_path):
    chunks = files(tmp_path, 2)
    script.write_text(script.read_text().replace("else path.name", 'else ""'))
    answers = runner(script, tmp_path / "scratch").predict([*map(signal_of, chunks)])
    assert [[found.start_ms for found in answer.detections] for answer in answers] == [[0], [1000]]
    assert [len(entry["files"]) for entry in log()] == [2, 1, 1]

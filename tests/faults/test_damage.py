"""Damaged results, damaged recordings, links, and names that make trouble: named, and the rest is done."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faulty_lab
import numpy as np
import pytest
import runs
import soundfile

from badc_core import engine
from badc_core.host import Host
from badc_core.model import Chunk
from badc_core.results import Problem, scan
from badc_core.runs import RunRequest

RATE = 8000
READS = ("--runner", "lab", "-o", "wants=samples", "--max-retries", 2, "--quiet")


def _sound(path: Path, seconds: float = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.3 * np.sin(np.arange(int(seconds * RATE)) / 7)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


def _slices(path: Path, seconds: int = 9, recording_id: str | None = None) -> list[Chunk]:
    name = recording_id or path.stem
    return [
        Chunk(f"{name}_{1000 * at}_{1000 * (at + 3)}", name, path, 1000 * at, 1000 * (at + 3), 0, 1000 * at)
        for at in range(0, seconds, 3)
    ]


def _run(run_badc: Callable[..., Any], manifest: Path, *more: object, output: object = "out") -> Any:
    return run_badc("infer", "run", manifest, *READS, "--output-dir", output, *more, env=runs.lab_environment())


def _found(output: Path) -> dict[str, dict[str, Any]]:
    return {entry["chunk_id"]: entry for entry in runs.documents(output)}


# -------------------------------------------------------------------------------------- damaged results


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 300, b'{"chunk_id": "REC0_0_30', b"[]", b"not JSON", b'{"other": 1}', b"\xff\xfe{}"],
    ids=["empty", "zeros", "half", "a list", "text", "no result", "not UTF-8"],
)
def test_a_half_written_result(data: bytes, isolated: Path, cli: Callable[..., Any]):
    """It counts as missing, is named, and is made anew; the aggregate is as if nothing had happened."""
    manifest = runs.make_manifest(isolated / "m.csv", 3, 2)
    command = ("infer", "run", manifest, "--quiet", "--output-dir", "out", "--json")
    cli(*command).ok()
    whole = runs.aggregate(isolated / "out", isolated / "a.csv")
    damaged = isolated / "out" / "REC0" / "REC0_0_3000.json"
    damaged.write_bytes(data)
    told = cli("infer", "aggregate", "out", "--output", "x.csv")
    assert str(damaged.name) in told.stderr + told.stdout
    again = json.loads(cli(*command).ok().stdout)
    assert (again["done"], again["done_before"]) == (1, 5)
    assert len(again["problems"]) == 1
    assert str(damaged) in again["problems"][0]
    assert runs.aggregate(isolated / "out", isolated / "b.csv") == whole


@pytest.mark.parametrize(
    ("harm", "done_again"),
    [
        (lambda data: data[:-20], 1),
        (lambda data: data[: data.index(b"\n") // 2], 6),
        (lambda data: b"", 6),
        (lambda data: data.replace(b'"chunk_id"', b'"chunk_id', 1), 1),
        (lambda data: b"\0" * 100 + b"\n" + data, 0),
    ],
    ids=["torn last line", "torn first line", "empty", "damaged line", "foreign line"],
)
def test_a_damaged_segment(harm: Callable[[bytes], bytes], done_again: int, isolated: Path, cli: Callable[..., Any]):
    manifest = runs.make_manifest(isolated / "m.csv", 3, 2)
    command = ("infer", "run", manifest, "--quiet", "--output-dir", "out", "--layout", "segments", "--json")
    cli(*command).ok()
    whole = runs.aggregate(isolated / "out", isolated / "a.csv")
    (segment,) = (isolated / "out" / "_segments").iterdir()
    segment.write_bytes(harm(segment.read_bytes()))
    again = json.loads(cli(*command).ok().stdout)
    assert again["done"] == done_again
    assert len(runs.documents(isolated / "out")) == 6
    assert runs.aggregate(isolated / "out", isolated / "b.csv") == whole


def test_results_of_a_stranger(isolated: Path, cli: Callable[..., Any]):
    """Well-formed nonsense in a result's parts stops nobody."""
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    for part in (
        {"meta": None},
        {"meta": 3},
        {"chunk": []},
        {"chunk": "x"},
        {"chunk": {"sha256": 5}},
        {"recording": 1},
    ):
        strange = {"chunk_id": "REC0_0_3000", "recording_id": "REC0", "status": "ok", "fingerprint": "f", **part}
        for layout in ("files", "segments"):
            output = isolated / f"{layout}-{next(iter(part))}-{len(str(part))}"
            place = output / ("REC0/REC0_0_3000.json" if layout == "files" else "_segments/x.jsonl")
            place.parent.mkdir(parents=True)
            place.write_text(json.dumps(strange) + "\n")
            command = ("infer", "run", manifest, "--quiet", "--output-dir", output)
            refused = cli(*command)
            assert refused.code == 1
            assert "--replace" in refused.stderr
            cli(*command, "--replace", "--layout", layout).ok()
            assert len(runs.documents(output)) == 2
            told = cli("infer", "aggregate", output, "--output", "x.csv")
            assert told.code in (0, 3), told.stderr  # 3: something was left out


# ----------------------------------------------------------------------------------- damaged recordings


def test_damaged_recordings(isolated: Path, run_badc: Callable[..., Any]):
    """Missing, empty, no sound, cut off, header only: each says what it is, and neighbours are done."""
    folder = isolated / "audio"
    _sound(folder / "whole.wav")
    whole = (folder / "whole.wav").read_bytes()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is no sound\n" * 100)
    (folder / "zeros.wav").write_bytes(bytes(5000))
    (folder / "header.wav").write_bytes(whole[:44])
    (folder / "cut.wav").write_bytes(whole[: 44 + 2 * RATE * 4])
    _sound(folder / "flac.flac")
    flac = (folder / "flac.flac").read_bytes()
    (folder / "flac.flac").write_bytes(flac[: len(flac) // 2])
    names = ["whole.wav", "empty.wav", "text.wav", "zeros.wav", "header.wav", "cut.wav", "gone.wav", "flac.flac"]
    chunks = [chunk for name in names for chunk in _slices(folder / name)]
    manifest = runs.make_manifest(isolated / "m.csv", chunks)
    ended = _run(run_badc, manifest)
    assert ended.code == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    found = _found(isolated / "out")
    assert len(found) == len(chunks)
    status = {name: [found[c.chunk_id]["status"] != "failed" for c in _slices(folder / name)] for name in names}
    assert status["whole.wav"] == [True, True, True]
    assert status["cut.wav"] == [True, True, False]
    assert found["cut_3000_6000"]["missing_ms"] == 2000
    assert status["flac.flac"][0]
    assert not status["flac.flac"][2]
    for name in ("empty.wav", "text.wav", "zeros.wav", "header.wav", "gone.wav"):
        assert status[name] == [False, False, False]
        for chunk in _slices(folder / name):
            assert name in found[chunk.chunk_id]["error"]
            assert found[chunk.chunk_id]["meta"]["attempt"] == 1, "the same file fails in the same way again"


def test_a_recording_that_is_mended(isolated: Path, run_badc: Callable[..., Any]):
    """The same command again does what failed, and only that."""
    bad, good = isolated / "bad.wav", _sound(isolated / "good.wav")
    bad.write_bytes(b"")
    manifest = runs.make_manifest(isolated / "m.csv", [*_slices(bad), *_slices(good)])
    assert _run(run_badc, manifest).code == 3
    shutil.copy(good, bad)
    again = json.loads(_run(run_badc, manifest, "--json").ok().stdout)
    assert (again["done"], again["done_before"]) == (3, 3)


@pytest.mark.parametrize("change", ["grows", "is replaced by one of the same length", "goes away"])
def test_a_recording_that_changes_during_the_run(change: str, isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """It is not the file that the plan was made for: refused by name, the others are done, and so is it next time."""
    first, second = _sound(isolated / "a.wav"), _sound(isolated / "b.wav")
    manifest = runs.make_manifest(isolated / "m.csv", [*_slices(first), *_slices(second)])
    request = RunRequest(manifest, "lab", {"wants": "samples"}, isolated / "out", telemetry_log=isolated / "log.jsonl")
    host = Host(extra=[faulty_lab])

    def change_it(*args: Any) -> None:
        write_plan(*args)
        if change == "grows":
            with second.open("ab") as file:
                file.write(b"more")
        elif change == "goes away":
            second.unlink()
        else:
            data = second.read_bytes()
            second.write_bytes(data[:44] + data[44:][::-1])

    write_plan = engine.write_plan
    with monkeypatch.context() as patch:
        patch.setattr(engine, "write_plan", change_it)
        summary = engine.run(request, host=host)
    assert summary.counts.failures == 3
    found = _found(isolated / "out")
    assert all(found[chunk.chunk_id]["status"] != "failed" for chunk in _slices(first))
    said = {"grows": "144044 bytes, now 144048", "goes away": "no file"}.get(change, "it was written anew")
    for chunk in _slices(second):
        assert str(second) in found[chunk.chunk_id]["error"]
        assert said in found[chunk.chunk_id]["error"]
    if change == "goes away":
        _sound(second)
    assert engine.run(request, host=host).counts.chunks == 3
    assert len(runs.committed(isolated / "out")) == 6


# ---------------------------------------------------------------------------------------------- links


def test_symbolic_and_git_annex_links(isolated: Path, run_badc: Callable[..., Any]):
    """Names come from the links, samples from behind them; what was not fetched says how to fetch it."""
    dataset = isolated / "dataset"
    (dataset / ".datalad").mkdir(parents=True)
    key = "MD5E-s144044--0123456789abcdef0123456789abcdef.wav"
    content = _sound(dataset / f".git/annex/objects/aa/bb/{key}/{key}")
    audio = dataset / "audio"
    audio.mkdir()
    (audio / "fetched.wav").symlink_to(os.path.relpath(content, audio))
    missing = key.replace("0123", "9999")
    (audio / "elsewhere.wav").symlink_to(f"../.git/annex/objects/cc/dd/{missing}/{missing}")
    (audio / "pointer.wav").write_text(f"/annex/objects/{missing}\n")
    (audio / "linked.wav").symlink_to(_sound(isolated / "other disk" / "x.wav"))
    (audio / "dangling.wav").symlink_to("nowhere.wav")
    (audio / "loop.wav").symlink_to("loop.wav")
    names = ("fetched", "linked", "elsewhere", "pointer", "dangling", "loop")
    chunks = [chunk for name in names for chunk in _slices(audio / f"{name}.wav")]
    manifest = runs.make_manifest(dataset / "manifests" / "m.csv", chunks)
    ended = run_badc("infer", "run", manifest, *READS, env=runs.lab_environment(), cwd=isolated)
    assert ended.code == 3, ended.stderr
    found = _found(dataset / "artifacts" / "infer")
    assert len(found) == len(chunks)
    for name in ("fetched", "linked"):
        for chunk in _slices(audio / f"{name}.wav"):
            assert found[chunk.chunk_id]["status"] != "failed"
            assert found[chunk.chunk_id]["source_path"] == str(chunk.source_path)
            assert found[chunk.chunk_id]["dataset_root"] == str(dataset)
    for name in ("elsewhere", "pointer"):
        assert "git-annex" in found[f"{name}_0_3000"]["error"]
    assert "nowhere.wav" in found["dangling_0_3000"]["error"]
    assert "loop.wav" in found["loop_0_3000"]["error"]
    # After `datalad get` the rest is done.
    (dataset / f".git/annex/objects/cc/dd/{missing}").mkdir(parents=True)
    shutil.copy(content, dataset / f".git/annex/objects/cc/dd/{missing}/{missing}")
    run_badc("infer", "run", manifest, *READS, env=runs.lab_environment(), cwd=isolated)
    assert _found(dataset / "artifacts" / "infer")["elsewhere_0_3000"]["status"] != "failed"


def test_results_that_git_annex_has_locked(isolated: Path, cli: Callable[..., Any]):
    """A result that is a link into the annex counts; one made anew takes the link's place, not the content's."""
    manifest = runs.make_manifest(isolated / "m.csv", 2, 1)
    command = ("infer", "run", manifest, "--quiet", "--output-dir", "out", "--json")
    cli(*command).ok()
    result = isolated / "out" / "REC0" / "REC0_0_3000.json"
    locked = isolated / "annexed.json"
    result.rename(locked)
    locked.chmod(0o444)
    before = locked.read_bytes()
    result.symlink_to(locked)
    assert json.loads(cli(*command).ok().stdout)["done"] == 0
    assert json.loads(cli(*command, "--no-resume").ok().stdout)["done"] == 2
    assert not result.is_symlink()
    assert locked.read_bytes() == before


# ---------------------------------------------------------------------------------------------- names

NAMES = [
    "with space", "with,comma", 'with"quote', "with'quote", "with\nnewline", "with\ttab", "with;semicolon&amp",
    "$(dollar) `tick` *star? [x]", "-dash", ".hidden", "100%", "{braces}", "Zaunkönig",
    unicodedata.normalize("NFD", "Zaunkönig"), "鳥🐦", "UPPER", "upper", "trailing.", "x" * 200, "null", "#hash",
    "a=b", "~tilde",
]  # fmt: skip


@pytest.mark.parametrize("layout", ["files", "segments"])
def test_names_that_make_trouble(layout: str, isolated: Path, run_badc: Callable[..., Any]):
    """Every name stays itself, from the file to the table; NFC and NFD, upper and lower case stay apart."""
    paths = [_sound(isolated / "audio" / f"{name}.wav", 3) for name in NAMES]
    chunks = [chunk for path in paths for chunk in _slices(path, 3)]
    manifest = runs.make_manifest(isolated / "m,a n.csv", chunks)
    output = isolated / "out put, “quoted”"
    _run(run_badc, manifest, "--layout", layout, output=output).ok()
    found = {(entry["recording_id"], entry["chunk_id"]): entry for entry in runs.documents(output)}
    assert set(found) == {(name, f"{name}_0_3000") for name in NAMES}
    assert {entry["source_path"] for entry in found.values()} == set(map(str, paths))
    again = json.loads(_run(run_badc, manifest, "--layout", layout, "--json", output=output).ok().stdout)
    assert again["done"] == 0

    import duckdb

    assert runs.aggregate(output, isolated / "t.csv") == runs.aggregate(output, isolated / "u.csv")
    for table in (f"read_csv('{isolated}/t.csv', all_varchar = true)", f"read_parquet('{isolated}/t.parquet')"):
        rows = duckdb.sql(f"SELECT DISTINCT recording_id, source_path FROM {table}").fetchall()
        assert set(rows) == {(name, str(path)) for name, path in zip(NAMES, paths, strict=True)}


@pytest.mark.parametrize("layout", ["files", "segments"])
def test_names_that_are_no_utf_8(layout: str, isolated: Path, run_badc: Callable[..., Any]):
    """Bytes of a name that are no UTF-8 lead to the file; they are shown escaped, and nothing breaks over them."""
    odd = os.fsdecode(b"Zaunk\xf6nig")
    path = isolated / "audio" / f"{odd}.wav"
    plain = _sound(isolated / "audio" / "plain.wav", 3)
    shutil.copy(plain, path)
    manifest = runs.make_manifest(isolated / f"{odd}.csv", [*_slices(path, 3), *_slices(plain, 3)])
    output = isolated / f"out-{odd}"
    first = _run(run_badc, manifest, "--layout", layout, output=output).ok()
    assert "Traceback" not in first.stderr
    assert len(runs.committed(output)) == 2
    again = json.loads(_run(run_badc, manifest, "--layout", layout, "--json", output=output).ok().stdout)
    assert (again["done"], again["done_before"]) == (0, 2)
    told = run_badc("infer", "aggregate", output, "--output", isolated / "t.csv", "--parquet", isolated / "t.parquet")
    assert "Traceback" not in told.stderr
    assert told.code == 0, told.stderr
    assert b"plain" in (isolated / "t.csv").read_bytes()
    assert b"Zaunk" in (isolated / "t.csv").read_bytes()


@pytest.mark.parametrize("bad", ["../up", "a/b", "/etc/passwd", "..", ".", "", "a\\b", "x" * 250, ".badc", "_segments"])
@pytest.mark.parametrize("column", ["recording_id", "chunk_id"])
def test_ids_with_path_parts(column: str, bad: str, isolated: Path, cli: Callable[..., Any]):
    """Refused with the line, before anything is run or written."""
    row = {"recording_id": "REC", "chunk_id": "REC_0", "source_path": "x.wav", column: bad}
    manifest = isolated / "m.csv"
    manifest.write_text("recording_id,chunk_id,source_path\nREC,first,x.wav\n" + ",".join(row.values()) + "\n")
    ended = cli("infer", "run", manifest, "--output-dir", "out", "--quiet")
    assert ended.code == 1
    assert "m.csv" in ended.stderr
    assert "line 3" in ended.stderr
    assert column in ended.stderr
    assert runs.documents(isolated / "out") == []
    assert not (isolated.parent / "up.json").exists()


def test_a_name_too_long_for_the_disk(isolated: Path, cli: Callable[..., Any]):
    """A path longer than the system takes ends in an error that names it, and segments have room for it."""
    deep = isolated / "/".join(["d" * 200] * 19)
    manifest = runs.make_manifest(isolated / "m.csv", [Chunk("c" * 200, "r" * 200, Path("x.wav"))])
    ended = cli("infer", "run", manifest, "--quiet", "--output-dir", deep)
    assert ended.code == 1
    assert "too long" in ended.stderr


def test_recordings_with_one_name_in_two_folders(isolated: Path, run_badc: Callable[..., Any]):
    """Told apart by their ids in the manifest; a chunk named twice is done once, also when rows are not grouped."""
    one, two = _sound(isolated / "a" / "x.wav", 3), _sound(isolated / "b" / "x.wav", 3)
    chunks = [*_slices(one, 3, "a__x"), *_slices(two, 3, "b__x"), *_slices(one, 3, "a__x")]
    manifest = runs.make_manifest(isolated / "m.csv", chunks)
    for layout in ("files", "segments"):
        output = isolated / layout
        told = _run(run_badc, manifest, "--layout", layout, output=output).ok()
        assert "1 chunk named twice by the manifest, done once" in told.stdout
        assert sorted(entry["source_path"] for entry in runs.documents(output)) == [str(one), str(two)]


def test_unreadable_files_are_told_by_name(isolated: Path):
    problems: list[Problem] = []
    (isolated / "out" / "REC").mkdir(parents=True)
    (isolated / "out" / "REC" / "x.json").symlink_to("nowhere.json")
    assert list(scan(isolated / "out", problems.append)) == []
    assert [str(problem) for problem in problems] == [
        f"{isolated}/out/REC/x.json: cannot be read: No such file or directory"
    ]

"""``badc chunk …``: BADC 0.1's options and defaults, one manifest for a tree, and damage that costs only itself."""

from __future__ import annotations

import csv
import json
import os
import shlex
import stat
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from sounds import RATE, cut_off, noise, write

from badc_core import manifest
from badc_core.chunk_status import STATUS_FILE, read_status

NAMES = ["a b", "a,b", 'a"b', "a\nb", "ä", unicodedata.normalize("NFD", "é"), "-n", "{x}", "[x]", "it's", "日本"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("command", ["manifest", "split", "probe", "run"])
def test_what_is_not_there_is_told(cli, isolated: Path, command: str):
    duration = ["--chunk-duration", 1] if command == "run" else []
    done = cli("chunk", command, "a/nope", *duration)
    assert done.code == 1
    assert "There is no file " in done.stderr
    assert "a/nope." in done.stderr


@pytest.mark.parametrize("command", ["split", "probe", "run"])
def test_a_folder_is_no_recording(cli, isolated: Path, command: str):
    write(isolated / "my folder/a.wav", noise(1))
    duration = ["--chunk-duration", 1, "--status"] if command == "run" else []
    done = cli("chunk", command, "my folder", *duration)
    assert done.code == 1
    assert "my folder is a folder, not a recording.\n" in done.stderr
    assert "badc chunk manifest 'my folder' --recursive\n" in done.stderr
    assert os.listdir(isolated) == ["my folder"]


# ---------------------------------------------------------------------------------------------- manifest


def test_manifest_of_one_file(cli, isolated: Path):
    write(isolated / "GNWT-290_20230331_235938.wav", noise(5))
    done = cli("chunk", "manifest", "GNWT-290_20230331_235938.wav", "--chunk-duration", 2).ok()
    assert done.stdout == (
        "Wrote 3 chunks of 1 recording to chunk_manifest.csv\nWho, where, when: chunk_manifest.recordings.csv\n"
    )
    made = rows(isolated / "chunk_manifest.csv")
    assert list(made[0])[:8] == list(manifest.COLUMNS[:8])
    assert [row["chunk_id"] for row in made] == [
        f"GNWT-290_20230331_235938_{w}" for w in ("0_2000", "2000_4000", "4000_5000")
    ]
    assert {row["source_path"] for row in made} == {str(isolated / "GNWT-290_20230331_235938.wav")}
    assert {row["sha256"] for row in made} == {"TODO_HASH"}
    assert [row["offset_ms"] for row in made] == ["0", "2000", "4000"]
    told = rows(isolated / "chunk_manifest.recordings.csv")
    assert told[0]["started_at"].startswith("2023-03-31T23:59:38")
    assert not (isolated / "artifacts").exists()


def test_manifest_default_duration_is_a_minute(cli, isolated: Path):
    write(isolated / "a.wav", noise(65))
    cli("chunk", "manifest", "a.wav", "--output", "m/x.csv").ok()
    assert [row["end_ms"] for row in rows(isolated / "m/x.csv")] == ["60000", "65000"]


def test_manifest_with_overlap(cli, isolated: Path):
    write(isolated / "a.wav", noise(10))
    cli("chunk", "manifest", "a.wav", "--chunk-duration", 4, "--overlap", 1).ok()
    assert [(r["start_ms"], r["end_ms"], r["overlap_ms"]) for r in rows(isolated / "chunk_manifest.csv")] == [
        ("0", "4000", "1000"),
        ("3000", "7000", "1000"),
        ("6000", "10000", "1000"),
    ]


def test_manifest_with_hashes_writes_chunk_files(cli, isolated: Path):
    write(isolated / "sub/a.flac", noise(5))
    cli("chunk", "manifest", "sub/a.flac", "--chunk-duration", 2, "--hash-chunks").ok()
    made = rows(isolated / "chunk_manifest.csv")
    assert made[0]["source_path"] == str(isolated / "artifacts/chunks/a/a_chunk_0_2000.wav")
    assert all(len(row["sha256"]) == 64 and row["offset_ms"] == "" for row in made)
    assert len(list((isolated / "artifacts/chunks/a").iterdir())) == 3


def test_one_manifest_for_a_tree(cli, isolated: Path):
    write(isolated / "in/SiteA/REC_20250101_000000.wav", noise(2))
    write(isolated / "in/SiteB/REC_20250101_000000.wav", noise(2, seed=1))
    write(isolated / "in/SiteB/other.flac", noise(1))
    (isolated / "in/SiteB/notes.txt").write_text("no recording")
    done = cli("chunk", "manifest", "in", "--recursive", "--chunk-duration", 1, "--output", "all.csv").ok()
    assert "5 chunks of 3 recordings" in done.stdout
    made = rows(isolated / "all.csv")
    assert len({row["recording_id"] for row in made}) == 3
    assert len({(row["recording_id"], row["chunk_id"]) for row in made}) == 5
    told = {row["recording_id"]: row for row in rows(isolated / "all.recordings.csv")}
    assert told.keys() == {row["recording_id"] for row in made}


def test_folder_without_recursive_is_only_that_folder(cli, isolated: Path):
    write(isolated / "in/a.wav", noise(1))
    write(isolated / "in/sub/b.wav", noise(1))
    cli("chunk", "manifest", "in").ok()
    assert [row["recording_id"] for row in rows(isolated / "chunk_manifest.csv")] == ["a"]
    done = cli("chunk", "manifest", "in", "--recursive", "--pattern", "b*")
    assert done.code == 0
    assert [row["recording_id"] for row in rows(isolated / "chunk_manifest.csv")] == ["b"]


def test_damaged_recording_costs_only_itself(cli, isolated: Path):
    for name in "abcd":
        write(isolated / f"in/{name}.wav", noise(2))
    (isolated / "in/b.wav").write_bytes(b"this is no sound\n" * 100)
    cut_off(isolated / "in/c.wav", 0.5)
    (isolated / "in/e.wav").symlink_to(".git/annex/objects/x/MD5E-s1--aa.wav/MD5E-s1--aa.wav")
    done = cli("chunk", "manifest", "in", "--chunk-duration", 1)
    assert done.code == 3
    assert "b.wav is unreadable" in done.stderr
    assert "datalad get in/e.wav" in done.stderr
    assert "c.wav: cut off" in done.stderr
    assert [row["recording_id"] for row in rows(isolated / "chunk_manifest.csv")] == ["a", "a", "c", "c", "d", "d"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_unreadable_folder_costs_only_itself(cli, isolated: Path):
    write(isolated / "in/a.wav", noise(1))
    (isolated / "in/locked").mkdir(mode=0)
    done = cli("chunk", "manifest", "in", "--recursive")
    (isolated / "in/locked").chmod(stat.S_IRWXU)
    assert done.code == 3
    assert "locked" in done.stderr
    assert len(rows(isolated / "chunk_manifest.csv")) == 1


def test_nothing_usable_is_an_error_and_leaves_no_manifest(cli, isolated: Path):
    (isolated / "in").mkdir()
    assert cli("chunk", "manifest", "in").code == 1
    (isolated / "in/a.wav").write_bytes(b"x" * 100)
    assert cli("chunk", "manifest", "in").code == 1
    assert cli("chunk", "manifest", "in/a.wav").code == 1
    assert cli("chunk", "manifest", "nowhere.wav").code == 1
    assert list(isolated.glob("*.csv")) == []


@pytest.mark.parametrize("name", NAMES)
def test_any_name(cli, isolated: Path, name: str):
    write(isolated / f"audio/{name}/{name}.wav", noise(2))
    cli("chunk", "manifest", "audio", "--recursive", "--chunk-duration", 1, "--output", "m.csv").ok()
    chunks = list(manifest.read(isolated / "m.csv"))
    assert [chunk.chunk_id for chunk in chunks] == [f"{name}_0_1000", f"{name}_1000_2000"]
    assert chunks[0].source_path.exists()
    cli("chunk", "run", "--chunk-duration", 1, "--", f"audio/{name}/{name}.wav").ok()
    written = list(manifest.read(isolated / f"audio/{name}/manifests/{name}.csv"))
    assert [chunk.source_path.exists() for chunk in written] == [True, True]


def test_defaults_can_come_from_settings(cli, isolated: Path):
    write(isolated / "a.wav", noise(3))
    (isolated / "badc.toml").write_text("[chunk.manifest]\nchunk_duration = 1\n")
    cli("chunk", "manifest", "a.wav").ok()
    assert len(rows(isolated / "chunk_manifest.csv")) == 3


# ------------------------------------------------------------------------------------------ split, probe


def test_split_shows_the_real_chunks(cli, isolated: Path):
    write(isolated / "a.wav", noise(5))
    done = cli("chunk", "split", "a.wav", "--chunk-duration", 2).ok()
    assert done.stdout == "a_0_2000\t0\t2000\na_2000_4000\t2000\t4000\na_4000_5000\t4000\t5000\n"
    assert list(isolated.iterdir()) == [isolated / "a.wav"]
    cli("chunk", "split", "a.wav", "--chunk-duration", 2, "--manifest", "m.csv").ok()
    assert [chunk.chunk_id for chunk in manifest.read(isolated / "m.csv")] == ["a_0_2000", "a_2000_4000", "a_4000_5000"]


def test_probe_logs_every_attempt(cli, isolated: Path):
    write(isolated / "a b.wav", noise(100))
    done = cli("chunk", "probe", "a b.wav", "--tolerance", 1, "--initial-duration", 10).ok()
    assert "Recommended chunk duration: 100.00 s" in done.stdout
    (log,) = (isolated / "artifacts/telemetry/chunk_probe").iterdir()
    assert log.name.startswith("a_b_20")
    assert log.name.endswith("Z.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    keys = ["timestamp", "audio", "duration_s", "estimated_vram_mb", "fits", "reason"]
    keys += ["gpu_index", "gpu_name", "memory_limit_mb"]
    assert [list(line) for line in lines] == [keys] * len(lines)
    assert lines[0]["audio"] == str(isolated / "a b.wav")
    cli("chunk", "probe", "a b.wav", "--log", "log.jsonl").ok()
    cli("chunk", "probe", "a b.wav", "--log", "log.jsonl", "--max-duration", 30).ok()
    assert len((isolated / "log.jsonl").read_text().splitlines()) == 3


def test_probe_of_no_sound_is_an_error(cli, isolated: Path):
    (isolated / "a.wav").write_bytes(b"nonsense" * 10)
    done = cli("chunk", "probe", "a.wav")
    assert done.code == 1
    assert "unreadable" in done.stderr
    write(isolated / "b.wav", noise(1))
    assert cli("chunk", "probe", "b.wav", "--gpu-index", 99).code == 2


# --------------------------------------------------------------------------------------------------- run


def test_run_outside_a_dataset(cli, isolated: Path):
    write(isolated / "in/REC1.wav", noise(5))
    cli("chunk", "run", "in/REC1.wav", "--chunk-duration", 2, "--overlap", 1).ok()
    made = rows(isolated / "in/manifests/REC1.csv")
    assert [row["chunk_id"] for row in made] == [
        f"REC1_chunk_{w}" for w in ("0_2000", "1000_3000", "2000_4000", "3000_5000")
    ]
    assert made[0]["source_path"] == str(isolated / "in/artifacts/chunks/REC1/REC1_chunk_0_2000.wav")
    assert all(len(row["sha256"]) == 64 for row in made)


def test_run_in_a_dataset_takes_the_name_of_the_link(cli, isolated: Path):
    dataset = isolated / "set"
    key = write(dataset / ".git/annex/objects/aa/bb/MD5E-s38112038--1eca.wav", noise(2))
    (dataset / ".datalad").mkdir()
    (dataset / "audio/deep").mkdir(parents=True)
    (dataset / "audio/deep/REC1.wav").symlink_to(os.path.relpath(key, dataset / "audio/deep"))
    cli("chunk", "run", dataset / "audio/deep/REC1.wav", "--chunk-duration", 1).ok()
    made = rows(dataset / "manifests/REC1.csv")
    assert [row["recording_id"] for row in made] == ["REC1", "REC1"]
    assert made[0]["source_path"] == "artifacts/chunks/REC1/REC1_chunk_0_1000.wav"
    cli(
        "chunk",
        "run",
        dataset / "audio/deep/REC1.wav",
        "--chunk-duration",
        1,
        "--output-dir",
        "o",
        "--manifest",
        "m/x.csv",
    ).ok()
    assert rows(dataset / "m/x.csv")[0]["source_path"] == "o/REC1_chunk_0_1000.wav"


def test_run_relative_options_count_from_here_outside_a_dataset(cli, isolated: Path):
    write(isolated / "in/a.wav", noise(1))
    cli("chunk", "run", "in/a.wav", "--chunk-duration", 1, "--output-dir", "o", "--manifest", "m.csv").ok()
    assert (isolated / "o/a_chunk_0_1000.wav").exists()
    assert (isolated / "m.csv").exists()


def test_dry_run_writes_only_the_manifest(cli, isolated: Path):
    write(isolated / "a.wav", noise(5))
    cli("chunk", "run", "a.wav", "--chunk-duration", 2, "--overlap", 1, "--dry-run").ok()
    made = rows(isolated / "manifests/a.csv")
    assert {row["sha256"] for row in made} == {"DRY_RUN"}
    assert [row["start_ms"] for row in made] == ["0", "1000", "2000", "3000"]
    assert not (isolated / "artifacts").exists()


def test_run_needs_a_duration(cli, isolated: Path):
    write(isolated / "a.wav", noise(5))
    assert cli("chunk", "run", "a.wav").code == 2
    assert cli("chunk", "run", "a.wav", "--chunk-duration", 0).code == 2


def test_run_over_a_cut_recording_says_what_is_missing(cli, isolated: Path):
    write(isolated / "a.flac", noise(20))
    cut_off(isolated / "a.flac", 0.5)
    done = cli("chunk", "run", "a.flac", "--chunk-duration", 5)
    assert done.code == 3
    assert "a_chunk_15000_20000: 5000 of 5000 ms cannot be read; left out" in done.stderr
    assert [row["start_ms"] for row in rows(isolated / "manifests/a.csv")][:2] == ["0", "5000"]


def test_run_refuses_an_id_with_path_parts(cli, isolated: Path):
    write(isolated / "a.wav", noise(1))
    done = cli("chunk", "run", "a.wav", "--chunk-duration", 1, "--recording-id", "../x")
    assert done.code == 1
    assert "cannot name a file" in done.stderr


# ------------------------------------------------------------------------------------------- orchestrate


@pytest.fixture
def dataset(isolated: Path) -> Path:
    root = isolated / "my set"
    for name in ("a", "sub/b", "sub/c d"):
        write(root / f"audio/{name}.wav", noise(2))
    write(root / "audio/x.flac", noise(2))
    return root


def test_orchestrate_only_plans_unless_told(cli, dataset: Path, isolated: Path):
    done = cli("chunk", "orchestrate", dataset, "--plan-csv", "p.csv", "--plan-json", "p.json").ok()
    assert "3 recordings to cut" in done.stdout
    assert sorted(p.name for p in dataset.iterdir()) == ["audio"]
    plan = json.loads((isolated / "p.json").read_text())
    assert [entry["recording_id"] for entry in plan] == ["a", "b", "c d"]
    assert plan[1]["audio_path"] == str(dataset / "audio/sub/b.wav")
    assert plan[1]["manifest_path"] == str(dataset / "manifests/b.csv")
    assert plan[1]["chunk_output_dir"] == str(dataset / "artifacts/chunks/b")
    assert rows(isolated / "p.csv")[2]["recording_id"] == "c d"


@pytest.mark.parametrize("workers", [1, 2])
def test_orchestrate_cuts_and_passes_over_what_is_done(cli, dataset: Path, workers: int):
    call = ("chunk", "orchestrate", dataset, "--apply", "--chunk-duration", 1, "--workers", workers)
    assert "3 recordings cut, 0 failed." in cli(*call).ok().stdout
    assert [len(rows(dataset / f"manifests/{name}.csv")) for name in ("a", "b", "c d")] == [2, 2, 2]
    assert read_status(dataset / "artifacts/chunks/c d") == "completed"
    assert "Nothing to cut" in cli(*call).ok().stdout
    (dataset / f"artifacts/chunks/b/{STATUS_FILE}").write_text('{"status": "in_progress"}')
    assert "1 recording cut" in cli(*call).ok().stdout
    assert "3 recordings cut" in cli(*call, "--include-existing").ok().stdout
    assert "2 recordings cut" in cli(*call, "--include-existing", "--limit", 2).ok().stdout
    assert "1 recording cut" in cli(*call, "--pattern", "*.flac").ok().stdout


@pytest.mark.parametrize("workers", [1, 2])
def test_orchestrate_goes_on_after_a_failure(cli, dataset: Path, workers: int):
    (dataset / "audio/a.wav").write_bytes(b"nonsense" * 20)
    call = ("chunk", "orchestrate", dataset, "--apply", "--workers", workers)
    done = cli(*call)
    assert done.code == 3
    assert "a.wav is unreadable" in done.stderr
    assert "2 recordings cut, 1 failed." in done.stdout
    assert read_status(dataset / "artifacts/chunks/a") == "failed"
    write(dataset / "audio/a.wav", noise(1))
    assert "1 recording cut, 0 failed." in cli(*call).ok().stdout


def test_orchestrate_keeps_recordings_of_one_name_apart(cli, isolated: Path):
    for site in "AB":
        write(isolated / f"set/audio/{site}/REC.wav", noise(1))
    cli("chunk", "orchestrate", "set", "--apply").ok()
    assert len(list((isolated / "set/manifests").glob("*REC.csv"))) == 2
    assert len(list((isolated / "set/artifacts/chunks").iterdir())) == 2


def test_orchestrate_prints_only_commands(cli, dataset: Path):
    """What a shell is given to run is all that stdout holds."""
    (dataset / ".datalad").mkdir()
    done = cli("chunk", "orchestrate", dataset, "--print-datalad-run", "--chunk-duration", 1).ok()
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert lines[0] == ["cd", str(dataset), "||", "exit"]
    assert [line[0] for line in lines[1:]] == ["datalad"] * 3
    assert lines[3][-1] == "audio/sub/c d.wav"
    assert "3 recordings to cut" in done.stderr
    assert not (dataset / "manifests").exists()
    done = cli("chunk", "orchestrate", dataset, "--print-datalad-run", "--pattern", "none").ok()
    assert (done.stdout, "Nothing to cut" in done.stderr) == ("", True)


def test_orchestrate_prints_no_commands_that_cannot_work(cli, dataset: Path):
    done = cli("chunk", "orchestrate", dataset, "--print-datalad-run")
    assert (done.code, done.stdout) == (1, "")
    assert shlex.join(["datalad", "create", "--force", str(dataset)]) in done.stderr


def test_orchestrate_that_cannot_be_recorded_is_told(cli, dataset: Path):
    """A folder that only looks like a dataset: the tool says what is wrong, and nothing is called done."""
    pytest.importorskip("datalad")
    (dataset / ".datalad").mkdir()
    done = cli("chunk", "orchestrate", dataset, "--apply", "--limit", 1, "--workers", 3)
    assert done.code == 3
    assert "--workers is not used" in done.stderr
    assert "a was not cut: `datalad run` ended with status" in done.stderr
    assert "--no-record-datalad" in done.stderr
    assert "0 recordings cut, 1 failed." in done.stdout
    assert not (dataset / "manifests").exists()


@pytest.mark.parametrize("how", ["option", "variable", "no dataset"])
def test_orchestrate_without_datalad(cli, dataset: Path, how: str, monkeypatch: pytest.MonkeyPatch):
    """The folder only looks like a dataset, so ``datalad run`` would fail."""
    if how != "no dataset":
        (dataset / ".datalad").mkdir()
    if how == "variable":
        monkeypatch.setenv("BADC_DISABLE_DATALAD", "")
    extra = ["--no-record-datalad"] if how == "option" else []
    assert "3 recordings cut, 0 failed." in cli("chunk", "orchestrate", dataset, "--apply", *extra).ok().stdout


def test_orchestrate_without_a_dataset_is_an_error(cli, isolated: Path):
    done = cli("chunk", "orchestrate")
    assert done.code == 1
    assert "data/datalad/bogus/audio" in done.stderr


def test_killed_cut_is_done_again(cli, isolated: Path):
    """Kill at a random moment: no manifest without its chunk files, and the next run ends it."""
    write(isolated / "set/audio/a.wav", noise(300))
    call = [sys.executable, "-m", "badc_core", "chunk", "orchestrate", "set", "--apply", "--chunk-duration", "1"]
    for delay in (0.0, 0.1, 0.3):
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        status = isolated / "set/artifacts/chunks/a" / STATUS_FILE
        deadline = time.monotonic() + 60
        while not status.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.wait()
        listed = isolated / "set/manifests/a.csv"
        if listed.exists():
            assert all(chunk.source_path.exists() for chunk in manifest.read(listed))
    cli("chunk", "orchestrate", "set", "--apply", "--chunk-duration", 1).ok()
    chunks = list(manifest.read(isolated / "set/manifests/a.csv"))
    assert len(chunks) == 300
    assert {chunk.source_path.stat().st_size for chunk in chunks} == {44 + 2 * RATE}
    assert read_status(isolated / "set/artifacts/chunks/a") == "completed"

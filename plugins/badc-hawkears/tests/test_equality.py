"""From recordings to a table: what `badc` finds in chunks is what ``hawkears analyze`` finds in whole recordings."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

TOLERANCE = 1e-3
FAST = ["--models", "1", "--no-low-band"]
CASES = {
    "default": ["--models", "3", "--no-low-band"],
    "low band": ["--models", "3", "--low-band"],
    "six members": ["--models", "6", "--no-low-band"],
    "low threshold": [*FAST, "--min_score", "0.3"],
    "segments": [*FAST, "--seg", "3"],
    "lengths": [*FAST, "--max-label-length", "2", "--min-label-length", "0.75"],
    "not in winter": [*FAST, "--lat", "45.4", "--lon", "-75.7", "--date", "0115"],
    "include": [*FAST, "--include", "wanted.txt", "--label", "names"],
}
"""Arguments, in HawkEars' own spelling for both; test_rules.py and test_words.py have more, without commands."""

SILENT = {"not in winter"}
"""Where the yellowthroat is not to be reported."""


@pytest.fixture(scope="module")
def songs(in_hawkears, hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings of all sorts, in which birds sing."""
    folder = tmp_path_factory.mktemp("songs")
    in_hawkears("vendor.py", hawkears_root, folder, "{}")
    return folder


@pytest.fixture(scope="module")
def six(hawkears_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with six members and the lists of the cases."""
    root = tmp_path_factory.mktemp("root")
    (root / "data/ckpt").mkdir(parents=True)
    for path in hawkears_root.iterdir():
        if path.name != "data":
            (root / path.name).symlink_to(path)
    for path in (hawkears_root / "data").iterdir():
        if path.name != "ckpt":
            (root / "data" / path.name).symlink_to(path)
    members = sorted((hawkears_root / "data/ckpt").glob("*.ckpt"))
    for number in range(6):
        (root / f"data/ckpt/m{number}.ckpt").symlink_to(members[number % len(members)])
    (root / "wanted.txt").write_text("Common Yellowthroat\nBoreal Owl\n")
    return root


Row = tuple[str, str, int, int, float]
"""Recording, label, start and end in ms, score."""


def theirs(python: Path, root: Path, songs: Path, out: Path, arguments: list[str]) -> list[Row]:
    """What HawkEars' command finds in whole recordings."""
    kind = "audacity" if "--max-label-length" in arguments else "csv"  # of split labels it writes CSV only with pyarrow
    command = [python.parent / "hawkears", "analyze", "-i", songs, "-o", out, "--rtype", kind]
    subprocess.run([*map(str, command), "--threads", "1", "--quiet", *arguments], cwd=root, check=True, timeout=300)
    if kind == "csv":
        with (out / "scores.csv").open(newline="") as file:
            found = [list(row.values()) for row in csv.DictReader(file)]
    else:
        lines = [(path.stem, line.split("\t")) for path in out.glob("*_scores.txt") for line in path.open()]
        found = [[stem.removesuffix("_scores"), *last.split(";"), *times] for stem, (*times, last) in lines]
        found = [[stem, name, begin, end, score] for stem, name, score, begin, end in found]
    return sorted(
        (recording, name, round(1000 * float(begin)), round(1000 * float(end)), float(score))
        for recording, name, begin, end, score in found
    )


def badc(folder: Path, *words: object) -> str:
    """Run a command of badc."""
    command = [sys.executable, "-m", "badc_core", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def ours(
    python: Path,
    root: Path,
    songs: Path,
    folder: Path,
    arguments: list[str],
    cut: tuple[float, float],
    facts: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> tuple[list[Row], dict[str, Any]]:
    """What the chunks come to, and what is said of them; `facts` are written into the table of recordings."""
    folder.mkdir(exist_ok=True)
    length_s, overlap_s = cut
    badc(folder, "chunk", "manifest", songs, "--chunk-duration", length_s, "--overlap", overlap_s)
    with (folder / "chunk_manifest.recordings.csv").open(newline="") as file:
        known = [{**row, **facts.get(row["recording_id"], {})} for row in csv.DictReader(file)]
    with (folder / "chunk_manifest.recordings.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, known[0])
        table.writeheader()
        table.writerows(known)
    options = [f"root={root}", f"python={python}", "threads=1"]
    words = [word for option in options for word in ("-o", option)]
    words += [f"--hawkears-arg={argument}" for argument in arguments]
    badc(folder, "infer", "run", "chunk_manifest.csv", "--use-hawkears", "--cpu-workers", 1, "--max-gpus", 0, *words)
    badc(folder, "infer", "aggregate", "artifacts/infer", "--output", "table.csv")
    with (folder / "table.csv").open(newline="") as file:
        rows = sorted(
            (
                row["recording_id"],
                row["label"],
                int(row["absolute_time_ms"]),
                int(row["absolute_end_ms"]),
                float(row["confidence"]),
            )
            for row in csv.DictReader(file)
            if row["label"] != "none"
        )
    paths = [path for path in (folder / "artifacts/infer").rglob("*.json") if path.parent.name.startswith("r")]
    results = [json.loads(path.read_text()) for path in paths]
    return rows, {"chunks": len(results), "finishers": {result.get("finisher") for result in results}}


def same(found: list[Row], wanted: list[Row]) -> None:
    """Fail where they differ."""
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    for mine, row in zip(found, wanted, strict=True):
        assert mine[2:4] == pytest.approx(row[2:4], abs=5), (mine, row)  # Audacity's labels have two decimals
        assert mine[4] == pytest.approx(row[4], abs=TOLERANCE), (mine, row)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_rows_are_those_of_the_command(
    hawkears_python: Path, six: Path, songs: Path, tmp_path: Path, case: str
) -> None:
    """Same labels, same times, scores within 0.001; whatever the chunks."""
    arguments = [str(six / word) if word.endswith(".txt") else word for word in CASES[case]]
    wanted = theirs(hawkears_python, six, songs, tmp_path / "theirs", arguments)
    chance = random.Random(case)
    cut = (round(chance.uniform(5, 25), 3), round(chance.choice([0, chance.uniform(0, 1.9)]), 3))
    found, about = ours(hawkears_python, six, songs, tmp_path / "ours", arguments, cut)
    assert about["chunks"] > 9
    assert about["finishers"] == {"badc-hawkears:hawkears"}
    same(found, wanted)
    heard = {row[1] for row in wanted}
    assert bool(heard & {"COYE", "Common Yellowthroat"}) is (case not in SILENT)


@pytest.mark.slow
def test_recordings_have_their_own_places_and_dates(
    hawkears_python: Path, six: Path, songs: Path, tmp_path: Path
) -> None:
    """As in the manifest's table of recordings; HawkEars' command is given the same as a file list."""
    names = sorted(path.stem for path in songs.glob("*.wav"))
    ottawa = {"latitude": "45.4", "longitude": "-75.7"}
    facts = {name: {**ottawa, "started_at": "2026-06-15T05:30:00"} for name in names}
    winter, nowhere = "r44100x2_27_07", "r28000x1_18_1"
    facts[winter]["started_at"] = "2026-01-15T23:30:00"
    facts[nowhere] = {"started_at": "2026-01-15T05:30:00"}
    rows = ["filename,latitude,longitude,recording_date"]
    for name, known in facts.items():
        rows.append(f"{name}.wav,{known.get('latitude', '')},{known.get('longitude', '')},{known['started_at'][:10]}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    wanted = theirs(hawkears_python, six, songs, tmp_path / "theirs", [*FAST, "--filelist", str(tmp_path / "list.csv")])
    found, _ = ours(hawkears_python, six, songs, tmp_path / "ours", FAST, (9.7, 0.4), facts)
    same(found, wanted)
    heard = {row[0] for row in wanted}
    assert nowhere in heard
    assert winter not in heard
    assert len(heard) > 3

"""Stands in for HawkEars' programs where a test is about processes, not about birds. Copied to where one would be.

As ``…/HawkEars/analyze.py`` it is HawkEars 1, as ``…/bin/hawkears analyze`` HawkEars 2: it takes their arguments, gives
up with status 0, and writes the tables that they write. It hears one thing, ``COYE``, in every second that is loud. A
file that is no WAV ends it as the file's first word says: ``BAD``, ``MUTE``, ``KILL`` or ``HANG``.

``STANDIN_LOG`` names a file to which each process adds a line: its arguments, its folder, and the files it was given.
"""

import argparse
import csv
import json
import os
import signal
import sys
import time
import wave
from pathlib import Path


def heard(path: Path) -> list[tuple[int, int, float]]:
    """Return start, end and score of what is in a file."""
    word = path.read_bytes()[:4]
    if word == b"KILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"HANG":
        time.sleep(600)
    if word != b"RIFF":
        if word == b"BAD\n":
            print(f'Could not load recording "{path}": no sound', file=sys.stderr)
        sys.exit(0)
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
    found: list[tuple[int, int, float]] = []
    for second in range(-(-len(samples) // rate)):
        level = max(map(abs, samples[second * rate : (second + 1) * rate])) / 32768
        if level > 0.5 and found and found[-1][1] == second:
            found[-1] = found[-1][0], second + 1, max(found[-1][2], level)
        elif level > 0.5:
            found.append((second, second + 1, level))
    return found


def first(words: argparse.Namespace, paths: list[Path]) -> None:
    """Be HawkEars 1."""
    if not Path("version.txt").is_file():
        print("Must run in HawkEars' folder")
        sys.exit(0)
    rows = []
    for path in paths:
        # It may name the file behind a link.
        name = path.resolve().name if os.environ.get("STANDIN_RESOLVES") else path.name
        for start, end, score in heard(path):
            rows.append([name, f"{start:.3f}", f"{end:.3f}", "Common Yellowthroat", "COYE", f"{score:.3f}"])
    header = ["filename", "start_time", "end_time", "class_name", "class_code", "score"]
    write(Path(words.output, "HawkEars_labels.csv"), header, rows)


def second(words: argparse.Namespace, paths: list[Path]) -> None:
    """Be HawkEars 2: it resolves links, and writes its table at the end, if any recording was long enough."""
    rows, some = [], False
    for path in map(Path.resolve, paths):
        found = heard(path)
        with wave.open(str(path)) as file:
            some |= file.getnframes() >= file.getframerate()
        rows += [[path.stem, "COYE", f"{start:.3f}", f"{end:.3f}", f"{score:.3f}"] for start, end, score in found]
    if some:
        write(Path(words.output, "scores.csv"), ["recording", "name", "start_time", "end_time", "score"], rows)


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write a table."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def main() -> None:
    """Take the arguments of one or the other."""
    parser = argparse.ArgumentParser()
    newer = sys.argv[1] == "analyze"
    parser.add_argument("-i", "--input", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("-r" if newer else "--rtype", *(["--rtype"] if newer else []), default="audacity")
    if newer:
        for option in os.environ.get("STANDIN_OPTIONS", "--cfg --filelist").split():
            parser.add_argument(option)
        parser.add_argument("--quiet", action="store_true")
    else:
        parser.add_argument("-m", "--merge", type=int, default=1)
        parser.add_argument("-p", "--min_score", type=float, default=0.8)
    words = parser.parse_args(sys.argv[2:] if newer else sys.argv[1:])
    known = (".wav", ".flac")
    paths = sorted(path for path in Path(words.input).iterdir() if path.suffix.lower() in known and path.is_file())
    if log := os.environ.get("STANDIN_LOG"):
        entry = {
            "argv": sys.argv[1:],
            "cwd": str(Path.cwd()),
            "files": [path.name for path in paths],
            "pid": os.getpid(),
        }
        if newer and words.filelist:
            entry["places"] = Path(words.filelist).read_text()
        with Path(log).open("a") as file:
            file.write(json.dumps(entry) + "\n")
    if "csv" not in words.rtype:
        sys.exit(0)
    (second if newer else first)(words, paths)


if __name__ == "__main__":
    main()

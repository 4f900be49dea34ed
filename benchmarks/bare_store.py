"""What reading a manifest and writing results costs at least: a bare loop, without BADC.

``python bare_store.py files|segments COUNT``, in a folder with ``chunks.csv``; nothing is planned, checked, told or
made durable, and nothing is deleted.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping


def results(count: int) -> Iterable[Mapping[str, object]]:
    """Yield a result for each of the first rows of the manifest, as small as one can be."""
    with open("chunks.csv", newline="") as file:  # noqa: PTH123 - bare on purpose
        for row in itertools.islice(csv.DictReader(file), count):
            window = {key: int(row[key]) for key in ("start_ms", "end_ms", "overlap_ms", "offset_ms")}
            yield {
                **row,
                "chunk": window,
                "status": "no_detections",
                "runner": "bare",
                "detections": [],
                "x": "x" * 200,
            }


def files(count: int) -> None:
    """Make, write and rename a file for each result, as layout ``files`` does."""
    base = f"bare-{os.getpid()}"
    for result in results(count):
        folder = f"{base}/{result['recording_id']}"
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        handle = os.open(f"{folder}/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(handle, json.dumps(result, indent=2).encode())
        os.close(handle)
        os.rename(f"{folder}/new", f"{folder}/{result['chunk_id']}.json")  # noqa: PTH104


def segments(count: int) -> None:
    """Write a line for each result, as layout ``segments`` does."""
    with open(f"bare-{os.getpid()}.jsonl", "w") as file:  # noqa: PTH123
        for result in results(count):
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    {"files": files, "segments": segments}[sys.argv[1]](int(sys.argv[2]))

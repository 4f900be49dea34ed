"""For tests of runs: manifests to run over, ``badc`` as a process that is killed, and what was committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import faulty_lab

from badc_core import manifest, results
from badc_core.model import Chunk
from badc_core.telemetry_log import read_log

__all__ = [
    "BADC",
    "Chunk",
    "aggregate",
    "chunks_of",
    "committed",
    "documents",
    "lab_environment",
    "make_manifest",
    "settled",
    "start",
    "until",
]

BADC = [sys.executable, "-m", "badc_core"]


def chunks_of(recordings: int, chunks: int, source: Path = Path("/nowhere/field.wav")) -> list[Chunk]:
    """Return chunks of three seconds, cut from recordings that nobody opens."""
    return [
        Chunk(f"REC{r}_{3000 * c}_{3000 * (c + 1)}", f"REC{r}", source, 3000 * c, 3000 * (c + 1), 0, 3000 * c)
        for r in range(recordings)
        for c in range(chunks)
    ]


def make_manifest(path: Path, chunks: Iterable[Chunk] | int = 6, recordings: int = 2) -> Path:
    """Write a manifest, of `recordings` recordings with so many chunks each when a number is given."""
    manifest.write(path, chunks_of(recordings, chunks) if isinstance(chunks, int) else chunks)
    return path


def lab_environment(**more: str) -> dict[str, str]:
    """Return an environment in which ``badc`` knows the runners of :mod:`faulty_lab`."""
    return {**os.environ, "BADC_PLUGINS": str(faulty_lab.PLUGIN), **more}


def start(*args: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start ``badc`` with the lab's runners; the caller ends it."""
    return subprocess.Popen(
        [*BADC, *map(str, args)],
        env={**lab_environment(), **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def documents(output: Path) -> list[dict[str, Any]]:
    """Return every result below a folder that a reader would see."""
    return [stored.document for stored in results.scan(output)] if output.exists() else []


def committed(output: Path) -> set[tuple[str, str]]:
    """Return the chunks with a result that did not fail."""
    return {
        (entry["recording_id"], entry["chunk_id"]) for entry in documents(output) if entry.get("status") != "failed"
    }


def aggregate(output: Path, target: Path) -> bytes:
    """Run ``badc infer aggregate`` and return the bytes of its CSV and Parquet."""
    table = target.with_suffix(".parquet")
    done = subprocess.run(
        [*BADC, "infer", "aggregate", str(output), "--output", str(target), "--parquet", str(table)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr  # 3: something damaged was left out
    return target.read_bytes() + table.read_bytes()


def read_json(path: Path) -> Any:
    """Return what a JSON file says."""
    return json.loads(path.read_text("utf-8"))


def until(ready: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait for something, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError("it never comes")


def settled(log: Path) -> Counter[str]:
    """Return how often a log calls each chunk done; nothing where there is no log yet."""
    if not log.exists():
        return Counter()
    return Counter(entry["chunk_id"] for entry in read_log(log) if entry["status"] == "success")

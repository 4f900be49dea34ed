"""Kills a run at chosen calls of the operating system, does the rest with a second run, and looks at what is there.

A program of its own: ``python crash_points.py FOLDER LAYOUT STRIDE KILLS``. Every run is a fork of this process, which
has no threads and has imported everything, so a run costs milliseconds. Prints one JSON object: the number of points,
and what was wrong after which.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faulty_lab
import runs

from badc_core import atomic, engine, results, settling, telemetry
from badc_core.cli import main as badc
from badc_core.host import Host

CALLS = ("open", "write", "fsync", "rename", "replace", "link", "unlink", "mkdir", "ftruncate", "utime")
"""What changes or makes durable anything on disk."""

KILLED = 137
RECORDINGS, CHUNKS = 2, 10


class Killer:
    """Ends the process, as ``kill -9`` does, just before its `at`-th call; a write then writes half."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = 0

    def install(self) -> None:
        """Stand between the program and the system."""
        for name in CALLS:
            setattr(os, name, self._between(name, getattr(os, name)))
        sync = atomic._syncfs()
        if sync is not None:
            between = self._between("syncfs", sync)
            atomic._syncfs = lambda: between  # type: ignore[assignment]

    def _between(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os._exit(KILLED)
            return real(*args, **kwargs)

        return call


def forked(do: Callable[[], None]) -> int:
    """Run a function in a fork of this process, and return the exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            do()
            status = 0
        except SystemExit as left:
            status = int(left.code or 0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Place:
    """One output folder, and the command that fills it."""

    def __init__(self, folder: Path, layout: str, host: Host) -> None:
        self.folder = folder
        folder.mkdir()
        self.log = folder / "log.txt"
        self.output = folder / "out"
        self._host = host
        self._request = engine.RunRequest(
            manifest=runs.make_manifest(folder / "m.csv", CHUNKS, RECORDINGS),
            runner="lab",
            options={"log": str(self.log)},
            output_dir=self.output,
            layout=layout,  # type: ignore[arg-type]
            telemetry_log=folder / "telemetry.jsonl",
        )

    def run(self, killer: Killer | None = None) -> int:
        """Run to the end, or to the kill."""

        def do() -> None:
            if killer is not None:
                killer.install()
            engine.run(self._request, host=self._host)
            if killer is not None:
                Path(self.folder / "calls").write_text(str(killer.calls))

        return forked(do)

    def problems(self, wanted: bytes) -> Iterator[str]:
        """Do the rest, and yield what is wrong."""
        before = runs.committed(self.output)
        ran = faulty_lab.read_log(self.log)
        if self.run() != 0:
            yield "the same command again failed"
        again = faulty_lab.read_log(self.log)[len(ran) :]
        if twice := sorted({name for _, name in before}.intersection(again)):
            yield f"run again after their commit: {twice}"
        found = [(entry["recording_id"], entry["chunk_id"]) for entry in runs.documents(self.output)]
        if len(found) != len(set(found)) or len(found) != RECORDINGS * CHUNKS:
            yield f"{len(found)} results, {len(set(found))} chunks"
        problems: list[results.Problem] = []
        list(results.scan(self.output, problems.append))
        if strange := [str(one) for one in problems if "torn" not in one.reason]:
            yield f"unreadable: {strange}"
        if left := [path.name for path in self.output.glob(f"REC*/{atomic.TEMPORARY_PREFIX}*")]:
            yield f"left behind: {left}"
        if self.aggregate() != wanted:
            yield "the aggregate differs"

    def aggregate(self) -> bytes:
        """Return the bytes of the aggregate's CSV and Parquet."""
        csv, parquet = self.folder / "t.csv", self.folder / "t.parquet"
        args = ["infer", "aggregate", str(self.output), "--output", str(csv), "--parquet", str(parquet)]

        def do() -> None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(badc(args))

        if forked(do) != 0:
            return b""
        return csv.read_bytes() + parquet.read_bytes()


def main(folder: Path, layout: str, stride: int, kills: int) -> dict[str, Any]:
    """Kill at every `stride`-th call, `kills` times over."""
    settling.COMMIT_AFTER_S = telemetry.DISPATCH_S = 0.01
    host = Host(extra=[faulty_lab])
    whole = Place(folder / "whole", layout, host)
    killer = Killer(0)
    assert whole.run(killer) == 0
    calls = int((whole.folder / "calls").read_text())
    wanted = whole.aggregate()
    assert wanted
    wrong = {}
    points = range(1, calls + 1, stride)
    for at in points:
        place = Place(folder / f"at-{at}", layout, host)
        statuses = [place.run(Killer(max(1, at - kill))) for kill in range(kills)]
        found = list(place.problems(wanted))
        if statuses[0] != KILLED and at < calls - 10:  # threads: not always the same number of calls
            found.append(f"not killed: {statuses}")
        if found:
            wrong[at] = found
    return {"points": len(points), "calls": calls, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))

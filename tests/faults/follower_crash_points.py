"""Kills who follows a run at chosen calls of the operating system, follows it to its end, and looks into the log.

A program of its own, as ``crash_points.py``: ``python follower_crash_points.py FOLDER STRIDE KILLS``.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty_lab
import runs
import yard
from crash_points import KILLED, Killer, forked

from badc_core import engine, follower, following, passing_on, telemetry
from badc_core.host import Host, default_host
from badc_core.run_folders import run_folders, settled_shards
from badc_core.telemetry_log import read_log

RECORDINGS, CHUNKS = 2, 150


class Followed:
    """A run whose workers have ended, and that nobody followed yet."""

    def __init__(self, folder: Path, host: Host) -> None:
        self._host = host
        self.log = folder / "log.jsonl"
        request = engine.RunRequest(
            manifest=runs.make_manifest(folder / "m.csv", CHUNKS, RECORDINGS),
            runner="lab",
            options={"batch": 50},
            output_dir=folder / "out",
            layout="segments",  # results of this layout are read with few calls
            scheduler="yard",
            scheduler_options={"chunks": "100"},
            telemetry_log=self.log,
            detach=True,
        )
        assert forked(lambda: engine.run(request, host=host) and None) == 0
        (self.folder,) = run_folders(folder / "out")
        until = time.monotonic() + 60
        while len(settled_shards(self.folder)[0]) < 3:
            assert time.monotonic() < until, "the workers do not come to their end"
            time.sleep(0.1)
        self._kept = folder / "kept"
        shutil.copytree(self.folder, self._kept)

    def reset(self) -> None:
        """Make it so that nobody has followed it."""
        for path in self.log.parent.glob("log.jsonl*"):
            path.unlink()
        shutil.rmtree(self.folder)
        shutil.copytree(self._kept, self.folder)

    def follow(self, killer: Killer | None = None) -> int:
        """Follow to the end, or to the kill."""

        def do() -> None:
            if killer is not None:
                killer.install()
            following.resume(self.folder, host=self._host)
            if killer is not None:
                self.log.with_name("calls").write_text(str(killer.calls))

        return forked(do)

    def problems(self) -> Iterator[str]:
        """Follow to the end, and yield what is wrong."""
        if self.follow() != 0:
            yield "it cannot be followed to its end"
        told = Counter((entry["chunk_id"], entry["status"]) for entry in read_log(self.log))
        if twice := [key for key, number in told.items() if number > 1]:
            yield f"{len(twice)} told more than once, {twice[:3]}"
        for status in ("start", "success"):
            number = sum(1 for key in told if key[1] == status)
            if number != RECORDINGS * CHUNKS:
                yield f"{number} x {status}"
        summary = json.loads((self.log.parent / "log.jsonl.summary.json").read_text())
        if len(summary["jobs"]) != RECORDINGS * CHUNKS:
            yield f"the summary has {len(summary['jobs'])} jobs"
        if sum(worker["success"] for worker in summary["workers"].values()) != RECORDINGS * CHUNKS:
            yield f"the summary counts {summary['workers']}"


def main(folder: Path, stride: int, kills: int) -> dict[str, Any]:
    """Kill at every `stride`-th call, `kills` times over."""
    telemetry.DISPATCH_S = 0.01
    passing_on._AT_ONCE = 40
    follower.SAVE_EVERY_S = 0.0
    follower.FIRST_LOOK_S = follower.FIRST_QUESTION_S = 0.01
    followed = Followed(folder, default_host())
    assert followed.follow(Killer(0)) == 0
    calls = int((folder / "calls").read_text())
    wrong = {}
    points = range(1, calls + 1, stride)
    for at in points:
        followed.reset()
        statuses = [followed.follow(Killer(max(1, at - 7 * kill))) for kill in range(kills)]
        found = list(followed.problems())
        if statuses[0] != KILLED and at < calls - 10:  # threads: not always the same number of calls
            found.append(f"not killed: {statuses}")
        if found:
            wrong[at] = found
    return {"points": len(points), "calls": calls, "wrong": wrong}


if __name__ == "__main__":
    assert faulty_lab.PLUGIN.exists()
    assert yard.PLUGIN.exists()
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))

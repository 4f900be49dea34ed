"""Pretends to be SLURM's commands, for tests without a cluster: a job is a line in a file, and nothing is run.

Called under the name of the command. ``STUB`` names a folder: ``jobs.json`` holds what there is, ``fail.json`` how
often a command shall fail and with which words, ``calls.txt`` what was asked.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

HOME = Path(os.environ["STUB"])


def _load(name: str, default: Any) -> Any:
    try:
        return json.loads((HOME / name).read_text())
    except FileNotFoundError:
        return default


def _save(name: str, value: Any) -> None:
    (HOME / name).write_text(json.dumps(value, indent=1))


def _numbers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def sbatch(arguments: list[str]) -> str:
    """Take a job down; every task is PENDING."""
    text = Path(arguments[-1]).read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.MULTILINE))
    indices = _numbers(options["array"])
    limit = int(os.environ.get("STUB_MAX_ARRAY", "1001"))
    if max(indices) >= limit:
        sys.exit("sbatch: error: Batch job submission failed: Invalid job array specification")
    jobs = _load("jobs.json", {})
    room = int(os.environ.get("STUB_ROOM", "1000000")) - sum(
        told.split("|")[0] in ("PENDING", "RUNNING") for job in jobs.values() for told in job["tasks"].values()
    )
    for pause_s in range(1, 16) if len(indices) > room else ():
        print(
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.", file=sys.stderr, flush=True
        )
        time.sleep(pause_s)
    job_id = str(100 + len(jobs))
    tasks = {str(index): "PENDING||Priority" for index in indices}
    after = next((word[13:] for word in arguments if word.startswith("--dependency=")), "")
    kept = {name: value for name, value in os.environ.items() if name.startswith(("SLURM", "SBATCH", "SQUEUE"))}
    jobs[job_id] = {
        "name": options["job-name"],
        "options": options,
        "tasks": tasks,
        "after": after,
        "environment": kept,
    }
    _save("jobs.json", jobs)
    return job_id


def squeue(arguments: list[str]) -> str:
    """Tell of all tasks of some jobs."""
    names = next(word[7:] for word in arguments if word.startswith("--name=")).split(",")
    lines = []
    for job_id, job in _load("jobs.json", {}).items():
        if job["name"] not in names:
            continue
        for index, told in job["tasks"].items():
            state, node, reason = told.split("|")
            if "all" not in arguments and state not in ("PENDING", "RUNNING"):
                continue
            lines.append(
                job_id
                if arguments[-1] == "%F"
                else f"{job_id}_{index}|{state}|{node}|{job['name']}|9{job_id}{index}|{reason}"
            )
    return "\n".join(lines)


def scancel(arguments: list[str]) -> str:
    """End all tasks of a job."""
    jobs = _load("jobs.json", {})
    for job in jobs.values():
        if f"--name={job['name']}" in arguments:
            job["tasks"] = {
                index: told if told.startswith("COMPLETED") else "CANCELLED||None"
                for index, told in job["tasks"].items()
            }
    _save("jobs.json", jobs)
    return ""


def sacct(arguments: list[str]) -> str:
    """Say what a file holds, or that there is no accounting."""
    path = HOME / "sacct.txt"
    if not path.exists():
        sys.exit("Slurm accounting storage is disabled")
    return path.read_text()


def scontrol(arguments: list[str]) -> str:
    """Tell of the configuration."""
    return f"SlurmctldPort           = 6817\nMaxArraySize            = {os.environ.get('STUB_MAX_ARRAY', '1001')}\n"


def main() -> None:
    """Be the command whose name this was called by."""
    command, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    with (HOME / "calls.txt").open("a") as file:
        file.write(" ".join([command, *arguments]) + "\n")
    failures = _load("fail.json", {})
    wanted = failures.get(command, {"times": 0})
    answer = ""
    if not wanted["times"] or wanted.get("taken"):
        answer = globals()[command](arguments)
    if wanted["times"]:
        wanted["times"] -= 1
        _save("fail.json", failures)
        sys.exit(wanted["words"])
    print(answer)


if __name__ == "__main__":
    main()

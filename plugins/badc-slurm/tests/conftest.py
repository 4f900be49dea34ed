"""A real SLURM for the tests, with four emulated nodes; where it is not installed they are skipped, saying so.

``field`` is a folder with a manifest, ``badc`` as a user calls it, and what must hold afterwards. ``slurm`` only
pretends (:class:`Stub`), for what no real cluster does at will.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import faulty_lab
import pytest
import runs

from badc_core.plan import Plan, write_plan
from badc_core.protocols import RunnerIdentity
from badc_core.scheduling import Run
from badc_slurm.rehearsal import PACKAGES, Cluster, missing

STUB = Path(__file__).parent / "stub_slurm.py"


class Field:
    """A folder with a manifest, and a cluster to analyse it on.

    Parameters
    ----------
    folder
        Its name holds a blank, an apostrophe and a letter that is no ASCII.
    cluster
        Where the work goes.
    """

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder = folder / "Anna's Feld ß"
        self.folder.mkdir()
        self.cluster = cluster
        self.out = self.folder / "out"
        self.log = self.folder / "given.txt"
        self.chunks = 0

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, **self.cluster.environment, "BADC_PLUGINS": str(faulty_lab.PLUGIN), **more}

    def manifest(self, chunks: int, recordings: int = 2) -> None:
        """Write a manifest."""
        runs.make_manifest(self.folder / "m.csv", chunks, recordings)
        self.chunks = chunks * recordings

    def start(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        """Start ``badc``."""
        return subprocess.Popen(
            [*runs.BADC, *map(str, words)],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *options: str,
        shard_chunks: int = 4,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
        **lab: object,
    ) -> subprocess.Popen[str]:
        """Start ``badc infer run`` on the cluster; its options for the runner are those of ``faulty_lab``."""
        lab.setdefault("batch", 1)
        chosen = [part for key, value in lab.items() for part in ("-o", f"{key}={value}")]
        scheduler = [
            "--scheduler",
            "slurm",
            "-s",
            f"shard_chunks={shard_chunks}",
            "-s",
            "command=" + " ".join(runs.BADC),
        ]
        output = output or self.out
        where = ["--output-dir", str(output), "--telemetry-log", str(self._log_of(output))]
        words = ["infer", "run", "m.csv", "--runner", "lab", *where, *scheduler, *chosen, *options]
        return self.start(*words, **(environment or {}))

    def _log_of(self, output: Path) -> Path:
        return self.folder / ("log.jsonl" if output == self.out else f"{output.name}-log.jsonl")

    def badc(self, *words: object, status: int | None = 0) -> str:
        """Call ``badc``, hold it to its exit status, and return what it says."""
        return self.end(self.start(*words), status)

    def end(self, process: subprocess.Popen[str], status: int | None = 0, patience_s: float = 240) -> str:
        """Wait for ``badc`` to end, hold it to its exit status, and return what it says."""
        try:
            out, err = process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"badc does not end\n{out}\n{err}\n{self.cluster.ask('squeue', '-r')}")
        if status is not None:
            assert process.returncode == status, f"{process.returncode}\n{out}\n{err}\n{self.logs()}"
        return out + err

    @property
    def run_folder(self) -> Path:
        """The latest run's."""
        return sorted((self.out / ".badc").glob("*/plan.json"))[-1].parent

    @property
    def job(self) -> str:
        """Id of the array that was submitted last."""
        lines = (self.run_folder / "slurm" / "journal.jsonl").read_text().splitlines()
        return str([entry["job_id"] for entry in map(json.loads, lines) if entry["kind"] == "submitted"][-1])

    @property
    def jobs(self) -> int:
        """How many arrays were submitted."""
        return (self.run_folder / "slurm" / "journal.jsonl").read_text().count('"submitted"')

    def logs(self) -> str:
        """Return what all tasks wrote."""
        return "\n".join(path.read_text() for path in sorted(self.out.glob(".badc/*/logs/*.log")))

    def until(self, ready: Callable[[], Any], what: str, patience_s: float = 90) -> Any:
        """Wait for something."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            try:
                if found := ready():
                    return found
            except (OSError, IndexError, KeyError):
                pass
            time.sleep(0.1)
        return pytest.fail(f"{what}: not within {patience_s} s\n{self.cluster.ask('squeue', '-r')}\n{self.logs()}")

    def committed(self) -> int:
        return sum(1 for _ in self.out.glob("REC*/*.json"))

    def until_committed(self, number: int = 1) -> None:
        """Wait until so many chunks have results."""
        self.until(lambda: self.committed() >= number, f"{number} chunks committed")

    def running(self) -> list[str]:
        """Return the tasks that run, as ``JOB_INDEX NODE``."""
        return self.cluster.ask("squeue", "-h", "-r", "-t", "R", "-o", "%F_%K %N").splitlines()

    def check(self, output: Path | None = None) -> None:
        """Hold results and log to what runs on the cluster must give: each chunk once, the bytes of a local run."""
        output = output or self.out
        log = self._log_of(output)
        documents = runs.documents(output)
        names = [(entry["recording_id"], entry["chunk_id"]) for entry in documents]
        assert len(names) == len(set(names)) == self.chunks
        assert runs.committed(output) == set(names)
        assert runs.settled(self.folder / log.name) == dict.fromkeys((name for _, name in names), 1)
        told = json.loads((self.folder / f"{log.name}.summary.json").read_text())
        assert len(told["jobs"]) == self.chunks
        if len(list((output / ".badc").glob("*/plan.json"))) == 1:
            assert sum(worker["success"] for worker in told["workers"].values()) == self.chunks
        local = self.folder / "local"
        if not local.exists():
            self.badc("infer", "run", "m.csv", "--runner", "lab", "--output-dir", local, "--telemetry-log", "local.log")
        tables = [runs.aggregate(folder, self.folder / f"{folder.name}.csv") for folder in (output, local)]
        assert tables[0] == tables[1]

    def most_at_once(self, process: subprocess.Popen[str]) -> int:
        """Return how many tasks were seen to run at a time, until ``badc`` ends."""
        most = 0
        while process.poll() is None:
            most = max(most, len(self.running()))
            time.sleep(0.2)
        return most

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        """Press Ctrl-C."""
        process.send_signal(signal.SIGINT)


@pytest.fixture(scope="session")
def make_cluster() -> Iterator[Callable[..., Cluster]]:
    """Return ``make_cluster(**settings)``, which starts a cluster; all of them are stopped at the end."""
    absent = missing()
    if absent:
        pytest.skip(f"{', '.join(absent)} are not installed here: apt-get install {PACKAGES}")
    made: list[Cluster] = []

    def make(**settings: object) -> Cluster:
        root = Path(tempfile.mkdtemp(prefix="badc-slurm-"))
        cluster = Cluster(root, **settings)  # type: ignore[arg-type]
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.stop()
        shutil.rmtree(cluster.root, ignore_errors=True)


@pytest.fixture(scope="session")
def started(make_cluster: Callable[..., Cluster]) -> Cluster:
    """Return the cluster that tests share."""
    return make_cluster()


def use(cluster: Cluster, patch: pytest.MonkeyPatch) -> Cluster:
    """Make this process and its children use a cluster."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH", "SQUEUE"))]:
        patch.delenv(name)
    for name, value in cluster.environment.items():
        patch.setenv(name, value)
    return cluster


@pytest.fixture
def cluster(started: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return the cluster that tests share, all of its nodes up, in the environment of this process."""
    use(started, monkeypatch).heal()
    return started


@pytest.fixture
def make_field(
    tmp_path: Path, make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Field]:
    """Return ``make_field(**settings)``: a field with a cluster of its own."""
    return lambda **settings: Field(tmp_path, use(make_cluster(**settings), monkeypatch))


@pytest.fixture
def field(tmp_path: Path, cluster: Cluster) -> Field:
    """Return a field on the cluster that tests share."""
    return Field(tmp_path, cluster)


# -------------------------------------------------------------------------- commands that only pretend


class Stub:
    """A SLURM that does what it is told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "bin").mkdir(parents=True)
        for command in ("sbatch", "squeue", "scancel", "sacct", "scontrol"):
            path = home / "bin" / command
            path.write_text(f"#!{sys.executable}\n{STUB.read_text()}")
            path.chmod(0o755)

    @property
    def jobs(self) -> dict[str, Any]:
        path = self.home / "jobs.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def set(self, job_id: str, told: str, *indices: int) -> None:
        """Put tasks of a job into a state, ``STATE|node|reason``; all when none is named."""
        jobs = self.jobs
        for index in indices or map(int, jobs[job_id]["tasks"]):
            jobs[job_id]["tasks"][str(index)] = told
        (self.home / "jobs.json").write_text(json.dumps(jobs))

    def forget(self, job_id: str, *indices: int) -> None:
        """Purge tasks."""
        jobs = self.jobs
        for index in indices:
            del jobs[job_id]["tasks"][str(index)]
        (self.home / "jobs.json").write_text(json.dumps(jobs))

    def fail(self, command: str, words: str, times: int = 1, *, taken: bool = False) -> None:
        (self.home / "fail.json").write_text(json.dumps({command: {"times": times, "words": words, "taken": taken}}))

    def calls(self, command: str) -> int:
        return sum(line.split()[0] == command for line in (self.home / "calls.txt").read_text().splitlines())


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub(tmp_path / "slurm")
    monkeypatch.setenv("STUB", str(stub.home))
    monkeypatch.setenv("PATH", f"{stub.home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return stub


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "out" / ".badc" / "RUN"
    folder.mkdir(parents=True)
    plan = Plan("RUN", "", Path("m"), "", "lab", {}, RunnerIdentity("lab"), "f", "", "thread", None,
                (tmp_path / "out",), "files", shards=6)  # fmt: skip
    write_plan(folder, plan)
    return Run(folder, plan, ())

"""Runs that go on by themselves, in a real DataLad dataset: one record when all is there, and none lost."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import runs
import yard
from datalad_tools import commits, identify, kept, making, needs_tools, objects, tool, unsaved
from sounds import noise, write

from badc_core import annex, datalad, host
from badc_core.run_folders import run_folders, settled_shards

pytestmark = needs_tools
NASTY = """it's {b} [c] "q" * $HOME"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a dataset with two recordings, which are links into the store of git-annex, and a manifest of both."""
    with making(tmp_path_factory.mktemp("datalad") / "set") as root:
        write(root / "audio/a.wav", noise(2))
        write(root / f"audio/{NASTY}.wav", noise(2, seed=1))
        manifest = ("--chunk-duration", 1, "--output", "manifests/all {x}.csv")
        tool(*runs.BADC, "chunk", "manifest", "audio", *manifest, at=root)
        for path in (root / "manifests").iterdir():
            path.write_text(path.read_text().replace(f"{root}/", ""))  # so that it holds for copies, too
    assert annex.is_link(root / "audio/a.wav")
    return root


@pytest.fixture
def dataset(template: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a dataset of its own for a test, in a folder whose name needs quoting; it is the working folder."""
    identify(monkeypatch)
    monkeypatch.setenv("BADC_PLUGINS", str(yard.PLUGIN))
    root = Path(shutil.copytree(template, isolated / "my {set}", symlinks=True))
    monkeypatch.chdir(root)
    return root


def words(*more: object) -> Sequence[object]:
    """Return a run whose runner reads every chunk, each shard in a process of its own."""
    return ("infer", "run", "manifests/all {x}.csv", "--runner-cmd", "true", "--scheduler", "yard", *more)


@pytest.fixture
def badc(dataset: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``badc(*words, code=0)``: a process in the dataset, which knows the yard."""

    def call(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [*runs.BADC, *map(str, words)]
        done = subprocess.run(argv, cwd=dataset, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return call


def facts_of(dataset: Path) -> list[dict[str, Any]]:
    """Return the facts of tasks that lie in a dataset."""
    return [json.loads(path.read_text()) for path in (dataset / "artifacts").rglob("*.tasks.json")]


def test_one_record_of_all_tasks(badc: Any, dataset: Path):
    """A commit with all that the tasks made, locked; neither state of the run nor work of others is in it."""
    (dataset / "notes.txt").write_text("not saved yet")
    (dataset / "staged.txt").write_text("not committed yet")
    tool("git", "add", "staged.txt", at=dataset)
    before, inputs = commits(dataset), objects(dataset)
    said = badc(*words()).stdout
    assert commits(dataset) == ["[DATALAD RUNCMD] badc infer all {x}", *before]
    assert f"Recorded   {tool('git', 'rev-parse', 'HEAD', at=dataset).strip()}" in said
    assert unsaved(dataset) == "A  staged.txt\n?? notes.txt\n"
    saved = tool("git", "ls-tree", "-r", "-z", "--name-only", "HEAD", at=dataset).split("\0")
    made = [path for path in saved if path.startswith("artifacts/")]
    assert sum(path.startswith("artifacts/infer/") for path in made) == 4
    assert sum(path.startswith("artifacts/telemetry/") for path in made) == 4
    assert all(annex.is_link(dataset / path) for path in made)
    assert kept(inputs, dataset)
    (facts,) = facts_of(dataset)
    assert [shard["chunks"] for shard in facts["shards"]] == [2, 2]
    assert [shard["node"] for shard in facts["shards"]] == ["yard", "yard"]
    assert len({shard["task"] for shard in facts["shards"]}) == 2
    assert all(shard["workers"] and shard["begun"] == 1 and not shard["ended_badly"] for shard in facts["shards"])
    assert facts["run"]["scheduler"] == "yard"
    assert {"fingerprint", "versions", "identity", "manifest_sha256"} <= facts["run"].keys()


@pytest.mark.slow
def test_the_record_can_be_run_again(badc: Any, dataset: Path, isolated: Path):
    """DataLad takes it for one of its own, and does not record in a record."""
    badc(*words("--output-dir", "found/{here}"))
    before = runs.aggregate(dataset / "found/{here}", isolated / "before.csv")
    tool("git", "rm", "-rq", "found", at=dataset)
    tool("git", "commit", "-qm", "away with them", at=dataset)
    number = len(commits(dataset))
    tool("datalad", "rerun", "HEAD~1", at=dataset)
    assert runs.aggregate(dataset / "found/{here}", isolated / "after.csv") == before
    assert unsaved(dataset) == ""
    assert len(commits(dataset)) == number + 1


def test_locked_results_are_replaced_whole(badc: Any, dataset: Path):
    badc(*words())
    before, number = objects(dataset), len(commits(dataset))
    badc(*words("--no-resume"))
    assert kept(before, dataset)
    assert len(commits(dataset)) == number + 1
    assert unsaved(dataset) == ""
    assert len(runs.committed(dataset / "artifacts/infer")) == 4


def test_recorded_by_whoever_sees_the_end_and_only_once(badc: Any, dataset: Path):
    before = commits(dataset)
    badc(*words("--detach"))
    assert commits(dataset) == before
    outcome = json.loads(badc("jobs", "resume", "--json").stdout)
    assert len(commits(dataset)) == len(before) + 1
    assert outcome["commit"] == tool("git", "rev-parse", "HEAD", at=dataset).strip()
    (dataset / "artifacts/infer/more.txt").write_text("of somebody else")
    assert outcome["commit"] in badc("jobs", "record").stdout
    assert len(commits(dataset)) == len(before) + 1


def test_recorded_by_the_same_command_when_nobody_followed(badc: Any, dataset: Path):
    before = commits(dataset)
    badc(*words("--detach"))
    (folder,) = run_folders(dataset / "artifacts/infer")
    runs.until(lambda: len(settled_shards(folder)[0]) == 2)
    said = badc(*words()).stdout
    assert "gathered first: 4 of its 4 chunks are done" in said
    assert len(commits(dataset)) == len(before) + 1
    assert unsaved(dataset) == ""


def test_what_cannot_be_saved_now_is_saved_later(badc: Any, dataset: Path):
    """Somebody works in the repository: the run is complete, says so, and what to do."""
    before = commits(dataset)
    lock = dataset / ".git/index.lock"
    lock.touch()
    said = badc(*words(), code=1).stdout
    assert "4 chunks in" in said
    assert "complete, but not recorded" in said
    command = said.partition("When that is mended: badc ")[2].splitlines()[0]
    badc("jobs", "record", code=1)
    lock.unlink()
    badc(*shlex.split(command))
    assert len(commits(dataset)) == len(before) + 1
    assert unsaved(dataset) == ""


@pytest.mark.slow
def test_recorded_later_where_the_tools_are(badc: Any, dataset: Path, cli: Any, monkeypatch: pytest.MonkeyPatch):
    """Whoever follows the run to its end may sit at a machine without DataLad."""
    badc(*words("--detach"))
    environment = dict(datalad.environment())
    with monkeypatch.context() as patch:
        knows_the_yard = host.Host()
        patch.setattr(host, "default_host", lambda: knows_the_yard)
        patch.setattr("badc_core.following.default_host", lambda: knows_the_yard)
        patch.setattr(datalad, "environment", lambda: {**environment, "PATH": str(dataset)})
        patch.setenv("PATH", str(dataset))
        ended = cli("jobs", "resume")
    assert ended.code == 1
    assert "git cannot be called here" in ended.stdout
    before = len(commits(dataset))
    badc("jobs", "record")
    assert len(commits(dataset)) == before + 1
    assert unsaved(dataset) == ""


def test_two_runs_that_end_together_lose_nothing(dataset: Path):
    """Each has its record, with its own results and no other's."""
    before = len(commits(dataset))
    started = [runs.start(*words("--output-dir", f"out/{n}", "--telemetry-log", f"log{n}.jsonl"), cwd=dataset,
                          env={"BADC_PLUGINS": f"{yard.PLUGIN}"}) for n in range(3)]  # fmt: skip
    for process in started:
        said, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, said + complaint
    made = [
        tool("git", "show", "--format=", "--name-only", f"HEAD~{n}", at=dataset)
        for n in range(len(commits(dataset)) - before)
    ]
    assert len(made) == 3
    for text in made:
        (number,) = {line.split("/")[1] for line in text.replace('"', "").splitlines() if line.startswith("out/")}
        assert text.count("out/") == 4
        assert f"log{number}.jsonl.tasks.json" in text
    assert unsaved(dataset) == ""


@pytest.mark.slow
def test_failed_chunks_are_in_the_record(badc: Any, dataset: Path):
    command = ["false" if word == "true" else word for word in words("--max-retries", 0)]
    badc(*command, code=3)
    text = tool("git", "log", "-1", "--format=%B", at=dataset)
    assert json.loads(text[text.index("{\n") : text.rindex("}") + 1])["exit"] == 3
    assert unsaved(dataset) == ""


@pytest.mark.slow
def test_recordings_and_results_in_datasets_below(badc: Any, dataset: Path, isolated: Path):
    """Results go beside their recordings; all of it is saved, up to the dataset of the manifest."""
    below = dataset / "field"
    tool("datalad", "create", "-d", dataset, below, at=dataset)
    write(below / "audio/c.wav", noise(2))
    badc("chunk", "manifest", "field/audio", "--chunk-duration", 1, "--output", "manifests/c.csv")
    tool("datalad", "save", "-r", "-m", "more", at=dataset)
    command = ["manifests/c.csv" if str(word).startswith("manifests/") else word for word in words()]
    assert "Recorded" in badc(*command).stdout
    assert unsaved(dataset) == unsaved(below) == ""
    assert commits(dataset)[0] == commits(below)[0] == "[DATALAD RUNCMD] badc infer c"
    assert len([path for path in (below / "artifacts/infer/c").iterdir() if annex.is_link(path)]) == 2


@pytest.mark.parametrize("how", ["flag", "variable", "elsewhere"])
def test_no_record_where_none_is_wanted(badc: Any, dataset: Path, monkeypatch: pytest.MonkeyPatch, how: str):
    before, more = commits(dataset), {"flag": ["--no-record-datalad"], "elsewhere": ["--output-dir", "../out"]}
    if how == "variable":
        monkeypatch.setenv("BADC_DISABLE_DATALAD", "1")
    said = badc(*words(*more.get(how, ()))).stdout
    assert "Recorded" not in said
    assert commits(dataset) == before
    assert "No record" in badc("jobs", "record", *more.get("elsewhere", ()) * (how == "elsewhere"), code=1).stderr


def test_a_record_that_was_asked_for_and_cannot_be_is_told_before_anything_is_done(badc: Any, dataset: Path):
    said = badc(*words("--output-dir", "../out", "--record-datalad"), code=2).stderr
    assert "are not in one DataLad dataset" in said
    assert not list(dataset.parent.glob("out/.badc/*/plan.json"))


@pytest.mark.slow
def test_whole_datasets_leave_a_record_for_each_manifest(badc: Any, dataset: Path):
    shutil.copy(dataset / "manifests/all {x}.csv", dataset / "manifests/b.csv")
    before = commits(dataset)
    options = ("--stub-runner", "--scheduler", "yard", "--apply", "--include-existing", "--allow-partial-chunks")
    said = badc("infer", "orchestrate", ".", *options).stdout
    assert said.count(", recorded") == 2
    assert commits(dataset) == [f"[DATALAD RUNCMD] badc infer {name}" for name in ("b", "all {x}")] + before
    assert len(facts_of(dataset)) == 2

"""In a real DataLad dataset, with the real tools: work is recorded, files that are locked links are replaced whole."""

from __future__ import annotations

import glob
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
from datalad_tools import commits, identify, kept, making, needs_tools, objects, shell, tool, unsaved
from sounds import noise, write

from badc_core import annex, chunk_jobs, datalad, manifest
from badc_core.chunk_status import Job, read_content, read_status

NASTY = """it's {b} [c] "q" * $HOME"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a dataset with two recordings, saved: links into the store of git-annex."""
    with making(tmp_path_factory.mktemp("datalad") / "set") as root:
        write(root / "audio/a.wav", noise(2))
        write(root / f"audio/sub/{NASTY}.wav", noise(2, seed=1))
    assert annex.is_link(root / "audio/a.wav")
    return root


@pytest.fixture
def dataset(template: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a dataset of its own for a test, in a folder whose name needs quoting."""
    identify(monkeypatch)
    return Path(shutil.copytree(template, isolated / "my {set}", symlinks=True))


@pytest.fixture
def clone(template: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone, which has no recordings yet but knows where to get them."""
    identify(monkeypatch)
    tool("git", "clone", "--quiet", template, isolated / "clone", at=isolated)
    tool("git", "annex", "init", at=isolated / "clone")
    assert annex.content_missing(isolated / "clone/audio/a.wav")
    return isolated / "clone"


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    "name", ["plain", NASTY, "**", "?", "[]", "]", "{}", "{{x}}", "-x", "a|~z", "ä b", "!", "[!a]"]
)
def test_pattern_stands_for_one_name(isolated: Path, name: str):
    """In a folder of other names that a careless pattern would take, too."""
    for other in (name, "other", "a", "b", "xx"):
        Path(other).touch()
    assert glob.glob(datalad.exact(name), recursive=True) == [name]  # noqa: PTH207 - what DataLad does


def test_pattern_holds_no_placeholders():
    """DataLad fills in placeholders first, once for `run`, and once more for `rerun`."""
    assert datalad.exact("{x}{{").format().format() == datalad.exact("{x}{{")


@pytest.mark.parametrize(
    ("where", "written"), [("badc.toml", None), ("conf/{my}.toml", "conf/{{my}}.toml"), ("../x.toml", "{outside}")]
)
def test_settings_of_another_file_are_named(isolated: Path, where: str, written: str | None):
    """Those of the dataset are found anyway. A file in the dataset is an input; any other is named in full."""
    root = isolated / "set"
    (root / ".datalad").mkdir(parents=True)
    job = Job("a", root / "audio/a.wav", root / "m.csv", root / "c", 1.0, 0.0)
    argv = chunk_jobs.datalad_argv(root, job, Path(os.path.normpath(root / where)))
    inputs = [word for word in argv if word.startswith("--input=")]
    if written is None:
        assert "--config" not in argv
    else:
        assert argv[argv.index("--config") + 1] == written.replace("{outside}", str(isolated / "x.toml"))
    assert inputs[1:] == ([f"--input={datalad.exact(where)}"] if where.startswith("conf") else [])


# ---------------------------------------------------------------------------------------------- cutting


def cutting(dataset: Path, *more: object) -> tuple[object, ...]:
    return ("chunk", "orchestrate", dataset, "--chunk-duration", 1, *more)


@needs_tools
def test_cutting_is_recorded(cli, dataset: Path):
    """A commit for each recording, which holds all that was written; the work of others is left alone."""
    (dataset / "notes.txt").write_text("not saved yet")
    assert "2 recordings cut, 0 failed." in cli(*cutting(dataset, "--apply")).ok().stdout
    assert commits(dataset)[:2] == [f"[DATALAD RUNCMD] badc chunk {name}" for name in (NASTY, "a")]
    assert unsaved(dataset) == "?? notes.txt\n"
    for name in ("a", NASTY):
        chunks = list(manifest.read(dataset / f"manifests/{name}.csv"))
        assert [chunk.start_ms for chunk in chunks] == [0, 1000]
        files = [dataset / f"manifests/{name}.csv", dataset / f"manifests/{name}.recordings.csv"]
        files += [dataset / chunk.source_path for chunk in chunks]
        assert all(annex.is_link(path) and path.exists() for path in files)
        assert read_status(dataset / "artifacts/chunks" / name) == "completed"
    assert "Nothing to cut" in cli(*cutting(dataset, "--apply")).ok().stdout
    assert len(commits(dataset)) == 4


@needs_tools
def test_recordings_that_lie_elsewhere_are_fetched_and_chunks_that_do_are_done(cli, clone: Path):
    cli(*cutting(clone, "--apply", "--pattern", "a*")).ok()
    assert annex.content_missing(clone / f"audio/sub/{NASTY}.wav")  # nobody asked for it
    tool("git", "annex", "drop", "--force", "manifests", "artifacts", "audio", at=clone)
    assert annex.content_missing(clone / "manifests/a.csv")
    assert "Nothing to cut" in cli(*cutting(clone, "--apply", "--pattern", "a*")).ok().stdout


@needs_tools
def test_recording_that_nobody_has_costs_only_itself(cli, dataset: Path):
    """It is said what to do, it is recorded, and it is tried again next time."""
    tool("git", "annex", "drop", "--force", "audio/sub", at=dataset)
    done = cli(*cutting(dataset, "--apply"))
    assert done.code == 3
    assert "1 recording cut, 1 failed." in done.stdout
    assert shlex.join(["datalad", "get", "-d", str(dataset), f"{dataset}/audio/sub/{NASTY}.wav"]) in done.stderr
    assert unsaved(dataset) == ""
    assert read_status(dataset / "artifacts/chunks/a") == "completed"
    assert annex.is_link(dataset / "artifacts/chunks" / NASTY / ".chunk_status.json")
    assert read_status(dataset / "artifacts/chunks" / NASTY) == "failed"
    assert not (dataset / f"manifests/{NASTY}.csv").exists()
    assert "1 recording to cut" in cli(*cutting(dataset)).ok().stdout


@needs_tools
def test_cutting_again_replaces_links(cli, dataset: Path):
    """With an overlap, so that the manifest and the status get other content."""
    cli(*cutting(dataset, "--apply", "--limit", 1)).ok()
    before = objects(dataset)
    cli(*cutting(dataset, "--apply", "--limit", 1, "--include-existing", "--overlap", 0.5)).ok()
    assert kept(before, dataset)
    assert [chunk.start_ms for chunk in manifest.read(dataset / "manifests/a.csv")] == [0, 500, 1000]
    assert read_content(dataset / "artifacts/chunks/a")["overlap"] == 0.5
    assert unsaved(dataset) == ""
    tool("git", "annex", "fsck", "--quiet", at=dataset)


@needs_tools
def test_what_was_cut_but_cannot_be_saved_is_told(cli, dataset: Path):
    """Another git process works there: the chunks are whole, but nothing remembers how they were made."""
    (dataset / ".git/index.lock").touch()
    done = cli(*cutting(dataset, "--apply", "--limit", 1))
    assert done.code == 3
    assert "a was cut, but `datalad run` ended with status" in done.stderr
    assert "datalad status" in done.stderr
    assert len(list(manifest.read(dataset / "manifests/a.csv"))) == 2


@needs_tools
def test_printed_cutting_does_what_it_says(cli, dataset: Path, isolated: Path):
    printed = cli(*cutting(dataset, "--print-datalad-run", "--pattern", "it's*")).ok().stdout
    shell(printed, isolated)
    assert commits(dataset)[0] == f"[DATALAD RUNCMD] badc chunk {NASTY}"
    assert unsaved(dataset) == ""
    assert len(list(manifest.read(dataset / f"manifests/{NASTY}.csv"))) == 2


@needs_tools
@pytest.mark.slow
def test_cutting_can_be_done_again_from_its_record(cli, dataset: Path):
    """What was deleted comes back, the same to the byte."""
    cli(*cutting(dataset, "--apply", "--pattern", "it's*")).ok()
    files = [dataset / chunk.source_path for chunk in manifest.read(dataset / f"manifests/{NASTY}.csv")]
    before = {path: path.read_bytes() for path in files}
    tool("git", "rm", "-rq", "manifests", "artifacts", at=dataset)
    tool("git", "commit", "-qm", "away with them", at=dataset)
    for _ in range(2):  # over nothing, then over what is there
        tool("datalad", "rerun", commits_of(dataset, "badc chunk"), at=dataset)
        assert {path: path.read_bytes() for path in files} == before
        assert unsaved(dataset) == ""


def commits_of(dataset: Path, text: str) -> str:
    """Return the last commit whose message holds a text."""
    return tool("git", "log", "-1", "--format=%H", "--fixed-strings", f"--grep={text}", at=dataset).strip()


@needs_tools
@pytest.mark.slow
def test_recordings_may_be_a_dataset_of_their_own(cli, dataset: Path, isolated: Path):
    """Manifests and chunks go where the command was told to work, not into the recordings' dataset."""
    above = isolated / "above"
    tool("datalad", "create", above, at=isolated)
    tool("datalad", "clone", "-d", above, dataset, above / "audio/field", at=isolated)
    cli(*cutting(above, "--apply", "--limit", 1)).ok()
    assert len(list(manifest.read(above / "manifests/a.csv"))) == 2
    assert unsaved(above) == ""
    assert not (above / "audio/field/manifests").exists()


# ---------------------------------------------------------------------------------------------- running


@pytest.fixture
def listed(cli: Callable[..., object]) -> Callable[[Path], Path]:
    """Return a function that writes and saves a manifest of what is in a dataset."""

    def make(dataset: Path) -> Path:
        path = dataset / "manifests/all {x} 'y'.csv"
        chunk = ("chunk", "manifest", dataset / "audio", "--recursive", "--chunk-duration", 1, "--output", path)
        assert cli(*chunk).code in (0, 3)
        tool("git", "annex", "add", "--quiet", "manifests", at=dataset)
        tool("git", "commit", "-qm", "manifest", at=dataset)
        return path

    return make


@needs_tools
def test_printed_run_does_what_it_says_once(cli, dataset: Path, isolated: Path, listed):
    """Once more, with a result deleted and all others locked: only that one is made, and the log grows."""
    printed = cli("infer", "run", listed(dataset), "--print-datalad-run").ok().stdout
    shell(printed, isolated)
    assert commits(dataset)[0] == "[DATALAD RUNCMD] badc infer all {x} 'y'"
    assert unsaved(dataset) == ""
    output, log = dataset / "artifacts/infer", dataset / "artifacts/telemetry/all_{x}_'y'_log.jsonl"
    results = sorted(output.rglob("a_*.json"))
    assert len(runs.documents(output)) == 4
    assert all(annex.is_link(path) for path in (*results, log))
    before, lines = objects(dataset), log.read_text().splitlines()
    results[0].unlink()
    assert "3 of 4 were done before" in shell(printed, isolated)
    assert unsaved(dataset) == ""
    assert kept(before, dataset)
    assert len(runs.documents(output)) == 4
    grown = log.read_text().splitlines()
    assert grown[: len(lines)] == lines
    assert len(grown) > len(lines)
    assert "Nothing to do" in cli("infer", "run", dataset / "manifests/all {x} 'y'.csv").ok().stdout


@needs_tools
def test_locked_results_are_replaced_whole(cli, dataset: Path, listed):
    table = listed(dataset)
    cli("infer", "run", table, "--telemetry-log", "log.jsonl").ok()
    tool("git", "annex", "add", "--quiet", "artifacts", at=dataset)
    before = objects(dataset)
    cli("infer", "run", table, "--no-resume", "--telemetry-log", "log.jsonl").ok()
    assert kept(before, dataset)
    assert len(runs.documents(dataset / "artifacts/infer")) == 4
    assert not any(annex.is_link(path) for path in (dataset / "artifacts/infer/a").iterdir())


@needs_tools
def test_recordings_that_lie_elsewhere_cost_only_their_chunks(cli, clone: Path, isolated: Path, listed):
    """The chunks fail, with the command that helps; that command, and the same run again, finish the work."""
    tool("datalad", "get", "audio", at=clone)
    printed = cli("infer", "run", listed(clone), "--runner-cmd", "true", "--print-datalad-run").ok().stdout
    tool("git", "annex", "drop", "--force", "audio/a.wav", at=clone)
    shell(printed, isolated, code=3)
    assert unsaved(clone) == ""
    failed = [document for document in runs.documents(clone / "artifacts/infer") if document["status"] == "failed"]
    assert {document["recording_id"] for document in failed} == {"a"}
    assert len(runs.committed(clone / "artifacts/infer")) == 2
    (command,) = {document["error"].partition("Fetch it: ")[2] for document in failed}
    shell(command, isolated)
    assert "2 of 4 were done before" in shell(printed, isolated)
    assert len(runs.committed(clone / "artifacts/infer")) == 4


@needs_tools
def test_results_that_lie_elsewhere_are_not_made_again(cli, dataset: Path, listed):
    table = listed(dataset)
    cli("infer", "run", table, "--telemetry-log", "log.jsonl").ok()
    tool("git", "annex", "add", "--quiet", "artifacts", at=dataset)
    tool("git", "annex", "drop", "--force", "artifacts/infer/a", at=dataset)
    done = cli("infer", "run", table, "--telemetry-log", "log.jsonl")
    assert done.code == 1
    assert shlex.join(["datalad", "get", "-d", str(dataset), f"{dataset}/artifacts/infer"]) in done.stderr
    assert all(annex.content_missing(path) for path in (dataset / "artifacts/infer/a").iterdir())


@needs_tools
@pytest.mark.slow
def test_run_can_be_done_again_from_its_record(cli, dataset: Path, isolated: Path, listed):
    shell(cli("infer", "run", listed(dataset), "--print-datalad-run").ok().stdout, isolated)
    before = runs.aggregate(dataset / "artifacts/infer", isolated / "before.csv")
    tool("git", "rm", "-rq", "artifacts", at=dataset)
    tool("git", "commit", "-qm", "away with them", at=dataset)
    tool("datalad", "rerun", commits_of(dataset, "badc infer"), at=dataset)
    assert runs.aggregate(dataset / "artifacts/infer", isolated / "after.csv") == before
    assert unsaved(dataset) == ""

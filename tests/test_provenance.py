"""``--print-datalad-run``: a command that means the same, run from the dataset, and survives two rounds of quoting."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import runs

from badc_core.cli import infer
from badc_core.errors import BadcError, ExitCode
from badc_core.model import Chunk
from badc_core.provenance import datalad_run_command, record_of
from badc_core.runs import RunRequest

ENDS = ("", ".summary.json", ".summary.json.workers.csv")
"""Of the files of a log."""


@pytest.fixture
def manifest(isolated: Path) -> Path:
    (isolated / "set" / ".datalad").mkdir(parents=True)
    source = isolated / "set" / "audio" / "x.wav"
    return runs.make_manifest(isolated / "set" / "manifests" / "my rec.csv", [Chunk("c", "REC", source)])


def _words(command: str) -> tuple[list[str], list[str], list[str]]:
    """Split into the change of folder, datalad's own words, and the words of the command as datalad passes them on."""
    there, and_, rest = command.partition(" && ")
    assert and_
    words = shlex.split(rest)
    at = words.index("--")
    return shlex.split(there), words[:at], [word.replace("{{", "{").replace("}}", "}") for word in words[at + 1 :]]


def test_only_what_differs_from_defaults_is_named(manifest: Path, isolated: Path):
    there, own, command = _words(datalad_run_command(RunRequest(manifest)))
    assert there == ["cd", str(isolated / "set")]
    assert own[own.index("-m") :] == [
        "-m",
        "badc infer my rec",
        "--input=manifests/my rec.csv",
        "--output=artifacts/infer/REC",
        *(f"--output=artifacts/telemetry/my_rec_log.jsonl{end}" for end in ENDS),
    ]
    log = "artifacts/telemetry/my_rec_log.jsonl"
    assert command == ["badc", "infer", "run", "manifests/my rec.csv", "--telemetry-log", log, "--no-record-datalad"]


def test_every_option_comes_back(manifest: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch):
    """The command, parsed again in the dataset, asks for the same run."""
    import attrs

    monkeypatch.chdir(isolated / "set")
    request = RunRequest(
        Path("manifests/my rec.csv"), "lab", {"flavour": "it's {hot}", "list": ["a", "b"], "args": "x"},
        Path("artifacts/other out"), "segments", 2, 3, 0, 1.5, True, "local", {"key": "v"}, ("deaf", "jsonl=x y"),
        Path("artifacts/telemetry/l.jsonl"), False, Path("../s.json"), True, 30.0, record=False,
    )  # fmt: skip
    _, _, command = _words(datalad_run_command(request))
    seen: list[RunRequest] = []
    monkeypatch.setattr(infer, "execute", lambda request, **more: seen.append(request) or 0)
    from badc_core.cli import main

    assert main(command[1:]) == 0
    assert [attrs.evolve(one, settings=request.settings) for one in seen] == [request]


def test_a_command_with_braces_and_quotes(manifest: Path):
    text = """awk '{print $1}' "a b" {}"""
    _, _, command = _words(datalad_run_command(RunRequest(manifest, "command", {"command": text})))
    assert command[command.index("--runner-cmd") + 1] == text


def test_hawkears_is_told_in_its_own_spelling(manifest: Path):
    request = RunRequest(manifest, "hawkears", {"args": ["--x", "1"], "merge": "0"})
    _, _, command = _words(datalad_run_command(request))
    wanted = ["--use-hawkears", "-o", "merge=0", "--hawkears-arg", "--x", "--hawkears-arg", "1"]
    assert [word for word in command if word in wanted] == wanted


@pytest.mark.parametrize("given", [("-o", "args=--x 1"), ("--hawkears-arg", "--x 1")])
@pytest.mark.parametrize("written", ["", 'args = "--y 2"', 'args = ["--y", "2"]'])
def test_no_argument_for_hawkears_is_lost(
    manifest: Path, given: tuple[str, str], written: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """`--hawkears-arg` comes on top of what ``args`` says; ``-o args`` takes the place of what TOML says."""
    settings = tmp_path / "lab.toml"
    settings.write_text(f"[runner.hawkears]\n{written}\n")
    seen: list[RunRequest] = []
    monkeypatch.setattr(infer, "execute", lambda request, **more: seen.append(request) or 0)
    monkeypatch.setattr(infer, "_need_hawkears", lambda: None)
    from badc_core.cli import main

    argv = ["--config", str(settings), "infer", "run", str(manifest), "--use-hawkears", *given, "--hawkears-arg", "--z"]
    assert main(argv) == 0
    before = ["--y 2"] if written.endswith('2"') else ["--y", "2"] if written else []
    wanted = [*(before if given[0] != "-o" else []), "--x 1", "--z"]
    assert seen[0].options["args"] == wanted
    _, _, command = _words(datalad_run_command(seen[0]))
    assert [word for flag, word in itertools.pairwise(command) if flag == "--hawkears-arg"] == wanted


def test_of_a_shared_folder_only_its_own_results(manifest: Path):
    """Others work in it, whose results are not complete."""
    _, own, command = _words(datalad_run_command(RunRequest(manifest, share=True)))
    assert [word for word in own if "infer/" in word or word.endswith("infer")] == ["--output=artifacts/infer/REC"]
    assert "--share" in command
    _, own, _ = _words(datalad_run_command(RunRequest(manifest, share=True, layout="segments")))
    assert "--output=artifacts/infer" in own


@pytest.mark.parametrize("request_", [{}, {"record": True}, {"record": False}, {"scheduler": "slurm"}])
def test_no_record_in_a_record(manifest: Path, request_: dict[str, Any]):
    _, _, command = _words(datalad_run_command(RunRequest(manifest, **request_)))
    assert command[-1] == "--no-record-datalad"
    assert command.count("--no-record-datalad") == 1


@pytest.mark.parametrize(
    ("recordings", "more", "outputs"),
    [(500, {}, 500), (501, {}, 1), (501, {"share": True}, 501), (3, {"layout": "segments"}, 1)],
)
def test_results_of_other_recordings_are_not_in_the_record(
    recordings: int, more: dict[str, Any], outputs: int, manifest: Path
):
    """As long as they can be told apart in so many words; always where others may be writing theirs."""
    head, row = manifest.read_text().splitlines()[:2]
    rows = (row.replace("REC,", f"REC{number},", 1) for number in range(recordings))
    manifest.write_text("\n".join([head, *rows]) + "\n")
    found = record_of(RunRequest(manifest, **more)).outputs
    results = [path for path in found if path.startswith("artifacts/infer")]
    assert len(results) == outputs
    assert results[0] == ("artifacts/infer" if outputs == 1 else "artifacts/infer/REC0")


def test_what_a_scheduler_does_has_the_facts_of_its_tasks(manifest: Path):
    _, own, _ = _words(datalad_run_command(RunRequest(manifest, scheduler="slurm")))
    assert "--output=artifacts/telemetry/my_rec_log.jsonl.tasks.json" in own


def test_places_outside_the_dataset_count_from_it(manifest: Path):
    request = RunRequest(manifest, output_dir=Path("results"), telemetry_log=Path("log.jsonl"))
    _, own, command = _words(datalad_run_command(request))
    assert own[-4:] == ["--output=results/REC", *(f"--output=log.jsonl{end}" for end in ENDS)]
    assert command[-5:] == ["--telemetry-log", "log.jsonl", "--output-dir", "results", "--no-record-datalad"]


@pytest.mark.parametrize("case", ["no dataset", "two datasets", "manifest outside", "empty"])
def test_what_cannot_be_wrapped(case: str, isolated: Path, cli: Callable[..., Any]):
    """Exit code 1, as in BADC 0.1."""
    for name in ("one", "two"):
        (isolated / name / ".datalad").mkdir(parents=True)
    sources = {
        "no dataset": [isolated / "x.wav"],
        "two datasets": [isolated / "one" / "x.wav", isolated / "two" / "x.wav"],
        "manifest outside": [isolated / "one" / "x.wav"],
        "empty": [],
    }[case]
    place = isolated / "m.csv" if case == "manifest outside" else isolated / "one" / "m.csv"
    path = runs.make_manifest(place, [Chunk(f"c{n}", "REC", source) for n, source in enumerate(sources)])
    with pytest.raises(BadcError, match=r"m\.csv") as caught:
        datalad_run_command(RunRequest(path))
    assert caught.value.exit_code is ExitCode.ERROR
    ended = cli("infer", "run", path, "--print-datalad-run")
    assert (ended.code, ended.stdout) == (1, "")

"""From recordings to a table with a network of one's own: the real commands, the network in a child process."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from badc_core.errors import RunnerError, UsageError
from badc_core.model import Device
from badc_core.protocols import WorkerContext
from badc_core.testing.oracle import write_wav
from badc_torch import interpreter, network, runner
from badc_torch.identity import identify
from badc_torch.options import INTERPRETER_VARIABLE, TorchOptions

GUIDE = Path(__file__).parents[3] / "docs/how-to/torch-model.md"


@pytest.fixture
def place(isolated, networks, card, torch_here, monkeypatch) -> Path:
    """A working folder with ``tones.pt2``, its card, and a folder for recordings."""
    monkeypatch.setenv(INTERPRETER_VARIABLE, str(torch_here))
    shutil.copy(networks / "tones.pt2", isolated)
    (isolated / "tones.toml").write_text(card("join = true"))
    (isolated / "rec").mkdir()
    return isolated


RUN = (
    "infer",
    "run",
    "m.csv",
    "--runner",
    "torch",
    "-o",
    "model=tones.pt2",
    "--output-dir",
    "out",
    "--cpu-workers",
    "1",
)


def _table(path: Path) -> list[tuple[str, str, int, int]]:
    with path.open(newline="") as file:
        return [
            (row["recording_id"], row["label"], int(row["absolute_time_ms"]), int(row["absolute_end_ms"]))
            for row in csv.DictReader(file)
            if row["timestamp_ms"]
        ]


def test_from_recordings_to_a_table(place, cli, make_tones):
    """Any rate and number of channels, chunks shorter than what is heard; a broken recording harms no other."""
    for rate, channels in ((8000, 1), (16_000, 2), (192_000, 8)):
        sound = make_tones(10, (3.2, 8.4, 1000), rate=rate)
        soundfile.write(place / f"rec/r{rate}.wav", np.repeat(sound[:, None], channels, axis=1), rate)
    broken = make_tones(10, (3.2, 8.4, 1000))
    broken[100_000] = np.inf
    soundfile.write(place / "rec/broken.wav", broken, 16_000, subtype="FLOAT")
    write_wav(place / "rec/short.wav", make_tones(0.2, (0, 1, 1000)), 16_000)
    cli("chunk", "manifest", "rec", "--chunk-duration", 2.5, "--output", "m.csv").ok()
    done = cli(*RUN, "--max-retries", 0)
    assert done.code == 3, done.stderr
    assert "broken.wav: the sample at 6.250 s is not a finite number" in done.stdout
    cli("infer", "aggregate", "out", "--manifest", "m.csv", "--output", "d.csv")
    found = _table(place / "d.csv")
    whole = [(f"r{rate}", "low", 3000, 9000) for rate in (16_000, 192_000, 8000)]
    assert sorted(row for row in found if row[0] != "broken") == sorted(whole)
    assert {row[:2] for row in found if row[0] == "broken"} == {("broken", "low")}


@pytest.mark.slow
def test_another_card_is_another_model(place, cli, make_tones, card):
    write_wav(place / "rec/a.wav", make_tones(4, (0, 4, 3000)), 16_000)
    cli("chunk", "manifest", "rec", "--output", "m.csv").ok()
    cli(*RUN).ok()
    (place / "tones.toml").write_text("# a comment\n" + card("join = true"))
    assert "Nothing to do" in cli(*RUN).ok().stdout
    (place / "tones.toml").write_text(card("join = true", "min_score = 0.6"))
    refused = cli(*RUN)
    assert refused.code == 1
    assert "another" in refused.stderr


@pytest.mark.slow
def test_a_network_that_does_not_fit_is_one_error(place, cli, make_tones, card):
    write_wav(place / "rec/a.wav", make_tones(4), 16_000)
    cli("chunk", "manifest", "rec", "--output", "m.csv").ok()
    (place / "tones.toml").write_text(card('labels = ["one"]', without="labels"))
    done = cli(*RUN)
    assert done.code == 1
    assert "tones.pt2 and its card do not fit: it gives (1, 2) for 1 window(s)" in done.stderr
    assert done.stderr.rstrip().endswith("By the card: its labels ask for (1, 1).")


def test_what_is_wrong_is_said_before_a_run_begins(place, cli, make_tones, card):
    write_wav(place / "rec/a.wav", make_tones(1), 16_000)
    cli("chunk", "manifest", "rec", "--output", "m.csv").ok()
    (place / "tones.toml").write_text(card("min_scor = 0.6"))
    done = cli(*RUN)
    assert done.code == 2
    assert "tones.toml: there is no key 'min_scor'" in done.stderr
    assert "Did you mean 'min_score'?" in done.stderr
    assert not (place / "out").exists()
    done = cli(*RUN, "-o", "modle=x.pt2")
    assert "Did you mean 'model'?" in done.stderr


@pytest.mark.slow
def test_the_guide_is_true(place, cli, make_tones, torch_here):
    """Its lines for exporting, its card and its commands, with a small network as MyNetwork."""
    text = GUIDE.read_text("utf-8")
    python, card = (re.search(rf"^```{kind}\n(.*?)^```", text, re.M | re.S)[1] for kind in ("python", "toml"))
    own = """
class MyNetwork(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.heard = torch.nn.Linear(2, 2)
    def forward(self, samples):
        return self.heard(samples.reshape(samples.shape[0], 2, -1).abs().mean(-1))
torch.save(MyNetwork().state_dict(), "weights.pt")
"""
    (place / "export.py").write_text(python.replace("import torch\n", "import torch\n" + own, 1))
    done = subprocess.run([str(torch_here), "-W", "ignore", "export.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (place / "owls.toml").write_text(card)
    (place / "rec").rename("recordings")
    write_wav(place / "recordings/a.wav", make_tones(10, (0, 10, 440)), 16_000)
    commands = re.findall(r"^\$ badc (.*)$", text.partition("\n## Run\n")[2], re.M)
    assert len(commands) == 3
    for command in commands:
        cli(*command.split()).ok()
    assert (place / "detections.csv").is_file()


# -------------------------------------------------------------------------------------------------- interpreters


def _environment(folder: Path, said: str) -> Path:
    """Return something that answers as an interpreter would."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{said}\n")
    python.chmod(0o755)
    return python


def test_what_an_interpreter_lacks_is_said_with_the_command(tmp_path, monkeypatch):
    python = _environment(tmp_path, r"""printf '\0["torch", "badc_torch"]' """)
    with pytest.raises(RunnerError, match=r"needs torch and badc_torch, which .*/python does not have") as caught:
        interpreter.require(python)
    assert caught.value.hint == f"Install it: {python} -m pip install 'badc-torch[torch]'"
    monkeypatch.setenv(INTERPRETER_VARIABLE, str(python))
    found = interpreter.check()
    assert not found.ready
    assert found.detail == f"torch and badc_torch not installed for {python}"
    assert found.fix == f"{python} -m pip install 'badc-torch[torch]'"
    assert TorchOptions(model=Path("x.pt2")).python == python


@pytest.mark.parametrize("said", ["exit 1", "echo 3.9", ""])
def test_an_interpreter_that_is_none(tmp_path, said):
    with pytest.raises(RunnerError, match="Cannot ask the interpreter") as caught:
        interpreter.require(_environment(tmp_path, said))
    assert "-o python=PATH" in caught.value.hint
    with pytest.raises(RunnerError, match="Cannot ask the interpreter"):
        interpreter.require(tmp_path / "nowhere")


def test_a_network_that_changes_while_it_is_loaded(tmp_path, card, monkeypatch):
    """What was loaded is what the digest says, or nothing."""
    model = tmp_path / "tones.pt2"
    model.write_bytes(b"one")
    (tmp_path / "tones.toml").write_text(card())
    monkeypatch.setattr(runner, "require", lambda python: None)
    monkeypatch.setattr(network, "open_network", lambda *told: model.write_bytes(b"other"))
    with pytest.raises(RunnerError, match=r"tones\.pt2 or its card changed while it was loaded"):
        runner.open_runner(TorchOptions(model=model), WorkerContext(Device(), "cpu-0", tmp_path))


def test_a_file_of_another_kind(tmp_path):
    with pytest.raises(UsageError, match=r"has the suffix '.onnx', but must be one of .pt2, .ts, .pt"):
        identify(TorchOptions(model=tmp_path / "owls.onnx"))

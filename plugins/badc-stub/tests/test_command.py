"""The command runner: what the command wrote is kept, what it left out is filled in."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from badc_core.answers import check_answers
from badc_core.errors import RunnerError
from badc_core.model import Chunk, Device, Prediction, Recording, Signal
from badc_core.protocols import WorkerContext
from badc_stub.command import CommandOptions, CommandRunner, prediction_from_json


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., CommandRunner]:
    """Return ``command(python program, **context)``, a runner of it; ``sys.argv[2]`` and ``[4]`` are in- and output."""

    def make(program: str, **context: Any) -> CommandRunner:
        script = tmp_path / "my model.py"
        script.write_text(f"#!{sys.executable}\nimport json, os, sys\n{program}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        values = {"device": Device(), "worker": "cpu-0", "scratch": tmp_path / "scratch", **context}
        (tmp_path / "scratch").mkdir(exist_ok=True)
        return CommandRunner(CommandOptions(f"'{script}' --mode 'a b'"), WorkerContext(**values))

    return make


def _signal(path: Path = Path("/data/x y.wav")) -> Signal:
    return Signal(Chunk("c", "REC", path, 0, 3000), Recording("REC", path), path=path)


def _one(runner: CommandRunner) -> Prediction:
    (answer,) = runner.predict([_signal()])
    return answer


def _writing(value: Any) -> str:
    return f"open(sys.argv[-1], 'w').write({json.dumps(json.dumps(value))})"


def test_what_the_command_is_given(command: Callable[..., CommandRunner], tmp_path: Path):
    """No shell splits or expands anything; the result file is a new one in the scratch folder."""
    answer = _one(command("print(json.dumps(sys.argv[1:])); print(os.environ.get('CUDA_VISIBLE_DEVICES'))"))
    said = answer.output.splitlines()
    *given, output = json.loads(said[0])
    assert given == ["--mode", "a b", "--input", "/data/x y.wav", "--output"]
    assert Path(output).parent == tmp_path / "scratch"
    assert said[1] == str(os.environ.get("CUDA_VISIBLE_DEVICES"))


@pytest.mark.parametrize(("visible", "seen"), [("GPU-1234", "GPU-1234"), (None, "3")])
def test_a_gpu_worker_s_command_sees_its_gpu(visible: str | None, seen: str, command: Callable[..., CommandRunner]):
    device = Device("gpu", 3, visible_as=visible)
    assert _one(command("print(os.environ['CUDA_VISIBLE_DEVICES'])", device=device)).output == f"{seen}\n"


@pytest.mark.parametrize("program", ["pass", "open(sys.argv[-1], 'w')", "open(sys.argv[-1], 'w').write(' \\n')"])
def test_no_result_is_an_empty_one(program: str, command: Callable[..., CommandRunner]):
    runner = command(program)
    answer = _one(runner)
    assert (answer.status, answer.runner, list(answer.detections)) == ("ok", None, [])
    assert runner.info.name == "custom"  # what BADC 0.1 called it


def test_what_the_command_wrote_is_kept(command: Callable[..., CommandRunner]):
    found = {"timestamp_ms": 100, "end_ms": 2300.0, "label": "A", "label_code": 5, "label_name": "", "confidence": 1,
             "low_hz": 100.5, "rank": [1, {"x": None}]}  # fmt: skip
    answer = _one(
        command(
            _writing(
                {
                    "status": "mine",
                    "runner": "me",
                    "model_version": "7",
                    "note": "kept",
                    "chunk_id": "not ours",
                    "detections": [found, {"label_code": "B"}, {"label_name": "C"}, {}],
                }
            )
        )
    )
    assert (answer.status, answer.runner, answer.model_version) == ("mine", "me", "7")
    assert answer.extra == {"note": "kept"}
    (checked,) = check_answers([_signal()], [answer], "command", None)
    assert sorted(one.label for one in checked.detections) == ["A", "B", "C", "unknown"]
    first = next(one for one in checked.detections if one.label == "A")
    assert (first.start_ms, first.end_ms, first.label_code, first.label_name) == (100, 2300, "5", None)
    assert (first.confidence, first.low_hz, first.high_hz, first.extra) == (1, 100.5, None, {"rank": [1, {"x": None}]})


@pytest.mark.parametrize(
    ("wrote", "said", "retry"),
    [
        ("open(sys.argv[-1], 'w').write('{')", "not valid JSON", True),
        (_writing([1]), "no JSON object but list", False),
        (_writing({"detections": {}, "status": "ok"}), None, None),
        (_writing({"detections": {"a": 1}}), "no list of objects", False),
        (_writing({"detections": [1]}), "no list of objects", False),
        (_writing({"status": "failed", "error": "no microphone"}), "no microphone", True),
        ("print('why', file=sys.stderr); exit(3)", "ended with status 3: why", True),
        ("exit(3)", "said nothing on stderr", True),
        ("os.abort()", "ended with status -6", True),
    ],
)
def test_what_a_command_can_do_wrong(
    wrote: str, said: str | None, retry: bool | None, command: Callable[..., CommandRunner]
):
    runner = command(wrote)
    if said is None:
        assert list(_one(runner).detections) == []
        return
    with pytest.raises(RunnerError, match=said) as caught:
        _one(runner)
    assert caught.value.retry is retry


def test_nothing_is_left_in_the_scratch_folder(command: Callable[..., CommandRunner], tmp_path: Path):
    runner = command(_writing({"status": "ok"}))
    for _ in range(3):
        _one(runner)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_too_long(command: Callable[..., CommandRunner]):
    with pytest.raises(RunnerError, match=r"took longer than 0\.3 s and was ended") as caught:
        _one(command("import time; print('still here', file=sys.stderr, flush=True); time.sleep(60)", timeout_s=0.3))
    assert caught.value.returncode == -9


@pytest.mark.parametrize(
    ("text", "said"), [("/nowhere/model --x", "'/nowhere/model' cannot be started"), ("model 'x", "cannot be split")]
)
def test_commands_that_cannot_be(text: str, said: str, tmp_path: Path):
    context = WorkerContext(Device(), "cpu-0", tmp_path)
    with pytest.raises(RunnerError, match=said) as caught:
        CommandRunner(CommandOptions(text), context).predict([_signal()])
    assert not caught.value.retry


def test_an_empty_command(tmp_path: Path):
    with pytest.raises(RunnerError, match="empty"):
        CommandRunner(CommandOptions(" "), WorkerContext(Device(), "cpu-0", tmp_path))


def test_nonsense_in_numbers_is_refused_later():
    """What cannot be put right is not: the worker refuses it by the chunk's name."""
    answer = prediction_from_json({"detections": [{"timestamp_ms": "soon", "confidence": "high", "label": "A"}]})
    with pytest.raises(RunnerError, match="whole milliseconds"):
        check_answers([_signal()], [answer], "command", None)


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    assert not [name for name in os.environ if name == "BADC_PROCESS_MARK"]

"""``badc doctor``, ``gpus``, ``plugins`` and ``telemetry``: what they say, and how they end."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from badc_core import hookimpl, host, option
from badc_core.doctor import look
from badc_core.host import Host
from badc_core.model import Device, Event
from badc_core.protocols import Readiness
from badc_core.specs import CommandSpec, ExporterSpec, RunnerSpec, SamplerSpec
from badc_core.telemetry_log import to_line

Cli = Callable[..., Any]


@attrs.frozen(kw_only=True)
class Options:
    sharpness: float = option(0.5, help="how sharply it listens")
    weights: str = option(help="where the weights lie")
    labels: tuple[str, ...] = option((), help="which to keep")


def opens(*args: object) -> None:
    raise AssertionError("nothing may be opened by looking")


def ready() -> Readiness:
    return Readiness(True, "weights 2.4")


def lacking() -> Readiness:
    return Readiness(False, "HawkEars is not installed", "pip install hawkears")


def raising() -> Readiness:
    raise RuntimeError("this check is broken")


class TwoGpus:
    closed = 0

    def devices(self) -> list[Device]:
        return [Device("gpu", 0, "NVIDIA H200", "GPU-a", "GPU-a", 143771), Device("gpu", 1)]

    def sample(self) -> list[Any]:
        return []

    def close(self) -> None:
        TwoGpus.closed += 1


def plugin(name: str, **hooks: list[Any]) -> types.ModuleType:
    """Return a module with hooks that yield the given specs."""
    module = types.ModuleType(name)
    for hook, specs in hooks.items():

        def function(specs: list[Any] = specs) -> Iterator[Any]:
            yield from specs

        setattr(module, hook, hookimpl(function))
    return module


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = types.ModuleType("doctor_parts")
    for part in (Options, opens, ready, lacking, raising, TwoGpus):
        setattr(parts, part.__name__, part)
    monkeypatch.setitem(sys.modules, "doctor_parts", parts)


GOOD = plugin(
    "badc_good",
    badc_runners=[
        RunnerSpec("good", "Hears well", "doctor_parts:opens", "doctor_parts:Options", check="doctor_parts:ready"),
        RunnerSpec("lame", "Hears nothing yet", "doctor_parts:opens", check="doctor_parts:lacking", notice="CC BY-NC"),
    ],
    badc_telemetry_samplers=[SamplerSpec("gpus", "Two GPUs", "doctor_parts:TwoGpus")],
)
BROKEN_CHECK = plugin(
    "badc_bad", badc_runners=[RunnerSpec("bad", "Breaks", "doctor_parts:opens", check="doctor_parts:raising")]
)
MISSING = plugin(
    "badc_gone", badc_exporters=[ExporterSpec("gone", "Is gone", "no_such_module:opens", ".x", "no_such:Options")]
)
NOT_IMPORTABLE = plugin("badc_void", badc_runners=[RunnerSpec("void", "Is not there", "no_such_module:open")])
TWIN = plugin("badc_twin", badc_runners=[RunnerSpec("good", "Hears as well", "doctor_parts:opens")])


class Misspelt:
    """A plugin with a hook that does not exist."""

    __name__ = "badc_misspelt"

    @hookimpl
    def badc_runner(self) -> list[Any]:
        return []


@pytest.fixture
def with_plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(*extra: Any) -> None:
        made = Host(extra, installed=False)
        monkeypatch.setattr(host, "default_host", lambda: made)

    return use


# ------------------------------------------------------------------------------------------------ doctor


def test_doctor_tells_what_runs_and_what_the_rest_lacks(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(GOOD)
    said = cli("doctor").ok().stdout
    assert "can run: weights 2.4" in said
    assert "cannot run: HawkEars is not installed" in said
    assert "to mend that: pip install hawkears" in said
    assert "#0: NVIDIA H200 (143771 MiB)" in said
    assert "#1: GPU without a name (memory unknown)" in said
    assert str(Path.cwd()) in said
    assert "GB free" in said
    assert f"Python  {sys.version.split()[0]}" in said
    assert "BROKEN" not in said


def test_doctor_as_json_is_one_object(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(GOOD)
    found = json.loads(cli("doctor", "--json").ok().stdout)
    assert found["broken"] is False
    assert {runner["name"]: runner["readiness"]["ready"] for runner in found["runners"]} == {
        "good": True,
        "lame": False,
    }
    assert found["gpus"]["devices"][0]["uuid"] == "GPU-a"
    assert set(found["tools"]) >= {"datalad", "git-annex", "sbatch"}
    assert found["libraries"]["libsndfile"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (BROKEN_CHECK, ["bad", "this check is broken"]),
        (NOT_IMPORTABLE, ["void", "no_such_module"]),
        (TWIN, ["good", "badc_good and by badc_twin"]),
        (Misspelt(), ["badc_misspelt", "badc_runner", "badc_runners"]),
    ],
)
def test_doctor_ends_with_1_when_something_is_broken(
    bad: Any, words: list[str], cli: Cli, with_plugins: Callable[..., None]
) -> None:
    with_plugins(GOOD, bad)
    done = cli("doctor")
    assert done.code == 1
    (line,) = [line for line in done.stdout.splitlines() if "BROKEN:" in line]
    assert all(word in line for word in words)
    assert cli("doctor", "--json").code == 1


def test_doctor_on_this_machine(cli: Cli) -> None:
    found = look(host.default_host(), Path.cwd())
    assert not [plugin for plugin in found.plugins if plugin["problem"]]
    assert cli("doctor").code == int(found.broken)


# -------------------------------------------------------------------------------------------------- gpus


def test_gpus_lists_them_and_lets_go(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(GOOD)
    before = TwoGpus.closed
    assert cli("gpus").ok().stdout.splitlines() == [
        "#0: NVIDIA H200 (143771 MiB)",
        "#1: GPU without a name (memory unknown)",
    ]
    assert TwoGpus.closed == before + 1
    assert json.loads(cli("gpus", "--json").ok().stdout)["devices"][1]["index"] == 1


def test_gpus_without_any_is_no_error(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(
        plugin("p", badc_telemetry_samplers=[SamplerSpec("x", "X", "builtins:ord", check="doctor_parts:lacking")])
    )
    said = cli("gpus").ok().stdout
    assert "No GPUs detected" in said
    with_plugins()
    said = cli("gpus").ok().stdout
    assert "pip install badc-telemetry" in said
    assert "No GPUs detected" in said


# ----------------------------------------------------------------------------------------------- plugins


def test_plugins_lists_every_kind_with_who_brought_it(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(GOOD, plugin("badc_c", badc_commands=[CommandSpec("sing", "Sings", "doctor_parts:opens")]))
    lines = cli("plugins").ok().stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == ["Runners", "Samplers", "Commands"]
    (lame,) = [number for number, line in enumerate(lines) if line.startswith("  lame ")]
    assert "Hears nothing yet" in lines[lame]
    assert lines[lame].endswith("badc_good")
    assert lines[lame + 1].strip() == "CC BY-NC"


def test_a_group_says_what_it_is_for(cli: Cli, with_plugins: Callable[..., None]) -> None:
    """Whichever of its commands tells; one command after another may come from another plugin."""
    first = CommandSpec("choir alto", "Sings low", "doctor_parts:opens")
    second = CommandSpec("choir soprano", "Sings high", "doctor_parts:opens", group="Sing together")
    with_plugins(plugin("badc_c", badc_commands=[second, first]))
    assert "choir      Sing together" in cli("--help").ok().stdout
    said = cli("choir", "--help").ok().stdout
    assert "Sing together." in said
    assert "Sings low" in said
    assert "Sings high" in said


def test_plugins_shows_options_with_defaults(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(GOOD)
    for said in (cli("plugins", "good").ok().stdout, cli("plugins", "--options").ok().stdout):
        assert "sharpness  how sharply it listens [default: 0.5]" in said
        assert "weights    where the weights lie [required]" in said
    (row,) = json.loads(cli("plugins", "good", "--json").ok().stdout)
    assert [item["name"] for item in row["options"]] == ["sharpness", "weights", "labels"]
    assert json.loads(cli("plugins", "--json", "good").ok().stdout) == [row]


def test_plugins_shows_what_is_broken_and_what_clashes(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(GOOD, TWIN, Misspelt(), MISSING)
    said = cli("plugins").ok().stdout
    assert said.count("CONFLICT: claimed by badc_good and by badc_twin") == 2
    assert "BROKEN" in said
    assert "did you mean badc_runners" in said
    assert "its options cannot be told" in cli("plugins", "gone").ok().stdout
    found = json.loads(cli("plugins", "--json").ok().stdout)
    assert [row["claimed_by"] for row in found["plugins"] if row["name"] == "good"] == [["badc_good", "badc_twin"]] * 2
    assert found["broken"][0]["distribution"] == "badc_misspelt"
    assert json.loads(cli("plugins", "--options", "--json").ok().stdout)["plugins"][-1]["problem"]


def test_plugins_of_an_unknown_name(cli: Cli, with_plugins: Callable[..., None]) -> None:
    with_plugins(GOOD)
    done = cli("plugins", "goood")
    assert done.code == 1
    assert "Did you mean 'good'?" in done.stderr


# --------------------------------------------------------------------------------------------- telemetry


def log_of(count: int) -> bytes:
    lines = []
    for number in range(count):
        failed = number == count - 1
        details = {"attempt": 2, "stderr": "Traceback\nCUDA out of memory\n"} if failed else {"attempt": 1}
        device = Device("gpu", 3, "H200") if failed else Device()
        status = "failure" if failed else "success"
        lines.append(
            to_line(Event(f"R_{number}", "R", status, "w", "2026-01-31", device, None, 1.25, 0, True, details))
        )
    return b"".join(lines)


def test_telemetry_counts_and_shows_the_last_ten(cli: Cli) -> None:
    log = Path("data/telemetry/infer/log.jsonl")
    log.parent.mkdir(parents=True)
    log.write_bytes(log_of(25) + b'{"chunk_id": "torn')
    lines = cli("telemetry").ok().stdout.splitlines()
    assert lines[0] == f"25 telemetry records in {log}"
    assert len(lines) == 11
    assert lines[1] == "2026-01-31  success  cpu  R_15  1.250 s"
    assert lines[-1] == "2026-01-31  failure  gpu-3  R_24  1.250 s  attempt 2  CUDA out of memory"


def test_telemetry_as_json_and_of_another_log(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a b.jsonl").write_bytes(log_of(3) + b'{"chunk_id": "old"}\n')
    done = cli("telemetry", "--log", tmp_path / "a b.jsonl", "--json", "--tail", 2).ok()
    last, old = map(json.loads, done.stdout.splitlines())
    assert last["chunk_id"] == "R_2"
    assert (old["chunk_id"], old["status"]) == ("old", "unknown")
    assert "old" in cli("telemetry", "--log", tmp_path / "a b.jsonl").ok().stdout


def test_telemetry_without_a_log_says_how_to_name_one(cli: Cli) -> None:
    done = cli("telemetry")
    assert done.code == 1
    assert "--log" in done.stderr

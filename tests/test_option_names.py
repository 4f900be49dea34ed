"""One name for an option everywhere: flag, environment and file; and none that is misspelt is passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from badc_core.cli import cli as root
from badc_core.cli.option_names import bind, flag_name


def _commands() -> Iterator[tuple[list[str], click.Command]]:
    """Yield every command of the core and of the installed plugins, with the words it is called by."""

    def below(words: list[str], group: click.Group, above: click.Context) -> Iterator[tuple[list[str], click.Command]]:
        for name in group.list_commands(above):
            command = group.get_command(above, name)
            assert command is not None
            yield [*words, name], command
            if isinstance(command, click.Group):
                yield from below([*words, name], command, click.Context(command, above, name))

    yield from below([], root, click.Context(root, info_name="badc", auto_envvar_prefix="BADC"))


OPTIONS = [
    pytest.param(words, command, option, id=" ".join([*words, option.opts[0]]))
    for words, command in _commands()
    for option in command.params
    if isinstance(option, click.Option) and len(words) > 1 and words[0] != "plugins"
]


@pytest.mark.parametrize(("words", "command", "option"), OPTIONS)
def test_the_environment_and_the_file_name_options_as_flags_do(
    words: list[str], command: click.Command, option: click.Option, monkeypatch: pytest.MonkeyPatch
):
    above = click.Context(root, info_name="badc", auto_envvar_prefix="BADC")
    group = root.get_command(above, words[0])
    assert group is not None
    prefix = f"BADC_{words[0].upper()}"
    within = click.Context(group, above, words[0], auto_envvar_prefix=prefix)
    within.default_map = {words[1]: {flag_name(option): "told"}}
    bind(within, words[1], command)
    assert within.default_map == {words[1]: {option.name: "told"}}
    variable = f"{prefix}_{words[1]}_{flag_name(option)}".upper().replace("-", "_")
    monkeypatch.setenv(variable, "1")
    own = click.Context(command, within, words[1])
    assert own.auto_envvar_prefix == f"{prefix}_{words[1]}".upper().replace("-", "_")
    assert option.resolve_envvar_value(own) == "1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[infer.run]\nlayuot = 'x'", "[infer.run] has no option 'layuot'.\nDid you mean 'layout'?"),
        ("[infer.run]\nresult_layout = 'x'", "Did you mean 'layout'?"),
        ("[infer.run]\nmax-retries = 1", "Did you mean 'max_retries'?"),
        ("[infer.rnu]\nlayout = 'x'", "[infer] has no option 'rnu'.\nDid you mean 'run'?"),
    ],
)
def test_a_misspelt_key_is_an_error(text: str, said: str, isolated: Path, cli: Callable[..., Any]):
    (isolated / "badc.toml").write_text(text)
    ended = cli("infer", "run", "m.csv")
    assert ended.code == 2
    assert "badc.toml" in ended.stderr
    assert said in ended.stderr


def test_a_command_without_a_group(isolated: Path, cli: Callable[..., Any]):
    (isolated / "badc.toml").write_text("[gpus]\njson = true\n")
    assert cli("gpus").ok().stdout.startswith("{")


def test_a_file_and_the_environment(isolated: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    (isolated / "badc.toml").write_text("[infer.run]\nlayout = 'segments'\n")
    assert "layout = segments  (TOML)" in cli("infer", "run", "m.csv", "--show-config").ok().stdout
    monkeypatch.setenv("BADC_INFER_RUN_LAYOUT", "files")
    assert "layout = files  (environment)" in cli("infer", "run", "m.csv", "--show-config").ok().stdout
    assert "layout = segments  (flag)" in cli("infer", "run", "m.csv", "--show-config", "--layout", "segments").stdout

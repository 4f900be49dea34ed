"""The fixtures keep what they promise: both ways to call ``badc`` agree, in a place that holds nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from badc_core import __version__, host


def test_cli_and_run_badc_say_the_same(cli, run_badc):
    inside, outside = cli("version").ok(), run_badc("version").ok()
    assert inside == outside
    assert __version__ in inside.stdout


def test_cli_reports_usage_errors_as_exit_code_2_on_stderr(cli):
    result = cli("version", "--no-such-option")
    assert result.code == 2
    assert "--no-such-option" in result.stderr
    assert result.stdout == ""


def test_isolated_is_empty_and_apart(isolated: Path):
    assert list(isolated.iterdir()) == []
    assert Path.cwd() == isolated
    assert Path.home().is_relative_to(isolated.parent)
    assert not [name for name in os.environ if name.startswith("BADC_")]


@pytest.mark.parametrize("installed", [False, True])
def test_cli_has_the_commands_of_the_plugins_of_this_test(cli, monkeypatch: pytest.MonkeyPatch, installed: bool):
    made = host.Host(installed=installed)
    monkeypatch.setattr(host, "default_host", lambda: made)
    assert (cli("report", "--help").code == 0) is installed

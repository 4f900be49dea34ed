"""Diagnostics: on stderr, as much as asked for, for people or for programs, and free when nobody listens."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from badc_core import log


@pytest.fixture(autouse=True)
def _as_before() -> object:
    yield
    log.configure()


def test_by_default_warnings_are_said_and_nothing_less(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    logger = log.get_logger("badc_core.somewhere")
    logger.debug("one")
    logger.info("two")
    logger.warning("three", path="/a b")
    logger.error("four")
    out, err = capsys.readouterr()
    assert out == ""
    assert "one" not in err
    assert "two" not in err
    assert "three" in err
    assert "/a b" in err
    assert "badc_core.somewhere" in err
    assert "four" in err


def test_the_level_can_be_changed_after_a_logger_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    logger = log.get_logger("here")
    log.configure("DEBUG")
    logger.debug("said")
    log.configure("error")
    logger.warning("kept")
    err = capsys.readouterr().err
    assert "said" in err
    assert "kept" not in err


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    log.get_logger("here").info("a chunk\nfailed", chunk="Käuzchen", count=3)
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found["event"] == "a chunk\nfailed"
    assert (found["chunk"], found["count"], found["level"], found["logger"]) == ("Käuzchen", 3, "info", "here")
    assert found["timestamp"].endswith("Z")
    assert "Käuzchen" in line


def test_what_nobody_wants_to_hear_imports_nothing() -> None:
    code = (
        "import sys; from badc_core.log import get_logger; get_logger('x').info('quiet'); "
        "sys.exit('structlog' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Claims: one holder at a time; the dead lose them, the living do not. Races are in tests/faults/test_sharing.py."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from badc_core import claims
from badc_core.errors import HeldError, Interrupted, StoreError


def test_a_claim_says_who_holds_it(tmp_path: Path):
    held = claims.claim(tmp_path / "out", "run-1")
    holder = json.loads(held.path.read_text())
    assert (holder["run_id"], holder["pid"]) == ("run-1", os.getpid())
    assert {"host", "since", "token"} <= set(holder)
    held.verify()
    held.release()
    assert not held.path.exists()
    held.release()
    assert os.listdir(held.path.parent) == [".gitignore"]


def test_a_second_claim_is_refused(tmp_path: Path):
    held = claims.claim(tmp_path, "run-1")
    with pytest.raises(HeldError, match="in use by run run-1") as caught:
        claims.claim(tmp_path, "run-2")
    assert caught.value.exit_code == 4
    held.verify()
    held.release()
    claims.claim(tmp_path, "run-2").release()


def test_waiting_for_a_claim(tmp_path: Path):
    held = claims.claim(tmp_path, "run-1")
    threading.Timer(0.3, held.release).start()
    claims.claim(tmp_path, "run-2", wait_s=10).release()
    held = claims.claim(tmp_path, "run-3")
    began = time.monotonic()
    with pytest.raises(HeldError):
        claims.claim(tmp_path, "run-4", wait_s=0.3)
    assert 0.3 <= time.monotonic() - began < 5
    with pytest.raises(Interrupted, match="waiting"):
        claims.claim(tmp_path, "run-4", wait_s=60, stopping=lambda: True)


def _claim_of_a_dead_process(base: Path) -> None:
    program = "import sys, pathlib; from badc_core.claims import claim; claim(pathlib.Path(sys.argv[1]), 'dead')"
    subprocess.run([sys.executable, "-c", program, str(base)], check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_the_claim_of_a_dead_process(tmp_path: Path):
    _claim_of_a_dead_process(tmp_path)
    held = claims.claim(tmp_path, "living")
    assert held.holder["run_id"] == "living"


@pytest.mark.parametrize("change", [{"host": "other"}, {"boot": "other"}, {"pid_namespace": "other"}])
def test_of_another_machine_nobody_knows_whether_it_is_dead(change: dict[str, str], tmp_path: Path):
    """Neither of another boot, nor of another container: only time tells."""
    _claim_of_a_dead_process(tmp_path)
    path = tmp_path / ".badc" / "claim.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(HeldError):
        claims.claim(tmp_path, "living")
    os.utime(path, (1, 1))
    claims.claim(tmp_path, "living")


def test_a_process_number_used_again_is_another_process(tmp_path: Path):
    held = claims.claim(tmp_path, "run-1")
    held.path.write_text(json.dumps({**held.holder, "process_started": "1"}))
    assert claims.claim(tmp_path, "run-2").holder["run_id"] == "run-2"


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [_dangling, Path.mkdir])
def test_what_is_no_file_is_nobodys_claim(make: Callable[[Path], None], tmp_path: Path):
    """A clone of a dataset in which a claim was saved has a link to nowhere in its place."""
    state = tmp_path / ".badc"
    state.mkdir()
    make(state / "claim.json")
    held = claims.claim(tmp_path, "run-1")
    assert json.loads(held.path.read_text())["run_id"] == "run-1"
    held.release()
    make(held.path)
    make(state / f"claim-{claims._digest('a share')}.json")
    claims.claim(tmp_path, "run-2").release()
    claims.claim(tmp_path, "run-3", share="a share").release()


@pytest.mark.parametrize(("stops", "expected"), [(False, StoreError), (True, Interrupted)])
def test_a_claim_that_is_never_there_and_never_free(
    stops: bool, expected: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claims, "ASK_EVERY_S", 0.001)
    monkeypatch.setattr(claims, "_take", lambda path, me: False)
    with pytest.raises(expected):
        claims.claim(tmp_path, "run-1", stopping=lambda: stops)


def test_who_is_set_aside_by_mistake_gets_the_claim_back(tmp_path: Path):
    """Another found the same rubbish, and was quicker: what is set aside is a living claim by now."""
    held = claims.claim(tmp_path, "run-1")
    claims._set_aside(held.path, None)
    held.verify()
    assert [path.name for path in held.path.parent.glob("[!.]*")] == ["claim.json"]


def test_who_lost_a_claim_finds_out(tmp_path: Path):
    first = claims.claim(tmp_path, "run-1")
    first.path.write_text(json.dumps({**first.holder, "host": "other"}))
    os.utime(first.path, (1, 1))
    second = claims.claim(tmp_path, "run-2")
    with pytest.raises(HeldError, match="taken over by run run-2"):
        first.verify()
    os.utime(second.path, (1, 1))
    first.touch()
    assert second.path.stat().st_mtime == 1, "a loser must not keep the winner's claim alive"
    first.release()
    second.verify()
    second.release()
    with pytest.raises(HeldError):
        first.verify()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_file_system_that_does_not_say(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing is committed then, and nobody else is blamed."""
    held = claims.claim(tmp_path, "run-1")

    def stat(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stat)
        with pytest.raises(StoreError, match=os.strerror(code)) as caught:
            held.verify()
    assert not isinstance(caught.value, HeldError)
    held.verify()


def test_claims_are_kept_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By a thread, whatever the run is busy with; also those that join later."""
    monkeypatch.setattr(claims, "TOUCH_EVERY_S", 0.02)
    held: list[claims.Claim] = []
    with claims.kept_alive(held):
        held.append(claims.claim(tmp_path, "run-1"))
        os.utime(held[0].path, (1, 1))
        until = time.monotonic() + 5
        while held[0].path.stat().st_mtime == 1 and time.monotonic() < until:
            time.sleep(0.01)
    assert held[0].path.stat().st_mtime > 1
    os.utime(held[0].path, (1, 1))
    time.sleep(0.1)
    assert held[0].path.stat().st_mtime == 1, "touched after the end"


def test_age_is_told_by_the_file_system_s_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The clock of a machine may be wrong by hours."""
    held = claims.claim(tmp_path, "run-1")
    held.path.write_text(json.dumps({**held.holder, "host": "other"}))
    monkeypatch.setattr(time, "time", lambda: 10.0**10)
    with pytest.raises(HeldError):
        claims.claim(tmp_path, "run-2")


@pytest.mark.parametrize("code", sorted(claims._NO_LINKS))
def test_a_file_system_without_links(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def link(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    held = claims.claim(tmp_path, "run-1")
    with pytest.raises(HeldError):
        claims.claim(tmp_path, "run-2")
    held.verify()
    held.release()
    assert os.listdir(tmp_path / ".badc") == [".gitignore"]


def test_a_lost_answer_of_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The server made the link, the answer was lost, and the client asked again: it is ours."""
    real = os.link

    def link(source: Any, target: Any) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link)
    held = claims.claim(tmp_path, "run-1")
    held.verify()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def link(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(StoreError, match="No space left") as caught:
        claims.claim(tmp_path, "run-1")
    assert not isinstance(caught.value, HeldError)
    assert os.listdir(tmp_path / ".badc") == [".gitignore"]


# ------------------------------------------------------------------------------------------------- shares


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not have a share is told so without delay."""
    monkeypatch.setattr(claims, "HANDING_OUT_S", 0.0)


def test_shares_are_held_side_by_side(tmp_path: Path, at_once: None):
    names = ["a", "b c", "../x", "ä" * 300, "\udcff"]
    held = [claims.claim(tmp_path, f"run-{name}", share=name) for name in names]
    assert len({one.path for one in held}) == len(names)
    assert {one.path.parent for one in held} == {tmp_path / ".badc"}
    for one in held:
        one.verify()
        one.release()
    assert os.listdir(tmp_path / ".badc") == [".gitignore"]


def test_one_share_has_one_holder(tmp_path: Path, at_once: None):
    held = claims.claim(tmp_path, "run-1", share="a")
    with pytest.raises(HeldError, match="in use by run run-1"):
        claims.claim(tmp_path, "run-2", share="a")
    claims.claim(tmp_path, "run-3", share="b").release()  # the one that was refused left nothing behind
    threading.Timer(0.3, held.release).start()
    claims.claim(tmp_path, "run-2", share="a", wait_s=10).release()


@pytest.mark.parametrize(("first", "second"), [(None, "a"), ("a", None)])
def test_the_whole_folder_and_a_share_of_it_exclude_each_other(
    first: str | None, second: str | None, tmp_path: Path, at_once: None
):
    held = claims.claim(tmp_path, "run-1", share=first)
    with pytest.raises(HeldError, match="in use by run run-1"):
        claims.claim(tmp_path, "run-2", share=second)
    with pytest.raises(Interrupted):
        claims.claim(tmp_path, "run-2", share=second, wait_s=60, stopping=lambda: True)
    held.verify()
    threading.Timer(0.3, held.release).start()
    claims.claim(tmp_path, "run-2", share=second, wait_s=10).release()
    assert os.listdir(tmp_path / ".badc") == [".gitignore"]


def test_the_dead_keep_no_share(tmp_path: Path, at_once: None):
    program = (
        "import sys, pathlib; from badc_core.claims import claim; claim(pathlib.Path(sys.argv[1]), 'd', share='a')"
    )
    for share in ("a", None):
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
        claims.claim(tmp_path, "run-2", share=share).release()


def test_who_lost_a_share_finds_out(tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch):
    held = claims.claim(tmp_path, "run-1", share="a")
    monkeypatch.setattr(claims, "STALE_AFTER_S", -1.0)
    whole = claims.claim(tmp_path, "run-2")
    with pytest.raises(HeldError, match="taken over"):
        held.verify()
    held.release()
    whole.verify()


def test_many_tasks_that_begin_in_one_moment_all_get_their_share(tmp_path: Path):
    program = (
        "import sys, pathlib, time; from badc_core.claims import claim; "
        "claim(pathlib.Path(sys.argv[1]), 'r', share=sys.argv[2]); print(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    pipe = subprocess.PIPE
    tasks = [subprocess.Popen([*command, str(n)], stdin=pipe, stdout=pipe, stderr=pipe, text=True) for n in range(12)]
    said = [task.stdout.readline() for task in tasks]  # type: ignore[union-attr]
    with pytest.raises(HeldError):
        claims.claim(tmp_path, "whole")
    assert [task.communicate()[1] for task in tasks] == [""] * 12
    assert said == ["\n"] * 12

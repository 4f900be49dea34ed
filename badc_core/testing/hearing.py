"""Playing sounds to a runner, and remembering what it answered."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from badc_core.host import load_object
from badc_core.model import Device, Signal
from badc_core.protocols import InputSpec, Readiness, Runner, WorkerContext
from badc_core.specs import RunnerSpec
from badc_core.testing import guard, oracle
from badc_core.testing.base import Contract
from badc_core.testing.oracle import Example, Scene, brief

__all__ = ["Hearing", "RunnerBench", "close_quietly", "side_by_side"]

_UNPREPARED_RATE_HZ = 32_000
"""For runners that take any rate."""


@attrs.define
class Hearing:
    """What one instance answered to the standard sounds; made once for all tests of a class.

    Parameters
    ----------
    info
        The runner's, after opening.
    rate
        Of the sounds, in Hz.
    scenes
        By name.
    opening
        Why the runner could not be opened.
    alone, again
        The answer to each sound by itself, or the exception; and the same a second time, in the opposite order.
    batches
        Names of the sounds of each batch, and the answers, or the exception.
    info_after
        What `info` said at the end.
    reopening
        Why a second instance, opened after the first was closed, is of no use.
    """

    info: Any = None
    rate: int = 0
    scenes: dict[str, Scene] = attrs.field(factory=dict)
    opening: BaseException | None = None
    alone: dict[str, Any] = attrs.field(factory=dict)
    again: dict[str, Any] = attrs.field(factory=dict)
    batches: list[tuple[tuple[str, ...], Any]] = attrs.field(factory=list)
    info_after: Any = None
    reopening: str | None = None

    def one(self, name: str) -> Any:
        """Return the answer to a sound by itself; ``None`` without a proper one."""
        answers = self.alone[name]
        return answers[0] if isinstance(answers, (list, tuple)) and len(answers) == 1 else None

    @property
    def sound(self) -> list[str]:
        """Names of the sounds that were answered properly: what other tests build on."""
        return [name for name in self.alone if self.one(name) is not None and not oracle.well_formed(self.one(name))]

    def answers(self) -> Iterable[tuple[str, Any]]:
        """Yield the answers to sounds by themselves; that batches give the same is a test of its own."""
        for name, answers in self.alone.items():
            if isinstance(answers, (list, tuple)) and len(answers) == 1:
                yield name, answers[0]

    def every_predict(self) -> Iterable[tuple[tuple[str, ...], Any]]:
        """Yield what was given to each call of `predict`, and what came back."""
        yield from (((name,), answers) for name, answers in self.alone.items())
        yield from self.batches


class NotReady(UserWarning):
    """The runner cannot be tested here, by the word of its own ``check``."""


class RunnerBench(Contract):
    """Opens a runner and plays to it.

    Attributes
    ----------
    chunk_ms
        Length of the ordinary chunks that are played to it.
    tolerance
        By how much a confidence may differ between one batch and another, or from one time to the next.
    """

    spec_class: ClassVar[type[RunnerSpec]] = RunnerSpec
    chunk_ms: ClassVar[int] = 3000
    tolerance: ClassVar[float] = 1e-4
    _replaceable: ClassVar = {"chunk_ms", "tolerance", "open_runner", "examples"}

    # ------------------------------------------------------------------------- what an author may replace

    def open_runner(self, options: Any, context: WorkerContext) -> Runner:
        """Open the runner; by default as the worker does, by the spec's import string."""
        runner: Runner = load_object(self.spec.open)(options, context)
        return runner

    def examples(self) -> Iterable[Example]:
        """Return sounds whose right answer is known; none by default."""
        return ()

    # --------------------------------------------------------------------------------------- how tests play

    @pytest.fixture
    def hearing(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Hearing:
        """What the runner answered to the standard sounds; skips when it cannot even be opened."""
        made = self._listen(request, tmp_path_factory)
        if made.opening is not None:
            pytest.skip("it cannot be opened: see test_it_opens")
        return made

    @pytest.fixture
    def fresh(self, hearing: Hearing) -> Hearing:
        """The same, for tests that open an instance of their own; skips when only the first instance is of use."""
        if hearing.reopening is not None:
            pytest.skip("only its first instance is of use: see test_it_can_be_opened_again")
        return hearing

    def _listen(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Hearing:
        self._need_readiness()
        kept = guard.notes(request.node)
        made: Hearing | None = kept.get("hearing")
        if made is None:
            made = Hearing()
            self._folder = tmp_path_factory.mktemp("kit")
            here = Path.cwd()
            try:
                self._play_everything(made)
            except Exception as error:
                made.opening = error
            finally:
                os.chdir(here)  # test_nothing_is_left_behind says so
            kept["hearing"] = made
        return made

    def _need_readiness(self) -> None:
        """Skip when `check()` says what is missing on this machine: weights, a device."""
        try:
            found = load_object(self.spec.check)() if self.spec.check else None
        except Exception:  # test_check_gives_readiness says so
            return
        if isinstance(found, Readiness) and not found.ready and found.detail:
            warnings.warn(f"{type(self).__name__} is not tested: {found.detail}. {found.fix}", NotReady, stacklevel=1)
            pytest.skip(f"check() says that it is not ready here: {found.detail}")

    def _play_everything(self, made: Hearing) -> None:
        runner = self._open(self._folder)
        try:
            made.info = runner.info
            wanted = made.info.input
            made.rate = wanted.sample_rate_hz or _UNPREPARED_RATE_HZ
            made.scenes = {scene.name: scene for scene in oracle.scenes(made.rate, self.chunk_ms)}
            made.alone = {name: self._predict(runner, made, [name]) for name in made.scenes}
            for names in oracle.batches_of(made.sound, wanted.max_batch):
                made.batches.append((names, self._predict(runner, made, names)))
            made.again = {name: self._predict(runner, made, [name]) for name in reversed(made.scenes)}
            made.info_after = runner.info
        finally:
            close_quietly(runner)
        made.reopening = self._reopen(made)

    def _reopen(self, made: Hearing) -> str | None:
        try:
            runner = self._open(self._folder)
        except Exception as error:
            return f"opening it again raises {type(error).__name__}: {error}"
        try:
            for name in made.sound:
                found = self._predict(runner, made, [name])
                if self._same(made.one(name), made.again[name]) and not self._same(made.one(name), found):
                    return f"a second instance gives {name} {brief(found)}, the first {brief([made.one(name)])}"
        finally:
            close_quietly(runner)
        return None

    def _open(self, folder: Path) -> Runner:
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True, parents=True)
        return self.open_runner(self.make_options(), WorkerContext(Device(), "cpu-0", scratch, timeout_s=120.0))

    def _signals(self, made: Hearing, names: Sequence[str], folder: Path, *, writable: bool = True) -> list[Signal]:
        wanted: InputSpec = made.info.input
        return [
            oracle.make_signal(made.scenes[name], wanted, made.rate, folder, writable=writable, number=index)
            for index, name in enumerate(names)
        ]

    def _predict(self, runner: Runner, made: Hearing, names: Sequence[str], folder: Path | None = None) -> Any:
        try:
            return runner.predict(self._signals(made, names, folder or self._folder))
        except Exception as error:
            return error

    def _repeatable(self, made: Hearing) -> list[str]:
        """Return the sounds that can be compared; skips when the runner answers by chance."""
        if not all(self._same(made.one(name), made.again[name]) for name in made.sound):
            pytest.skip("its answers differ from one time to the next: see test_answers_are_repeatable")
        if not made.sound:
            pytest.skip("no sound was answered properly, as other tests say")
        return made.sound

    def _same(self, answer: Any, answers: Any) -> bool:
        return (
            isinstance(answers, (list, tuple))
            and len(answers) == 1
            and oracle.same_answer(answer, answers[0], self.tolerance)
        )

    def _expect_same(self, runner: Runner, made: Hearing, folder: Path, when: str) -> None:
        for name in self._repeatable(made):
            found = self._predict(runner, made, [name], folder)
            if not self._same(made.one(name), found):
                self.broken(f"{when} {name} gives {brief(found)}, not {brief([made.one(name)])} as before")


def close_quietly(runner: Runner) -> None:
    """Close a runner; that it can be closed is a test of its own."""
    try:
        runner.close()
    except Exception:  # test_close_can_be_called_twice says so
        pass


def side_by_side(
    plays: Sequence[Callable[[str], Any]], orders: Sequence[Sequence[str]], right: Callable[[str, Any], bool]
) -> tuple[str, Any] | None:
    """Play sounds to several instances at the same moment; return the first wrong answer."""
    wrong: list[tuple[str, Any]] = []
    together = threading.Barrier(len(plays))

    def work(play: Callable[[str], Any], names: Sequence[str]) -> None:
        for name in names:
            together.wait(timeout=300)
            found = play(name)
            if not right(name, found):
                wrong.append((name, found))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # many switches: a race shows sooner
    try:
        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in zip(plays, orders, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=600)
    finally:
        sys.setswitchinterval(interval)
    return wrong[0] if wrong else None

"""The contract of runners: :class:`RunnerContract`."""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from badc_core.choosing import isolation_of
from badc_core.model import Signal
from badc_core.protocols import Readiness, Runner, RunnerIdentity, RunnerInfo
from badc_core.testing import oracle
from badc_core.testing.base import MODEL_LIBRARIES, heavy_among, run_python
from badc_core.testing.hearing import Hearing, RunnerBench, close_quietly, side_by_side
from badc_core.testing.oracle import Scene, brief

__all__ = ["RunnerContract"]

_IDENTIFY = """\
import json, os, pickle, sys
out = os.dup(1)
from badc_core.host import load_object
where, options = pickle.loads(bytes.fromhex(sys.argv[1]))
load_object(where)(options)
sys.stdout.flush()
os.write(out, b"\\n\\0" + json.dumps(sorted(sys.modules)).encode())
"""


class RunnerContract(RunnerBench):
    """Standard tests of a runner."""

    # --------------------------------------------------------------------------------------- standard tests

    def test_it_opens(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
        """`open(options, context)` gives a runner with `info`, `predict` and `close`."""
        opening = self._listen(request, tmp_path_factory).opening
        if opening is not None:
            pytest.fail(
                f"it cannot be opened or asked for its info: {type(opening).__name__}: {opening}", pytrace=False
            )

    def test_info_is_complete(self, hearing: Hearing) -> None:
        """`info` is a RunnerInfo that makes sense, and stays the same."""
        info = hearing.info
        if not isinstance(info, RunnerInfo) or not isinstance(info.identity, RunnerIdentity) or not info.identity.model:
            self.broken(f"info is {info!r}, not a RunnerInfo with the model's identity")
        if info.input.max_batch < 1 or info.input.halo_ms < 0 or (info.input.sample_rate_hz or 1) < 1:
            self.broken(f"info.input makes no sense: {info.input!r}")
        if info.input.kind not in ("samples", "file", "nothing", "checked"):
            self.broken(f"info.input.kind is {info.input.kind!r}")
        labels = info.labels
        if labels is not None and not (isinstance(labels, frozenset) and all(isinstance(x, str) and x for x in labels)):
            self.broken("info.labels is not a frozenset of texts")
        if hearing.info_after != info:
            self.broken("info is not the same after predict as before")

    def test_identity_is_the_one_foretold(self, hearing: Hearing) -> None:
        """`identify(options)` tells, without loading, exactly the identity that the loaded runner has."""
        if self.spec.identify is None:
            return
        foretold = self.load_or_skip(self.spec.identify)(self.make_options())
        if foretold != hearing.info.identity:
            self.broken(f"identify(options) says {foretold!r}, but the runner is {hearing.info.identity!r}")

    def test_identify_loads_no_model(self) -> None:
        """`identify(options)` imports no model library; looked at in a fresh interpreter."""
        if self.spec.identify is None:
            return
        self._need_readiness()
        heavy = _imported_by_identify(pickle.dumps((self.spec.identify, self.make_options())).hex())
        if heavy:
            self.broken(f"identify imports {', '.join(heavy)}")

    def test_check_gives_readiness(self) -> None:
        """`check()` returns a Readiness; when it is not ready, it says what is missing."""
        if self.spec.check is None:
            return
        found = self.load_or_skip(self.spec.check)()
        if not isinstance(found, Readiness) or not (found.ready or found.detail):
            self.broken(f"check() returns {found!r}, not a Readiness that says what is missing")

    def _answered(self, hearing: Hearing, test: str) -> None:
        for name, scene in hearing.scenes.items():
            answers = hearing.alone[name]
            if scene.test == test and isinstance(answers, Exception):
                self.broken(f"{name}: predict raises {type(answers).__name__}: {answers}")

    def test_ordinary_sound_is_answered(self, hearing: Hearing) -> None:
        """Tones, noise and bursts of ordinary and odd length raise nothing."""
        self._answered(hearing, "test_ordinary_sound_is_answered")

    def test_silence_is_answered(self, hearing: Hearing) -> None:
        """Digital silence and direct current raise nothing."""
        self._answered(hearing, "test_silence_is_answered")

    def test_clipping_is_answered(self, hearing: Hearing) -> None:
        """Samples of exactly 1 and -1 raise nothing."""
        self._answered(hearing, "test_clipping_is_answered")

    def test_short_chunk_is_answered(self, hearing: Hearing) -> None:
        """Chunks of 50 ms and of one frame raise nothing."""
        self._answered(hearing, "test_short_chunk_is_answered")

    def test_batches_are_answered(self, hearing: Hearing) -> None:
        """Batches of sounds that are answered one by one raise nothing, up to `max_batch` of them."""
        for names, answers in hearing.batches:
            if isinstance(answers, Exception):
                self.broken(f"the batch {', '.join(names)} raises {type(answers).__name__}: {answers}")

    def test_empty_batch_is_answered(self, fresh: Hearing, tmp_path: Path) -> None:
        """No chunks get no answers."""
        runner = self._open(tmp_path)
        try:
            found = runner.predict([])
        except Exception as error:
            self.broken(f"predict([]) raises {type(error).__name__}: {error}")
        finally:
            close_quietly(runner)
        if not isinstance(found, (list, tuple)) or len(found):
            self.broken(f"predict([]) returns {found!r}, not an empty list")

    def test_one_answer_per_chunk(self, hearing: Hearing) -> None:
        """As many answers as chunks; silence gets an empty list, not nothing."""
        for names, answers in hearing.every_predict():
            if isinstance(answers, Exception):
                continue
            if not isinstance(answers, (list, tuple)):
                self.broken(f"predict returns a {type(answers).__name__}, not a list")
            if len(answers) != len(names):
                self.broken(f"{len(answers)} answers for {len(names)} chunks ({', '.join(names)})")

    def test_answers_are_detections(self, hearing: Hearing) -> None:
        """Every answer is a Prediction or a list of Detection, with a label and whole milliseconds."""
        self._judge(hearing, lambda name, answer: oracle.well_formed(answer))

    def _judge(self, hearing: Hearing, rule: Callable[[str, Any], str | None]) -> None:
        for name, answer in hearing.answers():
            problem = rule(name, answer)
            if problem is not None:
                self.broken(f"{name}: {problem}")

    def _judge_detections(self, hearing: Hearing, rule: Callable[[str, Any], str | None]) -> None:
        def every(name: str, answer: Any) -> str | None:
            if oracle.well_formed(answer):
                return None  # test_answers_are_detections says so
            return next((p for d in oracle.detections_of(answer) if (p := rule(name, d)) is not None), None)

        self._judge(hearing, every)

    def test_times_lie_within_the_chunk(self, hearing: Hearing) -> None:
        """Detections begin and end between 0 and the chunk's length, wherever that lies in the recording."""

        def rule(name: str, detection: Any) -> str | None:
            frames = len(hearing.scenes[name].samples)
            return oracle.time_problem(detection, -(-frames * 1000 // hearing.rate))

        self._judge_detections(hearing, rule)

    def test_detections_end_after_they_begin(self, hearing: Hearing) -> None:
        """No detection ends before it begins."""

        def rule(name: str, d: Any) -> str | None:
            if d.start_ms is None or d.end_ms is None or d.start_ms <= d.end_ms:
                return None
            return f"{d.label!r} begins at {d.start_ms} ms and ends at {d.end_ms} ms"

        self._judge_detections(hearing, rule)

    def test_confidence_is_between_0_and_1(self, hearing: Hearing) -> None:
        """Confidences are numbers from 0 to 1, never NaN; or None."""
        self._judge_detections(hearing, lambda name, detection: oracle.confidence_problem(detection))

    def test_labels_are_declared(self, hearing: Hearing) -> None:
        """Every label is one of `info.labels`, unless that is None."""
        labels = hearing.info.labels
        if labels is not None:
            self._judge_detections(
                hearing, lambda name, d: None if d.label in labels else f"{d.label!r} is not in info.labels"
            )

    def test_extra_is_json(self, hearing: Hearing) -> None:
        """`extra` holds only what JSON can hold, so that the answer can be written down."""
        self._judge(hearing, lambda name, answer: oracle.json_fault(answer))

    def test_answers_are_repeatable(self, hearing: Hearing) -> None:
        """The same chunk gets the same answer again, whatever was heard in between."""
        for name in hearing.sound:
            if not self._same(hearing.one(name), hearing.again[name]):
                self.broken(f"{name} gave {brief([hearing.one(name)])}, and later {brief(hearing.again[name])}")

    def _compare_batches(self, hearing: Hearing, wrong: bool | None, message: str) -> None:
        self._repeatable(hearing)
        if hearing.info.input.max_batch == 1:
            pytest.skip("it takes one chunk at a time")
        if wrong is False and oracle.distinct((hearing.one(name) for name in hearing.sound), self.tolerance) < 2:
            pytest.skip("every sound got the same answer, so nothing can be told apart; give it examples()")
        for names, answers in hearing.batches:
            if not isinstance(answers, (list, tuple)) or len(answers) != len(names):
                continue
            expected = [hearing.one(name) for name in names]
            found = oracle.order_matches(expected, answers, self.tolerance)
            if found is wrong:
                self.broken(f"{message}: {', '.join(names)} give {brief(answers)}; one by one {brief(expected)}")

    def test_order_is_kept(self, hearing: Hearing) -> None:
        """Answers come in the order of the chunks."""
        self._compare_batches(hearing, False, "the answers come in another order than the chunks")

    def test_answers_do_not_depend_on_the_batch(self, hearing: Hearing) -> None:
        """A chunk gets the same answer alone and in a batch, whatever its neighbours."""
        self._compare_batches(hearing, None, "answers depend on what else is in the batch")

    def test_known_sounds_are_heard(self, fresh: Hearing, tmp_path: Path) -> None:
        """The author's examples get the labels they should."""
        examples = list(self.examples())
        if not examples:
            pytest.skip("no examples() are given")
        runner = self._open(tmp_path)
        try:
            for example in examples:
                scene = Scene(example.name, "", example.samples)
                signal = oracle.make_signal(scene, fresh.info.input, fresh.rate, tmp_path)
                heard = {d.label for d in oracle.detections_of(runner.predict([signal])[0])}
                if not (example.heard <= heard if example.heard else not heard):
                    self.broken(f"{example.name}: heard {sorted(heard)}, not {sorted(example.heard)}")
        finally:
            close_quietly(runner)

    def test_input_is_left_alone(self, fresh: Hearing, tmp_path: Path) -> None:
        """Samples, files and the batch itself are only read; arrays that cannot be written to are fine."""
        runner = self._open(tmp_path)
        try:
            for name in self._repeatable(fresh):
                for writable in (True, False):
                    self._play_and_compare(runner, self._signals(fresh, [name], tmp_path, writable=writable), writable)
        finally:
            close_quietly(runner)

    def _play_and_compare(self, runner: Runner, batch: list[Signal], writable: bool) -> None:
        signal, before = batch[0], _content(batch[0])
        try:
            runner.predict(batch)
        except Exception as error:
            self.broken(f"with {'' if writable else 'read-only '}samples predict raises {error!r}")
        if _content(signal) != before:
            self.broken("predict changes the samples it was given")
        if len(batch) != 1 or batch[0] is not signal:
            self.broken("predict changes the batch it was given")

    def test_failure_is_raised(self, fresh: Hearing, tmp_path: Path) -> None:
        """A chunk whose samples or file are missing raises; it is not passed off as silence."""
        if not any(oracle.detections_of(fresh.one(name)) for name in fresh.sound):
            pytest.skip("it never hears anything, so it need not look")
        bad = self._unplayable(fresh, tmp_path)
        runner = self._open(tmp_path)
        try:
            found = runner.predict([bad])
        except Exception:
            return
        finally:
            close_quietly(runner)
        self.broken(f"a chunk that cannot be read gets the answer {found!r}; raise instead")

    def _unplayable(self, fresh: Hearing, tmp_path: Path) -> Signal:
        if fresh.info.input.kind in ("nothing", "checked"):
            pytest.skip("it is given nothing")
        signal = self._signals(fresh, [next(iter(fresh.scenes))], tmp_path)[0]
        missing = tmp_path / "there is no such file.wav" if fresh.info.input.kind == "file" else None
        return attrs.evolve(signal, samples=None, path=missing)

    def test_a_failing_batch_harms_no_other(self, fresh: Hearing, tmp_path: Path) -> None:
        """After a batch that fails, the next is answered as ever."""
        bad = self._unplayable(fresh, tmp_path)
        runner = self._open(tmp_path)
        try:
            try:
                runner.predict([bad])
            except Exception:
                pass
            self._expect_same(runner, fresh, tmp_path, "after a failing batch")
        finally:
            close_quietly(runner)

    def test_close_can_be_called_twice(self, fresh: Hearing, tmp_path: Path) -> None:
        """`close` can be called again, and without any predict before."""
        runner = self._open(tmp_path)
        for time in ("first", "second"):
            try:
                runner.close()
            except Exception as error:
                self.broken(f"the {time} close raises {type(error).__name__}: {error}")

    def test_it_can_be_opened_again(self, hearing: Hearing) -> None:
        """After closing, another instance can be opened in the same process, and answers as ever."""
        if hearing.reopening is not None:
            self.broken(hearing.reopening)

    def test_instances_share_nothing(self, fresh: Hearing, tmp_path: Path) -> None:
        """With isolation 'thread', instances in two threads answer as one alone does; closing one harms no other."""
        if isolation_of(self.spec, self.make_options()) == "process":
            pytest.skip("it has its process for itself")
        names = self._repeatable(fresh)
        one, other = self._open(tmp_path / "0"), self._open(tmp_path / "1")
        try:
            orders = [names, [*names[len(names) // 2 :], *names[: len(names) // 2]]]
            wrong = side_by_side(
                [
                    lambda name, r=runner, f=tmp_path / str(i): self._predict(r, fresh, [name], f)  # type: ignore[misc]
                    for i, runner in enumerate((one, other))
                ],
                orders,
                lambda name, found: self._same(fresh.one(name), found),
            )
            if wrong is not None:
                self.broken(
                    f"beside another instance {wrong[0]} gives {brief(wrong[1])}, alone {brief([fresh.one(wrong[0])])}"
                )
            other.close()
            self._expect_same(one, fresh, tmp_path, "after another instance was closed")
        finally:
            close_quietly(one)
            close_quietly(other)

    def test_stdout_is_left_alone(self, fresh: Hearing, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """With isolation 'thread', nothing is printed to stdout, which belongs to the command line."""
        if isolation_of(self.spec, self.make_options()) == "process":
            pytest.skip("it may print in its own process")
        capfd.readouterr()
        runner = self._open(tmp_path)
        for name in fresh.sound:
            self._predict(runner, fresh, [name], tmp_path)
        close_quietly(runner)
        printed = capfd.readouterr().out
        if printed:
            self.broken(f"it prints to stdout: {printed[:200]!r}; use a logger, or stderr")

    def test_nothing_is_left_behind(self, fresh: Hearing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The working folder is neither changed nor written to; scratch files go below `context.scratch`."""
        here = tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        runner = self._open(tmp_path)
        for name in fresh.sound:
            self._predict(runner, fresh, [name], tmp_path)
        close_quietly(runner)
        if Path.cwd() != here:
            self.broken(f"it changes the working folder to {Path.cwd()}")
        if os.listdir(here):
            self.broken(f"it leaves {sorted(os.listdir(here))} in the working folder")


@functools.cache
def _imported_by_identify(question: str) -> list[str]:
    _, modules = run_python(_IDENTIFY, question)
    return heavy_among(modules, MODEL_LIBRARIES)


def _content(signal: Signal) -> Mapping[str, Any]:
    samples = None if signal.samples is None else (signal.samples.shape, signal.samples.tobytes())
    return {"samples": samples, "file": signal.path.read_bytes() if signal.path and signal.path.is_file() else None}

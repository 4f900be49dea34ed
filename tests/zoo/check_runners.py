"""Runs the kit over the zoo's runners; the failures are wanted. See tests/test_contracts.py."""

import numpy as np
import zoo_runners

from badc_core.testing import Example, RunnerContract


def _gong(self):
    t = np.arange(8000) / 8000
    yield Example("a gong", (0.9 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), {"louder"})
    yield Example("nothing", np.zeros(8000, np.float32), ())


for _animal in [*zoo_runners.GOOD, *zoo_runners.WRONG]:
    _body = {"entry_module": "zoo_runners", "name": _animal if " " in _animal else _animal.lower()}
    if _animal in ("Good", "IsDeaf"):
        _body["examples"] = _gong
    globals()[f"Test{_animal.replace(' ', '')}"] = type(f"Test{_animal}", (RunnerContract,), _body)


class TestHeavy(RunnerContract):
    entry_module = "zoo_heavy"


class TestChatty(RunnerContract):
    entry_module = "zoo_chatty"


class TestKnownFailure(RunnerContract):
    entry_module = "zoo_runners"
    name = "dropssilence"
    xfails = {"test_one_answer_per_chunk": "the vendor's library drops silent chunks"}  # noqa: RUF012


class TestOutdatedFailure(RunnerContract):
    entry_module = "zoo_runners"
    name = "good"
    xfails = {"test_order_is_kept": "was so once"}  # noqa: RUF012


class TestNotReady(RunnerContract):
    entry_module = "zoo_runners"
    name = "check_not_ready"

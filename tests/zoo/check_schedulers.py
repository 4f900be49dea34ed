"""Runs the kit over the zoo's schedulers; the failures are wanted. See tests/test_contracts.py."""

import zoo_schedulers

from badc_core.testing import SchedulerContract

for _animal in [*zoo_schedulers.GOOD, *zoo_schedulers.WRONG]:
    _body = {"entry_module": "zoo_schedulers", "name": _animal.lower(), "wait_s": 5.0}
    globals()[f"Test{_animal}"] = type(f"Test{_animal}", (SchedulerContract,), _body)

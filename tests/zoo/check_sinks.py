"""Runs the kit over the zoo's sinks; the failures are wanted. See tests/test_contracts.py."""

import zoo_sinks

from badc_core.testing import SinkContract

for _animal in [*zoo_sinks.GOOD, *zoo_sinks.WRONG]:
    _body = {"entry_module": "zoo_sinks", "name": _animal.lower()}
    globals()[f"Test{_animal}"] = type(f"Test{_animal}", (SinkContract,), _body)

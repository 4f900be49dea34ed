"""Runs the kit over the zoo's runners that meet seams; the failures are wanted. See tests/test_contracts.py."""

import zoo_seams

from badc_core.testing import SeamContract

for _animal in [*zoo_seams.GOOD, *zoo_seams.WRONG]:
    _body = {"entry_module": "zoo_seams", "name": _animal.lower()}
    globals()[f"Test{_animal}"] = type(f"Test{_animal}", (SeamContract,), _body)

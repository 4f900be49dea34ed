"""Runs the kit over the zoo's readers; the failures are wanted. See tests/test_contracts.py."""

import zoo_readers

from badc_core.testing import ReaderContract

for _animal in [*zoo_readers.GOOD, *zoo_readers.WRONG]:
    _body = {"entry_module": "zoo_readers", "name": _animal.lower()}
    globals()[f"Test{_animal}"] = type(f"Test{_animal}", (ReaderContract,), _body)

"""The conformance kit: standard tests for plugins, run by pytest.

Subclass the contract of your kind of plugin, name the module, and run pytest::

    from badc_core.testing import RunnerContract


    class TestMyRunner(RunnerContract):
        entry_module = "badc_mylab"

What each test promises stands in ``docs/reference/conformance-kit.md``.
"""

from __future__ import annotations

from badc_core.testing.base import Contract, ExpectedFailure
from badc_core.testing.exporter import ExporterContract
from badc_core.testing.oracle import Example
from badc_core.testing.reader import ReaderContract
from badc_core.testing.runner import RunnerContract
from badc_core.testing.scheduler import SchedulerContract
from badc_core.testing.seams import SeamContract
from badc_core.testing.sink import SinkContract

__all__ = [
    "Contract",
    "Example",
    "ExpectedFailure",
    "ExporterContract",
    "ReaderContract",
    "RunnerContract",
    "SchedulerContract",
    "SeamContract",
    "SinkContract",
]

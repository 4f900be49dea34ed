"""An entry module that imports its model on discovery."""

import torch  # noqa: F401
from zoo_runners import runner_spec

from badc_core import hookimpl


@hookimpl
def badc_runners():
    yield runner_spec("Good")

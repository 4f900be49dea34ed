"""An entry module that prints when it is imported."""

from zoo_runners import runner_spec

from badc_core import hookimpl

print("Loading the zoo ...")


@hookimpl
def badc_runners():
    yield runner_spec("Good")

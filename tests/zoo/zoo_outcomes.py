"""A pytest plugin that writes what became of every test, one JSON object a line, to ``$ZOO_OUTCOMES``."""

import json
import os
from pathlib import Path


def pytest_runtest_logreport(report):
    if report.when != "call" and report.outcome == "passed":
        return
    outcome = "xfailed" if hasattr(report, "wasxfail") and report.outcome == "skipped" else report.outcome
    _, cls, test = report.nodeid.split("::")
    line = {"class": cls, "test": test.partition("[")[0], "outcome": outcome, "message": report.longreprtext}
    with Path(os.environ["ZOO_OUTCOMES"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")

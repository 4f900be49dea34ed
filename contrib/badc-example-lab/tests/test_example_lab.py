"""The standard tests of a runner and of an exporter, and our own."""

import csv

import numpy as np

from badc_core.testing import Example, ExporterContract, RunnerContract
from badc_example_lab import level_db, note


class TestLoudness(RunnerContract):
    entry_module = "badc_example_lab"

    def examples(self):
        """Sounds whose right answer we know."""
        yield Example("a gong", np.sin(np.arange(8000) / 10).astype(np.float32), {"loud"})
        yield Example("a whisper", 0.01 * np.sin(np.arange(8000) / 10).astype(np.float32), set())


class TestFieldNotes(ExporterContract):
    entry_module = "badc_example_lab"
    columns = ("site", "recording_id", "label", "confidence")

    def keeps(self, row):
        """Chunks in which nothing was heard are left out."""
        return row["label"] != "none"

    def read(self, target):
        """Read the notes back, without the exporter's code."""
        names = {"recording": "recording_id", "heard": "label"}
        with target.open(encoding="utf-8", newline="") as file:
            return [{names.get(k, k): v or None for k, v in row.items()} for row in csv.DictReader(file)]


def test_full_scale_is_0_db():
    assert abs(level_db(np.ones(10, np.float32))) < 1e-9
    assert level_db(np.zeros(10, np.float32)) == -120


def test_a_time_without_a_zone_stays_without_one():
    row = {"site": None, "recording_id": "REC1", "label": "loud", "confidence": 0.5}
    local = note({**row, "detected_at": "2026-05-03T03:13:12.000000"})
    assert local == ["", "REC1", "2026-05-03", "03:13:12.0", "", "loud", "0.500", ""]
    assert note({**row, "detected_at": "2026-05-03T03:13:12.000000+00:00"})[4] == "+00:00"

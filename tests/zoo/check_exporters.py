"""Runs the kit over the zoo's exporters; the failures are wanted. See tests/test_contracts.py."""

import csv
import json

import zoo_exporters

from badc_core.testing import ExporterContract

COLUMNS = ("recording_id", "chunk_start_ms", "timestamp_ms", "end_ms", "label", "label_name", "confidence", "status")


class ZooContract(ExporterContract):
    columns = COLUMNS

    def read(self, target):
        with target.open(encoding="utf-8", newline="") as file:
            return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]


def _keeps(self, row):
    return (row["confidence"] or 0) >= 0.3


def _read_folder(self, target):
    return [json.loads(line) for line in (target / "part.jsonl").read_text().splitlines()]


for _animal in [*zoo_exporters.GOOD, *zoo_exporters.WRONG]:
    _pause_s = 1.1 if _animal == "StampsItsFile" else 0.0
    _body = {"pause_s": _pause_s, "entry_module": "zoo_exporters", "name": _animal.lower()}
    if _animal == "GoodForALab":
        _body["keeps"] = _keeps
    if _animal == "GoodWithFolders":
        _body["read"] = _read_folder
    globals()[f"Test{_animal}"] = type(f"Test{_animal}", (ZooContract,), _body)

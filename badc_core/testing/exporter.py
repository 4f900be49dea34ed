"""The contract of exporters: :class:`ExporterContract`."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from badc_core.exporting import COLUMNS, PLACEHOLDER_LABEL, RowBatch
from badc_core.protocols import Exporter
from badc_core.specs import ExporterSpec
from badc_core.testing.base import Contract

__all__ = ["ExporterContract"]

Row = Mapping[str, Any]

_AWKWARD = [
    "Zaunkönig, «Troglodytes»",
    'a "quoted" name',
    "comma, semicolon; tab\there",
    "two\nlines",
    "ไก่ป่า 鶯 🐦",
    "'single' \\back\\ =1+1",
    " blanks around ",
    "NULL",
]

_SUMMARY = {"detections": 3, "chunks": 4}


def make_rows(count: int = 12) -> list[dict[str, Any]]:
    """Make rows of the detections table: two recordings, one chunk without detections."""
    rows = []
    for number in range(count):
        chunk = number // 3
        silent = number == count - 1
        start = None if silent else 500 * number % 3000
        label = PLACEHOLDER_LABEL if silent else ("RUGR", "COYE", "AMRO")[number % 3]
        rows.append(
            {
                "recording_id": f"REC{1 + number // 6}",
                "chunk_id": f"REC{1 + number // 6}_{chunk * 3000}_{chunk * 3000 + 3000}",
                "chunk_start_ms": chunk * 3000,
                "chunk_end_ms": chunk * 3000 + 3000,
                "timestamp_ms": start,
                "absolute_time_ms": None if start is None else chunk * 3000 + start,
                "end_ms": None if start is None else start + 500,
                "absolute_end_ms": None if start is None else chunk * 3000 + start + 500,
                "label": label,
                "label_code": None if silent else label,
                "label_name": None if silent else f"Species {number % 3}",
                "confidence": None if silent else round(0.1 + number / 20, 3),
                "status": "no_detections" if silent else "ok",
                "runner": "kit",
                "model_version": "1.0",
                "chunk_sha256": "0f" * 32,
                "source_path": "/data/site a/REC1.raw",
                "dataset_root": "/data",
                "study_area": "Area",
                "site": "A",
                "recorded_at": "2026-05-03T03:13:00.000000+00:00",
                "detected_at": None if silent else "2026-05-03T03:13:01.500000+00:00",
                "low_hz": None if silent else 1000.0,
                "high_hz": None if silent else 8000.5,
                "missing_ms": 0,
            }
        )
    return rows


class ExporterContract(Contract):
    """Standard tests of an exporter.

    Attributes
    ----------
    pause_s
        How long to wait between two exports that must give the same bytes, so that a time stamp shows.
    columns
        Columns of the detections table that the format keeps; :meth:`read` gives them back under these names.
    """

    spec_class: ClassVar[type[ExporterSpec]] = ExporterSpec
    pause_s: ClassVar[float] = 1.1
    columns: ClassVar[Sequence[str]] = tuple(column.name for column in COLUMNS)
    _replaceable: ClassVar = {"columns", "keeps", "pause_s", "read", "survives"}

    # ------------------------------------------------------------------------- what an author may replace

    def read(self, target: Path) -> Sequence[Row]:
        """Return the rows of an exported file, with the names of the detections table; ``None`` for null.

        By default CSV with these names in its header, or JSON lines, by suffix. It must not use the exporter's code.
        """
        text = target.read_text(encoding="utf-8")
        if target.suffix == ".csv":
            import io

            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            return [{key: value or None for key, value in row.items()} for row in reader]
        return [json.loads(line) for line in text.split("\n") if line]

    def keeps(self, row: Row) -> bool:
        """Say whether the format keeps a row at all; by default all, those of silent chunks too."""
        return True

    def survives(self, text: str) -> str:
        """Return what becomes of a text that is written and read; by default itself."""
        return text

    # --------------------------------------------------------------------------------------- how tests look

    def _open(self, target: Path) -> Exporter:
        exporter: Exporter = self.load_or_skip(self.spec.open)(target, self.make_options())
        return exporter

    def _export(self, target: Path, rows: Sequence[Row], batch: int = 5, *, checkpoints: bool = False) -> None:
        exporter = self._open(target)
        for first in range(0, len(rows), batch):
            exporter.write(RowBatch([dict(row) for row in rows[first : first + batch]]))
            if checkpoints:
                exporter.checkpoint()
        exporter.checkpoint()
        exporter.close(_SUMMARY)

    def _target(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"detections of ß{self.spec.suffix}"

    def _back(self, target: Path) -> list[tuple[Any, ...]]:
        if not target.exists():
            self.broken(f"after close there is nothing at the target; its folder holds {_listing(target.parent)}")
        try:
            return [tuple(_plain(row.get(column)) for column in self.columns) for row in self.read(target)]
        except Exception as error:
            return self.broken(f"what it wrote cannot be read: {type(error).__name__}: {error}")

    def _expected(self, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
        kept = [row for row in rows if self.keeps(row)]
        return [tuple(_plain(self._survived(row.get(column))) for column in self.columns) for row in kept]

    def _survived(self, value: Any) -> Any:
        return self.survives(value) if isinstance(value, str) else value

    def _compare(self, target: Path, rows: Sequence[Row], what: str) -> None:
        found, expected = self._back(target), self._expected(rows)
        if len(found) != len(expected):
            self.broken(f"{what}: {len(found)} rows come back, not {len(expected)}")
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            for column, got, wanted in zip(self.columns, one, other, strict=True):
                if not _same(got, wanted):
                    self.broken(f"{what}: {column} of row {number} comes back as {got!r}, not {wanted!r}")

    @pytest.fixture
    def works(self, tmp_path: Path) -> None:
        """Skip unless ordinary rows come back."""
        target = self._target(tmp_path / "works")
        try:
            self._export(target, make_rows(11))
            self._compare(target, make_rows(11), "")
        except (Exception, pytest.fail.Exception):
            pytest.skip("ordinary rows do not come back: see test_rows_come_back")

    # --------------------------------------------------------------------------------------- standard tests

    def test_suffix_is_one(self) -> None:
        """The spec's suffix begins with a dot, so that a file can be named when the user names none."""
        suffix = self.spec.suffix
        if not suffix.startswith(".") or len(suffix) < 2 or "/" in suffix:
            self.broken(f"the suffix is {suffix!r}, not one like '.csv'")

    def test_rows_come_back(self, tmp_path: Path) -> None:
        """What was written can be read: all rows that the format keeps, in order, with their columns."""
        target = self._target(tmp_path)
        self._export(target, make_rows())
        self._compare(target, make_rows(), "an ordinary table")

    def test_awkward_texts_survive(self, works: None, tmp_path: Path) -> None:
        """Unicode, quotes, separators and line ends come back as they were, or as `survives` declares."""
        rows = make_rows(len(_AWKWARD) + 1)[: len(_AWKWARD)]
        for row, text in zip(rows, _AWKWARD, strict=True):
            row |= dict.fromkeys(("recording_id", "chunk_id", "label", "label_name", "site", "source_path"), text)
        target = self._target(tmp_path)
        try:
            self._export(target, rows)
        except Exception as error:
            self.broken(f"awkward texts raise {type(error).__name__}: {error}")
        self._compare(target, rows, "awkward texts")

    def test_nulls_survive(self, works: None, tmp_path: Path) -> None:
        """A value that is missing is missing when read, not ``0``, ``nan`` or ``None``."""
        needed = {"recording_id", "chunk_id", "label", "status"}
        rows = [{k: v if k in needed else None for k, v in row.items()} for row in make_rows(4)[:3]]
        target = self._target(tmp_path)
        try:
            self._export(target, rows)
        except Exception as error:
            self.broken(f"nulls raise {type(error).__name__}: {error}")
        self._compare(target, rows, "a table with nulls")

    def test_an_empty_table_is_a_table(self, works: None, tmp_path: Path) -> None:
        """Without rows, and with a batch without rows, there is a file that reads as no rows."""
        for name, batches in (("none", []), ("empty", [RowBatch([])])):
            target = self._target(tmp_path / name)
            exporter = self._open(target)
            for batch in batches:
                exporter.write(batch)
            exporter.checkpoint()
            exporter.close(_SUMMARY)
            self._compare(target, [], f"a table without rows ({name})")

    def test_batches_do_not_show(self, works: None, tmp_path: Path) -> None:
        """However the rows are cut into batches, and with a checkpoint after each, the same rows come back."""
        for size in (1, 4, 100):
            target = self._target(tmp_path / str(size))
            self._export(target, make_rows(), size, checkpoints=True)
            self._compare(target, make_rows(), f"batches of {size} with checkpoints")

    def test_nothing_appears_before_close(self, works: None, tmp_path: Path) -> None:
        """The target does not exist until `close`, not after a checkpoint either."""
        target = self._target(tmp_path)
        exporter = self._open(target)
        seen = target.exists()
        exporter.write(RowBatch(make_rows()))
        seen = seen or target.exists()
        exporter.checkpoint()
        seen = seen or target.exists()
        exporter.close(_SUMMARY)
        if seen:
            self.broken("the target is there before close; write to another name and rename")

    def test_abort_leaves_nothing(self, works: None, tmp_path: Path) -> None:
        """`close(None)` leaves the folder as it was: no target, no temporary file."""
        for written in (False, True):
            target = self._target(tmp_path / str(written))
            exporter = self._open(target)
            if written:
                exporter.write(RowBatch(make_rows()))
                exporter.checkpoint()
            exporter.close(None)
            left = _listing(target.parent)
            if left:
                self.broken(f"close(None) leaves {left}")

    def test_an_old_file_stays_until_close(self, works: None, tmp_path: Path) -> None:
        """What was at the target before stays whole until `close`, and stays for good after `close(None)`."""
        target = self._target(tmp_path)
        self._export(target, make_rows(7))
        old = _digest(target)
        exporter = self._open(target)
        exporter.write(RowBatch(make_rows()))
        exporter.checkpoint()
        if not target.exists() or _digest(target) != old:
            self.broken("the file of before is lost before close")
        exporter.close(None)
        if not target.exists() or _digest(target) != old:
            self.broken("the file of before is lost by close(None)")
        self._export(target, make_rows())
        self._compare(target, make_rows(), "written over an older file")

    def test_close_can_be_called_twice(self, works: None, tmp_path: Path) -> None:
        """After `close(summary)`, further closes, with or without a summary, change nothing."""
        target = self._target(tmp_path)
        exporter = self._open(target)
        exporter.write(RowBatch(make_rows()))
        exporter.close(_SUMMARY)
        for again in (_SUMMARY, None):
            try:
                exporter.close(again)
            except Exception as error:
                self.broken(f"a second close raises {type(error).__name__}: {error}")
            if not target.exists():
                self.broken(f"a second close({'summary' if again else None}) removes the finished file")
            self._compare(target, make_rows(), "after a second close")

    def test_bytes_are_the_same_twice(self, works: None, tmp_path: Path) -> None:
        """The same rows give the same bytes, a second later and in another folder."""
        digests = []
        for name in ("one", "two"):
            target = self._target(tmp_path / name)
            self._export(target, make_rows())
            digests.append(_digest(target))
            if len(digests) == 1:
                time.sleep(self.pause_s)
        if digests[0] != digests[1]:
            self.broken("the same rows give other bytes the second time")

    def test_rows_are_left_alone(self, works: None, tmp_path: Path) -> None:
        """Rows are not changed: other exporters get the same."""
        rows = make_rows()
        exporter = self._open(self._target(tmp_path))
        exporter.write(RowBatch(rows))
        exporter.close(_SUMMARY)
        if rows != make_rows():
            self.broken("write changes the rows it was given")

    def test_stdout_is_left_alone(self, works: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """Nothing is printed to stdout, which belongs to the command line."""
        capfd.readouterr()
        self._export(self._target(tmp_path), make_rows())
        printed = capfd.readouterr().out
        if printed:
            self.broken(f"it prints to stdout: {printed[:200]!r}")


def _plain(value: Any) -> Any:
    """Make values comparable: a missing number may be NaN where a format has no null."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _same(got: Any, wanted: Any) -> bool:
    if got is None or wanted is None:
        return got is wanted
    if isinstance(wanted, (int, float)):
        try:
            return math.isclose(float(got), wanted, rel_tol=1e-6, abs_tol=1e-9)
        except (TypeError, ValueError):
            return False
    return str(got) == str(wanted)


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _digest(target: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(target.rglob("*")) if target.is_dir() else [target]:
        if path.is_file():
            found.update(str(path.relative_to(target)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()

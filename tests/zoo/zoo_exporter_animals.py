"""Exporters, right and wrong: each wrong one has one fault."""

import csv
import datetime as dt
import json
from pathlib import Path

import attrs

from badc_core import option

COLUMNS = ("recording_id", "chunk_start_ms", "timestamp_ms", "end_ms", "label", "label_name", "confidence", "status")


class Good:
    """CSV of a few columns, under another name until it is finished."""

    def __init__(self, target, options):
        self.target = Path(target)
        self.part = self.target.with_name(self.target.name + ".part")
        self.open()

    def open(self):
        self.file = self.part.open("w", encoding="utf-8", newline="")
        self.writer = csv.writer(self.file, lineterminator="\n")
        self.begin()

    def begin(self):
        self.writer.writerow(COLUMNS)

    def row(self, row):
        return ["" if row.get(name) is None else row[name] for name in COLUMNS]

    def write(self, batch):
        for row in batch.rows():
            self.writer.writerow(self.row(row))

    def checkpoint(self):
        self.file.flush()

    def close(self, summary):
        if self.file.closed:
            return
        self.file.close()
        if summary is None:
            self.part.unlink()
        else:
            self.part.replace(self.target)


@attrs.frozen
class LabOptions:
    threshold: float = option(0.3, help="least confidence")


class GoodForALab(Good):
    """Leaves out what is uncertain."""

    def __init__(self, target, options):
        self.threshold = options.threshold
        super().__init__(target, options)

    def write(self, batch):
        for row in batch.rows():
            if (row["confidence"] or 0) >= self.threshold:
                self.writer.writerow(self.row(row))


class GoodWithFolders(Good):
    """A folder of one JSON lines file, made at the end."""

    def open(self):
        self.rows, self.done = [], False

    def write(self, batch):
        self.rows += [json.dumps({name: row.get(name) for name in COLUMNS}) + "\n" for row in batch.rows()]

    def checkpoint(self):
        pass

    def close(self, summary):
        if summary is not None and not self.done:
            self.target.mkdir(exist_ok=True)
            (self.target / "part.jsonl").write_text("".join(self.rows))
        self.done = True


class WritesInPlace(Good):
    """Keeps the old file as it must, but writes a new one in sight."""

    def open(self):
        self.fresh = not self.target.exists()
        if self.fresh:
            self.part = self.target
        super().open()

    def close(self, summary):
        if not self.file.closed and self.fresh and summary is not None:
            self.file.close()
        super().close(summary)


class LosesTheOldFile(Good):
    def open(self):
        self.target.unlink(missing_ok=True)
        super().open()


class ForgetsItsPart(Good):
    def close(self, summary):
        if summary is None:
            self.file.close()
        super().close(summary)


class FinishesWhenAborted(Good):
    def __init__(self, target, options):
        super().__init__(target, options)
        self.fresh = not self.target.exists()

    def close(self, summary):
        super().close({} if self.fresh else summary)


class ClosesOnce(Good):
    def close(self, summary):
        self.file.flush()
        if self.file.closed:
            raise ValueError("already closed")
        super().close(summary)


class CleansUpTooWell(Good):
    def close(self, summary):
        if self.file.closed and summary is None:
            self.target.unlink(missing_ok=True)
        super().close(summary)


class StampsItsFile(Good):
    def row(self, row):
        stamp = dt.datetime.now().isoformat(timespec="seconds")
        return [*super().row(row), stamp]


class JoinsWithCommas(Good):
    def write(self, batch):
        for row in batch.rows():
            self.file.write(",".join(str(value) for value in self.row(row)) + "\n")


class KnowsLatinOnly(Good):
    def write(self, batch):
        for row in batch.rows():
            row["label"].encode("latin-1")
            self.writer.writerow(self.row(row))


class WritesNone(Good):
    def row(self, row):
        return [row.get(name) for name in COLUMNS[:1]] + [str(row.get(name)) for name in COLUMNS[1:]]


class WritesNoneForMissingNames(Good):
    """Right for rows of silent chunks, wrong for a bird without a name."""

    def row(self, row):
        made = super().row(row)
        if row["label_name"] is None and row["label"] != "none":
            made[COLUMNS.index("label_name")] = "None"
        return made


class NeedsRows(Good):
    rows = 0

    def write(self, batch):
        super().write(batch)
        self.rows += 1

    def close(self, summary):
        if summary is not None and not self.rows:
            self.file.close()
            self.part.unlink()
            return
        super().close(summary)


class NeedsRowsInBatches(Good):
    def write(self, batch):
        next(iter(batch.rows()))
        super().write(batch)


class KeepsTheLastBatch(Good):
    def write(self, batch):
        self.file.seek(0)
        self.file.truncate()
        self.begin()
        super().write(batch)


class BreaksAtCheckpoints(Good):
    """Repeats its header after a checkpoint in the middle."""

    stopped = False

    def checkpoint(self):
        super().checkpoint()
        self.stopped = True

    def write(self, batch):
        if self.stopped:
            self.begin()
        super().write(batch)


class ChangesRows(Good):
    def row(self, row):
        row["label"] = row["label"] or "unknown"
        row["source_path"] = None
        return super().row(row)


class HasNoSuffix(Good):
    pass


class Prints(Good):
    def write(self, batch):
        print("writing")
        super().write(batch)

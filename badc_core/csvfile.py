"""CSV as BADC reads and writes it: by column names, streamed, quoted only where RFC 4180 needs it.

Text is UTF-8; bytes of file names that are no UTF-8 survive as surrogate escapes.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from badc_core import annex
from badc_core.atomic import replacing
from badc_core.errors import ManifestError

__all__ = ["Table", "decimal_number", "field", "whole_number", "writing"]

_special = re.compile(r'[",\r\n]').search


def field(text: str) -> str:
    """Return a field's text, between quotation marks where it needs them."""
    # csv.writer before Python 3.13 leaves a lone \r unquoted, which every reader takes for the end of the line.
    return '"' + text.replace('"', '""') + '"' if _special(text) else text


def whole_number(text: str) -> int | None:
    """Return a whole number, without its fraction; ``None`` for an empty or unreadable field."""
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        number = decimal_number(text)
        return None if number is None else int(number)


def decimal_number(text: str) -> float | None:
    """Return a finite number; ``None`` for an empty or unreadable field."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@contextlib.contextmanager
def writing(path: Path, columns: Iterable[str]) -> Iterator[Any]:
    """Write a CSV file whole; yields the open file, in which the first line stands already.

    Raises
    ------
    ManifestError
        Something is no text.
    StoreError
        The system refused.
    """
    try:
        with replacing(path) as file:
            file.write(",".join(columns) + "\n")
            yield file
    except UnicodeEncodeError as error:
        raise ManifestError(f"Cannot write {path}: {error.object!r} is not text.") from None


Mend = Callable[[list[str], list[str]], "list[str] | None"]


class Table:
    """The rows of a CSV file, as tuples in the order of `columns`; a column that is not there is empty.

    Parameters
    ----------
    path
        The file.
    columns, required
        Names of the columns, of which the first `required` must be there.
    mend
        Puts a row with a wrong number of fields right, or gives ``None``.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], required: int, mend: Mend | None = None) -> None:
        self._path = path
        self._columns = columns
        self._required = required
        self._mend = mend
        self._row: list[str] = []
        self._reader: Any = None

    def error(self, message: str, *, hint: str | None = None) -> ManifestError:
        """Make an error that names the file and the line on which the row in hand begins."""
        line = self._reader.line_num - sum(len(re.findall("\r\n|\r|\n", field)) for field in self._row)
        return ManifestError(f"{self._path}, line {line}: {message}", hint=hint)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        try:
            with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                yield from self._rows(file)
        except csv.Error as error:
            self._row = []
            raise self.error(f"this is no CSV: {error}.", hint="Is a quotation mark missing?") from None
        except FileNotFoundError:
            self._must_have_content()
            raise ManifestError(f"There is no manifest {self._path}.") from None
        except OSError as error:
            raise ManifestError(f"Cannot read {self._path}: {error.strerror or error}.") from error

    def _rows(self, file: Iterable[str]) -> Iterator[tuple[str, ...]]:
        self._reader = reader = csv.reader(file, strict=True)
        header = self._header(next(reader, None))
        width = len(header)
        # A column that is not there points behind the row's end, where an empty field is put.
        pick = itemgetter(*[header.index(name) if name in header else width for name in self._columns])
        for row in reader:
            self._row = row
            if not (row and row[0]) and not "".join(row).strip():
                continue  # blank lines, and the rows of commas that spreadsheets leave behind
            if len(row) != width:
                mended = self._mend(row, header) if self._mend is not None else None
                if mended is None:
                    raise self._misfit(len(row), width)
                row = mended
            row.append("")
            yield pick(row)

    def _header(self, row: list[str] | None) -> list[str]:
        if row is None:
            raise ManifestError(f"{self._path} is empty.", hint="The first line names the columns.")
        self._must_have_content()
        header = [name.strip() for name in row]
        for name in self._columns[: self._required]:
            if name not in header:
                close = difflib.get_close_matches(name, header, n=1)
                hint = f"Is it the column {close[0]!r}? " if close else ""
                hint += f"The first line must name: {', '.join(self._columns[: self._required])}."
                raise ManifestError(f"{self._path}, line 1: there is no column {name!r}.", hint=hint)
        for name in self._columns:
            if header.count(name) > 1:
                raise ManifestError(f"{self._path}, line 1: the column {name!r} occurs twice.")
        return header

    def _must_have_content(self) -> None:
        if annex.content_missing(self._path):
            raise ManifestError(
                f"The content of {self._path} is not on this machine: git-annex keeps it elsewhere.",
                hint=annex.fetch_hint(self._path),
            )

    def _misfit(self, fields: int, width: int) -> ManifestError:
        if fields < width:
            hint = "Was the file cut off here? Make it anew, or complete the row."
        else:
            hint = 'Put fields that hold a comma between quotation marks: "a,b".'
        return self.error(f"the row has {fields} fields, the first line {width}.", hint=hint)

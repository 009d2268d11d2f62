"""Records of delimited text (CSV, TSV) as people have it: stray quotes, escaped quotes, any delimiter."""

from __future__ import annotations

import csv
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

_DELIMITERS = ",;\t|"
_NO_DELIMITER = "\x1f"
"""For files of one column: no text holds it."""
_MAX_LINES = 1_000_000
"""A quoted cell with more lines than this is one whose quote never closes."""
_MAX_LETTERS = 1 << 27
"""Likewise."""
_SAMPLE_RECORDS = 500
_SAMPLE_LETTERS = 1 << 22
_SEP_LINE = re.compile(r'"?sep=(\\t|.)"?\s*', re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?\d,\d+")
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
FORMULA = re.compile(r"'*(?:[\t\r]|\s*[=+\-@＝＋－＠])")
"""The beginning of a cell that a spreadsheet would run, and of one that an apostrophe keeps from it."""
STRAY_QUOTE = "stray quote read as text"
DECIMAL_COMMA = "decimal comma without quotes"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The delimiter of a file, and whether quotes enclose cells in it."""

    delimiter: str
    quoted: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One record with the line that it begins on; ``problem`` says why it cannot be used."""

    line: int
    cells: Sequence[str]
    problem: str = ""
    mended: str = ""
    """``STRAY_QUOTE`` or ``DECIMAL_COMMA`` where it had to be read in another way than it is written."""
    enclosed: bool = False
    """Whether quotes enclose a cell of it although the dialect has none."""


class _Lines(Iterator[str]):
    """Lines that can be given back; ``taken`` are those of the current record."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._back: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0
        self._letters = 0

    def __next__(self) -> str:
        if not self.taken:
            self._letters = 0
        if len(self.taken) >= _MAX_LINES or self._letters > _MAX_LETTERS:
            raise StopIteration
        line = self._back.popleft() if self._back else next(self._lines)
        self.number += 1
        self._letters += len(line)
        self.taken.append(line)
        return line

    def give_back(self, count: int) -> None:
        """Give back the last ``count`` lines of those taken."""
        if count:
            self._back.extendleft(reversed(self.taken[-count:]))
            del self.taken[-count:]
            self.number -= count


def records(lines: Iterable[str], *, tabs: bool) -> Iterator[Record]:
    """Yield the records of a file, its header first; empty lines are left out.

    Args:
        lines: The lines, with their ends.
        tabs: Whether the file's name says that tabs delimit it.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default of 128 KiB rejects long texts
    source = _Lines(lines)
    dialect = _declared(source) or _dialect(source, tabs=tabs)
    yield from _read(source, dialect)


def _declared(source: _Lines) -> Dialect | None:
    """Return the dialect of a first line such as ``sep=;``, which Excel writes and which is no header."""
    first = next(source, "")
    declared = _SEP_LINE.fullmatch(first)
    if declared:
        source.taken.clear()
        return Dialect(declared[1].replace("\\t", "\t"))
    source.give_back(bool(first))
    return None


def _dialect(source: _Lines, *, tabs: bool) -> Dialect:
    """Return the dialect in which the records at the top of a file fit their header best."""
    sample, letters = list[str](), 0
    for line in islice(source, _SAMPLE_RECORDS):
        sample.append(line)
        letters += len(line)
        if letters > _SAMPLE_LETTERS:
            break
    source.give_back(len(sample))
    header = next((line for line in sample if line.strip()), "")
    delimiters = "\t" if tabs and "\t" in header else _DELIMITERS
    tried = [Dialect(delimiter) for delimiter in delimiters]
    tried += [Dialect("\t", quoted=False)] if "\t" in delimiters else []
    fits = {dialect: _fit(sample, dialect) for dialect in tried}
    best = max(tried, key=lambda dialect: fits[dialect])
    several_columns, *_ = fits[best]
    return best if several_columns else Dialect(_NO_DELIMITER)


def _fit(sample: Sequence[str], dialect: Dialect) -> tuple[bool, float, bool]:
    """Return how well a dialect explains the top of a file: more than a column, few faults, its default."""
    found = list(_read(_Lines(sample), dialect))
    if not found or found[0].problem:
        return False, 0.0, False
    faults = sum(bool(record.problem or record.mended or record.enclosed) for record in found)
    if not dialect.quoted:
        enclosed = [any(_enclosed(cell) for cell in record.cells) for record in found]
        faults += sum(enclosed)
    usual = dialect.quoted == (dialect.delimiter != "\t")
    return len(found[0].cells) > 1, -faults / len(found), usual


def _enclosed(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _read(source: _Lines, dialect: Dialect) -> Iterator[Record]:
    columns = 0
    while True:
        source.taken.clear()
        line = source.number + 1
        record = _record(source, dialect, line, columns)
        if record is None:
            return
        if not any(cell.strip() for cell in record.cells) and not record.problem:
            continue
        columns = columns or len(record.cells)
        yield record


def _record(source: _Lines, dialect: Dialect, line: int, columns: int) -> Record | None:
    """Return the next record, or None at the end: as it should be read, else as it can be read."""
    cells, error = _attempt(source, dialect)
    if cells is None and not error:
        return None
    if cells is not None and (fitting := _fitting(cells, columns)):
        return _continued(source, dialect, line, columns) or Record(line, fitting)
    if cells is not None and dialect.delimiter == "," and (joined := _with_decimal_comma(cells, columns)):
        return Record(line, joined, mended=DECIMAL_COMMA)
    return _rescued(source, dialect, line, columns) or _broken(source, dialect, line, columns, cells, error)


def _continued(source: _Lines, dialect: Dialect, line: int, columns: int) -> Record | None:
    """Return a record whose first line is whole by itself only if its last quote is escaped, or None."""
    if not columns or not dialect.quoted or not source.taken[-1].rstrip("\r\n").endswith('\\"'):
        return None
    whole = len(source.taken)
    following, error = _attempt(source, dialect)
    source.give_back(len(source.taken) - whole)
    if not error and (following is None or _fitting(following, columns)):
        return None
    source.give_back(whole)
    record = _unescaped(source, dialect, line, columns)
    if record is None:
        for _ in range(whole):
            next(source)
    return record


def _unescaped(source: _Lines, dialect: Dialect, line: int, columns: int) -> Record | None:
    """Read a record with a backslash before the quotes within its cells; without one, no line is taken."""
    escaped = (_ESCAPED_QUOTE.sub(r'\1""', part) for part in source)
    cells, _ = _attempt(escaped, dialect)
    if cells is not None and (fitting := _fitting(cells, columns)):
        return Record(line, fitting)
    source.give_back(len(source.taken))
    return None


def _attempt(source: Iterator[str], dialect: Dialect) -> tuple[list[str] | None, str]:
    """Return the cells of the next record (None at the end of the file), or what is wrong with it."""
    if not dialect.quoted:
        line = next(source, None)
        return (None if line is None else line.rstrip("\r\n").split(dialect.delimiter)), ""
    try:
        return next(csv.reader(source, delimiter=dialect.delimiter, strict=True), None), ""
    except csv.Error as error:
        return None, str(error)


def _fitting(cells: list[str], columns: int) -> list[str] | None:
    """Return the cells if there is one for each column; empty ones at the end are left out."""
    if len(cells) > columns > 1 and not any(cell.strip() for cell in cells[columns:]):
        cells = cells[:columns]
    blank = not any(cell.strip() for cell in cells)
    return cells or [""] if blank or not columns or len(cells) == columns else None


def _with_decimal_comma(cells: list[str], columns: int) -> list[str] | None:
    """Return the cells of a record that has one too many because of a number such as 0,9, or None."""
    if not columns or len(cells) != columns + 1:
        return None
    split = [
        at for at in range(columns) if _DECIMAL.fullmatch(f"{cells[at].strip()},{cells[at + 1].strip()}")
    ]
    if len(split) != 1:
        return None
    at = split[0]
    return [*cells[:at], f"{cells[at].strip()},{cells[at + 1].strip()}", *cells[at + 2 :]]


def _rescued(source: _Lines, dialect: Dialect, line: int, columns: int) -> Record | None:
    """Read a faulty record with escaped quotes, with its quotes as text, or with quotes after all."""
    taken = list(source.taken)
    if not columns or not any('"' in part for part in taken):
        return None
    if not dialect.quoted:
        source.give_back(len(source.taken))
        cells, _ = _attempt(source, Dialect(dialect.delimiter))
        if cells is not None and (fitting := _fitting(cells, columns)):
            return Record(line, fitting, enclosed=True)
        source.give_back(len(source.taken) - 1)
        return None
    source.give_back(len(source.taken))
    if any('\\"' in part for part in taken) and (record := _unescaped(source, dialect, line, columns)):
        return record
    first = next(source)
    for cells in _leniently(first.rstrip("\r\n"), dialect.delimiter):
        if len(cells) == columns and _stands_alone(taken, dialect, columns):
            return Record(line, cells, mended=STRAY_QUOTE)
    return None


def _leniently(line: str, delimiter: str) -> Iterator[list[str]]:
    """Yield ways to read one line whose quotes are not as they should be."""
    mark = re.escape(delimiter)
    end = rf"(?={mark}|$)"
    unescaped = r'(?:(?!(?<!\\)"' + end + ")"  # no closing quote but one after a backslash
    for inner in (unescaped + ".)*", ".*?", ".*"):
        cell = re.compile(rf'"({inner})"{end}|([^{mark}]*)')
        cells, at = list[str](), 0
        while at <= len(line) and (match := cell.match(line, at)):
            text = match[2] if match[1] is None else match[1].replace('""', '"').replace('\\"', '"')
            cells.append(text)
            at = match.end() + 1
        yield cells
    yield line.split(delimiter)


def _stands_alone(taken: Sequence[str], dialect: Dialect, columns: int) -> bool:
    """Return whether the line after the first is a record of its own, not the rest of the first one."""
    following = next((part for part in taken[1:] if part.strip()), None)
    if following is None:
        return True
    return any(len(cells) == columns for cells in _leniently(following.rstrip("\r\n"), dialect.delimiter))


def _broken(
    source: _Lines, dialect: Dialect, line: int, columns: int, cells: list[str] | None, error: str
) -> Record:
    """Return what is wrong with a record; reading goes on at its next line, or after it if it is whole."""
    if error:
        source.give_back(len(source.taken) - 1)
        return Record(line, [], f"not CSV ({error}); check the quotes there.")
    extra = source.taken[1:]
    own = sum(len(part.split(dialect.delimiter)) == columns for part in extra)
    if extra and own * 2 >= len(extra):
        source.give_back(len(extra))
    count = len(cells or [])
    return Record(
        line, [], f"{count} columns where the header has {columns}; fix this line or quote its text."
    )

"""CSV files as people have them, line by line: what is wrong is told of its line and spoils no other."""

from __future__ import annotations

import csv
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mien.errors import DataError

__all__ = ["not_utf8", "read_records", "small_number"]

OTHER_SPELLINGS = {"license": "licence"}  # of columns
LONGEST_LINE = 1 << 17  # characters; a row of fer2013.csv has at most 9,240


def read_records(
    path: Path, wanted: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield (line number, fields by column) for each line below the header, in which spaces around a field are cut.

    optional: columns that a file may have, in upper or lower case; they come under these names.
    The fields are {} for an empty line, and a text that says what is wrong where the line is no row.  A row is one
    line, whatever its quotes say: a stray quote would otherwise swallow the rows that follow.  Bytes that are not UTF-8
    come as `os.fsdecode` gives them.
    Raises DataError where the file cannot be read, lacks a wanted column or has a known one twice.
    """
    lines = _lines(path)
    header = _fields(next(lines, ""))
    if isinstance(header, str) or not set(wanted) <= set(header):
        came = reprlib.repr(header if isinstance(header, str) else ", ".join(header))
        hint = _hint(header, wanted)
        raise DataError(f"{path}: expected the columns {', '.join(wanted)} in its first line; got {came}{hint}")
    header = [_known(name, optional, header) for name in header]
    if twice := [name for name in (*wanted, *optional) if header.count(name) > 1]:
        raise DataError(f"{path}: has more than one column {twice[0]}; expected one")
    for number, line in enumerate(lines, start=2):
        fields = _fields(line)
        if isinstance(fields, str):
            yield number, fields
        elif not fields:
            yield number, {}
        elif len(fields) != len(header):
            yield number, f"expected {len(header)} fields, got {len(fields)} (is the line torn?)"
        else:
            yield number, dict(zip(header, fields, strict=True))


def not_utf8(record: dict[str, str], columns: Iterable[str]) -> str | None:
    """Return in words which of these columns is no UTF-8; None where all are."""
    for column in columns:
        if any("\udc80" <= letter <= "\udcff" for letter in record.get(column, "")):
            return f"the {column} is not UTF-8; save the list as CSV in UTF-8"
    return None


def small_number(text: str, *, below: int) -> int | None:
    """Return a number of one to three digits, None where it is none or too large."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < below else None


def _known(name: str, optional: Sequence[str], header: Sequence[str]) -> str:
    """Return which optional column a name of the header means; the name itself where it is none, or another has its."""
    meant = name.lower()
    meant = OTHER_SPELLINGS.get(meant, meant)
    return meant if meant in optional and meant not in header else name


def _hint(header: list[str] | str, wanted: Sequence[str]) -> str:
    """Return what may help where a header lacks columns."""
    if isinstance(header, str):
        return ""
    text = ",".join(header)
    if "\0" in text or "\udcff" in text:
        return "; save it as CSV in UTF-8"
    if any(set(wanted) <= {field.strip() for field in text.split(mark)} for mark in ";\t"):
        return "; separate its fields by commas"
    return "; write them in lower case" if set(wanted) <= set(text.lower().split(",")) else ""


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, of one that is too long the first LONGEST_LINE characters."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            while line := file.readline(LONGEST_LINE):
                yield line
                while len(line) == LONGEST_LINE and not line.endswith("\n"):
                    line = file.readline(LONGEST_LINE)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _fields(line: str) -> list[str] | str:
    """Return the fields of one line of CSV, [] where it is empty, or what is wrong with it."""
    if len(line) == LONGEST_LINE:
        return f"the line has {LONGEST_LINE:,} characters or more"
    if not (line := line.strip()):
        return []
    try:  # splitting is quicker than the reader
        fields = next(csv.reader([line], strict=True)) if '"' in line else line.split(",")
    except csv.Error as error:
        return f"not a row of CSV ({error})"
    return [field.strip() for field in fields]

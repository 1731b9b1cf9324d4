"""CSV files as people have them, line by line: what is wrong is told of its line and spoils no other."""

from __future__ import annotations

import csv
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.errors import DataError

__all__ = ["read_records"]

LONGEST_LINE = 1 << 17  # characters; a row of fer2013.csv has at most 9,240


def read_records(path: Path, wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield (line number, fields by column) for each line below the header, in which spaces around a field are cut.

    The fields are {} for an empty line, and a text that says what is wrong where the line is no row.  A row is one
    line, whatever its quotes say: a stray quote would otherwise swallow the rows that follow.  Bytes that are not UTF-8
    come as `os.fsdecode` gives them.
    Raises DataError where the file cannot be read or lacks a wanted column.
    """
    lines = _lines(path)
    header = _fields(next(lines, ""))
    if isinstance(header, str) or not set(wanted) <= set(header):
        came = reprlib.repr(header if isinstance(header, str) else ", ".join(header))
        hint = _hint(header, wanted)
        raise DataError(f"{path}: expected the columns {', '.join(wanted)} in its first line; got {came}{hint}")
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

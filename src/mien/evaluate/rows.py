"""A table of measurements as CSV: read, and added to."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mien.errors import DataError
from mien.files import write_text
from mien.locks import in_turn

__all__ = ["Layout", "add_rows", "read_rows", "score_text"]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table of measurements looks like."""

    name: str  # of such a file, by which errors call it
    columns: tuple[str, ...]
    key: tuple[str, ...]  # the columns which two rows of one measurement share


def score_text(value: float) -> str:
    """Return a score with four digits, empty where there is none."""
    return "" if math.isnan(value) else f"{value:.4f}"


def read_rows(path: str | Path, layout: Layout) -> list[dict[str, str]]:
    """Return the rows of a table, none where there is no such file yet.

    Raises DataError where the file is there and is not such a table.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            fits = tuple(reader.fieldnames or ()) == layout.columns
            rows = list(reader) if fits else []
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a {layout.name} ({error}); name another with --results") from error
    if not fits or any(None in row or None in row.values() for row in rows):
        raise DataError(f"{path}: not a {layout.name} of this version of mien; name another file with --results")
    return rows


def add_rows(path: str | Path, layout: Layout, added: Iterable[dict[str, str]]) -> None:
    """Add rows to a table; one of the same measurement is replaced in its place.  Processes do so one after the other.

    Raises DataError where the file is there and is not such a table.
    """
    with in_turn(Path(path).parent):
        rows = {tuple(row[name] for name in layout.key): row for row in read_rows(path, layout)}
        for row in added:
            rows[tuple(row[name] for name in layout.key)] = row
        text = io.StringIO()
        writer = csv.DictWriter(text, layout.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
        write_text(path, text.getvalue())

"""FER+'s `fer2013new.csv`: the votes of ten taggers for each row of fer2013.csv, and files of votes in its layout."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.records import read_records, small_number
from mien.errors import DataError
from mien.labels import FERPLUS_COLUMNS, VOTES

__all__ = ["Votes", "read_ferplus"]


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """The votes of a file, row for row."""

    line: list[int]  # of the file
    usage: list[str]  # in fer2013.csv
    name: list[str]  # of the picture; "" in FER+'s own file where FER+ found no face in the row
    row_of: dict[str, int]  # a picture's name -> its row, which is not the number in the name
    counts: NDArray[np.uint8]  # (N, 10) in the order of labels.VOTES


def read_ferplus(path: Path) -> Votes:
    """Return the votes of a file.  DataError names the file and the row that is not as it should be."""
    line_of, usage, names, counts = [], [], [], []
    column_of = {answer: column for column, answer in FERPLUS_COLUMNS.items()}
    for line, record in read_records(path, ("Usage", "Image name", *FERPLUS_COLUMNS)):
        if not record:
            continue
        if isinstance(record, str):
            raise DataError(f"{path}:{line}: {record}")
        votes = [small_number(record[column_of[answer]], below=256) for answer in VOTES]
        if None in votes:
            told = reprlib.repr([record[column] for column in FERPLUS_COLUMNS])
            raise DataError(f"{path}:{line}: a vote is not a count: {told}")
        line_of.append(line)
        usage.append(record["Usage"])
        names.append(record["Image name"])
        counts.append(votes)
    row_of = {name: row for row, name in enumerate(names) if name}
    return Votes(line_of, usage, names, row_of, np.array(counts, np.uint8).reshape(-1, len(VOTES)))

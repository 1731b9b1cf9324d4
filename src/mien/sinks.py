r"""Readings to files: JSON lines, CSV, Parquet.  One row is one face.

A JSON line holds source, frame, time_s, face, track, box [x0, y0, x1, y1], detector_score, expression, confidence,
probabilities {label: p} and mixture {"name", "shares" {label: share}}.  CSV and Parquet hold the same, flat: box_x0 ...
box_y1, mixture as its name, and one column p_LABEL a label.  For a picture frame, time_s and track are null (empty in
CSV); face counts the faces of the picture or the frame from 0, the largest first.
Bytes of a file's name that are not UTF-8 stand in source as \xNN.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from mien.errors import InputError
from mien.files import atomic_path
from mien.types import FrameReading, Reading

__all__ = ["FORMATS", "Row", "Sink", "open_sink", "to_row"]

Row = dict[str, Any]


class Sink(Protocol):
    """Anything that takes rows."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add the rows."""


def to_row(source: str, face: int, reading: Reading, *, frame: FrameReading | None = None) -> Row:
    """Return the row of one face, in the keys and the order of a JSON line.

    frame: of a video, that the face is in; None: of a picture.
    """
    mixture = reading.mixture
    return {
        "source": source.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        "frame": None if frame is None else frame.number,
        "time_s": None if frame is None else round(frame.time_s, 4),
        "face": face,
        "track": reading.track,
        "box": [round(float(value), 2) for value in reading.face.box_xyxy],
        "detector_score": round(float(reading.face.score), 4),
        "expression": reading.expression,
        "confidence": round(reading.confidence, 6),
        "probabilities": {label: round(share, 6) for label, share in reading.probabilities.items()},
        "mixture": {
            "name": mixture.name,
            "shares": {label: round(share, 4) for label, share in mixture.shares.items()},
        },
    }


class JsonLinesSink:
    """One JSON object a line."""

    def __init__(self, file: IO[str], _labels: Sequence[str]) -> None:
        """Write to an open text file."""
        self._file = file

    def write(self, rows: Sequence[Row]) -> None:
        """Add the rows."""
        for row in rows:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


class _Lines:
    """A text file that lines of CSV are written to, which come with both characters of an end of line.

    Else `csv` would not quote a text that holds one of them.
    """

    def __init__(self, file: IO[str]) -> None:
        """Write to an open text file."""
        self._file = file

    def write(self, line: str) -> None:
        """Write a line, which ends in a line feed alone."""
        self._file.write(line.removesuffix("\r\n") + "\n")


class CsvSink:
    """A header and one line a face."""

    def __init__(self, file: IO[str], labels: Sequence[str]) -> None:
        """Write to an open text file, the header with the first rows, be they none."""
        self._writer = csv.DictWriter(_Lines(file), _columns(labels))
        self._begun = False

    def write(self, rows: Sequence[Row]) -> None:
        """Add the rows."""
        if not self._begun:
            self._writer.writeheader()
            self._begun = True
        self._writer.writerows(_flat(row) for row in rows)


class ParquetSink:
    """A Parquet file with one row a face."""

    GROUP = 10_000  # rows that are collected before they are written: each write is a row group with its own statistics

    def __init__(self, file: IO[bytes], labels: Sequence[str]) -> None:
        """Write to an open file; `close` completes it."""
        kinds = {"source": pa.string(), "frame": pa.int64(), "face": pa.int64(), "track": pa.int64()}
        kinds |= {"expression": pa.string(), "mixture": pa.string()}
        self._schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in _columns(labels)])
        self._writer = pq.ParquetWriter(file, self._schema)
        self._waiting: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        """Add the rows."""
        self._waiting += [_flat(row) for row in rows]
        if len(self._waiting) >= self.GROUP:
            self._write_waiting()

    def close(self) -> None:
        """Complete the file."""
        if self._waiting:
            self._write_waiting()
        self._writer.close()

    def _write_waiting(self) -> None:
        """Write what is collected."""
        self._writer.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting = []


_TEXT_SINKS: dict[str, Callable[[IO[str], Sequence[str]], Sink]] = {"jsonl": JsonLinesSink, "csv": CsvSink}

#: The formats that `open_sink` writes, which are also the suffixes of their files.
FORMATS = (*_TEXT_SINKS, "parquet")


@contextmanager
def open_sink(target: Path | IO[str], kind: str, labels: Sequence[str]) -> Iterator[Sink]:
    """Yield a sink of a format in FORMATS to a path or, for text formats, to an open file.

    labels: in the model's order.  The file of a path appears when the block ends well, and not otherwise.
    Raises InputError for another format or Parquet to an open file, OutputError where it cannot be written.
    """
    if kind == "parquet" and isinstance(target, Path):
        # Opened here, as pyarrow takes no name that is not UTF-8.
        with (
            atomic_path(target) as temporary,
            temporary.open("wb") as binary,
            closing(ParquetSink(binary, labels)) as sink,
        ):
            yield sink
    elif kind in _TEXT_SINKS and isinstance(target, Path):
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            yield from _text_sink(file, kind, labels)
    elif kind in _TEXT_SINKS and not isinstance(target, Path):
        yield from _text_sink(target, kind, labels)
    else:
        raise InputError(f"{kind!r} cannot be written to {target}; expected {', '.join(FORMATS)}, parquet to a path")


def _text_sink(file: IO[str], kind: str, labels: Sequence[str]) -> Iterator[Sink]:
    """Yield a sink of a text format; where nothing was written, the header is."""
    sink = _TEXT_SINKS[kind](file, labels)
    yield sink
    sink.write([])


def _columns(labels: Sequence[str]) -> list[str]:
    """Return the columns of a flat row."""
    box = ["box_x0", "box_y0", "box_x1", "box_y1"]
    head = ["source", "frame", "time_s", "face", "track", *box, "detector_score", "expression", "confidence", "mixture"]
    return head + [f"p_{label}" for label in labels]


def _flat(row: Row) -> Row:
    """Return a row without lists and dictionaries."""
    flat = {key: value for key, value in row.items() if key not in ("box", "probabilities", "mixture")}
    flat |= dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), row["box"], strict=True))
    flat["mixture"] = row["mixture"]["name"]
    return flat | {f"p_{label}": share for label, share in row["probabilities"].items()}

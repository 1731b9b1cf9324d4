"""The rows of `mien recognize`: in which format they come out, and where."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from mien.cli.console import out
from mien.errors import InputError
from mien.files import is_device, printable
from mien.media import image_suffixes
from mien.sinks import FORMATS, Row, open_sink
from mien.video import VIDEO_SUFFIXES

__all__ = ["Format", "Write", "choose", "rows_to"]

#: As many programs have it; by the other names a file that the shell opened would be replaced, not added to.
STDOUT = (Path("-"), Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1"))
_LINES = ("json", "txt")  # suffixes that JSON lines go by as well
Write = Callable[[Sequence[Row]], None]


class Format(StrEnum):
    """What comes out."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def choose(fmt: Format | None, out_path: Path | None) -> tuple[Format, Path | None]:
    """Return the format and the file (None: stdout) that the options mean together; InputError where they do not."""
    if out_path in STDOUT:
        out_path = None
    suffix = out_path.suffix.lstrip(".").lower() if out_path else ""
    kind = fmt or (Format(suffix) if suffix in FORMATS else Format.JSONL if out_path else Format.TABLE)
    if out_path is None:
        if kind is Format.PARQUET:
            raise InputError("Parquet cannot go to the terminal; name a file with --out")
        return kind, None
    if f".{suffix}" in image_suffixes() | VIDEO_SUFFIXES:
        raise InputError(
            f"{out_path}: --out is for the readings; pictures and videos are written with --annotate FOLDER"
        )
    if kind is Format.TABLE:
        raise InputError("a table is for the terminal; with --out choose --format jsonl, csv or parquet")
    if out_path.is_dir() or (not suffix and not out_path.exists()):
        return kind, out_path / f"readings.{kind}"
    if fmt is None and suffix not in (*FORMATS, *_LINES) and not is_device(out_path):
        raise InputError(f"{out_path}: the name tells no format; end it in .jsonl, .csv or .parquet, or add --format")
    if suffix in FORMATS and suffix != kind:
        raise InputError(f"{out_path}: the name says {suffix}, but --format says {kind}; let them agree")
    return kind, out_path


@contextmanager
def rows_to(kind: Format, target: Path | None, labels: Sequence[str]) -> Iterator[Write]:
    """Yield a function that takes rows; of a table those of pictures alone, as videos have one of their own."""
    if kind is not Format.TABLE:
        if target is None and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # whatever the terminal's: another program reads this
        with open_sink(target or sys.stdout, kind, labels) as sink:
            yield sink.write
        return
    table = Table(
        "picture", "face", Column("box", no_wrap=True), "expression", "probability", Column("next", no_wrap=True)
    )

    def add(rows: Sequence[Row]) -> None:
        for row in rows:
            if row["track"] is not None:
                continue
            second = sorted(row["probabilities"].items(), key=lambda item: -item[1])[1]
            box = ", ".join(f"{value:.0f}" for value in row["box"])
            table.add_row(
                Text(printable(row["source"])), str(row["face"]), box, Text(row["expression"]),
                f"{100 * row['confidence']:.1f}%", Text(f"{second[0]} {100 * second[1]:.1f}%"),
            )  # fmt: skip

    yield add
    if table.row_count:
        out.print(table)

"""FER2013 in miniature, in the layouts that people have."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mien.labels import FER2013, FERPLUS_COLUMNS
from mien.media import write_image
from mien.types import ImageArray, IntArray

USAGES = ("Training", "PublicTest", "PrivateTest")


@dataclass(frozen=True, eq=False)
class Mini:
    """A few rows as FER2013 has them, and how they are written down."""

    faces: ImageArray  # (N, 48, 48)
    emotion: IntArray  # (N,)
    usage: list[str]
    votes: ImageArray  # (N, 10) in the order of FER+'s columns

    def line(self, row: int, **changed: str) -> str:
        """Return one row of fer2013.csv."""
        fields = {
            "emotion": str(self.emotion[row]),
            "pixels": " ".join(map(str, self.faces[row].ravel())),
            "Usage": self.usage[row],
            **changed,
        }
        return ",".join(fields.values())

    def lines(self) -> list[str]:
        """Return the lines of fer2013.csv, its header first."""
        return ["emotion,pixels,Usage", *(self.line(row) for row in range(len(self.faces)))]

    def ferplus_lines(self) -> list[str]:
        """Return the lines of fer2013new.csv; as in FER+'s own, row 2 has no name, and the names go on without it."""
        names = [f"fer{row - (row > 2):07d}.png" if row != 2 else "" for row in range(len(self.faces))]
        rows = zip(self.usage, names, *self.votes.T.tolist(), strict=True)
        return [",".join(("Usage", "Image name", *FERPLUS_COLUMNS)), *(",".join(map(str, row)) for row in rows)]

    def write_folders(self, root: Path, name: Callable[[int], str] | None = None, *, val: str = "") -> Path:
        """Write train|test/<emotion>/*.png, in a folder `val` what is PublicTest where one is named."""
        for row, face in enumerate(self.faces):
            top = {"Training": "train", "PublicTest": val or "test", "PrivateTest": "test"}[self.usage[row]]
            folder = root / top / FER2013[self.emotion[row]]
            folder.mkdir(parents=True, exist_ok=True)
            stem = name(row) if name else f"{self.usage[row]}_{row}"
            write_image(folder / f"{stem}.png", np.repeat(face[..., None], 3, axis=2))
        return root


@pytest.fixture
def mini() -> Mini:
    """Return 14 Training, 5 PublicTest and 6 PrivateTest rows of noise."""
    generator = np.random.default_rng(0)
    return Mini(
        faces=generator.integers(0, 256, (25, 48, 48), np.uint8),
        emotion=np.arange(25) % 7,
        usage=np.repeat(USAGES, [14, 5, 6]).tolist(),
        votes=generator.integers(0, 11, (25, 10), np.uint8),
    )


WriteLines = Callable[..., Path]


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    """Return a function that writes lines, of text or of bytes, into a file."""

    def write(
        lines: Sequence[str | bytes], name: str = "fer2013.csv", *, end: bytes = b"\n", begin: bytes = b""
    ) -> Path:
        path = tmp_path / name
        path.write_bytes(begin + b"".join((line.encode() if isinstance(line, str) else line) + end for line in lines))
        return path

    return write


@pytest.fixture(scope="session")
def real_fer2013(shared: Path) -> Mini:
    """Return all of FER2013, as the shared tool reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the tool leaves closing its files to the interpreter
        rows, faces = runpy.run_path(str(shared / "bin" / "fer2013"))["load"]()
    return Mini(
        faces=faces,
        emotion=np.array([int(row["emotion"]) for row in rows]),
        usage=[row["Usage"] for row in rows],
        votes=np.array([[int(row[column]) for column in FERPLUS_COLUMNS] for row in rows], np.uint8),
    )

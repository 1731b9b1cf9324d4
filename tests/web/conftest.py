"""What the tests of the page share: a small set of faces, and the command that serves it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.faceset import FaceSet, FileRow, FoundFace, stamp_of
from mien.data.quality import Quality
from mien.media import encode_jpeg, read_image, write_image
from mien.spec import CropSpec

MakeSet = Callable[..., FaceSet]
FACE_BOX = (85.0, 30.0, 140.0, 95.0)  # of the portrait that the repository holds, at half its size


@pytest.fixture
def make_set(tmp_path: Path, portrait: Path) -> MakeSet:
    """Return a function that makes a set, or adds to it, of a portrait in different lights; the last one is dropped."""

    def make(count: int = 8, *, first: int = 0, name: str = "faces", crop: CropSpec | None = None) -> FaceSet:
        faceset = FaceSet.create(tmp_path / name, crop=crop or CropSpec(), settings={})
        whole = read_image(portrait)[::2, ::2]
        quality = Quality(**{field.name: 1.0 for field in fields(Quality)})
        for index in range(first, first + count + 1):
            light = (whole.astype(np.float32) * (0.5 + 0.5 * (index % 8) / 8)).astype(np.uint8)
            path = tmp_path / "happy people" / f"{index}.jpg"
            write_image(path, light)
            x0, y0, x1, y1 = map(int, FACE_BOX)
            found = FoundFace(
                f"{index:016x}", None, FACE_BOX, 1.0, quality, "", np.full(faceset.crop.shape, 9 * index, np.uint8)
                .tobytes(), encode_jpeg(light[y0 - 15 : y1 + 10, x0 - 15 : x1 + 15], quality=85),
            )  # fmt: skip
            if index == first + count:
                found = replace(found, reason="sharpness", view=b"")
            faceset.add(FileRow(f"happy people/{index}.jpg", path, stamp_of(path), pictures=1, faces=1), [found])
        return faceset

    return make


@dataclass
class Served:
    """A running `mien data label`."""

    process: subprocess.Popen[str]
    address: str

    def stop(self) -> str:
        """End it as Ctrl-C does and return what it said on stderr."""
        self.process.send_signal(2)
        return self.process.communicate(timeout=20)[1]


Serve = Callable[..., Served]


@contextmanager
def serving(folder: Path, *arguments: str, port: int = 0) -> Iterator[Served]:
    """Yield a running `mien data label` of a set."""
    command = [sys.executable, "-c", "from mien.cli.main import main; main()", "data", "label", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", str(port), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate(timeout=20)[1]
        yield Served(process, address)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def port_of(address: str) -> int:
    """Return the port of an address."""
    found = re.search(r":(\d+)/", address)
    assert found is not None
    return int(found[1])


def until(true: Callable[[], bool], *, seconds: float = 15) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.05)

"""What the tests of pages and service share: a small set of faces, a small service, and what serves them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mien.classify import Classifier
from mien.data.faceset import FaceSet, FileRow, FoundFace, stamp_of
from mien.data.quality import Quality
from mien.media import encode_jpeg, read_image, write_image
from mien.spec import CropSpec
from mien.video_writer import VideoWriter
from mien.web.api import create_api, server_config
from mien.web.limits import Limits
from mien.web.metrics import Metrics
from mien.web.pictures import PictureReader

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


@dataclass
class Service:
    """The service with a tiny model for which each picture is one face, served in a thread."""

    address: str
    temporary: Path  # where its temporary files lie
    server: uvicorn.Server
    thread: threading.Thread

    @property
    def port(self) -> int:
        return port_of(self.address)

    def end(self) -> None:
        """End it as Ctrl-C does."""
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def left(self) -> list[str]:
        """Return the files that lie in the temporary folder."""
        return files_in(self.temporary)


def files_in(folder: Path) -> list[str]:
    """Return the files in a folder and those below it, some of which may go meanwhile."""
    return [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]  # noqa: PTH118


MakeService = Callable[..., Service]


@pytest.fixture
def make_app(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., FastAPI]]:
    """Return a function that makes the service's app; at the end nothing of it may be left in the temporary folder."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def make(*, token: str | None = None, names: frozenset[str] | None = None, **limits: Any) -> FastAPI:
        bounds, metrics = Limits(**limits), Metrics()
        reader = PictureReader(
            Classifier.load(make_model()), detector="none", min_face_px=None, workers=2,
            max_pixels=bounds.max_pixels, on_batch=metrics.batch_faces.observe,
        )  # fmt: skip
        return create_api(reader, limits=bounds, metrics=metrics, token=token, names=names)

    yield make
    assert list(temporary.iterdir()) == []


@pytest.fixture
def make_client(make_app: Callable[..., FastAPI]) -> Iterator[Callable[..., TestClient]]:
    """Return a function that starts the service in this process and gives a client of it."""
    with ExitStack() as stack:

        def make(**settings: Any) -> TestClient:
            app = make_app(**settings)
            return stack.enter_context(
                TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False, follow_redirects=False)
            )

        yield make


@pytest.fixture
def serve(make_app: Callable[..., FastAPI], tmp_path: Path) -> Iterator[MakeService]:
    """Return a function that serves the service on a port of this machine."""
    running: list[Service] = []

    def make(*, token: str | None = None, **limits: Any) -> Service:
        app = make_app(token=token, **limits)
        server = uvicorn.Server(server_config(app, Limits(**limits)))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        running.append(Service(address, tmp_path / "temporary", server, thread))
        until(lambda: server.started)
        return running[-1]

    yield make
    for service in running:
        service.end()


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    """Return the bytes of a small picture."""
    return encode_jpeg(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), quality=85)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a video of a second that grows brighter."""
    path = tmp_path / "clip.mp4"
    still = np.random.default_rng(0).integers(60, 160, (16, 16, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    with VideoWriter(path) as writer:
        for index in range(10):
            writer.write((still + 8 * index).astype(np.uint8), index / 10)
    return path

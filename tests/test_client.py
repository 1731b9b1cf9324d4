"""The client asks a service that runs, and tells plainly what does not work."""

from __future__ import annotations

import ast
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from tests.web.conftest import MakeService, clip, make_app, picture, serve

from mien.client import Client
from mien.errors import InputError, ServiceError
from mien.web.recognizing import TYPES

__all__ = ["clip", "make_app", "picture", "serve"]  # fixtures of the service

TOKEN = "correct-horse-battery"
ROOT = Path(__file__).resolve().parent.parent


def test_pictures_of_paths_and_bytes_are_read_in_order(serve: MakeService, picture: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'a "quoted", grün.jpg'
    path.write_bytes(picture)
    first, second, bad = Client(serve().address).recognize([path, picture, b"no picture"])
    assert (first["name"], second["name"]) == ("a %22quoted%22, grün.jpg", "picture")
    assert first["faces"] == second["faces"]
    assert first["faces"][0]["expression"] in first["faces"][0]["probabilities"]
    assert "not a picture" in bad["error"]


def test_a_video_is_followed_to_its_end_and_deleted(serve: MakeService, clip: Path, tmp_path: Path) -> None:
    service = serve()
    told: list[float] = []
    read = Client(service.address).video(clip, annotated=tmp_path / "copy.mp4", on_progress=told.append)
    assert [row["frame"] for row in read.rows] == list(range(10))
    assert {row["source"] for row in read.rows} == {"clip.mp4"}
    assert (read.summary["people"][0]["track"], read.broke_off, told[-1]) == (1, None, 1)
    with av.open(str(tmp_path / "copy.mp4"), "r") as copy:
        assert len(list(copy.decode(video=0))) == 10
    assert len(Client(service.address).video(clip, every_s=0.5).rows) == 2
    service.end()


def test_a_video_that_is_given_up_is_deleted(serve: MakeService, clip: Path) -> None:
    service = serve()

    def stop(_progress: float) -> None:
        raise KeyboardInterrupt

    client = Client(service.address)
    with pytest.raises(KeyboardInterrupt):
        client.video(clip, on_progress=stop)
    job_id = client.start_video(clip)
    assert client.job(job_id)["id"] == job_id
    client.cancel(job_id)
    client.cancel(job_id)
    with pytest.raises(ServiceError, match="no video of that name"):
        client.job(job_id)


def test_refusals_are_told_in_the_services_words(serve: MakeService, picture: bytes, tmp_path: Path) -> None:
    service = serve(token=TOKEN, max_bytes=len(picture) + 1000)
    assert Client(service.address, TOKEN).recognize([picture])[0]["faces"]
    with pytest.raises(ServiceError, match=r"with its token. \(401\)"):
        Client(service.address).recognize([picture])
    client = Client(service.address, TOKEN)
    with pytest.raises(ServiceError, match=r"send less. \(413\)"):
        client.recognize([picture + bytes(3_000_000)])
    with pytest.raises(ServiceError, match=r"not a picture .* \(422\)"):
        client.recognize([b"no picture"])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(ServiceError, match=r"broken.mp4: cannot be read as video .* \(422\)"):
        client.video(broken)


def test_what_cannot_be_asked_is_refused_here(serve: MakeService, tmp_path: Path) -> None:
    client = Client("http://127.0.0.1:9")
    for address in ("127.0.0.1:8000", "ftp://here", "http://", ""):
        with pytest.raises(InputError, match="no address of a service"):
            Client(address)
    with pytest.raises(InputError, match=r"missing\.jpg: cannot be read"):
        client.recognize([tmp_path / "missing.jpg"])
    with pytest.raises(InputError, match=r"missing\.mp4: cannot be read"):
        client.video(tmp_path / "missing.mp4")
    with pytest.raises(InputError, match="put it in a list"):
        client.recognize(b"picture")  # type: ignore[arg-type]


def test_a_service_that_is_not_there_or_speaks_no_http_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(ServiceError, match=f"127.0.0.1:{port}: the service cannot be reached"):
        Client(f"http://127.0.0.1:{port}").recognize([b"x"])
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            asked, _ = odd.accept()
            with asked:
                asked.recv(10_000)
                asked.sendall(b"SSH-2.0-nothing\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServiceError, match="cannot be reached"):
            Client(f"http://127.0.0.1:{odd.getsockname()[1]}").recognize([b"x"])
        thread.join(10)


@pytest.fixture
def busy_once() -> Iterator[int]:
    """Return the port of a service that is busy at the first request."""
    answers = [
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"pictures":[]}',
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            for text in answers:
                asked, _ = listening.accept()
                with asked:
                    while b"--\r\n" not in asked.recv(10_000):
                        pass
                    asked.sendall(text)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


def test_a_busy_service_is_asked_again(busy_once: int) -> None:
    assert Client(f"http://127.0.0.1:{busy_once}").recognize([b"x"]) == []


def test_the_client_needs_the_standard_library_alone() -> None:
    tree = ast.parse((ROOT / "src" / "mien" / "client.py").read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"mien.errors", "mien.files"}
    assert "application/octet-stream" in TYPES  # of which it sends

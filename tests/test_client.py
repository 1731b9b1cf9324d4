"""The client asks a service that runs, and tells plainly what does not work."""

from __future__ import annotations

import ast
import http.client
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
    assert (first["name"], second["name"]) == ('a "quoted", grün.jpg', "picture")
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
    assert Client(f"{service.address}/?token={TOKEN}").recognize([bytearray(picture)])[0]["faces"]
    client = Client(service.address, TOKEN)
    assert client.recognize([]) == []
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
    long = f"http://{'a' * 70}"
    for address in ("127.0.0.1:8000", "ftp://here", "http://", "", "http://127.0.0.1:80000", "http://[", long):
        with pytest.raises(InputError, match="no address of a service"):
            Client(address)
    for token in (f"{TOKEN}\n", f" {TOKEN}", "grün"):
        with pytest.raises(InputError, match="the token has a space") as refused:
            Client("http://127.0.0.1:9", token)
        assert token.strip() not in str(refused.value)
    with pytest.raises(InputError, match=r"missing\.jpg: cannot be read"):
        client.recognize([tmp_path / "missing.jpg"])
    with pytest.raises(InputError, match=r"missing\.mp4: cannot be read"):
        client.video(tmp_path / "missing.mp4")
    with pytest.raises(InputError, match="put it in a list"):
        client.recognize(b"picture")  # type: ignore[arg-type]  # what is refused


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
def make_service() -> Iterator[Callable[..., str]]:
    """Return a function that starts what gives such answers to the requests that come, and returns its address."""
    with ExitStack() as stack:

        def make(*answers: bytes) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer() -> None:
                for head_and_body in answers:
                    asked, _ = listening.accept()
                    with asked:
                        told = b""
                        while b"\r\n\r\n" not in told or (told.startswith(b"POST") and not told.endswith(b"--\r\n")):
                            told += asked.recv(10_000)
                        asked.sendall(head_and_body)

            thread = threading.Thread(target=answer)
            thread.start()
            stack.callback(thread.join, 10)
            return f"http://127.0.0.1:{listening.getsockname()[1]}"

        yield make


def answer_of(body: bytes, *, status: str = "200 OK", length: int | None = None, more: str = "") -> bytes:
    """Return an answer; length: that it states."""
    stated = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {stated}\r\nConnection: close\r\n{more}\r\n".encode() + body


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_service_is_asked_again(make_service: Callable[..., str], status: str) -> None:
    busy = answer_of(b"", status=status, more="Retry-After: 0\r\n")
    assert Client(make_service(busy, answer_of(b'{"pictures":[]}'))).recognize([b"x"]) == []


def test_a_service_that_ends_is_not_asked_again(make_service: Callable[..., str]) -> None:
    with pytest.raises(ServiceError, match=r"\(503\)"):
        Client(make_service(answer_of(b"", status="503 Service Unavailable"))).recognize([b"x"])


@pytest.fixture
def answers() -> list[bytes]:
    """Return the answers to all requests of a video but for the copy and the last, which deletes it."""
    job = b'{"id": "1", "state": "done", "progress": 1, "error": null}'
    return [answer_of(text) for text in (job, job, b'{"frame": 0}\n', b"{}")]


def test_half_a_copy_is_told_and_not_written(
    make_service: Callable[..., str], answers: list[bytes], clip: Path, tmp_path: Path
) -> None:
    address = make_service(*answers, answer_of(bytes(500), length=1000), answer_of(b""))
    copy = tmp_path / "copies" / "copy.mp4"
    with pytest.raises(ServiceError, match="broke off after 500 of 1000 bytes"):
        Client(address).video(clip, annotated=copy)
    assert not copy.parent.exists()


def test_a_service_that_falls_silent_in_the_middle_of_a_copy_is_named(
    make_service: Callable[..., str], answers: list[bytes], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = http.client.HTTPResponse.read

    def read(answer: http.client.HTTPResponse, *size: int) -> bytes:
        if size:  # a piece of a copy
            raise TimeoutError("timed out")
        return whole(answer)

    monkeypatch.setattr(http.client.HTTPResponse, "read", read)
    address = make_service(*answers, answer_of(bytes(500)), answer_of(b""))
    with pytest.raises(ServiceError, match=r"the service cannot be reached \(timed out\)"):
        Client(address).video(clip, annotated=tmp_path / "copy.mp4")
    assert not (tmp_path / "copy.mp4").exists()


def test_what_a_video_shows_is_returned_where_it_cannot_be_deleted(
    make_service: Callable[..., str], answers: list[bytes], clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = make_service(*answers, answer_of(b"gone wrong", status="500 Internal Server Error"))
    assert Client(address).video(clip).rows == [{"frame": 0}]
    assert "clip.mp4: not deleted from the service, which does so itself later" in caplog.text


def test_the_client_needs_the_standard_library_alone() -> None:
    tree = ast.parse((ROOT / "src" / "mien" / "client.py").read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"mien.errors", "mien.files"}
    assert "application/octet-stream" in TYPES  # of which it sends


@pytest.mark.parametrize("body", [b"<html>Log in", b"[]", b"{}"])
def test_what_answers_but_is_no_service_of_mien_is_told(make_service: Callable[..., str], body: bytes) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    client = Client(make_service(page, page))
    for ask in (lambda: client.recognize([b"x"]), lambda: client.job("x")):
        with pytest.raises(ServiceError, match="answers otherwise than `mien serve` does"):
            ask()

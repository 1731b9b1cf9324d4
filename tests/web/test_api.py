"""Pictures over HTTP: what comes back, who may ask, and what is refused how."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.web.conftest import MakeService, until

from mien.classify import Classifier
from mien.labels import FER2013
from mien.media import encode_jpeg
from mien.recognize import Recognizer
from mien.web.access import LOOPBACK_NAMES
from mien.web.pictures import face_of

MakeClient = Callable[..., TestClient]
TOKEN = "correct-horse-battery"
JPEG = {"content-type": "image/jpeg"}
PROBLEM = "application/problem+json"


def bomb() -> bytes:
    """Return a PNG file of a kilobyte that declares 50,000 x 50,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def problem_of(response: Any, status: int) -> str:
    """Return the detail of a problem document, which the response must be."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    told = response.json()
    assert (told["type"], told["status"]) == ("about:blank", status)
    assert told["title"]
    detail: str = told["detail"]
    return detail


# ---- Answers


def test_a_picture_is_read_as_the_recognizer_reads_it(
    make_client: MakeClient, make_model: Callable[..., Path], picture: bytes
) -> None:
    client = make_client()
    answer = client.post("/v1/recognize", content=picture, headers=JPEG).json()
    (reading,) = Recognizer.load(make_model(), detector="none").read(picture)
    assert (answer["model"], tuple(answer["labels"])) == ("tiny", FER2013)
    (read,) = answer["pictures"]
    assert (read["name"], read["width"], read["height"], read["error"]) == (None, 80, 60, None)
    (face,) = read["faces"]
    wanted = json.loads(json.dumps(face_of(0, reading)))
    assert face.keys() == wanted.keys()
    assert {"face", "track", "box", "detector_score", "expression", "confidence", "probabilities", "mixture"} == set(
        face
    )
    assert face["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    assert face["box"] == [10, 0, 70, 60]


def test_many_pictures_come_back_in_order_with_their_names_and_a_bad_one_is_told_beside_them(
    make_client: MakeClient, picture: bytes
) -> None:
    sent = [("files", (f"folder/{number}, grün.jpg", picture)) for number in range(7)]
    sent.insert(3, ("files", ("broken.jpg", picture[:300])))
    read = make_client().post("/v1/recognize", files=sent).json()["pictures"]
    assert [each["name"] for each in read] == [*(f"{n}, grün.jpg" for n in range(3)), "broken.jpg",
                                               *(f"{n}, grün.jpg" for n in range(3, 7))]  # fmt: skip
    assert [bool(each["error"]) for each in read] == [number == 3 for number in range(8)]
    assert (read[3]["faces"], read[3]["width"]) == ([], None)
    assert all(each["faces"] == read[0]["faces"] for number, each in enumerate(read) if number != 3)


def test_requests_at_once_each_get_their_own_answer(serve: MakeService) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from mien.client import Client

    pictures = [encode_jpeg(np.full((40, 40 + number, 3), 10 * number, np.uint8), quality=90) for number in range(20)]
    client = Client(serve().address)
    with ThreadPoolExecutor(10) as threads:
        read = list(threads.map(lambda data: client.recognize([data])[0], pictures))
    assert [each["width"] for each in read] == [40 + number for number in range(20)]


# ---- What is refused


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"no picture", "not a picture"), (bomb(), "40,000,000 pixels")],
    ids=["empty", "text", "bomb"],
)
def test_what_is_no_picture_is_refused_with_the_reason(make_client: MakeClient, content: bytes, says: str) -> None:
    client = make_client()
    for kind in ("image/png", "application/octet-stream"):
        response = client.post("/v1/recognize", content=content, headers={"content-type": kind})
        assert says in problem_of(response, 422)
    assert says in problem_of(client.post("/v1/recognize", files={"files": ("a.png", content)}), 422)


def test_a_hundred_empty_files_are_refused_and_fifty_too(make_client: MakeClient) -> None:
    client = make_client()
    files = [("files", (f"{number}.jpg", b"")) for number in range(100)]
    assert "50 files" in problem_of(client.post("/v1/recognize", files=files), 413)
    assert "none of the 50 pictures" in problem_of(client.post("/v1/recognize", files=files[:50]), 422)


def test_too_many_bytes_are_refused_said_or_unsaid(make_client: MakeClient, picture: bytes) -> None:
    client = make_client(max_bytes=2000)
    large = picture + bytes(2000)
    assert "2,000 bytes" in problem_of(client.post("/v1/recognize", content=large, headers=JPEG), 413)
    unsaid = client.post("/v1/recognize", content=iter([large[:1000], large[1000:]]), headers=JPEG)
    assert "2,000 bytes" in problem_of(unsaid, 413)
    problem_of(client.post("/v1/recognize", files={"files": large}), 413)
    assert client.post("/v1/recognize", content=encode_jpeg(np.zeros((8, 8, 3), np.uint8), quality=80), headers=JPEG)


def test_other_types_and_broken_forms_are_refused(make_client: MakeClient, picture: bytes) -> None:
    client = make_client()
    for kind in ("text/plain", "application/json", "video/mp4", "", "nonsense"):
        problem_of(client.post("/v1/recognize", content=picture, headers={"content-type": kind}), 415)
    form = {"content-type": "multipart/form-data; boundary=x"}
    for broken in (b"", b"--x", b"nonsense", b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nabc'):
        problem_of(client.post("/v1/recognize", content=broken, headers=form), 400)
    problem_of(client.post("/v1/recognize", content=b"", headers={"content-type": "multipart/form-data"}), 400)
    assert "'files'" in problem_of(client.post("/v1/recognize", files={"other": picture}), 422)
    problem_of(client.post("/v1/recognize", files=[(f"f{number}", b"") for number in range(30)]), 400)


def test_as_many_as_may_be_are_answered_and_the_next_is_told_when_to_come(
    make_client: MakeClient, picture: bytes
) -> None:
    client = make_client(max_at_once=0)
    response = client.post("/v1/recognize", content=picture, headers=JPEG)
    problem_of(response, 429)
    assert int(response.headers["retry-after"]) >= 1
    held = make_client(max_held_bytes=len(picture) - 1)
    problem_of(held.post("/v1/recognize", content=picture, headers=JPEG), 429)


def test_one_that_takes_too_long_is_given_up(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, picture: bytes
) -> None:  # fmt: skip
    import time

    monkeypatch.setattr(Classifier, "predict", lambda self, crops: time.sleep(0.3))
    client = make_client(answer_s=0.05)
    problem_of(client.post("/v1/recognize", content=picture, headers=JPEG), 503)


def test_an_error_of_ours_is_a_problem_without_its_text(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, picture: bytes
) -> None:
    def fail(_self: Classifier, _crops: object) -> None:
        raise ArithmeticError("secret")

    monkeypatch.setattr(Classifier, "predict", fail)
    client = make_client()
    assert "secret" not in problem_of(client.post("/v1/recognize", content=picture, headers=JPEG), 500)
    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_slow_upload_is_ended(serve: MakeService) -> None:
    service = serve(upload_s=0.2, min_bytes_per_s=10**6)
    with socket.create_connection(("127.0.0.1", service.port)) as slow:
        slow.sendall(b"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
                     b"Content-Length: 1000\r\n\r\nabc")  # fmt: skip
        slow.settimeout(10)
        said = b""
        while more := slow.recv(4096):
            said += more
    assert said.startswith(b"HTTP/1.1 408 ")
    assert PROBLEM.encode() in said


def test_one_who_hangs_up_frees_the_place(serve: MakeService, picture: bytes) -> None:
    import httpx2

    service = serve(max_at_once=1)
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    with httpx2.Client(base_url=service.address) as client:
        with socket.create_connection(("127.0.0.1", service.port)) as waiting:
            waiting.sendall(head % 1000 + b"abc")
            until(lambda: "mien_in_flight 1.0" in client.get("/metrics").text)
            assert client.post("/v1/recognize", content=picture, headers=JPEG).status_code == 429
        until(lambda: "mien_in_flight 0.0" in client.get("/metrics").text)
        assert client.post("/v1/recognize", content=picture, headers=JPEG).status_code == 200


def test_a_request_that_the_end_of_the_service_cuts_off_is_told(
    serve: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    import httpx2

    service = serve()
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as waiting:
        waiting.sendall(head + b"abc")
        until(lambda: "mien_in_flight 1.0" in httpx2.get(f"{service.address}metrics").text)
        service.server.should_exit = True
        told = b""
        while part := waiting.recv(10_000):
            told += part
    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in told.lower()
    assert b"The service is stopping" in told
    assert b"cache-control: private, no-store" in told.lower()
    service.thread.join(20)
    assert "Traceback" not in caplog.text


# ---- Who may ask


def test_the_token_opens_as_a_header_or_a_cookie_and_health_needs_none(make_client: MakeClient, picture: bytes) -> None:
    client = make_client(token=TOKEN)
    for path in ("/", "/metrics", "/openapi.json", "/static/mien.html", "/v1/videos/x", "/nothing"):
        response = client.get(path)
        problem_of(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
    problem_of(client.post("/v1/recognize", content=picture, headers=JPEG), 401)
    wrong = {**JPEG, "authorization": "Bearer wrong"}
    problem_of(client.post("/v1/recognize", content=picture, headers=wrong), 401)
    assert client.get("/healthz").status_code == 200
    right = {**JPEG, "authorization": f"Bearer {TOKEN}"}
    paths = client.get("/openapi.json", headers=right).json()["paths"]
    assert "403" in paths["/v1/recognize"]["post"]["responses"]
    assert "403" in paths["/v1/videos/{job_id}"]["delete"]["responses"]
    assert "403" not in paths["/metrics"]["get"]["responses"]
    assert client.post("/v1/recognize", content=picture, headers=right).status_code == 200
    assert client.get(f"/?token={TOKEN}").status_code == 303
    assert client.post("/v1/recognize", content=picture, headers=JPEG).status_code == 200


def test_the_cookie_is_for_https_alone_where_a_proxy_was_asked_by_https(serve: MakeService) -> None:
    import httpx2

    address = f"{serve(token=TOKEN).address}?token={TOKEN}"
    cookies = {
        scheme: httpx2.get(address, headers={"x-forwarded-proto": scheme}).headers["set-cookie"]
        for scheme in ("http", "https")
    }
    assert {scheme: "Secure" in cookie for scheme, cookie in cookies.items()} == {"http": False, "https": True}


def test_other_sites_and_names_are_refused(make_client: MakeClient, picture: bytes) -> None:
    client = make_client(names=LOOPBACK_NAMES)
    for foreign in ({"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://["},
                    {"sec-fetch-site": "cross-site"}):  # fmt: skip
        problem_of(client.post("/v1/recognize", content=picture, headers={**JPEG, **foreign}), 403)
    own = {**JPEG, "origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/recognize", content=picture, headers=own).status_code == 200
    problem_of(client.get("/healthz", headers={"host": "evil.example"}), 421)


# ---- Upkeep


def test_unknown_paths_and_methods_are_problems(make_client: MakeClient) -> None:
    client = make_client()
    problem_of(client.get("/nothing"), 404)
    problem_of(client.get("/static/nothing.js"), 404)
    problem_of(client.get("/static/..%2Fapi.py"), 404)
    refused = client.get("/v1/recognize")
    problem_of(refused, 405)
    assert refused.headers["allow"] == "POST"
    assert client.post("/v1/videos/x").headers["allow"] == "DELETE, GET"


def test_the_page_and_its_files_are_served_with_their_guards(make_client: MakeClient) -> None:
    client = make_client()
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for header, says in {"content-security-policy": "media-src 'self' blob:", "permissions-policy": "camera=(self)",
                         "cache-control": "no-store"}.items():  # fmt: skip
        assert says in page.headers[header]


def test_metrics_count_requests_faces_and_batches(make_client: MakeClient, picture: bytes) -> None:
    client = make_client()
    client.post("/v1/recognize", files=[("files", picture), ("files", picture), ("files", b"x")])
    client.get("/secret-path")
    told = client.get("/metrics").text
    assert 'mien_requests_total{method="POST",route="/v1/recognize",status="200"} 1.0' in told
    assert 'mien_requests_total{method="GET",route="other",status="404"} 1.0' in told
    assert 'mien_faces_total{where="pictures"} 2.0' in told
    assert 'mien_pictures_total{outcome="bad"} 1.0' in told
    assert "mien_batch_faces_sum 2.0" in told
    assert "mien_in_flight 0.0" in told
    assert "mien_held_bytes 0.0" in told
    assert "secret" not in told


def test_two_services_count_for_themselves(make_client: MakeClient) -> None:
    one, other = make_client(), make_client()
    one.get("/healthz")
    assert 'route="/healthz"' not in other.get("/metrics").text


def test_grey_palette_and_turned_pictures_are_read(make_client: MakeClient) -> None:
    client = make_client()
    for mode in ("L", "P", "RGBA"):
        file = io.BytesIO()
        Image.new(mode, (30, 20)).save(file, "PNG")
        assert client.post("/v1/recognize", content=file.getvalue(), headers={"content-type": "image/png"}).json()[
            "pictures"
        ][0]["faces"]

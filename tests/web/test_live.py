"""A camera over the WebSocket: the newest frame is answered, and what is no frame is told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from tests.web.conftest import MakeService, Service, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mien.media import encode_jpeg
from mien.temporal import LiveReader
from mien.types import FrameReading, ImageArray

MakeClient = Callable[..., TestClient]
TOKEN = "correct-horse-battery"


def frame_of(width: int = 80) -> bytes:
    return encode_jpeg(np.random.default_rng(width).integers(0, 256, (60, width, 3), np.uint8), quality=85)


def socket_of(service: Service, path: str = "v1/live", **settings: Any) -> Any:
    return connect(service.address.replace("http", "ws") + path, **settings)


def test_each_frame_is_answered_with_its_faces(make_client: MakeClient) -> None:
    with make_client().websocket_connect("/v1/live") as camera:
        for number in range(10):
            camera.send_bytes(frame_of())
            told = camera.receive_json()
            assert (told["frame"], told["width"], told["height"]) == (number, 80, 60)
            assert told["took_ms"] > 0
            time.sleep(0.05)
    (face,) = told["faces"]
    assert {"face", "track", "box", "detector_score", "expression", "confidence", "probabilities", "mixture"} == set(
        face
    )
    assert face["track"] == 1


def test_frames_may_change_their_size(make_client: MakeClient) -> None:
    with make_client().websocket_connect("/v1/live") as camera:
        for width in (80, 120, 40):
            camera.send_bytes(frame_of(width))
            assert camera.receive_json()["width"] == width


def test_what_is_no_frame_is_told_and_the_next_is_read(make_client: MakeClient) -> None:
    with make_client(max_frame_pixels=60 * 100).websocket_connect("/v1/live") as camera:
        for content, says in ((b"nonsense", "not a picture"), (b"", "empty"), (frame_of(200), "pixels"),
                              (frame_of()[:200], "damaged")):  # fmt: skip
            camera.send_bytes(content)
            told = camera.receive_json()
            assert says in told["error"]
        camera.send_bytes(frame_of())
        assert camera.receive_json()["frame"] == 4


def test_text_and_too_large_a_frame_close_the_connection(make_client: MakeClient) -> None:
    client = make_client(max_frame_bytes=20_000)
    for message, code in (({"text": "hello"}, 1003), ({"bytes": bytes(20_001)}, 1009)):
        with client.websocket_connect("/v1/live") as camera:
            camera.send({"type": "websocket.receive", **message})
            with pytest.raises(WebSocketDisconnect) as closed:
                camera.receive_json()
        assert closed.value.code == code


def test_frames_that_wait_give_way_to_the_newest(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    let, read = threading.Event(), LiveReader.read

    def slowly(self: LiveReader, image_rgb: ImageArray, time_s: float) -> FrameReading:
        assert let.wait(10)
        return read(self, image_rgb, time_s)

    monkeypatch.setattr(LiveReader, "read", slowly)
    client = make_client()
    with client.websocket_connect("/v1/live") as camera:
        camera.send_bytes(frame_of())
        time.sleep(0.3)
        for _ in range(5):
            camera.send_bytes(frame_of())
        until(lambda: 'mien_live_frames_total{outcome="dropped"} 4.0' in client.get("/metrics").text)
        let.set()
        assert [camera.receive_json()["frame"] for _ in range(2)] == [0, 5]


def test_as_many_cameras_as_may_be_are_served_and_a_place_is_free_again(make_client: MakeClient) -> None:
    client = make_client(max_live=1)
    with client.websocket_connect("/v1/live"):
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/v1/live"):
            pass
        assert (refused.value.status_code, "retry-after" in refused.value.headers) == (503, True)
    until(lambda: "mien_live_connections 0.0" in client.get("/metrics").text)
    with client.websocket_connect("/v1/live") as camera:
        camera.send_bytes(frame_of())
        assert camera.receive_json()["frame"] == 0


def test_a_camera_that_sends_nothing_is_let_go(make_client: MakeClient) -> None:
    client = make_client(live_idle_s=0.1)
    with client.websocket_connect("/v1/live") as camera, pytest.raises(WebSocketDisconnect) as closed:
        camera.receive_json()
    assert closed.value.code == 1001


def test_a_camera_is_served_over_the_network_and_one_that_vanishes_leaves_its_place(serve: MakeService) -> None:
    service = serve(max_live=1)
    with httpx2.Client(base_url=service.address) as client:
        with socket_of(service) as camera:
            camera.send(frame_of())
            assert json.loads(camera.recv(10))["frame"] == 0
            camera.socket.shutdown(socket.SHUT_RDWR)  # without a word
        until(lambda: "mien_live_connections 0.0" in client.get("/metrics").text)
    with socket_of(service) as camera:
        with suppress(ConnectionClosed):
            camera.send(bytes(5 * 2**20))
        with pytest.raises(ConnectionClosed) as closed:
            camera.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_the_token_and_the_origin_are_asked_of_cameras_too_without_a_word_in_the_log(
    serve: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service = serve(token=TOKEN)
    for refused in (
        {}, {"additional_headers": {"Authorization": "Bearer wrong"}}, {"path": "v1/live?token=wrong"},
        {"path": "v1/live?token="},
    ):  # fmt: skip
        with pytest.raises(InvalidStatus) as answer:
            socket_of(service, **refused)
        assert answer.value.response.status_code == 401
        assert answer.value.response.headers["content-type"] == "application/problem+json"
    with pytest.raises(InvalidStatus) as answer:
        socket_of(service, f"v1/live?token={TOKEN}", origin="http://evil.example")
    assert answer.value.response.status_code == 403
    own = f"http://127.0.0.1:{service.port}"
    for welcome in (
        {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}}, {"path": f"v1/live?token={TOKEN}"},
        {"additional_headers": {"Cookie": f"mien_token_{service.port}={TOKEN}"}, "origin": own},
    ):  # fmt: skip
        with socket_of(service, **welcome) as camera:
            camera.send(frame_of())
            assert json.loads(camera.recv(10))["frame"] == 0
    assert [record.message for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_the_end_of_the_service_ends_cameras(serve: MakeService) -> None:
    service = serve()
    with socket_of(service) as camera:
        camera.send(frame_of())
        camera.recv(10)
        service.end()
        with pytest.raises(ConnectionClosed):
            camera.recv(10)

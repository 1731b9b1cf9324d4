"""Cameras and streams: the newest frame, errors that come soon and tell no password."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien import live
from mien.errors import VideoError
from mien.live import is_live, name_of, newest_frames
from mien.types import ImageArray

BITS = 12
Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]


def numbered(number: int) -> ImageArray:
    """Return a picture that shows a number, a white or black stripe a bit."""
    bits = np.array([[[255 * (number >> bit & 1)] for bit in range(BITS)]], np.uint8)
    return bits.repeat(128, 0).repeat(8, 1).repeat(3, 2)


def number_in(image_rgb: ImageArray) -> int:
    """Return the number that a picture shows."""
    return sum(int(image_rgb[64, 4 + 8 * bit].mean() > 127) << bit for bit in range(BITS))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that answers every request of a server by calling another, and gives its address."""
    servers = []

    def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    answer(self)
                except OSError:
                    self.close_connection = True  # who asked has gone

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return f"http://user:hush@127.0.0.1:{server.server_address[1]}/live?channel=1&token=hush"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Pictures:
    """Pictures with rising numbers, one JPEG after the other as webcams serve them."""

    def __init__(self, *, count: int = 4000, rate: float = 50, silent: bool = False) -> None:
        self.sent = -1
        self.gone = threading.Event()
        self._count, self._rate, self._silent = count, rate, silent

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
        request.end_headers()
        try:
            for number in range(self._count):
                file = io.BytesIO()
                Image.fromarray(numbered(number)).save(file, "JPEG")
                head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(file.getvalue())}\r\n\r\n"
                request.wfile.write(head.encode() + file.getvalue() + b"\r\n")
                self.sent = number
                time.sleep(1 / self._rate)
            while self._silent and not self.gone.wait(0.05):
                pass
        finally:
            self.gone.set()


def test_a_slow_reader_gets_the_newest_frame_and_its_delay_does_not_grow(serve: Serve) -> None:
    pictures = Pictures()
    behind, numbers = [], []
    with newest_frames(serve(pictures)) as frames:
        for frame in frames:
            behind.append(pictures.sent - number_in(frame.image_rgb))
            numbers.append(frame.number)
            assert frame.number == number_in(frame.image_rgb)
            if len(numbers) == 10:
                break
            time.sleep(0.15)
    assert max(behind[1:]) <= 4
    assert numbers == sorted(set(numbers))
    assert numbers[-1] - numbers[0] > 30


def test_a_fast_reader_gets_every_frame(serve: Serve) -> None:
    with newest_frames(serve(Pictures(rate=20))) as frames:
        read = [next(frames) for _ in range(12)]
    assert [frame.number for frame in read[-8:]] == list(range(read[-8].number, read[-8].number + 8))
    assert all(later.time_s > earlier.time_s for earlier, later in pairwise(read))


def test_closing_ends_the_thread_and_the_connection(serve: Serve) -> None:
    pictures = Pictures()
    before = set(threading.enumerate())
    with newest_frames(serve(pictures)) as frames:
        next(frames)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    assert pictures.gone.wait(2)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("http")]


def test_a_stream_that_ends_is_told_after_its_last_frame(serve: Serve) -> None:
    read: list[int] = []
    with (
        pytest.raises(
            VideoError, match=r"^http://127\.0\.0\.1:\d+/live\?channel=1&token=\.\.\.: the stream broke after"
        ),
        newest_frames(serve(Pictures(count=30))) as frames,
    ):
        read.extend(number_in(frame.image_rgb) for frame in frames)
    assert read[-1] == 29


def test_a_stream_that_falls_silent_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "READ_TIMEOUT_S", 0.5)
    pictures = Pictures(count=30, silent=True)
    with (
        pytest.raises(VideoError, match=r"the stream broke after 1 s \(nothing came for"),
        newest_frames(serve(pictures)) as frames,
    ):
        for _ in frames:
            pass


def test_a_time_that_was_given_is_kept_where_nothing_comes_any_more(serve: Serve) -> None:
    started = time.monotonic()
    with newest_frames(serve(Pictures(count=10, silent=True)), for_s=2.0) as frames:
        read = list(frames)
    assert read
    assert 1.9 < time.monotonic() - started < 2 + live.CLOSE_TIMEOUT_S + 1
    with (
        pytest.raises(VideoError, match="no frame came in the time that was given"),
        newest_frames(serve(Pictures(count=0, silent=True)), for_s=0.5) as frames,
    ):
        next(frames)


def test_a_file_at_an_address_is_played_at_its_pace_and_ends(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", container_options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 128, "yuv420p"
        for number in range(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    with newest_frames(serve(answer)) as frames:
        started = time.monotonic()
        read = list(frames)
    assert time.monotonic() - started > 0.8
    assert read[-1].number == 24
    assert len(read) > 15


def test_no_answer_is_told_soon_and_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "OPEN_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "rtsp", "rtmp"):
            source = f"{scheme}://user:hush@127.0.0.1:{silent.getsockname()[1]}/live"
            with pytest.raises(VideoError) as caught, newest_frames(source) as frames:
                next(frames)
            assert "cannot be opened (nothing came for" in str(caught.value)
            assert "hush" not in str(caught.value)
            assert caught.value.__cause__ is None


def test_nobody_there_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for scheme in ("http", "https", "rtsp", "rtmp"):
        with (
            pytest.raises(VideoError, match=rf"^{scheme}://127.*cannot be opened .Connection refused."),
            newest_frames(f"{scheme}://user:hush@127.0.0.1:{port}/live") as frames,
        ):
            next(frames)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_video_is_told(serve: Serve) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(404)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with pytest.raises(VideoError, match="404"), newest_frames(serve(answer)) as frames:
        next(frames)


def test_a_list_at_an_address_names_no_file_here(serve: Serve, tmp_path: Path) -> None:
    clip = tmp_path / "clip.ts"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile://{clip}\n#EXT-X-ENDLIST\n".encode()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/vnd.apple.mpegurl")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    with pytest.raises(VideoError), newest_frames(serve(answer)) as frames:
        next(frames)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("camera:97", "camera:97: no camera found"),
        ("camera:/dev/video97", "no camera found .looked for /dev/video97.; connect one or name another"),
        ("camera:front", "expected the number of a camera"),
        ("clip.mp4", "expected camera:0 or an address"),
    ],
)
def test_no_camera_is_told_and_nothing_else(capfd: pytest.CaptureFixture[str], source: str, message: str) -> None:
    with pytest.raises(VideoError, match=message), newest_frames(source) as frames:
        next(frames)
    assert capfd.readouterr() == ("", "")


class Capture:
    """What OpenCV opens, with frames of its own."""

    def __init__(self, *_: object) -> None:
        self._number = -1
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def set(self, *_: object) -> bool:
        return True

    def read(self) -> tuple[bool, ImageArray | None]:
        self._number += 1
        time.sleep(0.01)
        return (True, np.full((4, 6, 3), (self._number, 0, 200), np.uint8)) if self._number < 40 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_rgb_until_it_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = Capture()
    monkeypatch.setattr("cv2.VideoCapture", lambda *_: capture)
    with (  # noqa: PT012 - what came before the error is asked too
        pytest.raises(VideoError, match="camera:0: the camera gave no more pictures after 0 s"),
        newest_frames("camera:0") as frames,
    ):
        for frame in frames:
            assert frame.image_rgb[0, 0].tolist() == [200, 0, frame.number]
    assert capture.released


def test_a_broken_rtsp_source_is_called_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def connection(source: str, stop: threading.Event) -> Iterator[tuple[float, Callable[[], ImageArray]]]:
        calls.append(source)
        if len(calls) != 2:  # the second call finds nobody
            yield from ((0.01 * number, lambda: numbered(0)) for number in range(3))
        raise VideoError("rtsp://host/live: the stream broke")

    monkeypatch.setattr(live, "_connection", connection)
    monkeypatch.setattr(live, "RETRY_AFTER_S", (0.05, 0.1))
    times = []
    with newest_frames("rtsp://host/live") as frames:
        for frame in frames:
            times.append(frame.time_s)
            if len(calls) == 4:
                break
    assert times == sorted(times)
    assert "the stream broke; trying again in" in caplog.text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("camera:0", "camera:0"),
        ("rtsp://user:hush@host:554/a?channel=1&password=hush", "rtsp://host:554/a?channel=1&password=..."),
        ("rtsp://user:hu@sh@host/a", "rtsp://host/a"),
        ("rtsp://user:hu/sh@host/a", "rtsp://host/a"),
        ("rtsp://user:hu/sh/@host/a", "rtsp://host/a"),
        ("rtsp://user:12/hush@host/a", "rtsp://host/a"),
        ("rtsp://user:hu?sh@host:554/a?channel=1", "rtsp://host:554/a?channel=1"),
        ("rtsp://user:hu#sh@host/a", "rtsp://host/a"),
        ("rtsp://us/er:hush@host/a", "rtsp://host/a"),
        ("rtsp://host:554/user=hush&password=hush&channel=1", "rtsp://host:554/user=...&password=...&channel=1"),
        ("rtsp://host/user=hush_password=hu_sh_channel=1_stream=0.sdp", "rtsp://host/user=..._channel=1_stream=0.sdp"),
        ("rtsp://host/channel=1_password=hu/sh", "rtsp://host/channel=1_password=..."),
        ("rtsp://host/a;token=hu_sh==?b=c", "rtsp://host/a;token=..."),
        ("http://[::1]:80/@people/clip.mp4", "http://[::1]:80/@people/clip.mp4"),
        ("http://user:hush@host/@people/clip.mp4", "http://host/@people/clip.mp4"),
        ("http://host/a@2x.mp4", "http://host/a@2x.mp4"),
        ("http://host:80/clip.mp4?mail=a@b", "http://host:80/clip.mp4?mail=a@b"),
    ],
)
def test_names_tell_no_password(source: str, name: str) -> None:
    assert is_live(source)
    assert name_of(source) == name


@pytest.mark.parametrize("source", ["clip.mp4", "camera.mp4", "/dev/video0", "a:b.mp4", "file:///clip.mp4", ""])
def test_files_are_not_live(source: str) -> None:
    assert not is_live(source)

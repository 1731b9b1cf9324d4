"""`/v1/live`: a camera's frames over a WebSocket, the newest first, an answer for each that is read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.errors import ImageError
from mien.media import read_image
from mien.recognize import Recognizer
from mien.temporal import LiveReader
from mien.web.limits import Limits
from mien.web.metrics import Metrics
from mien.web.pictures import face_of
from mien.web.problems import problem

__all__ = ["Cameras"]

#: Close codes of RFC 6455, section 7.4.1.
GOING_AWAY, NOT_TAKEN, TOO_LARGE = 1001, 1003, 1009


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame as it came."""

    number: int  # of the binary messages of its connection, from 0
    time_s: float  # since the first
    data: bytes


class _Newest:
    """The newest frame that came and was not taken: an older one gives way."""

    def __init__(self) -> None:
        self._frame: _Frame | None = None
        self._there = asyncio.Event()

    def put(self, frame: _Frame) -> bool:
        """Leave a frame; return whether one gave way."""
        gave_way = self._frame is not None
        self._frame = frame
        self._there.set()
        return gave_way

    async def take(self) -> _Frame:
        """Return the newest frame, as soon as there is one."""
        await self._there.wait()
        self._there.clear()
        frame, self._frame = self._frame, None
        assert frame is not None
        return frame


class Cameras:
    """Serves the connections of cameras, each with a reader of its own."""

    def __init__(
        self, make_recognizer: Callable[[], Recognizer], *, workers: int, limits: Limits, metrics: Metrics
    ) -> None:
        """Start the threads; make_recognizer: one for each connection, as they are not shared."""
        self._make_recognizer = make_recognizer
        self._limits = limits
        self._frames = metrics.live_frames
        self._faces = metrics.faces.labels("live")
        self._threads = ThreadPoolExecutor(workers, "mien-live")
        self.connections = 0

    def add_to(self, router: APIRouter) -> None:
        """Add the route to a router."""

        @router.websocket("/v1/live")
        async def live(socket: WebSocket) -> None:
            """Take frames and answer them."""
            if self.connections >= self._limits.max_live:
                refused = problem(
                    503, f"{self.connections} cameras are connected, as many as are at once; try again.",
                    {"Retry-After": "5"},
                )  # fmt: skip
                await socket.send_denial_response(refused)
                return
            self.connections += 1
            try:
                await socket.accept()
                await self._serve(socket)
            finally:
                self.connections -= 1

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    async def _serve(self, socket: WebSocket) -> None:
        """Answer one connection until it ends."""
        newest = _Newest()
        async with anyio.create_task_group() as group:
            group.start_soon(self._answer, socket, newest)
            code = await self._take(socket, newest)
            group.cancel_scope.cancel()
        if code is not None:
            await socket.close(code)

    async def _take(self, socket: WebSocket, newest: _Newest) -> int | None:
        """Take frames as they come; return the code to close with, None where the other side has closed."""
        number, began = -1, 0.0
        while True:
            try:
                async with asyncio.timeout(self._limits.live_idle_s):
                    message = await socket.receive()
            except TimeoutError:
                return GOING_AWAY
            if message["type"] == "websocket.disconnect":
                return None
            data = message.get("bytes")
            if data is None:
                return NOT_TAKEN
            if len(data) > self._limits.max_frame_bytes:
                return TOO_LARGE
            number += 1
            now = time.monotonic()
            began = began or now
            if newest.put(_Frame(number, now - began, data)):
                self._frames.labels("dropped").inc()

    async def _answer(self, socket: WebSocket, newest: _Newest) -> None:
        """Answer the newest frame, again and again."""
        loop = asyncio.get_running_loop()
        reader = await loop.run_in_executor(self._threads, lambda: LiveReader(self._make_recognizer()))
        while True:
            frame = await newest.take()
            told = await loop.run_in_executor(self._threads, self._read, reader, frame)
            self._frames.labels("bad" if "error" in told else "read").inc()
            self._faces.inc(len(told.get("faces", ())))
            with suppress(WebSocketDisconnect):  # which who takes frames is told, too
                await socket.send_text(json.dumps(told))

    def _read(self, reader: LiveReader, frame: _Frame) -> dict[str, Any]:
        """Return the answer to a frame."""
        begun = time.perf_counter()
        try:
            image_rgb = read_image(frame.data, max_pixels=self._limits.max_frame_pixels)
        except ImageError as error:
            return {"frame": frame.number, "error": str(error).removeprefix("picture: ")}
        readings = reader.read(image_rgb, frame.time_s).readings
        return {
            "frame": frame.number,
            "time_s": round(frame.time_s, 3),
            "width": image_rgb.shape[1],
            "height": image_rgb.shape[0],
            "took_ms": round(1000 * (time.perf_counter() - begun), 1),
            "faces": [face_of(number, reading) for number, reading in enumerate(readings)],
        }

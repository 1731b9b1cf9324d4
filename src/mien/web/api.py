"""The service: its routes joined, with who may use it, how much it takes and what it counts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, Response

from mien import __version__
from mien.web.access import Access
from mien.web.answers import Health
from mien.web.limits import Gate, Limits
from mien.web.live import Cameras
from mien.web.metrics import CONTENT_TYPE_LATEST, Measured, Metrics
from mien.web.openapi import describe_with
from mien.web.pictures import PictureReader
from mien.web.problems import Ending, add_problems, describe, problem
from mien.web.recognizing import add_recognizing
from mien.web.static_files import STATIC, add_static
from mien.web.video_routes import add_videos
from mien.web.videos import Videos

__all__ = ["create_api", "server_config"]

HEALTH = "/healthz"
GRACE_S = 3  # that requests are given at the end of the service
_ABOUT = """\
Reads the expressions of the faces in pictures, video and a camera's frames.  Nothing that is sent is kept after the
answer; what a video comes to is deleted when it is asked for, or a while later.  Errors are problem documents (RFC
9457).  A camera's frames go over the WebSocket `/v1/live`, which OpenAPI cannot describe: see docs/http.md."""


def create_api(
    reader: PictureReader,
    *,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
    token: str | None = None,
    names: frozenset[str] | None = None,
) -> FastAPI:
    """Return the app of the service, which closes the reader at its end.

    metrics: what the reader counts into.  token, names: see `web.access.Access`.
    """
    limits, metrics = limits or Limits(), metrics or Metrics()
    cameras = Cameras(reader.recognizer, workers=reader.workers, limits=limits, metrics=metrics)
    videos = Videos(reader.recognizer, limits=limits, metrics=metrics)
    gate = Gate(most=limits.max_at_once, most_bytes=limits.max_held_bytes)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await videos.close()
        cameras.close()
        reader.close()

    app = FastAPI(
        title="mien", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=lifespan,
    )  # fmt: skip
    app.add_middleware(Ending)
    app.add_middleware(
        Access, token=token, names=names, refuse=problem, open_paths=frozenset({HEALTH}),
    )  # fmt: skip
    app.add_middleware(Measured, metrics=metrics)
    add_problems(app)
    router = app.router
    add_recognizing(router, reader, gate=gate, limits=limits, metrics=metrics)
    add_videos(router, videos, limits=limits)
    cameras.add_to(router)
    _add_pages(router)
    _add_upkeep(router, metrics)
    describe_with(app, token=token is not None, open_paths=frozenset({HEALTH}))
    metrics.watch("mien_in_flight", "Requests with pictures that are being answered.", lambda: gate.inside)
    metrics.watch("mien_held_bytes", "Bytes of pictures in memory.", lambda: gate.held_bytes)
    metrics.watch("mien_live_connections", "Cameras that are connected.", lambda: cameras.connections)
    return app


def server_config(app: FastAPI, limits: Limits) -> uvicorn.Config:
    """Return how uvicorn serves the app."""
    logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
    return uvicorn.Config(
        app, access_log=False, log_config=None, log_level="error", lifespan="on", server_header=False,
        proxy_headers=True,  # a proxy on this machine tells that it was asked by https
        http="h11", ws="websockets-sansio",
        ws_max_size=2 * limits.max_frame_bytes,  # what is larger is cut off without the close code that the app gives
        ws_per_message_deflate=False, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Return False for what uvicorn 0.54 says of every WebSocket that is refused with a problem document."""
    return record.msg != "ASGI callable returned without completing handshake."


def _add_pages(router: APIRouter) -> None:
    """Add the page, and what it is made of."""
    add_static(router, STATIC.iterdir())

    @router.get("/", include_in_schema=False)
    def page() -> FileResponse:
        """Return the page."""
        return FileResponse(STATIC / "mien.html")


def _add_upkeep(router: APIRouter, metrics: Metrics) -> None:
    """Add what those who run the service ask."""

    @router.get(HEALTH, response_model=Health, responses=describe(), summary="Whether the service is there")
    async def health() -> dict[str, str]:
        """Return that the service is there; no token is needed."""
        return {"status": "ok"}

    @router.get(
        "/metrics", responses={**describe(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        response_class=Response, summary="What the service counts",
    )  # fmt: skip
    async def count() -> Response:
        """Return the counters in Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

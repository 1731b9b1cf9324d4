"""What the service counts of itself, for Prometheus; a registry of its own for each app."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CONTENT_TYPE_LATEST", "Measured", "Metrics"]

LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BATCH_FACES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mien_requests", "Requests that were answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "mien_request_seconds", "From a request to the end of its answer.", ["route"], buckets=LATENCY_S,
            registry=self.registry,
        )  # fmt: skip
        self.pictures = Counter("mien_pictures", "Pictures, by whether they could be read.", ["outcome"],
                                registry=self.registry)  # fmt: skip
        self.faces = Counter("mien_faces", "Faces that were read, by where.", ["where"], registry=self.registry)
        self.batch_faces = Histogram(
            "mien_batch_faces", "Faces that went through the network at once.", buckets=BATCH_FACES,
            registry=self.registry,
        )  # fmt: skip
        self.live_frames = Counter(
            "mien_live_frames", "Frames of cameras: read, dropped as newer ones were there, or bad.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """Counts the requests that go through it to an app."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        """Stand before an app."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # a name of few: addresses are without number
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)


_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

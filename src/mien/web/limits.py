"""How much the service takes, and the gate that holds to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.exceptions import HTTPException

__all__ = ["Gate", "Limits"]

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the service takes of whom; the status that answers more than that stands beside each."""

    max_bytes: int = 32 * 2**20  # of one request with pictures: 413
    max_pictures: int = 50  # of one request: 413
    max_pixels: int = 40_000_000  # of one picture: 422; frames of videos have `mien.video.MAX_PIXELS`
    max_at_once: int = 64  # requests with pictures that are read or wait for it: 429
    max_held_bytes: int = 512 * 2**20  # in memory, over all requests: 429
    answer_s: float = 60.0  # from the whole request to its answer: 503
    upload_s: float = 30.0  # for a request to come in, and what its bytes take at the slowest rate: 408
    min_bytes_per_s: int = 16 * 2**10
    max_video_bytes: int = 500 * 2**20  # 413
    max_video_s: float = 3600.0  # how long a video may last: 422, or the job fails
    max_videos: int = 8  # that lie here, waiting, running or done: 429
    keep_s: float = 600.0  # how long the results of a video stay: 404 afterwards
    max_live: int = 8  # cameras at once: 503
    max_frame_bytes: int = 4 * 2**20  # of one frame of a camera: close code 1009
    max_frame_pixels: int = 8_300_000  # 3840x2160: told as the frame's error
    live_idle_s: float = 120.0  # a camera that has sent nothing for so long is let go: close code 1001


class Gate:
    """Counts the requests that are inside and the bytes that they hold, and lets no more in than may be.

    For one thread, that of the event loop.
    """

    def __init__(self, *, most: int, most_bytes: int) -> None:
        """Let in `most` requests at once, which hold `most_bytes` together."""
        self._most = most
        self._most_bytes = most_bytes
        self.inside = 0
        self.held_bytes = 0

    @contextmanager
    def enter(self) -> Iterator[Visit]:
        """Yield the visit of one request; HTTPException 429 where there are as many already."""
        if self.inside >= self._most:
            raise too_many(f"{self.inside} requests are being answered, as many as are at once; try again.")
        self.inside += 1
        visit = Visit(self)
        try:
            yield visit
        finally:
            self.inside -= 1
            self.held_bytes -= visit.held_bytes

    def hold(self, count: int) -> None:
        """Take note of bytes in memory; HTTPException 429 where they are too many."""
        if self.held_bytes + count > self._most_bytes:
            raise too_many("The requests at once hold as much as the service has memory for; try again.")
        self.held_bytes += count


class Visit:
    """What one request holds while it is inside."""

    def __init__(self, gate: Gate) -> None:
        """Begin with nothing."""
        self._gate = gate
        self.held_bytes = 0

    def hold(self, count: int) -> None:
        """Take note of bytes in memory; HTTPException 429 where all requests together hold too many."""
        self._gate.hold(count)
        self.held_bytes += count


def too_many(sentence: str, *, retry_after_s: int = RETRY_AFTER_S) -> HTTPException:
    """Return the error of a request that comes while there are as many as may be."""
    return HTTPException(429, sentence, headers={"Retry-After": str(retry_after_s)})

"""Read video: upright RGB frames with their times, one after the other, however long it is."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
import numpy as np

from mien.errors import VideoError
from mien.files import printable
from mien.types import ImageArray

__all__ = ["VIDEO_SUFFIXES", "Frame", "duration_of", "frame_at", "frames"]

#: The file suffixes that are taken for video where folders are searched; FFmpeg opens what it knows, whatever its name.
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
     ".wmv"}
)  # fmt: skip
ENDS_EARLY_S = 1.0  # a video whose frames end so much before its stated duration is told to end in the middle


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video."""

    time_s: float  # since the video's first frame
    image_rgb: ImageArray  # (H, W, 3), turned upright
    number: int  # of the frame in the video, from 0; those in between count


def frames(path: str | Path, *, every_s: float = 0.0) -> Iterator[Frame]:
    """Yield frames of a video, by their own times: the first, then the next that is `every_s` or more after a tick.

    every_s: seconds from tick to tick; 0: every frame.  Frames in between are decoded but not converted.
    Raises VideoError where it cannot be opened, holds no video, is damaged or ends in the middle; what came before
    that has been yielded by then.
    """
    with _opened(path) as (container, stream):
        start = math.nan
        last = wanted = 0.0
        timed = (frame for frame in container.decode(stream) if frame.pts is not None)
        for number, frame in enumerate(timed):
            start = frame.time if math.isnan(start) else start
            last = frame.time - start
            if last + 1e-6 >= wanted:
                yield Frame(last, _upright(frame), number)
                while every_s and wanted <= last + 1e-6:
                    wanted += every_s
        if math.isnan(start):
            raise VideoError(f"{printable(path)}: no frame of video in it")
        duration = _duration(container, stream)
        if duration is not None and last < duration - ENDS_EARLY_S - every_s:
            raise VideoError(f"{printable(path)}: ends in the middle, at {last:.1f} of {duration:.1f} s")


def frame_at(path: str | Path, time_s: float) -> ImageArray:
    """Return the frame (H, W, 3) that a video shows at a time, in seconds since its first frame.

    Raises VideoError where it cannot be read there.
    """
    with _opened(path) as (container, stream):
        start = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
        container.seek(max(0, int((start + time_s) * av.time_base)), backward=True)
        shown = None
        for frame in container.decode(stream):
            if frame.time is not None and frame.time - start > time_s + 1e-3 and shown is not None:
                break
            shown = frame
        if shown is None:
            raise VideoError(f"{printable(path)}: no frame at {time_s:.1f} s")
        return _upright(shown)


def duration_of(path: str | Path) -> float | None:
    """Return how many seconds a video lasts as its file says, None where it does not; VideoError as `frames`."""
    with _opened(path) as (container, stream):
        return _duration(container, stream)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Yield a video's container and first stream of pictures; its errors, in the block too, become VideoErrors."""
    name = printable(path)
    try:
        with av.open(os.fspath(path), mode="r") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise VideoError(f"{name}: no video in it, {_other(container)}")
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"{name}: cannot be read as video ({reason})") from error


def _other(container: av.container.InputContainer) -> str:
    """Return in words what a container without video holds."""
    kinds = sorted({stream.type for stream in container.streams})
    return f"{' and '.join(kinds)} alone" if kinds else "nor anything else"


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Return the stated duration of the pictures in seconds."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _upright(frame: av.VideoFrame) -> ImageArray:
    """Return a frame as RGB, turned as its display matrix says (counter-clockwise degrees, in quarters)."""
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))

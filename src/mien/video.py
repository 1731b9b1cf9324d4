"""Read video: upright RGB frames with their times, one after the other, however long it is."""

from __future__ import annotations

import gc
import logging
import math
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import av
import av.container
import numpy as np
from av.stream import Disposition

from mien.errors import VideoError
from mien.files import printable
from mien.types import ImageArray

__all__ = [
    "MAX_PIXELS",
    "VIDEO_SUFFIXES",
    "Clock",
    "Frame",
    "Upright",
    "duration_of",
    "frame_at",
    "frames",
    "is_video",
    "open_file",
    "opens",
    "prepare",
    "software_of",
]

log = logging.getLogger(__name__)

#: The file suffixes that are taken for video where folders are searched; FFmpeg opens what it knows, whatever its name.
VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
     ".ts", ".vob", ".webm", ".wmv"}
)  # fmt: skip
MAX_PIXELS = 8192 * 8192  # of a frame, 200 MB as RGB; a video that declares more is refused before it is decoded
_SHORTEST_TICK_S = 1e-3  # below it every frame is wanted
_SEEK_BACK_S = (0.0, 2.0, 8.0, 30.0)  # before what is wanted: containers without an index land later than asked
ENDS_EARLY_S = 1.0  # a video whose packets end so much before its stated duration is told to end in the middle
MAX_DAMAGED = 500  # frames, one after the other: 20 s at 25 a second; then it is given up
_THREADED_PIXELS = 2 * 7680 * 4320  # which a decoder's threads hold at once, a frame each
_WAITING_PIXELS = 320 * 240  # of frames that may wait for the garbage collector, whose every run takes 0.1 s
_CONTAINER_BASE = Fraction(1, av.time_base)  # in whose terms containers state times
_DEFAULT_RATE = 25  # frames a second of a video that says nothing of its times

#: Formats that are no video but name other files or addresses, which FFmpeg would open; and its text as pictures.
_FOLLOWING = {
    "concat", "dash", "hls", "image2", "image2pipe", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "tty", "vobsub",
    "webm_dash_manifest",
}  # fmt: skip


_MOST_STRETCHED = 4.0  # a pixel of another shape is a mistake of the file
_PICTURES = {"apng", "gif", "ico"}  # formats of pictures that FFmpeg opens as video


def is_video(path: Path) -> bool:
    """Return whether a file is taken for a video, by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video."""

    time_s: float  # since the video's first frame
    image_rgb: ImageArray  # (H, W, 3), turned upright
    number: int  # of the frame in the video, from 0; those in between count


def frames(path: str | Path, *, every_s: float = 0.0, first: int = 0) -> Generator[Frame]:
    """Yield frames of a video, by their own times: the first, then the next that is `every_s` or more after a tick.

    every_s: seconds from tick to tick; 0: every frame.  first: the number of the frame from which on they are wanted.
    Frames in between and before are decoded but not converted; damaged ones are left out, and how many is logged.
    Raises VideoError where it cannot be opened, holds no video, is damaged for long or ends in the middle; what came
    before that has been yielded by then.
    """
    with _turning() as upright, _opened(path) as (container, stream):
        upright.take(stream)
        clock = Clock(stream)
        wanted = 0.0
        decoder = _Decoder(container, stream, printable(path))
        for number, frame in enumerate(decoder):
            time_s = clock.time_of(frame)
            if time_s + 1e-6 >= wanted:
                if number >= first:
                    yield Frame(time_s, upright(frame), number)
                if every_s >= _SHORTEST_TICK_S:
                    wanted = (math.floor((time_s + 1e-6) / every_s) + 1) * every_s
        decoder.check_end()


def frame_at(path: str | Path, time_s: float) -> ImageArray:
    """Return the frame (H, W, 3) that a video shows at a time, in seconds since its first frame.

    Raises VideoError where it cannot be read there.
    """
    for back_s in (*_SEEK_BACK_S, None):
        with _turning() as upright, _opened(path) as (container, stream):
            upright.take(stream)
            decoded = iter(_Decoder(container, stream, printable(path)))
            first, shown = next(decoded, None), None
            if first is None:
                break
            clock, start_s = Clock(stream), first.time
            if back_s is None or start_s is None:  # from the beginning
                decoded = chain([first], decoded)
            else:
                try:
                    container.seek(max(0, int((start_s + time_s - back_s) * av.time_base)), backward=True)
                except av.FFmpegError:  # nothing can be sought in it
                    continue
                decoded = iter(_Decoder(container, stream, printable(path)))
            for frame in decoded:
                if back_s is None or start_s is None:
                    frame_s = clock.time_of(frame)
                else:
                    frame_s = 0.0 if frame.time is None else frame.time - start_s
                if frame_s > time_s + 1e-3:
                    break
                shown = frame
            if shown is not None:
                return upright(shown)
    raise VideoError(f"{printable(path)}: no frame at {time_s:.1f} s")


def duration_of(path: str | Path) -> float | None:
    """Return how many seconds a video lasts as its file says, None where it does not; VideoError as `frames`."""
    with _opened(path) as (container, stream):
        own = _seconds(stream.duration, stream.time_base)
        return own if own is not None else _seconds(container.duration, _CONTAINER_BASE)


def opens(path: str | Path) -> bool:
    """Return whether FFmpeg finds a video in a file, whatever its name, and no picture."""
    try:
        with _opened(path) as (container, _):
            return container.format.name not in _PICTURES
    except VideoError:
        return False


def software_of(path: str | Path) -> str:
    """Return what a video says that it was made by, which FFmpeg calls its comment; empty where it says nothing."""
    try:
        with _opened(path) as (container, _):
            return container.metadata.get("comment", "")
    except VideoError:
        return ""


def prepare(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """Return the stream of pictures that a container is read for, its decoder set up; VideoError where none can be."""
    pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not pictures:
        raise VideoError(f"{name}: no video in it, {_other(container)}")
    stream = pictures[0]
    codec = stream.codec_context
    if (
        container.format.name.startswith("image2")
        or container.format.name.endswith("_pipe")
        or container.metadata.get("major_brand") in ("avif", "heic", "mif1")
    ):
        raise VideoError(
            f"{name}: a picture, not a video; read it as one (the service at /v1/recognize, a file under a "
            "picture's suffix, such as .jpg)"
        )
    if codec is None:
        raise VideoError(f"{name}: its video is of a kind that FFmpeg cannot decode here; convert it to H.264")
    pixels = codec.width * codec.height
    if not 0 < pixels <= MAX_PIXELS:
        size = f"{codec.width}x{codec.height} pixels" if pixels else "no frame, or one too large"
        raise VideoError(f"{name}: {size}; expected frames of up to {MAX_PIXELS:,} pixels")
    stream.thread_type = "AUTO"
    if (threads := max(1, _THREADED_PIXELS // pixels)) < (os.cpu_count() or 1):
        codec.thread_count = threads
    codec.options = {"max_pixels": str(MAX_PIXELS)}  # the size may change on the way
    return stream


class Clock:
    """The times of a stream's frames, which only go forward whatever their time stamps say.

    A frame without a time, or whose time is not after the last one's, comes one frame later than that.  Where times
    start anew (a recorder that was restarted, files joined end to end), those that follow go on from there.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        """Take the distance of frames from a stream."""
        self._step_s = float(1 / (stream.guessed_rate or stream.average_rate or _DEFAULT_RATE))
        self._last_s = -self._step_s
        self._origin_s: float | None = None

    def time_of(self, frame: av.VideoFrame) -> float:
        """Return the time of the next frame, in seconds since the first."""
        time_s = self._last_s + self._step_s
        stamp_s: float | None = frame.time  # None where there is none, whatever PyAV's types say
        if stamp_s is not None:
            if self._origin_s is None or stamp_s - self._origin_s < self._last_s - 1.0:
                self._origin_s = stamp_s - time_s
            if stamp_s - self._origin_s > self._last_s:
                time_s = stamp_s - self._origin_s
        self._last_s = time_s
        return time_s


class Upright:
    """Turns the frames of one stream upright, as their display matrix says, with pixels that are as wide as high."""

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._aspect = 1.0  # of a stored pixel, width to height
        self._rotation: float | None = None
        self._matrix: list[int] | None = None
        self.held_pixels = 0  # of the frames whose matrix was asked for

    def take(self, stream: av.VideoStream) -> None:
        """Take the shape of a stream's pixels, which are not square on DVDs and in HDV, before its first frame."""
        aspect = float(stream.sample_aspect_ratio or 1)
        self._aspect = aspect if 1 / _MOST_STRETCHED <= aspect <= _MOST_STRETCHED else 1.0

    def __call__(self, frame: av.VideoFrame) -> ImageArray:
        """Return a frame as RGB (H, W, 3), turned and mirrored in quarters."""
        # What is too narrow is widened, what is too low heightened: no pixel is lost.
        width, height = round(frame.width * max(1, self._aspect)), round(frame.height * max(1, 1 / self._aspect))
        image = frame.to_ndarray(format="rgb24", width=width, height=height)
        if frame.rotation != self._rotation:
            self._rotation, self._matrix = frame.rotation, _display_matrix(frame)
            self.held_pixels += frame.width * frame.height
        if self._matrix is not None:
            # A pixel (x, y) is shown at (a x + c y, b x + d y): FFmpeg, libavutil/display.h.
            a, b, _, c, d = self._matrix
            if abs(b) + abs(c) > abs(a) + abs(d):
                image, a, d = image.transpose(1, 0, 2), c, b
            image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
        return np.ascontiguousarray(image, np.uint8)


def _display_matrix(frame: av.VideoFrame) -> list[int] | None:
    """Return the first five numbers of a frame's display matrix, None where it has none.

    Not to be asked of every frame: PyAV's side data and its frame refer to each other, so that the frame's memory waits
    for the garbage collector, which knows nothing of its size.
    """
    matrix = cast("bytes | None", frame.side_data.get("DISPLAYMATRIX"))
    return None if matrix is None else np.frombuffer(matrix, np.int32)[:5].tolist()


@contextmanager
def _turning() -> Iterator[Upright]:
    """Yield what turns a video's frames; at the end, the memory of those whose matrix was asked for is given back."""
    upright = Upright()
    try:
        yield upright
    finally:
        if upright.held_pixels > _WAITING_PIXELS:
            gc.collect()  # of itself it would come after hundreds of videos


def open_file(path: str | Path) -> av.container.InputContainer:
    """Return the container of a file, which is no list of others and names no address.  Raises what FFmpeg does."""
    return av.open(
        f"file:{os.fspath(path)}",  # as a:b.mp4 would be taken for an address
        mode="r",
        options={"max_pixels": str(MAX_PIXELS)},
        container_options={
            "protocol_whitelist": "file",
            "format_whitelist": ",".join(sorted(av.formats_available - _FOLLOWING)),
        },
    )


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Yield a video's container and stream of pictures; its errors, in the block too, become VideoErrors."""
    name = printable(path)
    try:
        Path(path).stat()  # its own words for what is not there
        with open_file(path) as container:
            yield container, prepare(container, name)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, av.InvalidDataError):
            reason = f"{reason}; not a video, or cut off before its index"
        raise VideoError(f"{name}: cannot be read as video ({reason})") from error


class _Decoder:
    """The frames of a stream but the damaged ones, and how far the file went."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream, name: str) -> None:
        """Read from where a container stands; name: of the file, for what is told of it."""
        self._container, self._stream, self._name = container, stream, name
        self._good = self._damaged = 0
        self._end_s = self._own_end_s = 0.0  # of the packets of every stream, and of this one
        self._sent_s = self._shown_s = 0.0  # the latest time stamps: that went into the decoder, that came out

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Yield the frames; VideoError where MAX_DAMAGED ones follow each other."""
        in_a_row = 0
        for packet in self._container.demux():
            end_s = _end_of(packet)
            self._end_s = max(self._end_s, end_s)
            if packet.stream.index != self._stream.index:  # of the last, empty ones packet.stream_index is always 0
                continue
            self._own_end_s = max(self._own_end_s, end_s)
            if packet.pts is not None and not packet.is_discard:
                self._sent_s = max(self._sent_s, float(packet.pts * packet.time_base))
            try:
                decoded = self._stream.codec_context.decode(packet)
            except av.FFmpegError:
                decoded, in_a_row = [], in_a_row + 1
                self._damaged += 1
            for frame in decoded:
                if frame.is_corrupt:
                    in_a_row += 1
                    self._damaged += 1
                    continue
                in_a_row = 0
                self._good += 1
                self._shown_s = max(self._shown_s, frame.time or 0.0)
                yield frame
            if in_a_row > MAX_DAMAGED:
                raise VideoError(f"{self._name}: damaged for long, up to {end_s:.1f} s; {self._good} frames were read")

    def check_end(self) -> None:
        """Log how many frames were damaged; VideoError where there was none but those, or the file ends too early.

        That is where the packets end much before the duration that the pictures, or else the whole file, state.
        """
        if not self._good:
            raise VideoError(f"{self._name}: no frame of video in it, {self._damaged} damaged")
        if self._damaged:
            log.warning("%s: %d of %d frames damaged, left out", self._name, self._damaged, self._good + self._damaged)
        duration_s = _seconds(self._stream.duration, self._stream.time_base)
        start_s = max(0.0, _seconds(self._stream.start_time, self._stream.time_base) or 0.0)
        end_s = self._own_end_s - start_s
        if duration_s is None:  # the whole's, which in Matroska counts from 0, where the first frame may come later
            duration_s, end_s = _seconds(self._container.duration, _CONTAINER_BASE), self._end_s
        if self._shown_s < self._sent_s - ENDS_EARLY_S:
            raise VideoError(f"{self._name}: damaged from {self._shown_s - start_s:.1f} s to its end")
        if duration_s is not None and end_s < duration_s - ENDS_EARLY_S:
            raise VideoError(f"{self._name}: ends in the middle, at {end_s:.1f} of {duration_s:.1f} s")


def _other(container: av.container.InputContainer) -> str:
    """Return in words what a container without video holds."""
    kinds = sorted({"a picture" if stream.type == "video" else stream.type for stream in container.streams})
    return f"{' and '.join(kinds)} alone" if kinds else "nor anything else"


def _end_of(packet: av.Packet[av.stream.Stream]) -> float:
    """Return where a packet ends, in seconds; 0 where it does not say."""
    start = packet.pts if packet.pts is not None else packet.dts
    return 0.0 if start is None else float((start + (packet.duration or 0)) * packet.time_base)


def _seconds(time: int | None, base: Fraction | None) -> float | None:
    """Return a time, or a duration that is not 0, in seconds; None where there is none."""
    return float(time * base) if time and base else None

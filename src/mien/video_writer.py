"""Write video: frames at their own times, in parts that are joined with the sound of the video they were made from."""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import av
import av.container
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from mien.errors import OutputError
from mien.files import atomic_path, printable
from mien.media import SOFTWARE
from mien.sound import sound_packets
from mien.types import ImageArray

__all__ = ["LONGEST_PX", "VideoWriter", "join"]

Picture: TypeAlias = "av.Packet[av.VideoStream]"
Sound: TypeAlias = "av.Packet[av.AudioStream]"

log = logging.getLogger(__name__)

CLOCK = 60_000  # ticks a second: frames of 24, 25, 30, 50 and 60 a second and of 30000/1001 and 60000/1001 fall on one
LONGEST_TICKS = 2**31 - 1  # that a frame of MP4 is shown for
LONGEST_PX = 3840  # H.264 levels that players decode end at 4K: larger frames are made smaller
SHORTEST_PX = 16  # a block of H.264: smaller frames get a black border
NOMINAL_RATE = 25  # frames a second; for rate control alone, and for how long a last frame is shown that is alone

# No frame refers to a later one, so that parts can stand one after the other and a frame costs no memory but its own.
# superfast: a quarter more bytes than veryfast, in less than two thirds of its time.
ENCODERS = (
    ("libx264", {"preset": "superfast", "crf": "20", "bf": "0", "g": "50"}),
    ("mpeg4", {"qmin": "3", "qmax": "3", "g": "50"}),  # a build of FFmpeg without x264
)


class VideoWriter:
    """A video file that frames are written to, as MP4, while the block lasts; it can be read once the block has ended.

    It has the size of its first frame, or `size` (width, height), at most LONGEST_PX on its longer side and even as
    H.264 wants it; frames of another size are fitted in, with a black border.  Without a frame there is no file.
    """

    def __init__(self, path: str | Path, *, size: tuple[int, int] | None = None) -> None:
        """Open nothing yet."""
        self._path = Path(path)
        self._size = None if size is None else _playable(*size)
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._last_pts = -1
        self._waiting: Picture | None = None  # how long it is shown is known when the next one comes

    @property
    def size(self) -> tuple[int, int] | None:
        """Return the width and height of the video, None where neither they nor a frame were given."""
        return self._size

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def write(self, image_rgb: ImageArray, time_s: float) -> None:
        """Add a frame that is shown from a time on, which is later than that of the frame before.

        Raises OutputError where the file cannot be written.
        """
        if self._size is None:
            self._size = _playable(image_rgb.shape[1], image_rgb.shape[0])
        with _output_errors(self._path):
            stream = self._stream or self._open(self._size)
            frame = _encodable(_fitted(image_rgb, self._size))
            pts = max(round(time_s * CLOCK), self._last_pts + 1)
            if 0 <= self._last_pts < pts - LONGEST_TICKS:
                raise ValueError(f"frames {(pts - self._last_pts) / CLOCK:,.0f} s apart, which MP4 has no number for")
            self._last_pts = pts
            frame.pts = self._last_pts
            frame.time_base = Fraction(1, CLOCK)
            self._mux(stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the file; where the block failed, as far as that is possible."""
        try:
            with _output_errors(self._path):
                self._close()
        except OutputError:
            if error is None:
                raise

    def _open(self, size: tuple[int, int]) -> av.VideoStream:
        """Return the stream of a new file."""
        name, options = next(encoder for encoder in ENCODERS if encoder[0] in av.codecs_available)
        # Edit lists, which say when a part begins, count in the clock of the whole file.
        self._container = av.open(
            _local(self._path), "w", format="mp4", container_options={"movie_timescale": str(CLOCK)}
        )
        self._container.metadata["comment"] = SOFTWARE
        stream = self._container.add_stream(name, rate=NOMINAL_RATE, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        # What `_encodable` makes: the matrix of BT.601, narrow range, of what is shown with the primaries of BT.709.
        stream.codec_context.colorspace = Colorspace.ITU601
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.BT709
        return stream

    def _mux(self, packets: Sequence[Picture]) -> None:
        """Write the packets but the last."""
        for packet in packets:
            if self._waiting is not None and self._container is not None:
                self._waiting.duration = (packet.pts or 0) - (self._waiting.pts or 0)
                self._container.mux(self._waiting)
                packet.duration = self._waiting.duration
            else:
                packet.duration = CLOCK // NOMINAL_RATE
            self._waiting = packet

    def _close(self) -> None:
        """Write what waits and the end of the file."""
        if self._container is None:
            return
        with self._container as container:
            if self._stream is not None:
                self._mux(self._stream.encode(None))
            if self._waiting is not None:
                container.mux(self._waiting)


def _local(path: Path) -> str:
    """Return a path as FFmpeg takes it for one: of another one with a colon the beginning would be a protocol."""
    return os.path.abspath(path)  # noqa: PTH100 - pathlib's leaves .. in it


def join(parts: Sequence[Path], source: str | Path | None, target: str | Path) -> None:
    """Write parts to one MP4 file, without encoding them anew, with the sound of a video.

    parts: files of VideoWriter, of one size and in order of time; the times of their frames are those of the whole
    video.  source: the video whose sound is taken, from its first frame on (which is time 0) and until the last frame
    of the parts ends; None: no sound.  Sound that mp4 has no place for is encoded anew as AAC.  Sound that cannot be
    read is left out, from there on, with a warning.
    Raises OutputError where the file cannot be written or the parts do not fit together.
    """
    if not parts:
        raise OutputError(f"{printable(target)}: no part to write; expected one or more files of VideoWriter")
    with atomic_path(target) as temporary, _output_errors(target):
        try:
            _remux(parts, source, temporary)
        except (av.FFmpegError, ValueError) as error:
            if source is None or isinstance(error, OSError):
                raise
            log.warning("%s: its sound is left out, as mp4 does not take it (%s)", printable(source), error)
            _remux(parts, None, temporary)


def _remux(parts: Sequence[Path], source: str | Path | None, target: Path) -> None:
    """Write the packets of the parts and of the sound, in order of time."""
    options = {"movflags": "+faststart", "movie_timescale": str(CLOCK)}
    with ExitStack() as stack:
        output = stack.enter_context(av.open(_local(target), "w", format="mp4", container_options=options))
        output.metadata["comment"] = SOFTWARE
        first = stack.enter_context(av.open(_local(parts[0]))).streams.video[0]
        stream = output.add_stream_from_template(first, opaque=True)
        with av.open(_local(parts[-1])) as last:
            end_s = _end_s(last.streams.video[0])
        packets: list[Iterator[Picture | Sound]] = [_pictures(parts, stream)]
        if source is not None:
            packets.append(stack.enter_context(sound_packets(source, output, end_s)))
        for packet in heapq.merge(*packets, key=_time_s):
            output.mux(packet)


def _pictures(parts: Sequence[Path], stream: av.VideoStream) -> Iterator[Picture]:
    """Yield the packets of the parts for a stream."""
    expected = None
    for part in parts:
        with av.open(_local(part)) as container:
            video = container.streams.video[0]
            extradata = video.codec_context.extradata
            expected = extradata if expected is None else expected
            if extradata != expected:
                raise OutputError(f"{printable(part)}: differs from the first part in size or codec; write it anew")
            for packet in container.demux(video):
                if packet.pts is not None:
                    packet.stream = stream
                    yield packet


def _end_s(stream: av.VideoStream) -> float:
    """Return when the last frame of a part ends."""
    assert stream.time_base is not None
    return float(((stream.start_time or 0) + (stream.duration or 0)) * stream.time_base)


def _time_s(packet: Picture | Sound) -> float:
    """Return when a packet is wanted."""
    return float((packet.dts or 0) * packet.time_base)


def _playable(width: int, height: int) -> tuple[int, int]:
    """Return the size of the video for frames of a size."""
    scale = min(1.0, LONGEST_PX / max(width, height))
    return max(SHORTEST_PX, int(width * scale) // 2 * 2), max(SHORTEST_PX, int(height * scale) // 2 * 2)


def _fitted(image_rgb: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Return a frame in the size of the video: an odd row or column left off, or made smaller or larger to fit in."""
    width, height = size
    if 0 <= image_rgb.shape[1] - width < 2 and 0 <= image_rgb.shape[0] - height < 2:
        return image_rgb[:height, :width]
    scale = min(width / image_rgb.shape[1], height / image_rgb.shape[0])
    inner = max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image_rgb, inner, interpolation=method)
    return canvas


def _encodable(image_rgb: ImageArray) -> av.VideoFrame:
    """Return a frame of even size as FFmpeg's yuv420p.

    By OpenCV, which takes a tenth of the time that FFmpeg does; it knows the matrix of BT.601 alone.
    """
    planes = np.asarray(cv2.cvtColor(np.ascontiguousarray(image_rgb), cv2.COLOR_RGB2YUV_I420), np.uint8)
    # PyAV borrows the memory of the array right only where the height is a multiple of 4.
    make = av.VideoFrame.from_ndarray if image_rgb.shape[0] % 4 else av.VideoFrame.from_numpy_buffer
    return make(planes, format="yuv420p")


@contextmanager
def _output_errors(path: str | Path) -> Iterator[None]:
    """Turn what FFmpeg refuses into an OutputError that names the file."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{printable(path)}: cannot be written as video ({reason})") from error

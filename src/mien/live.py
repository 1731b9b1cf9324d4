"""Cameras and streams: always the newest frame, so that the delay does not grow however slow its reader is.

A thread decodes what the source gives and keeps one frame, the newest; whoever asks gets that one, and those that
nobody asked for in time are gone.
"""

from __future__ import annotations

import glob
import logging
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import av
import av.container
import cv2
import numpy as np

from mien.errors import VideoError
from mien.files import printable
from mien.types import ImageArray
from mien.video import ENDS_EARLY_S, MAX_DAMAGED, MAX_PIXELS, Clock, Frame, Upright, prepare

__all__ = ["is_live", "name_of", "newest_frames"]

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 5.0  # to connect, and as long again to learn what comes
READ_TIMEOUT_S = 10.0  # without anything coming
CLOSE_TIMEOUT_S = 1.0  # that closing waits for the thread; where nothing comes it ends by itself, after READ_TIMEOUT_S
RETRY_AFTER_S = (1.0, 2.0, 4.0)  # how long to wait before each new try to reach a broken RTSP source

_CAMERA = "camera:"
_ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|udp|srt)://", re.IGNORECASE)
_HOST = re.compile(r"(\[[^]]*\]|[^:]*)(:\d*)?")
_BEFORE_PLAIN_AT = re.compile(r"(/|[?&][\w.-]+=[^&]*)$")  # of http://host:80/@people and http://host:80/a?mail=b@c
#: A setting whose value is secret, up to the next one: cameras have them in the query and in the path, joined by &
#: (user=a&password=b&channel=1) or by _ (user=a_password=b_channel=1), which a password may hold.
_SECRET = re.compile(
    r"((?:pass|pwd|token|key|auth|secret|sig|user|login|session)[^=&?/;]*=).*?(?=&|_(?:channel|stream)=|$)",
    re.IGNORECASE | re.DOTALL,
)

#: The protocols that a stream may go by, or refer to; `file` is none, as what comes from outside names no file here.
_PROTOCOLS = "http,https,httpproxy,tcp,tls,crypto,udp,rtp,srtp,rtsp,rtsps,rtmp,rtmps,rtmpt,srt,data"


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """A frame that has come and may be asked for."""

    time_s: float
    number: int
    to_rgb: Callable[[], ImageArray]  # as most are dropped, only those asked for are converted


def is_live(source: str) -> bool:
    """Return whether an argument names a camera (camera:0) or a stream (rtsp://...), not a file."""
    return source.startswith(_CAMERA) or _ADDRESS.match(source) is not None


def name_of(source: str) -> str:
    """Return a source's name that can be printed and stored: without user, password and what else is secret in it."""
    address = _ADDRESS.match(source)
    if address is None:
        return printable(source)
    rest = _without_credentials(source[address.end() :])
    return printable(address[0] + _SECRET.sub(r"\1...", rest))


def _without_credentials(rest: str) -> str:
    """Return what comes after // in an address from its host on.

    A password may hold any sign, so that one of user:12/34@host looks like a port and a path: where a colon comes
    before an @, that is taken to end a password, but where it is likely to be of a path or a query.
    """
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    plain = _HOST.fullmatch(host) is not None
    for at in range(len(rest) - 1, len(authority), -1):
        if rest[at] == "@" and ":" in rest[:at] and not (plain and _BEFORE_PLAIN_AT.search(rest[:at])):
            return rest[at + 1 :]
    return rest[len(authority) - len(host) :]


@contextmanager
def newest_frames(source: str, *, for_s: float = math.inf) -> Iterator[Iterator[Frame]]:
    """Yield an iterator over a source's frames, each the newest at the time it is asked for; leaving the block ends it.

    source: "camera:0" or "camera:/dev/video2", or the address of a stream: rtsp, rtmp, http, udp, srt.  A file at a
    web address is played at its own pace, so that what is read too slowly is passed over here too; to read every
    frame, download it.  Frame.number counts what the source gave: gaps show what was passed over.
    for_s: seconds after which it ends, whether the source says something or not.
    The iterator raises VideoError where the source cannot be opened or breaks off or nothing came in time, and ends
    where a file does.
    """
    if not is_live(source):
        raise VideoError(f"{printable(source)}: expected camera:0 or an address such as rtsp://host/path")
    slot = _Slot(source, time.monotonic() + for_s)
    try:
        yield iter(slot)
    finally:
        slot.close()


class _Slot:
    """Room for one frame, filled by a thread and emptied by who asks."""

    def __init__(self, source: str, until: float) -> None:
        """Start the thread, which opens the source; until: when frames are given no more, by the monotonic clock."""
        self._source = source
        self._until = until
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._shot: _Shot | None = None
        self._error: Exception | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._fill, name=name_of(source), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame, after waiting for one that was not given yet; raise what the thread met."""
        came = False
        while time.monotonic() < self._until:
            with self._changed:
                while self._shot is None and not self._ended and (left_s := self._until - time.monotonic()) > 0:
                    self._changed.wait(min(0.2, left_s))  # in pieces, so that Ctrl-C gets through on every system
                shot, self._shot = self._shot, None
            if shot is None:
                break
            yield Frame(shot.time_s, shot.to_rgb(), shot.number)
            came = True
        if self._error is not None and (not came or time.monotonic() < self._until):
            raise self._error
        if not came and not self._ended:
            raise VideoError(f"{name_of(self._source)}: no frame came in the time that was given")

    def close(self) -> None:
        """End the thread, within a frame of the source; one that is stuck in a silent source is left to its timeout."""
        self._stop.set()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _fill(self) -> None:
        """Keep the newest frame of the source in its place."""
        read = _camera if self._source.startswith(_CAMERA) else _stream
        try:
            with closing(read(self._source, self._stop)) as shots:
                for shot in shots:
                    with self._changed:
                        self._shot = shot
                        self._changed.notify()
                    if self._stop.is_set():
                        break
        except Exception as error:  # whatever it is, it belongs to who asks for frames
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()


def _camera(source: str, stop: threading.Event) -> Generator[_Shot]:
    """Yield what a camera gives, until the end of the program or of the camera."""
    with _opened_camera(source) as capture:
        start = time.monotonic()
        number = 0
        while not stop.is_set():
            came, image_bgr = capture.read()
            time_s = time.monotonic() - start
            if not came:
                raise VideoError(f"{source}: the camera gave no more pictures after {time_s:.0f} s; is it connected?")
            yield _Shot(time_s, number, partial(_bgr_to_rgb, image_bgr))
            number += 1


def _bgr_to_rgb(image_bgr: cv2.typing.MatLike) -> ImageArray:
    """Return OpenCV's picture in the order of colours that mien has."""
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


@contextmanager
def _opened_camera(source: str) -> Iterator[cv2.VideoCapture]:
    """Yield an open camera; VideoError where there is none."""
    device = source.removeprefix(_CAMERA)
    if not device.isdecimal() and not device.startswith("/dev/"):
        raise VideoError(
            f"{printable(source)}: expected the number of a camera, camera:0, or a device, camera:/dev/video0"
        )
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what matters is said below
    capture = cv2.VideoCapture(int(device)) if device.isdecimal() else cv2.VideoCapture(device, cv2.CAP_V4L2)
    try:
        if not capture.isOpened():
            raise VideoError(_no_camera(source, f"/dev/video{int(device)}" if device.isdecimal() else device))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        yield capture
    finally:
        capture.release()
        cv2.utils.logging.setLogLevel(level)


def _no_camera(source: str, device: str) -> str:
    """Return what to say of a camera that cannot be opened."""
    if sys.platform != "linux":
        return f"{source}: no camera found; connect one, let this program use it, or name another, such as camera:1"
    if os.path.exists(device) and not os.access(device, os.R_OK | os.W_OK):  # noqa: PTH110
        return f"{source}: {device} may not be used; join its group (video, on most systems)"
    if os.path.exists(device):  # noqa: PTH110
        return f"{source}: {device} gives no pictures; close what else uses it, or name another"
    others = ", ".join(f"{_CAMERA}{other}" for other in sorted(glob.glob("/dev/video*")))  # noqa: PTH207
    return (
        f"{source}: no camera found (looked for {device}); connect one or name another, {others or 'such as camera:1'}"
    )


def _stream(source: str, stop: threading.Event) -> Generator[_Shot]:
    """Yield what a stream gives; a broken RTSP source is called again, a few times, with growing waits."""
    waits = RETRY_AFTER_S if source.lower().startswith("rtsp") else ()
    start = time.monotonic()
    number, last_s, failures = 0, 0.0, 0
    while True:
        offset_s = time.monotonic() - start if number else 0.0
        try:
            for time_s, to_rgb in _connection(source, stop):
                if not number:
                    start = time.monotonic()
                last_s = max(last_s, offset_s + time_s)
                yield _Shot(last_s, number, to_rgb)
                number, failures = number + 1, 0
            return
        except VideoError as error:
            # Without a first frame the address is wrong: a person waits for an answer.
            if not number or failures == len(waits) or stop.is_set():
                raise
            log.warning("%s; trying again in %.0f s", error, waits[failures])
            stop.wait(waits[failures])
            failures += 1


def _connection(source: str, stop: threading.Event) -> Iterator[tuple[float, Callable[[], ImageArray]]]:
    """Yield the times and pictures of one connection to a stream, until its end where it is a file's."""
    name, last_s, opened = name_of(source), 0.0, False
    heard = time.monotonic()
    try:
        with av.open(
            source,
            mode="r",
            options={
                "flags": "low_delay",
                "rtsp_transport": "tcp",  # UDP loses packets, and faces with them
                "analyzeduration": "1000000",
                "max_pixels": str(MAX_PIXELS),
            },
            container_options={"protocol_whitelist": _PROTOCOLS},
            timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
        ) as container:
            stream = prepare(container, name)
            stream.thread_type = "SLICE"  # threads by frame hold back as many frames
            opened, start = True, time.monotonic()
            heard = start
            clock, upright = Clock(stream), Upright()
            upright.take(stream)
            duration_s = container.duration / av.time_base if container.duration else None
            for frame in _frames(container, stream, stop, name):
                last_s = clock.time_of(frame)
                if duration_s is not None:  # a file, which comes faster than it plays
                    stop.wait(max(0.0, start + last_s - time.monotonic()))
                yield last_s, partial(upright, frame)
                heard = time.monotonic()
            whole = last_s >= duration_s - ENDS_EARLY_S if duration_s is not None else container.size > 0
            if not whole and not stop.is_set():
                raise VideoError(f"{name}: the stream ended after {last_s:.0f} s")
    except (av.FFmpegError, OSError, ValueError) as error:
        timeout_s = READ_TIMEOUT_S if opened else OPEN_TIMEOUT_S
        reason = _reason(error, silent_s=time.monotonic() - heard, timeout_s=timeout_s)
        # Nothing of the cause is kept: it names the address, with its password.
        if opened:
            raise VideoError(f"{name}: the stream broke after {last_s:.0f} s ({reason})") from None
        raise VideoError(f"{name}: cannot be opened ({reason}); is it on, and is its address right?") from None


def _frames(
    container: av.container.InputContainer, stream: av.VideoStream, stop: threading.Event, name: str
) -> Iterator[av.VideoFrame]:
    """Yield a stream's frames but the damaged ones; VideoError where those do not end."""
    damaged = 0
    for packet in container.demux(stream):
        if stop.is_set():
            return
        try:
            decoded = stream.codec_context.decode(packet)
        except av.FFmpegError:
            decoded, damaged = [], damaged + 1
        for frame in decoded:
            damaged = damaged + 1 if frame.is_corrupt else 0
            if not frame.is_corrupt:
                yield frame
        if damaged > MAX_DAMAGED:
            raise VideoError(f"{name}: the stream is damaged: {damaged} frames, one after the other")


def _reason(error: Exception, *, silent_s: float, timeout_s: float) -> str:
    """Return in words, that tell no address, why a stream failed after it had said nothing for so long."""
    if silent_s >= timeout_s:  # which comes as one error or another
        return f"nothing came for {silent_s:.0f} s"
    if isinstance(error, av.ProtocolNotFoundError):
        return "FFmpeg is built without this protocol here"
    return str(getattr(error, "strerror", None) or "no address that FFmpeg understands")

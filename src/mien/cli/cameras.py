"""`mien recognize` of a camera or a stream, until it is stopped."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.text import Text

from mien.cli.console import interrupted_by_sigterm, out
from mien.cli.rows import Write
from mien.draw import annotate
from mien.errors import OutputError, VideoError
from mien.files import atomic_path
from mien.live import name_of, newest_frames
from mien.recognize import Recognizer
from mien.sinks import Row, to_row
from mien.summary import Person, Summary, clock
from mien.temporal import LiveReader
from mien.types import ImageArray
from mien.video import Frame
from mien.video_writer import VideoWriter

__all__ = ["CameraRead", "read_camera"]

TELL_S = 0.5  # how long an expression stays until a line tells of it


@dataclass(slots=True)
class CameraRead:
    """What came of a camera."""

    frames: int = 0  # that were read
    given: int = 0  # that the camera gave
    faces: int = 0
    seconds: float = 0.0
    broke_off: VideoError | None = None
    unwritten: str = ""  # why the copy could not be written, or not to its end


def read_camera(
    recognizer: Recognizer,
    source: str,
    write: Write,
    *,
    every_s: float,
    smooth_s: float,
    for_s: float,
    copy: Path | None,
    blur_faces: bool,
    tell: bool,
) -> tuple[CameraRead, list[Person]]:
    """Read a camera or a stream into rows until Ctrl-C, SIGTERM, its end or `for_s`; return what came, and of whom.

    copy: where an annotated video goes.  tell: print a line where somebody's expression changes.
    Raises VideoError where not one frame came.
    """
    told, summary, lines = CameraRead(), Summary(every_s=every_s), _Lines()
    reader = LiveReader(recognizer, smooth_s=smooth_s)
    with ExitStack() as stack:
        stack.enter_context(interrupted_by_sigterm())
        recording = None if copy is None else stack.enter_context(_Recording(copy))
        try:
            for frame in stack.enter_context(closing(_frames(source, every_s=every_s, for_s=for_s))):
                reading = replace(reader.read(frame.image_rgb, frame.time_s), number=frame.number)
                rows = [to_row(name_of(source), face, one, frame=reading) for face, one in enumerate(reading.readings)]
                told.frames, told.given, told.seconds = told.frames + 1, frame.number + 1, frame.time_s
                told.faces += len(rows)
                write(rows)
                sys.stdout.flush()  # somebody may be reading along
                for row in rows:
                    summary.add(row)
                    if tell:
                        lines.show(row)
                if recording is not None and not recording.failed:
                    drawn = annotate(frame.image_rgb, reading.readings, blur_faces=blur_faces, unread=reading.unread)
                    recording.write(drawn, frame.time_s)
        except VideoError as error:
            if not told.frames:
                raise
            told.broke_off = error
        except KeyboardInterrupt:
            pass  # it is how one ends this
    if recording is not None:
        told.unwritten = recording.failed
    return told, summary.people()


class _Recording:
    """An annotated copy that may fail, at its end too: the rows are worth more than what is made of them."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet, as without a frame an earlier copy stays."""
        self._path = path
        self._stack = ExitStack()
        self._writer: VideoWriter | None = None
        self.failed = ""  # why it could not be written

    def __enter__(self) -> Self:
        """Return the copy."""
        return self

    def write(self, image_rgb: ImageArray, time_s: float) -> None:
        """Add a frame."""
        with self._told():
            if self._writer is None:
                place = self._stack.enter_context(atomic_path(self._path))
                self._writer = self._stack.enter_context(VideoWriter(place))
            self._writer.write(image_rgb, time_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Bring the copy to its end."""
        with self._told():
            self._stack.__exit__(kind, error, trace)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Note an error and drop the copy."""
        try:
            yield
        except OutputError as error:
            self.failed = self.failed or str(error)
            with suppress(OutputError):
                self._stack.__exit__(OutputError, error, error.__traceback__)


def _frames(source: str, *, every_s: float, for_s: float) -> Generator[Frame]:
    """Yield the newest frames, one every `every_s` or less often, for so long."""
    next_s = 0.0
    with newest_frames(source, for_s=for_s) as newest:
        for frame in newest:
            if frame.time_s >= next_s:
                yield frame
                next_s = frame.time_s + every_s


class _Lines:
    """A line for each expression that somebody comes to show and keeps showing."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._told: dict[int, str] = {}
        self._coming: dict[int, tuple[str, float]] = {}

    def show(self, row: Row) -> None:
        """Print the line of a row where it is time for it."""
        track, name, time_s = row["track"], row["mixture"]["name"], row["time_s"]
        if self._coming.get(track, ("", 0.0))[0] != name:
            self._coming[track] = (name, time_s)
        if name != self._told.get(track) and time_s - self._coming[track][1] >= TELL_S:
            self._told[track] = name
            out.print(Text(f"{clock(time_s)}  person {track}: {name}"))

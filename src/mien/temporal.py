"""Expressions through time: faces followed through the frames of a video, their probabilities smoothed.

A face's probabilities at a time are the mean of its readings around that time, weighed by a triangle that falls to 0
`smooth_s` away on either side.  In a file, what comes after is known as well: nothing is delayed, and rows come
`smooth_s` or a little more behind the frame that was read last.  Live, only the past is known: what is said lags
`smooth_s` / 3 behind, the mean age of the half triangle.  The network reads each face `READINGS` times or more in
`smooth_s`, or at each frame where those are fewer.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from mien.ahead import ahead
from mien.classify import Classifier
from mien.errors import InputError
from mien.faces.detect import Detector
from mien.faces.detecting import DetectorAhead, for_video
from mien.faces.track import Schedule, Tracker
from mien.faces.tracked import Tracked, pack_faces, unpack_faces
from mien.preprocess import preprocess
from mien.recognize import Recognizer
from mien.types import Face, FloatArray, FrameReading, ImageArray, Reading
from mien.video import Frame

__all__ = ["SMOOTH_S", "LiveReader", "VideoReader", "check_smooth"]

SMOOTH_S = 0.4
READINGS = 6  # of each face in smooth_s
KEPT_S = 5.0  # longer than a face may be away and still be the same
FRAMES_AHEAD = 3  # that are tracked while another is read
FRAMES_DECODED = 10  # ahead of those that are tracked, so that faces are found in some of them meanwhile
HELD_BYTES = 250_000_000  # of frames that wait for those after them; where they are larger, less is looked ahead


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A frame whose faces are found, and the crops of those that are to be read."""

    frame: Frame
    faces: list[Tracked]
    decided: dict[int, int | None]  # since the frame before
    keys: list[int]  # of the crops
    crops: ImageArray
    state: dict[str, Any] | None  # of the finder after this frame, now and then


def check_smooth(smooth_s: float) -> None:
    """Raise InputError for a time that nothing can be smoothed over."""
    if not 0 <= smooth_s <= 10:
        raise InputError(f"smoothing is over {smooth_s:g} seconds; expected 0 (none) to 10")


class _Memory:
    """What is known of each face around now: which person it is, and its readings."""

    def __init__(self, smooth_s: float) -> None:
        check_smooth(smooth_s)
        self.smooth_s = smooth_s
        self.persons: dict[int, int | None] = {}
        self._read: dict[int, deque[tuple[float, FloatArray]]] = {}

    def add(self, key: int, time_s: float, probabilities: FloatArray) -> None:
        """Keep a reading (L,) of a face."""
        self._read.setdefault(key, deque()).append((time_s, probabilities))

    def readings(self, faces: Sequence[Tracked], time_s: float, labels: Sequence[str]) -> list[Reading]:
        """Return the smoothed readings of those faces that are known to be somebody's."""
        return [
            Reading(tracked.face, dict(zip(labels, self._at(tracked.key, time_s).tolist(), strict=True)), person)
            for tracked in faces
            if (person := self.persons.get(tracked.key)) is not None
        ]

    def unread(self, faces: Sequence[Tracked]) -> list[Face]:
        """Return those faces that are not, or not yet, known to be somebody's."""
        return [tracked.face for tracked in faces if self.persons.get(tracked.key) is None]

    def _at(self, key: int, time_s: float) -> FloatArray:
        """Return a face's probabilities (L,) at a time."""
        away_s = np.array([abs(read_s - time_s) for read_s, _ in self._read[key]])
        weights = np.maximum(0.0, 1 - away_s / self.smooth_s) if self.smooth_s else np.zeros(len(away_s))
        if not weights.any():  # frames that lie further apart than that, or no smoothing: the nearest
            weights[np.argmin(away_s)] = 1.0
        stacked = np.stack([probabilities for _, probabilities in self._read[key]])
        mean: FloatArray = np.average(stacked, axis=0, weights=weights).astype(np.float32)
        return mean

    def forget(self, before_s: float) -> None:
        """Forget readings that no later time needs."""
        for key, read in list(self._read.items()):
            while len(read) > 1 and read[1][0] < before_s - self.smooth_s:
                read.popleft()
            if read[-1][0] < before_s - max(self.smooth_s, KEPT_S):
                del self._read[key]  # but not whose it is: a face that is at the edge for long is not read meanwhile

    def state(self) -> dict[str, Any]:
        """Return all of it, as JSON holds it."""
        read = [[key, [[at_s, row.tolist()] for at_s, row in rows]] for key, rows in self._read.items()]
        return {"persons": list(self.persons.items()), "read": read}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.persons = dict(state["persons"])
        self._read = {
            key: deque((at_s, np.array(row, np.float32)) for at_s, row in rows) for key, rows in state["read"]
        }


class _Finder:
    """Finds and cuts out the faces of each frame."""

    def __init__(self, recognizer: Recognizer, smooth_s: float, *, detector: Detector | None = None) -> None:
        self.tracker = Tracker(detector or for_video(recognizer.detector))
        self._crop = recognizer.classifier.spec.crop
        self._read_every_s = smooth_s / READINGS
        self.read_s: dict[int, float] = {}  # when each face was last to be read
        self.seconds = 0.0

    def __call__(self, frame: Frame, *, snapshot: bool = False) -> _Step:
        begun = time.perf_counter()
        faces = self.tracker.step(frame.image_rgb, frame.time_s)
        since = {key: at_s for key, at_s in self.read_s.items() if frame.time_s - at_s < KEPT_S}
        due = [
            tracked for tracked in faces
            if frame.time_s - since.get(tracked.key, -math.inf) >= self._read_every_s - 1e-6
        ]  # fmt: skip
        self.read_s = since | {tracked.key: frame.time_s for tracked in due}
        crops = preprocess(frame.image_rgb, [tracked.face for tracked in due], self._crop)
        state = {"tracker": self.tracker.state(), "read_s": list(self.read_s.items())} if snapshot else None
        step = _Step(frame, faces, self.tracker.decisions(), [tracked.key for tracked in due], crops, state)
        self.seconds += time.perf_counter() - begun
        return step

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of a step."""
        self.tracker.restore(state["tracker"])
        self.read_s = dict(state["read_s"])


class LiveReader:
    """Reads one camera, frame by frame, as they come; not to be shared between threads."""

    def __init__(self, recognizer: Recognizer, *, smooth_s: float = SMOOTH_S) -> None:
        """Begin with a recognizer.  InputError where smooth_s is not 0 to 10."""
        self._memory = _Memory(smooth_s)
        self._finder = _Finder(recognizer, smooth_s)
        self._classifier = recognizer.classifier
        self._frames = 0

    def read(self, image_rgb: ImageArray, time_s: float) -> FrameReading:
        """Return the readings of the next frame (H, W, 3); time_s: later than the frame before.

        A face is shown once a second detection has confirmed it, a third of a second after it came.
        """
        step = self._finder(Frame(time_s, image_rgb, self._frames))
        _learn(step, self._classifier, self._memory)
        self._memory.forget(time_s)
        self._frames += 1
        readings = self._memory.readings(step.faces, time_s, self._classifier.spec.labels)
        return FrameReading(self._frames - 1, time_s, readings, self._memory.unread(step.faces))


class VideoReader:
    """Reads one video from its beginning, or from where another reader stood, to its end."""

    def __init__(
        self, recognizer: Recognizer, *, smooth_s: float = SMOOTH_S, state: dict[str, Any] | None = None
    ) -> None:
        """Begin with a recognizer; state: that `read` gave to on_mark.  InputError where smooth_s is not 0 to 10."""
        self._memory = _Memory(smooth_s)
        self._detecting = DetectorAhead(for_video(recognizer.detector))
        self._finder = _Finder(recognizer, smooth_s, detector=self._detecting)
        self._schedule = Schedule()
        self._classifier = recognizer.classifier
        self._known: dict[int, list[Tracked]] = {}  # frames whose faces were found by the reader that stood there
        self.first_frame = 0  # the number of the frame that `read` wants first
        self.reading_seconds = 0.0  # spent in the network
        self._begun = False
        if state is not None:
            self._finder.restore(state["finder"])
            self._memory.restore(state["memory"])
            self._known = {number: unpack_faces(faces) for number, faces in state["known"]}
            self.first_frame = state["first_frame"]
            self._schedule.last_s = self._finder.tracker.detected_s

    @property
    def finding_seconds(self) -> float:
        """Return the seconds spent on finding and following faces, in a thread beside the network."""
        return self._finder.seconds

    def read(
        self,
        frames: Iterable[Frame],
        *,
        mark_every_s: float = 10.0,
        on_mark: Callable[[dict[str, Any]], None] | None = None,
    ) -> Generator[tuple[Frame, FrameReading]]:
        """Yield each frame with its readings, some frames after it was taken from `frames`.

        frames: in order, from `first_frame` on.
        on_mark: called every so many seconds of work, between two frames, with a state (of what JSON holds) from which
        another reader goes on with the frame after the last one that was yielded.
        An InputError that `frames` raises is raised after all frames before it have been yielded; one is raised where
        this reader has read a video already.
        """
        if self._begun:
            raise InputError("a VideoReader reads one video; make another one for the next")
        self._begun = True
        waiting: deque[_Step] = deque()
        failure = None
        steps = ahead(self._steps(frames, mark_every_s if on_mark else math.inf), depth=FRAMES_AHEAD)
        with closing(self._detecting), closing(steps):
            try:
                for step in steps:
                    begun = time.perf_counter()
                    _learn(step, self._classifier, self._memory)
                    self.reading_seconds += time.perf_counter() - begun
                    waiting.append(step)
                    while waiting and self._is_known(waiting):
                        yield self._told(waiting.popleft())
                    if step.state is not None and on_mark is not None:
                        on_mark(self._state(step, waiting))
            except InputError as error:  # damaged from here on
                failure = error
        self._finder.tracker.end()
        self._memory.persons.update(self._finder.tracker.decisions())
        while waiting:
            yield self._told(waiting.popleft())
        if failure is not None:
            raise failure

    def _steps(self, frames: Iterable[Frame], mark_every_s: float) -> Iterator[_Step]:
        """Yield the frames with their faces."""
        marked = time.monotonic()
        nothing = np.zeros((0, *self._classifier.spec.crop.shape), np.uint8)
        for frame in self._decoded(frames):
            if frame.number in self._known:
                yield _Step(frame, self._known.pop(frame.number), {}, [], nothing, None)
                continue
            snapshot = time.monotonic() - marked >= mark_every_s
            yield self._finder(frame, snapshot=snapshot)
            if snapshot:
                marked = time.monotonic()

    def _decoded(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames, those ahead decoded in a thread and, where that is due, looked for faces in another."""
        iterator = iter(frames)
        first = next(iterator, None)
        if first is None:
            return
        known = frozenset(self._known)

        def begun() -> Iterator[Frame]:
            for frame in chain([first], iterator):
                if frame.number not in known and self._schedule(frame.time_s):
                    self._detecting.begin(frame.image_rgb)
                yield frame

        depth = max(1, min(FRAMES_DECODED, HELD_BYTES // 2 // first.image_rgb.nbytes))
        with closing(ahead(begun(), depth=depth)) as decoded:
            yield from decoded

    def _is_known(self, waiting: Sequence[_Step]) -> bool:
        """Return whether nothing that comes later changes what is said of the frame that waits longest."""
        first, newest = waiting[0], waiting[-1]
        if len(waiting) * first.frame.image_rgb.nbytes > HELD_BYTES:
            return True
        decided = all(tracked.key in self._memory.persons for tracked in first.faces)
        return decided and newest.frame.time_s >= first.frame.time_s + self._memory.smooth_s

    def _told(self, step: _Step) -> tuple[Frame, FrameReading]:
        """Return a frame with its readings."""
        frame = step.frame
        readings = self._memory.readings(step.faces, frame.time_s, self._classifier.spec.labels)
        self._memory.forget(frame.time_s)
        return frame, FrameReading(frame.number, frame.time_s, readings, self._memory.unread(step.faces))

    def _state(self, step: _Step, waiting: Sequence[_Step]) -> dict[str, Any]:
        """Return where this reader stands after a step, with the frames that wait."""
        return {
            "finder": step.state,
            "memory": self._memory.state(),
            "known": [[one.frame.number, pack_faces(one.faces)] for one in waiting],
            "first_frame": waiting[0].frame.number if waiting else step.frame.number + 1,
        }


def _learn(step: _Step, classifier: Classifier, memory: _Memory) -> None:
    """Read the crops of a step and keep what comes of it."""
    memory.persons.update(step.decided)
    for key, probabilities in zip(step.keys, classifier.predict(step.crops), strict=True):
        memory.add(key, step.frame.time_s, probabilities)

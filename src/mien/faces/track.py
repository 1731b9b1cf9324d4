"""Faces through time: which face of a frame is whose, over motion, crossings and short losses, but never over a cut.

A face is looked for every so often and followed by optical flow in between.  Detections are given to tracks by place
and look together, by the assignment of least cost.  A face whose look breaks off (something passes before it) is
hidden: it is thought to move on as it did, gives no reading, and is taken up again where a detection fits.
Sources: Zhang et al. 2022, "ByteTrack"; Cao et al. 2023, "Observation-Centric SORT", for motion kept over a loss;
Wojke et al. 2017, "Simple Online and Realtime Tracking with a Deep Association Metric", for place and look together.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from mien.faces.appearance import likeness, look_of
from mien.faces.boxes import longer_side, overlap
from mien.faces.cuts import CutFinder
from mien.faces.detect import Detector
from mien.faces.motion import Motion, follow, small_grey
from mien.faces.tracked import Track, Tracked, pack_track, unpack_track
from mien.types import Face, FloatArray, ImageArray

__all__ = ["DETECT_EVERY_S", "Schedule", "Tracker"]

DETECT_EVERY_S = 0.32  # eight frames of 25 a second
MISSES = 3  # detections in a row that do not see a face which flow still follows: then it is hidden
UNDECIDED_S = 1.0  # a face that others hide in part may wait so long until it is said who it is
HIDDEN_S = 4.0  # a face may be away so long and still be the same
# How alike two looks are: of one face over time 0.47 and more, of two faces 0.57 at most, in 98 of 100 pairs each.
LEAST_LIKENESS = 0.42  # of a face with what it looked like: below it something else is there
TAKEN_UP_LIKENESS = (0.48, 0.6)  # for a hidden face to be taken up again: where it is thought to be, and far from there
SURE_LIKENESS = 0.65  # of a face among others with what is found, from which on its look is learned all the same
CROWDED_SIDES = 1.4  # closer than so many sides, faces hide parts of each other's look
FARTHEST_SIDES = 4.0  # from where a hidden face is thought to be
SAME_PLACE = 0.5  # overlap of two tracks, from which on they are on one face
LEARNED = 0.2  # of the look, and of the velocity, at each time
CORRECTED = 0.6  # of the way from where flow has a face to where it was found
NEVER = 1e6  # the cost of what may not be


class Schedule:
    """Says in which frames faces are looked for: the first, then every so many seconds."""

    def __init__(self, every_s: float = DETECT_EVERY_S) -> None:
        """Begin before the first frame."""
        self._every_s = every_s
        self.last_s = -math.inf  # when they were last looked for

    def __call__(self, time_s: float) -> bool:
        """Return whether faces are looked for in the next frame."""
        due = time_s >= self.last_s + self._every_s - 1e-3
        if due:
            self.last_s = time_s
        return due


class Tracker:
    """Follows the faces of one video, frame by frame."""

    def __init__(self, detector: Detector, *, detect_every_s: float = DETECT_EVERY_S) -> None:
        """Follow what a detector finds, which is asked every so many seconds, or at each frame where they are fewer."""
        self._detector = detector
        self._cuts = CutFinder()
        self._tracks: list[Track] = []
        self._grey: ImageArray | None = None
        self._time_s = -math.inf
        self._schedule = Schedule(detect_every_s)
        self._shape: tuple[int, ...] = ()
        self._next_key = self._persons = 0
        self._decided: dict[int, int | None] = {}

    def step(self, image_rgb: ImageArray, time_s: float) -> list[Tracked]:
        """Return the faces of the next frame, the largest first, with those that one detection alone has seen so far.

        image_rgb: (H, W, 3).  time_s: later than at the step before.
        """
        grey, scale = small_grey(image_rgb)
        cut = self._cuts(image_rgb) or image_rgb.shape != self._shape
        if cut:
            self.end()
        self._shape = image_rgb.shape
        self._move(grey, scale, time_s)
        self._check_looks(image_rgb)
        due = self._schedule(time_s)
        if due or cut or any(track.face.framed for track in self._tracks):
            self._detect(image_rgb, time_s)
        self._grey, self._time_s = grey, time_s
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= HIDDEN_S or not track.hidden]
        shown = [track for track in self._tracks if not track.hidden and self._inside(track)]
        return [Tracked(track.key, track.face) for track in sorted(shown, key=lambda track: -track.side)]

    @property
    def detected_s(self) -> float:
        """Return when faces were last looked for as scheduled."""
        return self._schedule.last_s

    def decisions(self) -> dict[int, int | None]:
        """Return what has been decided since this was last asked: keys to persons, from 1 as they come; None: no face.

        A key is undecided while one detection alone has seen the face: the next one confirms or refutes it.
        """
        decided, self._decided = self._decided, {}
        return decided

    def end(self) -> None:
        """Take those for faces that are still undecided: no more frames come, or another shot begins."""
        for track in self._tracks:
            if track.person is None:
                self._confirm(track)
        self._tracks, self._grey = [], None

    def _confirm(self, track: Track, person: int | None = None) -> None:
        """Make a track a person: one who was there before, or else the next one."""
        if person is None:
            self._persons += 1
            person = self._persons
        track.person = person
        self._decided[track.key] = person

    def _move(self, grey: ImageArray, scale: float, time_s: float) -> None:
        """Move all faces to where they are now: by flow, or where that does not tell, as they moved before."""
        seen = [track for track in self._tracks if not track.hidden]
        motions: Sequence[Motion | None] = [None] * len(seen)
        if self._grey is not None:
            motions = follow(self._grey, grey, [track.face.box_xyxy for track in seen], scale=scale)
        elapsed = time_s - self._time_s
        for track, motion in zip(seen, motions, strict=True):
            before, crowded = _centre(track.face.box_xyxy), self._crowded(track)
            if motion is None or (crowded and track.misses):  # the flow may be that of what hides it
                self._coast(track, elapsed)
                continue
            track.face = _moved(track.face, motion.unscaled(before) if crowded else motion)
            if elapsed > 0 and not crowded:
                velocity = (_centre(track.face.box_xyxy) - before) / elapsed
                track.velocity += np.float32(LEARNED) * (velocity - track.velocity)
            track.seen_s = time_s
        for track in self._tracks:
            if track.hidden:
                self._coast(track, elapsed)

    @staticmethod
    def _coast(track: Track, elapsed_s: float) -> None:
        """Move a face on as it moved before."""
        shift = np.eye(2, 3)
        shift[:, 2] = track.velocity * elapsed_s
        track.face = _moved(track.face, Motion(shift))

    def _check_looks(self, image_rgb: ImageArray) -> None:
        """Hide the faces that no longer look as they did, and learn how the others look now."""
        for track in self._tracks:
            if track.hidden or track.face.framed:
                continue
            now = look_of(image_rgb, track.face.box_xyxy)
            alike = likeness(track.look, now)
            if alike < LEAST_LIKENESS:
                track.hidden = True
            elif not self._crowded(track):
                track.look = _mixed(track.look, now)
        visible = [track for track in self._tracks if not track.hidden and not track.face.framed]
        for index, track in enumerate(visible):
            for other in visible[:index]:
                if overlap(track.face.box_xyxy, other.face.box_xyxy) > SAME_PLACE and not other.hidden:
                    looks = [likeness(one.look, look_of(image_rgb, one.face.box_xyxy)) for one in (track, other)]
                    (track if looks[0] < looks[1] else other).hidden = True

    def _crowded(self, track: Track) -> bool:
        """Return whether another face is so close that it may be taken for this one."""
        centre = _centre(track.face.box_xyxy)
        return any(
            other is not track
            and np.abs(_centre(other.face.box_xyxy) - centre).max() < CROWDED_SIDES * (other.side + track.side) / 2
            for other in self._tracks
        )

    def _detect(self, image_rgb: ImageArray, time_s: float) -> None:
        """Look for faces, and give each to the track that it fits."""
        faces, before = self._detector(image_rgb), list(self._tracks)
        looks = [look_of(image_rgb, face.box_xyxy) for face in faces]
        costs = np.array(
            [[_cost(track, face, look, time_s) for face, look in zip(faces, looks, strict=True)] for track in before],
            np.float64,
        ).reshape(len(before), len(faces))
        pairs = [(row, column) for row, column in zip(*linear_sum_assignment(costs), strict=True)
                 if costs[row, column] < NEVER]  # fmt: skip
        for row, column in pairs:
            self._take(before[row], faces[column], looks[column], time_s)
        for track in [track for row, track in enumerate(before) if row not in {row for row, _ in pairs}]:
            track.misses += 1
            track.hidden = track.hidden or track.misses >= MISSES
            if track.person is None:
                self._decided[track.key] = None
                self._tracks.remove(track)
        for column in sorted(set(range(len(faces))) - {column for _, column in pairs}):
            self._tracks.append(Track(self._next_key, faces[column], looks[column], time_s, born_s=time_s))
            self._next_key += 1

    def _take(self, track: Track, face: Face, look: FloatArray | None, time_s: float) -> None:
        """Go on with a detection that is this track's face."""
        if track.person is None:
            self._decide(track, face, look, time_s)
        track.face = face if track.hidden or face.framed else _corrected(track.face, face)
        track.hidden, track.misses, track.seen_s = False, 0, time_s
        if not self._crowded(track) or likeness(track.look, look) >= SURE_LIKENESS:
            track.look = _mixed(track.look, look)

    def _decide(self, track: Track, face: Face, look: FloatArray | None, time_s: float) -> None:
        """Say who a face is that was seen twice: somebody who was hidden before it came, or else somebody new.

        Where others hide parts of its look, that waits a little.
        """
        away = [other for other in self._tracks if other.hidden and other.person and other.seen_s <= track.born_s]
        costs = [_cost(other, face, look, time_s) for other in away]
        if costs and min(costs) < NEVER:
            before = away[int(np.argmin(costs))]
            self._confirm(track, before.person)
            track.velocity = before.velocity
            self._tracks.remove(before)
        elif not away or not self._crowded(track) or time_s - track.born_s >= UNDECIDED_S:
            self._confirm(track)

    def _inside(self, track: Track) -> bool:
        """Return whether the middle of a face is in the picture."""
        x, y = _centre(track.face.box_xyxy)
        return bool(0 <= x < self._shape[1] and 0 <= y < self._shape[0])

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, as JSON holds it: a tracker that goes on from there finds the same."""
        grey = None
        if self._grey is not None:
            grey = [self._grey.shape, base64.b85encode(zlib.compress(self._grey.tobytes(), 1)).decode()]
        return {
            "cuts": self._cuts.state(), "tracks": [pack_track(track) for track in self._tracks], "grey": grey,
            "time_s": _finite(self._time_s), "detected_s": _finite(self._schedule.last_s), "shape": list(self._shape),
            "next_key": self._next_key, "persons": self._persons,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another tracker stood."""
        self._cuts.restore(state["cuts"])
        self._tracks = [unpack_track(track) for track in state["tracks"]]
        self._grey = None
        if state["grey"] is not None:
            shape, packed = state["grey"]
            self._grey = np.frombuffer(zlib.decompress(base64.b85decode(packed)), np.uint8).reshape(shape)
        self._time_s, self._schedule.last_s = (
            -math.inf if state[name] is None else float(state[name]) for name in ("time_s", "detected_s")
        )
        self._shape = tuple(state["shape"])
        self._next_key, self._persons = state["next_key"], state["persons"]


def _cost(track: Track, face: Face, look: FloatArray | None, time_s: float) -> float:
    """Return what it costs to take a detection for a track's face; NEVER where it cannot be."""
    place = overlap(track.face.box_xyxy, face.box_xyxy)
    side = longer_side(face.box_xyxy)
    distance = float(np.linalg.norm(_centre(face.box_xyxy) - _centre(track.face.box_xyxy))) / max(side, track.side)
    alike = likeness(track.look, look)
    if not 0.5 < side / track.side < 2.0:
        return NEVER
    if track.hidden:
        far = distance / min(1.0 + 2.0 * (time_s - track.seen_s), FARTHEST_SIDES)
        near_likeness, far_likeness = TAKEN_UP_LIKENESS
        if far > 1 or alike < near_likeness + far * (far_likeness - near_likeness):
            return NEVER
        return 0.5 * far + 2.0 * (1 - alike) + 0.2
    if place < 0.2 and (distance > 1.0 or alike < TAKEN_UP_LIKENESS[1]):
        return NEVER
    return 0.5 * (1 - place) + 2.0 * (1 - alike)


def _centre(box_xyxy: FloatArray) -> FloatArray:
    """Return the middle (2,) of a box."""
    return (box_xyxy[:2] + box_xyxy[2:]) / np.float32(2)


def _moved(face: Face, motion: Motion) -> Face:
    """Return a face after a motion."""
    landmarks = None if face.landmarks_px is None else motion.points(face.landmarks_px)
    return replace(face, box_xyxy=motion.box(face.box_xyxy), landmarks_px=landmarks)


def _corrected(followed: Face, found: Face) -> Face:
    """Return a face between where it was followed to and where it was found: the detector's boxes tremble."""
    share = np.float32(CORRECTED)
    landmarks = found.landmarks_px
    if landmarks is not None and followed.landmarks_px is not None:
        landmarks = followed.landmarks_px + share * (landmarks - followed.landmarks_px)
    return replace(
        found, box_xyxy=followed.box_xyxy + share * (found.box_xyxy - followed.box_xyxy), landmarks_px=landmarks
    )


def _mixed(look: FloatArray | None, now: FloatArray | None) -> FloatArray | None:
    """Return a look with some of what it is now."""
    if look is None or now is None:
        return now if look is None else look
    return (look + np.float32(LEARNED) * (now - look)).astype(np.float32)


def _finite(value: float) -> float | None:
    """Return a number as JSON knows it."""
    return value if math.isfinite(value) else None

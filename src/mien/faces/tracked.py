"""One face through time: what is known of it, and that as JSON holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mien.faces.boxes import longer_side
from mien.types import Face, FloatArray

__all__ = ["Track", "Tracked", "pack_faces", "pack_track", "unpack_faces", "unpack_track"]


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """One face of a frame, and whose it is."""

    key: int  # the same for one person through one shot; `Tracker.decisions` tells which person that is
    face: Face


@dataclass(slots=True, eq=False)
class Track:
    """A face that is followed."""

    key: int
    face: Face
    look: FloatArray | None
    seen_s: float  # when it was last seen
    velocity: FloatArray = field(default_factory=lambda: np.zeros(2, np.float32))  # (2,) pixels a second
    born_s: float = 0.0  # when it was first seen
    person: int | None = None  # None: undecided
    misses: int = 0
    hidden: bool = False

    @property
    def side(self) -> float:
        """Return the longer side of the box in pixels."""
        return longer_side(self.face.box_xyxy)


def pack_faces(faces: Sequence[Tracked]) -> list[dict[str, Any]]:
    """Return faces as JSON holds them."""
    return [{"key": tracked.key, **_packed_face(tracked.face)} for tracked in faces]


def unpack_faces(packed: Sequence[dict[str, Any]]) -> list[Tracked]:
    """Return the faces that `pack_faces` packed."""
    return [Tracked(one["key"], _unpacked_face(one)) for one in packed]


def _packed_face(face: Face) -> dict[str, Any]:
    """Return a face as JSON holds it."""
    landmarks = None if face.landmarks_px is None else face.landmarks_px.tolist()
    return {"box": face.box_xyxy.tolist(), "landmarks": landmarks, "score": face.score, "framed": face.framed}


def _unpacked_face(packed: dict[str, Any]) -> Face:
    """Return the face that `_packed_face` packed."""
    landmarks = None if packed["landmarks"] is None else np.array(packed["landmarks"], np.float32)
    return Face(np.array(packed["box"], np.float32), landmarks, packed["score"], packed["framed"])


def pack_track(track: Track) -> dict[str, Any]:
    """Return a track as JSON holds it."""
    look = None if track.look is None else track.look.tolist()
    return {
        **_packed_face(track.face), "key": track.key, "look": look, "velocity": track.velocity.tolist(),
        "seen_s": track.seen_s, "born_s": track.born_s, "person": track.person, "misses": track.misses,
        "hidden": track.hidden,
    }  # fmt: skip


def unpack_track(packed: dict[str, Any]) -> Track:
    """Return the track that `pack_track` packed."""
    look = None if packed["look"] is None else np.array(packed["look"], np.float32)
    velocity = np.array(packed["velocity"], np.float32)
    kept = {name: packed[name] for name in ("key", "seen_s", "born_s", "person", "misses", "hidden")}
    return Track(face=_unpacked_face(packed), look=look, velocity=velocity, **kept)

"""What travels between the rooms: faces and readings, and the array aliases that signatures use."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.mixture import Mixture, mix

__all__ = ["BoolArray", "Face", "FloatArray", "FrameReading", "ImageArray", "IntArray", "Reading"]

ImageArray = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)  # eq=False: comparing arrays has no single answer
class Face:
    """One face in a picture."""

    box_xyxy: FloatArray  # (4,) pixels in the source image
    landmarks_px: FloatArray | None  # (5, 2) right eye, left eye, nose, right mouth, left mouth; None: not known
    score: float  # detector confidence, 0 to 1
    framed: bool = False  # the box is the crop itself: nothing is added around it


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The expression that one face shows."""

    face: Face
    probabilities: dict[str, float]  # label -> probability, in the model's label order; they sum to 1
    track: int | None = None  # which person of a video, from 1; None: a picture

    @property
    def expression(self) -> str:
        """Return the label of the largest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """Return the largest probability."""
        return max(self.probabilities.values())

    @property
    def mixture(self) -> Mixture:
        """Return what the face shows in words: one expression, a mixture of two, or "unsure"."""
        return mix(self.probabilities)


@dataclass(frozen=True, slots=True, eq=False)
class FrameReading:
    """The expressions of all faces in one frame of a video."""

    number: int  # of the frame in the video, from 0
    time_s: float  # since the video's first frame
    readings: list[Reading]  # the largest face first, each with its track
    unread: list[Face] = field(default_factory=list)  # one detection alone saw them, up to now or at all

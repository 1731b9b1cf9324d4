"""From a box to a crop: the one place where a face is cut out of a picture."""

from __future__ import annotations

import math

import cv2
import numpy as np

from mien.errors import InputError
from mien.spec import CropSpec
from mien.types import Face, FloatArray, ImageArray

__all__ = ["cut", "square"]

# Detectors draw their boxes differently, so that one margin cannot serve all.  Where landmarks are known, the box that
# dlib's detector would have drawn is made from them, by where eyes and mouth lie in the mean of FER2013's Training
# faces (eyes 18.0 pixels apart, 20.3 above the mouth, both read off that mean picture) and where dlib finds its box
# there (side 40.5, centre 9.1 below the eyes); results/LOG.md tells how this was measured.
SIDE_PER_EYE_DISTANCE = 2.25
SIDE_PER_EYES_TO_MOUTH = 2.0
CENTRE_FROM_EYES_TO_MOUTH = 0.45


def cut(image_rgb: ImageArray, face: Face, spec: CropSpec) -> ImageArray:
    """Return the square crop of one face: (S, S) uint8 for a grey spec, (S, S, 3) for colour.

    The square's side is the longer side of the box plus the margin on both ends; what lies outside the picture is
    filled with its nearest edge pixels.  Landmarks, where there are any, stand in for the box (see above).  A framed
    face is cut as its box is, without margin.
    Raises InputError where the box is empty or lies wholly outside the picture, or a landmark is no number.
    """
    x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
    height, width = image_rgb.shape[:2]
    finite = bool(np.isfinite(face.box_xyxy).all())
    if not (finite and x1 > max(x0, 0) and y1 > max(y0, 0) and x0 < width and y0 < height):
        raise InputError(f"face box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is empty or outside the {width}x{height} picture")
    if face.landmarks_px is not None and not np.isfinite(face.landmarks_px).all():
        raise InputError(f"landmarks of a face at ({x0:g}, {y0:g}) are no numbers: {face.landmarks_px.tolist()}")
    left, top, side = square(face, spec)
    region = _region(image_rgb, left, top, side)
    if spec.colour == "grey":
        region = cv2.cvtColor(region, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    if side == spec.size_px:
        return region.copy()
    # Area averaging is the one that does not alias when shrinking; enlarging wants a smooth curve.
    how = cv2.INTER_AREA if side > spec.size_px else cv2.INTER_CUBIC
    return cv2.resize(region, (spec.size_px, spec.size_px), interpolation=how).astype(np.uint8, copy=False)


def square(face: Face, spec: CropSpec) -> tuple[int, int, int]:
    """Return (left, top, side) of the square that `cut` takes, in pixels of the picture; it may reach beyond it."""
    x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
    centre_x, centre_y, longer = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0)
    if face.landmarks_px is not None and not face.framed:
        centre_x, centre_y, longer = _anchor(face.landmarks_px)
    margin, offset_y = (0.0, 0.0) if face.framed else (spec.margin, spec.offset_y)
    side = max(1, _nearest(longer * (1 + 2 * margin)))
    return _nearest(centre_x - side / 2), _nearest(centre_y + offset_y * longer - side / 2), side


def _nearest(position: float) -> int:
    """Return the nearest whole pixel; halves go up (not to even numbers), so that a crop moves with its picture."""
    return math.floor(position + 0.5)


def _anchor(landmarks_px: FloatArray) -> tuple[float, float, float]:
    """Return (centre x, centre y, side) of the box that dlib would draw around the landmarks (5, 2).

    The larger of two estimates of the side is taken: a turned head brings the eyes together, a nod the mouth closer.
    """
    right_eye, left_eye, _, right_mouth, left_mouth = landmarks_px.astype(float)
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    centre = eyes + CENTRE_FROM_EYES_TO_MOUTH * (mouth - eyes)
    eye_distance, eyes_to_mouth = np.hypot(*(left_eye - right_eye)), np.hypot(*(mouth - eyes))
    side = max(SIDE_PER_EYE_DISTANCE * eye_distance, SIDE_PER_EYES_TO_MOUTH * eyes_to_mouth)
    return float(centre[0]), float(centre[1]), float(side)


def _region(image_rgb: ImageArray, left: int, top: int, side: int) -> ImageArray:
    """Return the square (side, side, 3) at (left, top), edge pixels repeated where it leaves the picture."""
    height, width = image_rgb.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return image_rgb[top : top + side, left : left + side]
    rows = np.arange(top, top + side).clip(0, height - 1)
    columns = np.arange(left, left + side).clip(0, width - 1)
    region: ImageArray = image_rgb[rows[:, None], columns]
    return region

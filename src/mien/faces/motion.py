"""How faces have moved from one frame to the next: points within them, followed by optical flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.types import BoolArray, FloatArray, ImageArray

__all__ = ["Motion", "follow", "small_grey"]

LONGEST_SIDE_PX = 640  # of the picture in which points are followed
GRID = 8  # points a side
INNER = 0.7  # of the box, in which they lie: its corners show what is behind the face
LEAST_POINTS = 12  # that must be found again
BACK_PX = 1.0  # how far from where it began a point may come out when it is followed back (Kalal et al. 2010)
WINDOW_PX = (15, 15)
LEVELS = 4  # of the pyramid: a point may move about 15 times 2^4 pixels a frame


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """A similarity: turned, scaled and shifted, in pixels of the full picture."""

    matrix: NDArray[np.float64]  # (2, 3)

    @property
    def scale(self) -> float:
        """Return by how much lengths grow."""
        return math.hypot(self.matrix[0, 0], self.matrix[1, 0])

    def unscaled(self, centre_px: FloatArray) -> Motion:
        """Return the shift alone that this is at a point (2,)."""
        shift = np.eye(2, 3)
        shift[:, 2] = self.points(centre_px[None])[0] - centre_px
        return Motion(shift)

    def points(self, points_px: FloatArray) -> FloatArray:
        """Return points (N, 2) moved."""
        return (points_px @ self.matrix[:, :2].T + self.matrix[:, 2]).astype(np.float32)

    def box(self, box_xyxy: FloatArray) -> FloatArray:
        """Return a box (4,) moved and scaled, not turned."""
        corners = box_xyxy.reshape(2, 2)
        centre = self.points(corners.mean(axis=0, keepdims=True))[0]
        half = (corners[1] - corners[0]) / 2 * self.scale
        return np.concatenate([centre - half, centre + half]).astype(np.float32)


def small_grey(image_rgb: ImageArray) -> tuple[ImageArray, float]:
    """Return a picture (H, W, 3) as grey, its longest side 640 pixels or less, and by how much it was scaled."""
    scale = min(1.0, LONGEST_SIDE_PX / max(image_rgb.shape[:2]))
    if scale < 1:
        size = max(1, round(image_rgb.shape[1] * scale)), max(1, round(image_rgb.shape[0] * scale))
        image_rgb = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False), scale


def follow(
    before: ImageArray, after: ImageArray, boxes_xyxy: Sequence[FloatArray], *, scale: float
) -> list[Motion | None]:
    """Return how what is in each box moved from one grey picture to the next; None where that cannot be told.

    boxes_xyxy: (4,) each, in the full picture, of which before and after are `scale` times the size.
    Source: Lucas and Kanade 1981 in Bouguet's pyramids; forward and backward as in Kalal et al. 2010, "Forward-Backward
    Error: Automatic Detection of Tracking Failures".
    """
    if not boxes_xyxy:
        return []
    steps = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID * INNER + (1 - INNER) / 2
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    points = np.concatenate([box[:2] + grid * (box[2:] - box[:2]) for box in boxes_xyxy])
    begun: FloatArray = (points * scale).astype(np.float32)
    begun = begun.reshape(-1, 1, 2)
    there, found = _flow(before, after, begun)
    back, found_back = _flow(after, before, there)
    strayed = np.linalg.norm(back - begun, axis=-1)[:, 0]
    good = found & found_back & (strayed < BACK_PX)
    count = len(grid)
    return [
        _similarity(
            begun[start : start + count, 0], there[start : start + count, 0], good[start : start + count], scale
        )
        for start in range(0, len(begun), count)
    ]


def _flow(before: ImageArray, after: ImageArray, points_px: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return where points (N, 1, 2) have gone, in the same shape, and which were found, (N,)."""
    nowhere = np.empty(0, np.float32)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points_px, nowhere, winSize=WINDOW_PX, maxLevel=LEVELS)
    return np.asarray(there, np.float32), np.asarray(found)[:, 0] == 1


def _similarity(begun: FloatArray, there: FloatArray, good: BoolArray, scale: float) -> Motion | None:
    """Return the similarity that most of the good points (N, 2) agree on."""
    if good.sum() < LEAST_POINTS:
        return None
    matrix, agreeing = cv2.estimateAffinePartial2D(begun[good] / scale, there[good] / scale, ransacReprojThreshold=3.0)
    if matrix is None or agreeing.sum() < LEAST_POINTS:
        return None
    motion = Motion(np.asarray(matrix, np.float64))
    return motion if 0.7 < motion.scale < 1.4 else None

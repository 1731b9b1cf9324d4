"""What all detectors do with the boxes that they find."""

from __future__ import annotations

import numpy as np

from mien.types import Face, FloatArray

__all__ = ["distinct", "longer_side", "ordered", "overlap"]


def longer_side(box_xyxy: FloatArray) -> float:
    """Return the longer side of a box (4,)."""
    return float((box_xyxy[2:] - box_xyxy[:2]).max())


def overlap(first: FloatArray, second: FloatArray) -> float:
    """Return the intersection over the union of two boxes (4,)."""
    shared = float(np.prod(np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None)))
    return shared / (float(np.prod(first[2:] - first[:2])) + float(np.prod(second[2:] - second[:2])) - shared)


def distinct(faces: list[Face]) -> list[Face]:
    """Return the faces without those that overlap a better one by half: two candidates may lead to one face."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if all(overlap(face.box_xyxy, other.box_xyxy) < 0.5 for other in kept):
            kept.append(face)
    return kept


def ordered(faces: list[Face], height: int, width: int, *, min_face_px: float | None) -> list[Face]:
    """Return the faces that touch a picture of so many pixels and are large enough, the largest first."""

    def side(face: Face) -> float:
        return longer_side(face.box_xyxy)

    def inside(face: Face) -> bool:
        x0, y0, x1, y1 = face.box_xyxy
        return bool(x1 > max(x0, 0) and y1 > max(y0, 0) and x0 < width and y0 < height)

    kept = [face for face in faces if inside(face) and (min_face_px is None or side(face) >= min_face_px)]
    return sorted(kept, key=side, reverse=True)

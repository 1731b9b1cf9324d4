"""Boxes of any detector: how much two overlap, which are one face, which count and in what order."""

from __future__ import annotations

import numpy as np
import pytest

from mien.faces.boxes import distinct, longer_side, ordered, overlap
from mien.types import Face


def face(x0: float, y0: float, x1: float, y1: float, score: float = 0.9) -> Face:
    return Face(np.array([x0, y0, x1, y1], np.float32), None, score)


def test_the_longer_side_is_the_width_or_the_height() -> None:
    assert [longer_side(face(*box).box_xyxy) for box in ((3, 4, 10, 6), (3, 4, 5, 14), (0, 0, 8, 8))] == [7, 10, 8]


@pytest.mark.parametrize(
    ("second", "expected"),
    [((0, 0, 10, 10), 1), ((0, 0, 10, 5), 0.5), ((5, 0, 15, 10), 1 / 3), ((10, 0, 20, 10), 0), ((30, 30, 40, 40), 0)],
)
def test_overlap_is_what_both_share_of_what_either_covers(
    second: tuple[float, float, float, float], expected: float
) -> None:
    boxes = face(0, 0, 10, 10).box_xyxy, face(*second).box_xyxy
    assert overlap(*boxes) == overlap(*boxes[::-1]) == pytest.approx(expected)


def test_of_boxes_that_overlap_by_half_the_most_certain_is_kept() -> None:
    weak, strong, aside = face(0, 0, 10, 10, 0.6), face(0, 0, 10, 5, 0.8), face(7, 0, 17, 10, 0.5)
    assert distinct([weak, strong, aside]) == [strong, aside]
    assert distinct([]) == []


def test_faces_come_the_largest_first_without_those_beside_the_picture_or_below_a_size() -> None:
    small, large, half_out = face(0, 0, 10, 10), face(20, 20, 60, 50), face(-15, 5, 5, 25)
    beside = [face(-10, 0, 0, 10), face(0, -10, 10, 0), face(100, 0, 110, 10), face(0, 80, 10, 90)]
    assert ordered([small, *beside, half_out, large], 80, 100, min_face_px=None) == [large, half_out, small]
    assert ordered([small, half_out, large], 80, 100, min_face_px=20) == [large, half_out]
    assert ordered([small, half_out, large], 80, 100, min_face_px=40.5) == []

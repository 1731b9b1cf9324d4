"""Hiding a part takes away what the answer had from it."""

from __future__ import annotations

import numpy as np
import pytest

from mien.explain.occlusion import occlusion
from mien.types import FloatArray, ImageArray

SIDE = 48


def from_a_place(crops: ImageArray) -> FloatArray:
    """Return a probability that is the brightness of one place: rows 10 to 15, columns 30 to 35."""
    planes = crops if crops.ndim == 3 else crops.mean(axis=3)
    bright = planes[:, 10:16, 30:36].mean(axis=(1, 2)) / 255
    return np.stack([bright, 1 - bright], axis=1).astype(np.float32)


@pytest.mark.parametrize("colour", [False, True])
def test_the_map_is_hot_where_the_answer_comes_from_and_nothing_elsewhere(colour: bool) -> None:
    crop = np.zeros((SIDE, SIDE), np.uint8)
    crop[10:16, 30:36] = 255
    heat = occlusion(from_a_place, np.stack([crop] * 3, axis=2) if colour else crop, 0, patch_px=6)
    assert heat.shape == (SIDE, SIDE)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 10 <= row < 16
    assert 30 <= column < 36
    far = np.ones((SIDE, SIDE), bool)
    far[4:22, 24:42] = False
    np.testing.assert_allclose(heat[far], 0, atol=1e-6)
    assert float(heat.max()) > 0.5


def test_what_speaks_against_a_label_is_negative() -> None:
    crop = np.zeros((SIDE, SIDE), np.uint8)
    crop[10:16, 30:36] = 255
    for_it, against_it = (occlusion(from_a_place, crop, label) for label in (0, 1))
    np.testing.assert_allclose(for_it, -against_it, atol=1e-6)


def test_a_flat_crop_has_no_part_that_counts() -> None:
    crop = np.full((SIDE, SIDE), 130, np.uint8)
    np.testing.assert_array_equal(occlusion(from_a_place, crop, 0), np.zeros((SIDE, SIDE), np.float32))


def test_a_larger_crop_takes_no_more_patches_and_few_at_once() -> None:
    asked: list[int] = []

    def counted(crops: ImageArray) -> FloatArray:
        asked.append(len(crops))
        return np.full((len(crops), 2), 0.5, np.float32)

    for side in (SIDE, 4 * SIDE):
        asked.clear()
        occlusion(counted, np.zeros((side, side), np.uint8), 0)
        assert max(asked) <= 256
        assert sum(asked) == 842  # 29 places in each direction, and the whole crop


def test_the_given_crop_is_left_alone_and_corners_are_covered_too() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    before = crop.copy()

    def from_the_corner(crops: ImageArray) -> FloatArray:
        share = crops[:, 0, 0].astype(np.float32) / 255
        return np.stack([share, 1 - share], axis=1)

    crop[0, 0] = before[0, 0] = 255
    heat = occlusion(from_the_corner, crop, 0)
    assert np.array_equal(crop, before)
    assert int(heat.argmax()) == 0

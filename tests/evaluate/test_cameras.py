"""Crops as other cameras would have taken them: each kind of change is there, as far as it is said to go."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mien.evaluate import cameras
from mien.evaluate.cameras import as_cameras
from mien.spec import CropSpec
from mien.types import ImageArray

SHAPES = [CropSpec(size_px=40).shape, CropSpec(size_px=40, colour="rgb").shape]
COPIES = 120
SIDE = 48

#: What leaves a crop as it is, but for the rounding of the best JPEG.
NEUTRAL = {
    "ZOOM": 0.0, "SHIFT": 0.0, "ROTATION_DEG": 0.0, "BLUR_PX": 0.05, "GAMMA": 0.0, "SIDELIGHT": 0.0, "NOISE": 0.0,
    "JPEG_QUALITY": (100, 101),
}  # fmt: skip
WRITTEN = {name: getattr(cameras, name) for name in NEUTRAL}

Only = Callable[..., None]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Only:
    """Return a function that leaves the named kinds of change and switches all others off."""

    def leave(*kinds: str) -> None:
        for name, off in NEUTRAL.items():
            monkeypatch.setattr(cameras, name, WRITTEN[name] if name in kinds else off)

    return leave


def changed(crops: ImageArray, *, seed: int = 0) -> ImageArray:
    """Return the crops changed with a seed of their own each, so that copies of one crop are changed otherwise."""
    copies = [as_cameras(crops[row : row + 1], seed=1000 * seed + row) for row in range(len(crops))]
    return np.concatenate(copies) if copies else as_cameras(crops, seed=seed)


def noise(shape: tuple[int, ...], *, count: int = 4) -> ImageArray:
    return np.random.default_rng(1).integers(0, 256, (count, *shape), np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_state_gives_the_same_pixels_and_another_seed_others(shape: tuple[int, ...]) -> None:
    crops = noise(shape)
    before = crops.copy()
    np.testing.assert_array_equal(changed(crops), changed(crops))
    assert not np.array_equal(changed(crops), changed(crops, seed=1))
    np.testing.assert_array_equal(crops, before)


@pytest.mark.parametrize("shape", SHAPES)
def test_crops_keep_their_shape_and_type_and_every_one_of_them_changes(shape: tuple[int, ...]) -> None:
    crops = noise(shape)
    seen = changed(crops)
    assert seen.shape == crops.shape
    assert seen.dtype == np.uint8
    assert (seen != crops).reshape(len(crops), -1).mean(axis=1).min() > 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_no_crops_stay_none(shape: tuple[int, ...]) -> None:
    seen = changed(noise(shape, count=0))
    assert seen.shape == (0, *shape)
    assert seen.dtype == np.uint8


def test_what_happens_to_a_crop_depends_on_no_other() -> None:
    crops = noise(SHAPES[0])
    seen = as_cameras(crops)
    np.testing.assert_array_equal(as_cameras(crops[2:]), seen[2:])
    np.testing.assert_array_equal(as_cameras(crops[::-1]), seen[::-1])
    assert not np.array_equal(as_cameras(crops, seed=1), seen)


def test_the_channels_of_a_colour_crop_keep_their_places(only: Only) -> None:
    only("ZOOM", "SHIFT", "ROTATION_DEG", "BLUR_PX", "SIDELIGHT")
    red = np.broadcast_to(np.array([200, 60, 20], np.uint8), (8, SIDE, SIDE, 3))
    mean = changed(red).mean(axis=(1, 2))
    np.testing.assert_allclose(mean, np.broadcast_to([200, 60, 20], mean.shape), atol=8)


def blob() -> ImageArray:
    """Return a long bright spot on black, across."""
    down, right = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    bright: ImageArray = (255 * np.exp(-0.5 * ((right / 7) ** 2 + (down / 3) ** 2))).astype(np.uint8)
    return bright


def flat() -> ImageArray:
    return np.full((SIDE, SIDE), 120, np.uint8)


def grain() -> ImageArray:
    return np.random.default_rng(2).integers(60, 180, (SIDE, SIDE), np.uint8)


def zoom_of(crop: ImageArray) -> float:
    return 0.5 * float(np.log(cv2.moments(crop)["m00"] / cv2.moments(blob())["m00"]))


def shift_right_of(crop: ImageArray) -> float:
    moments = cv2.moments(crop)
    return (moments["m10"] / moments["m00"] - (SIDE - 1) / 2) / SIDE


def shift_down_of(crop: ImageArray) -> float:
    return shift_right_of(crop.T)


def angle_of(crop: ImageArray) -> float:
    moments = cv2.moments(crop)
    return float(np.degrees(0.5 * np.arctan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])))


def gamma_of(crop: ImageArray) -> float:
    return float(np.log(np.log(crop.mean() / 255) / np.log(120 / 255)))


def slope_right_of(crop: ImageArray) -> float:
    columns = crop.mean(axis=0)
    return float(columns[-1] - columns[0]) / 2 / float(columns.mean())


def slope_down_of(crop: ImageArray) -> float:
    return slope_right_of(crop.T)


def grain_of(crop: ImageArray) -> float:
    return float(crop.std())


def difference_of(crop: ImageArray) -> float:
    return float(np.abs(crop.astype(int) - grain()).mean())


def spread(picture: ImageArray, measure: Callable[[ImageArray], float]) -> float:
    """Return the standard deviation of a measure over changed copies of a picture."""
    return float(np.std([measure(copy) for copy in changed(np.stack([picture] * COPIES))]))


UNIFORM = 1 / np.sqrt(3)  # standard deviation of a value that is anywhere between -1 and 1
HALF = UNIFORM / 2  # the same, between 0 and 1
ACROSS = np.sqrt(1 / 3 * 1 / 2)  # of one between 0 and 1 times the cosine of any angle


@pytest.mark.parametrize(
    ("kind", "picture", "measure", "expected"),
    [
        ("ZOOM", blob, zoom_of, 0.15),
        ("SHIFT", blob, shift_right_of, 0.06),
        ("SHIFT", blob, shift_down_of, 0.06),
        ("ROTATION_DEG", blob, angle_of, 6.0),
        ("GAMMA", flat, gamma_of, 0.5 * UNIFORM),
        ("SIDELIGHT", flat, slope_right_of, 0.35 * ACROSS),
        ("SIDELIGHT", flat, slope_down_of, 0.35 * ACROSS),
        ("NOISE", flat, grain_of, 5.0 * HALF),
    ],
)
def test_a_kind_of_change_goes_as_far_as_it_is_said_to_and_is_no_other(
    only: Only, kind: str, picture: Callable[[], ImageArray], measure: Callable[[ImageArray], float], expected: float
) -> None:
    only(kind)
    assert spread(picture(), measure) == pytest.approx(expected, rel=0.3)
    only()
    assert spread(picture(), measure) < 0.02 * expected


def test_blur_takes_the_grain_off_and_jpeg_changes_it(only: Only) -> None:
    crops = np.stack([grain()] * COPIES)
    only("BLUR_PX")
    left = [grain_of(crop) / grain_of(grain()) for crop in changed(crops)]
    assert min(left) < 0.4
    assert max(left) > 0.9, "some cameras are sharp"
    only("JPEG_QUALITY")
    off = [difference_of(crop) for crop in changed(crops)]
    assert 1.5 < min(off) < 0.5 * max(off), "of more than one quality"
    assert min(grain_of(crop) / grain_of(grain()) for crop in changed(crops)) > 0.9
    only()
    assert max(difference_of(crop) for crop in changed(crops)) < 1.0


def test_edges_are_repeated_where_a_crop_is_moved(only: Only) -> None:
    only("ZOOM", "SHIFT", "ROTATION_DEG")
    np.testing.assert_allclose(changed(np.stack([flat()] * 8)), 120, atol=2)

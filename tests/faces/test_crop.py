"""A crop is the same part of a face wherever the face is, and whatever lies around it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mien.errors import InputError
from mien.faces.crop import cut
from mien.faces.detect import WholePicture
from mien.spec import CropSpec
from mien.types import Face, FloatArray, ImageArray

PLAIN = CropSpec(margin=0.0, offset_y=0.0)


def picture(height: int, width: int, *, seed: int = 0, smooth: float = 0.0) -> ImageArray:
    noise = np.random.default_rng(seed).random((height, width, 3))
    smoothed = np.asarray(ndimage.gaussian_filter(noise, (smooth, smooth, 0)) if smooth else noise)
    image: ImageArray = (255 * (smoothed - smoothed.min()) / np.ptp(smoothed)).astype(np.uint8)
    return image


def face(x0: float, y0: float, x1: float, y1: float, landmarks_px: FloatArray | None = None) -> Face:
    return Face(np.array([x0, y0, x1, y1], np.float32), landmarks_px, 1.0)


def difference(first: ImageArray, second: ImageArray) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def test_the_whole_of_a_small_grey_picture_is_its_own_crop() -> None:
    grey = picture(48, 48)[..., 0]
    image = np.dstack([grey] * 3)
    (whole,) = WholePicture()(image)
    assert np.array_equal(cut(image, whole, CropSpec()), grey)  # framed: no margin, no offset
    assert np.array_equal(cut(image, whole, CropSpec(colour="rgb")), image)
    assert np.array_equal(cut(image, face(0, 0, 48, 48), PLAIN), grey)


def test_a_crop_owns_its_pixels() -> None:
    image = picture(48, 48)
    crop = cut(image, face(0, 0, 48, 48), replace(PLAIN, colour="rgb"))
    before = image.copy()
    crop[:] = 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("size_px", [8, 48, 112])
@pytest.mark.parametrize("side", [1, 30, 48, 200])
def test_a_crop_has_the_shape_that_the_spec_says(side: int, size_px: int, colour: str) -> None:
    spec = CropSpec(size_px=size_px, colour=colour)
    crop = cut(picture(100, 90), face(20, 30, 20 + side, 30 + side / 2), spec)
    assert crop.shape == spec.shape
    assert crop.dtype == np.uint8


@given(
    x=st.integers(0, 80), y=st.integers(0, 80), width=st.integers(1, 40), height=st.integers(1, 40),
    dx=st.integers(0, 30), dy=st.integers(0, 30),
)  # fmt: skip
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_crop_is_the_same_when_picture_and_box_shift_together(
    x: int, y: int, width: int, height: int, dx: int, dy: int
) -> None:
    large = picture(230, 230)
    here, there = large[:200, :200], large[dy : dy + 200, dx : dx + 200]
    # In halves of a pixel, and so that the crop lies in what both pictures show.
    x0, y0 = 60 + x / 2, 60 + y / 2
    box = face(x0, y0, x0 + width, y0 + height)
    moved = face(x0 - dx, y0 - dy, x0 + width - dx, y0 + height - dy)
    assert np.array_equal(cut(here, box, CropSpec()), cut(there, moved, CropSpec()))


def test_a_crop_is_the_same_when_picture_box_and_landmarks_are_mirrored() -> None:
    image = picture(120, 150, smooth=2)
    points = np.array([[60, 50], [84, 51], [70, 64], [63, 76], [80, 77]], np.float32)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    flipped = (points * (-1, 1) + (150, 0))[[1, 0, 2, 4, 3]].astype(np.float32)
    for landmarks, other in ((None, None), (points, flipped)):
        crop = cut(image, face(50, 40, 96, 86, landmarks), CropSpec())
        other_crop = cut(mirrored, face(54, 40, 100, 86, other), CropSpec())
        # Half a pixel may be lost to rounding.
        assert difference(crop, other_crop[:, ::-1]) < 4


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_scaling_picture_and_box_together_changes_little(scale: int) -> None:
    image = picture(160, 160, smooth=4)
    enlarged = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    crop = cut(image, face(40, 45, 104, 109), CropSpec())
    larger = cut(enlarged, face(40 * scale, 45 * scale, 104 * scale, 109 * scale), CropSpec())
    assert difference(crop, larger) < 2.5
    assert difference(crop, cut(image, face(46, 45, 110, 109), CropSpec())) > 5  # what 6 of 64 pixels would make


def test_a_grey_crop_weighs_red_green_and_blue_as_eyes_do() -> None:
    image = np.zeros((60, 180, 3), np.uint8)
    for channel in range(3):
        image[:, 60 * channel : 60 * channel + 60, channel] = 255
    greys = [int(cut(image, face(60 * n + 10, 10, 60 * n + 50, 50), CropSpec())[24, 24]) for n in range(3)]
    assert greys == [76, 150, 29]  # ITU-R BT.601: 0.299, 0.587, 0.114


def test_margin_widens_and_offset_moves_the_crop() -> None:
    image = picture(200, 200)
    box = face(80, 80, 120, 120)  # a side of 40
    for margin, offset_y, region in (
        (0.1, 0.0, image[76:124, 76:124]),
        (0.1, 0.1, image[80:128, 76:124]),
        (0.1, -0.5, image[56:104, 76:124]),
        (-0.1, 0.0, image[84:116, 84:116]),
    ):
        spec = CropSpec(size_px=region.shape[0], margin=margin, offset_y=offset_y, colour="rgb")
        assert np.array_equal(cut(image, box, spec), region)


def test_the_longer_side_of_a_box_makes_the_square_around_its_centre() -> None:
    image = picture(100, 100)
    spec = replace(PLAIN, size_px=40, colour="rgb")
    assert np.array_equal(cut(image, face(40, 30, 60, 70), spec), image[30:70, 30:70])
    assert np.array_equal(cut(image, face(30, 40, 70, 60), spec), image[30:70, 30:70])


@given(x0=st.integers(-60, 95), y0=st.integers(-60, 75), side=st.integers(1, 90))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_lies_outside_the_picture_repeats_its_edge(x0: int, y0: int, side: int) -> None:
    image = picture(80, 100)
    box = face(x0, y0, x0 + side, y0 + side)
    if x0 + side <= 0 or y0 + side <= 0 or x0 >= 100 or y0 >= 80:
        with pytest.raises(InputError, match="outside"):
            cut(image, box, PLAIN)
        return
    padded = np.pad(image, ((100, 100), (100, 100), (0, 0)), mode="edge")
    assert np.array_equal(cut(image, box, CropSpec()), cut(padded, face(*(box.box_xyxy + 100)), CropSpec()))


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 20),
        (10, 10, 20, 10),
        (20, 10, 10, 20),
        (-30, 0, -1, 20),
        (0, 80, 20, 99),
        (100, 0, 120, 20),
        (float("nan"), 0, 20, 20),
        (0, 0, float("inf"), 20),
        (float("-inf"), 0, 20, 20),
    ],
)
def test_an_empty_box_or_one_outside_the_picture_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="empty or outside the 100x80 picture"):
        cut(picture(80, 100), face(*box), CropSpec())


@pytest.mark.parametrize("scale", [1.0, 2.5, 7.0])
def test_landmarks_where_the_mean_face_has_them_stand_in_for_dlibs_box(scale: float) -> None:
    # Of FER2013's mean Training face, 48 pixels: eyes and mouth as results/LOG.md gives them; and dlib's box in it.
    points = np.array([[15.0, 17.7], [33.0, 17.7], [24.0, 29.0], [17.0, 38.0], [31.0, 38.0]])
    box = np.array([24 - 40.5 / 2, 26.8 - 40.5 / 2, 24 + 40.5 / 2, 26.8 + 40.5 / 2])
    side = round(48 * scale)
    at = 100  # a border, for crops that reach beyond the face
    image = picture(side + 2 * at, side + 2 * at, smooth=2 * scale)
    by_box = cut(image, face(*(box * scale + at)), CropSpec())
    landmarks = (points * scale + at).astype(np.float32)
    # YuNet's own box is taller than wide; with landmarks known it does not matter.
    by_landmarks = cut(image, face(at, at, at + 30 * scale, at + 45 * scale, landmarks), CropSpec())
    assert difference(by_box, by_landmarks) < 3
    # The crop is the mean face's own frame.
    assert difference(by_landmarks, cut(image, face(at, at, at + side, at + side), PLAIN)) < 5


def test_the_crop_follows_the_landmarks_of_a_turned_head() -> None:
    image = picture(200, 200, smooth=3)
    frontal = np.array([[82, 80], [118, 80], [100, 100], [86, 120], [114, 120]], np.float32)
    turned = frontal.copy()
    turned[:, 0] = 100 + 0.5 * (frontal[:, 0] - 100)  # the eyes come together, their height above the mouth stays
    first, second = (cut(image, face(60, 60, 140, 140, points), CropSpec()) for points in (frontal, turned))
    assert difference(first, second) < 4


@pytest.mark.parametrize(("x", "y"), [(-80, 50), (50, -80), (300, 50), (50, 300)])
def test_landmarks_outside_the_picture_give_a_crop_of_its_edge(x: int, y: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    spread = np.array([[-9, -9], [9, -9], [0, 0], [-7, 9], [7, 9]], np.float32)
    face = Face(np.array([-99, -99, 200, 200], np.float32), spread + np.array([x, y], np.float32), 1.0)
    assert cut(image, face, CropSpec(size_px=41)).shape == (41, 41)
    assert cut(image, face, CropSpec()).shape == (48, 48)


def test_landmarks_that_are_no_numbers_are_refused() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    face = Face(np.array([10, 10, 50, 50], np.float32), np.full((5, 2), np.nan, np.float32), 1.0)
    with pytest.raises(InputError, match=r"landmarks of a face at .* are no numbers"):
        cut(image, face, CropSpec())


def test_landmarks_that_meet_in_a_point_still_give_a_crop() -> None:
    points = np.full((5, 2), 30, np.float32)
    assert cut(picture(60, 60), face(20, 20, 40, 40, points), CropSpec()).shape == (48, 48)


def test_a_framed_face_is_cut_as_its_box_is_even_with_landmarks() -> None:
    image = picture(100, 100)
    points = np.full((5, 2), 30, np.float32)
    framed = Face(np.array([20, 30, 68, 78], np.float32), points, 1.0, framed=True)
    assert np.array_equal(cut(image, framed, CropSpec(colour="rgb")), image[30:78, 20:68])

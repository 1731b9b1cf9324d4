"""Readings are drawn onto a copy, visibly, whatever the size of the picture and wherever the boxes lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageColor

from mien.draw import COLOURS, UNSURE_COLOUR, annotate, told
from mien.faces.detect import DlibDetector
from mien.labels import FERPLUS
from mien.media import read_image
from mien.types import Face, ImageArray, Reading


def reading(box: tuple[float, float, float, float], expression: str = "happy", confidence: float = 0.83) -> Reading:
    face = Face(np.array(box, np.float32), None, 1.0)
    others = [label for label in FERPLUS if label != expression]
    return Reading(face, {expression: confidence, **{label: (1 - confidence) / len(others) for label in others}})


def grey(height: int, width: int) -> ImageArray:
    return np.full((height, width, 3), 128, np.uint8)


def has(image: ImageArray, expression: str) -> int:
    """Return how many pixels have the colour of an expression."""
    return int((image == ImageColor.getrgb(COLOURS[expression])[:3]).all(axis=2).sum())


def test_every_expression_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(FERPLUS)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_a_copy_is_drawn_on_and_can_be_written_to() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    before = image.copy()
    for blur_faces in (False, True):
        drawn = annotate(image, [reading((60, 60, 140, 140))], blur_faces=blur_faces)
        assert drawn.shape == image.shape
        assert drawn.dtype == np.uint8
        assert not np.array_equal(drawn, before)
        drawn[:] = 7
        assert np.array_equal(image, before)


def test_without_readings_the_picture_is_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    drawn = annotate(image, [], blur_faces=True)
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


@pytest.mark.parametrize("expression", FERPLUS)
def test_a_box_lies_around_the_face_in_the_colour_of_its_expression(expression: str) -> None:
    drawn = annotate(grey(200, 300), [reading((60, 80, 140, 160), expression)])
    colour = ImageColor.getrgb(COLOURS[expression])[:3]
    assert np.all(drawn[80:160, 60] == colour)
    assert np.all(drawn[160, 60:140] == colour)
    assert np.all(drawn[85:155, 65:135] == 128)  # the face itself stays to be seen
    assert has(drawn, expression) > 4 * 80 + 300  # and a label


def test_letters_stand_out_from_every_colour() -> None:
    for expression in FERPLUS:
        drawn = annotate(grey(300, 400), [reading((100, 100, 200, 200), expression)])
        label = drawn[60:98, 100:240]
        luma = label @ (0.299, 0.587, 0.114)
        ground = np.dot(ImageColor.getrgb(COLOURS[expression])[:3], (0.299, 0.587, 0.114))
        assert np.abs(luma - ground).max() > 110, expression


def test_the_label_tells_what_was_read() -> None:
    first = annotate(grey(200, 300), [reading((60, 80, 140, 160), "happy", 0.83)])
    assert np.array_equal(first, annotate(grey(200, 300), [reading((60, 80, 140, 160), "happy", 0.831)]))
    for other in (reading((60, 80, 140, 160), "happy", 0.84), reading((60, 80, 140, 160), "sad", 0.83)):
        assert not np.array_equal(first, annotate(grey(200, 300), [other]))


def test_an_expression_of_somebody_elses_model_is_drawn_too() -> None:
    drawn = annotate(grey(200, 300), [reading((60, 80, 140, 160), "bored")])
    assert np.all(drawn[80:160, 60] == 255)


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 3), (8, 8), (24, 24), (48, 48), (3, 2000), (2000, 3), (90, 4000), (16, 500)]
)
def test_pictures_of_any_size_are_drawn_on(size: tuple[int, int]) -> None:
    side = min(size)
    for box in ((0, 0, side, side), (0, 0, size[1], size[0])):
        drawn = annotate(grey(*size), [reading(box)], blur_faces=True)
        assert drawn.shape == (*size, 3)


coordinates = st.floats(-500, 700, width=32)


@given(x0=coordinates, y0=coordinates, width=st.floats(0, 900), height=st.floats(0, 900), blur=st.booleans())
@settings(max_examples=60, deadline=None)
def test_boxes_beyond_the_border_are_drawn_as_far_as_they_are_seen(
    x0: float, y0: float, width: float, height: float, blur: bool
) -> None:
    drawn = annotate(grey(120, 150), [reading((x0, y0, x0 + width, y0 + height))], blur_faces=blur)
    assert drawn.shape == (120, 150, 3)


@pytest.mark.parametrize(
    "box", [(5, 0, 45, 40), (110, 0, 149, 40), (5, 100, 45, 139), (110, 100, 149, 139), (0, 0, 150, 140)]
)
def test_a_label_is_whole_wherever_the_face_is(box: tuple[float, float, float, float]) -> None:
    # As large as one in the middle, but for a line that it may share with its box.
    middle, drawn = (annotate(grey(140, 150), [reading(place)]) for place in ((55, 50, 95, 90), box))
    assert has(drawn, "happy") >= has(middle, "happy") - 60


def test_labels_of_neighbours_do_not_hide_each_other_or_their_faces() -> None:
    faces = [(100, 60, 140, 100), (150, 60, 190, 100), (100, 110, 140, 150), (200, 62, 240, 102)]
    names = ["happy", "angry", "neutral", "surprise"]
    readings = [reading(box, name) for box, name in zip(faces, names, strict=True)]
    together = annotate(grey(220, 400), readings)
    for box, name in zip(faces, names, strict=True):
        alone = annotate(grey(220, 400), [reading(box, name)])
        assert has(together, name) > 0.9 * has(alone, name)
        x0, y0, x1, y1 = box
        assert np.all(together[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3] == 128)


def test_labels_of_small_faces_are_small() -> None:
    drawn = [annotate(grey(1000, 1500), [reading((300, 300, 300 + side, 300 + side))]) for side in (40, 300)]
    heights = [int((image[200:298] != 128).any(axis=(1, 2)).sum()) for image in drawn]
    assert 12 <= heights[0] < 25 < heights[1] < 60


def test_blurring_leaves_nothing_of_a_face_to_be_found(portrait: Path) -> None:
    image = read_image(portrait)
    detector = DlibDetector(min_face_px=40)
    (face,) = detector(image)
    found = Reading(face, {"happy": 0.9, "sad": 0.1})
    assert len(detector(annotate(image, [found]))) == 1
    assert detector(annotate(image, [found], blur_faces=True)) == []


def test_blurring_destroys_detail_in_the_face_and_changes_nothing_elsewhere() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    box = (100, 100, 200, 200)
    shown, blurred = (annotate(noise, [reading(box)], blur_faces=blur) for blur in (False, True))
    # Nothing changes faster than from one of six cells to the next, in the face and around it.
    for part in (blurred[105:195, 105:195], blurred[205:218, 82:218], blurred[105:218, 202:218]):
        assert np.abs(np.diff(part.astype(float), axis=0)).max() < 5
        assert np.abs(np.diff(part.astype(float), axis=1)).max() < 5
    assert np.array_equal(shown[260:], blurred[260:])
    assert np.array_equal(shown[:, 260:], blurred[:, 260:])


def test_a_face_that_nothing_is_said_of_is_blurred_too_and_has_no_box() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    face = reading((100, 100, 200, 200)).face
    assert np.array_equal(annotate(noise, [], unread=[face]), noise)
    drawn = annotate(noise, [], blur_faces=True, unread=[face])
    assert np.abs(np.diff(drawn[82:218, 82:218].astype(float), axis=0)).max() < 5


def test_a_blurred_face_does_not_depend_on_its_details() -> None:
    # Two faces with the same cells: what tells them apart is gone.
    image = grey(240, 240)
    other = image.copy()
    other[80:160:2, 80:160] = 148
    other[81:160:2, 80:160] = 108
    box = (80, 80, 160, 160)
    first, second = (annotate(one, [reading(box)], blur_faces=True) for one in (image, other))
    assert np.abs(first.astype(int) - second).max() <= 3


def test_a_label_says_who_it_is_and_what_is_mixed_or_unsure() -> None:
    face = Face(np.zeros(4, np.float32), None, 1.0)
    rest = dict.fromkeys(FERPLUS, 0.0)
    assert told(Reading(face, rest | {"happy": 0.93, "sad": 0.07}, 2)) == "2 happy 93%"
    assert told(Reading(face, rest | {"happy": 0.93, "sad": 0.07})) == "happy 93%"
    assert told(Reading(face, rest | {"happy": 0.51, "surprise": 0.47, "sad": 0.02}, 12)) == "12 happily surprised 98%"
    assert told(Reading(face, dict.fromkeys(FERPLUS[1:], 0.13) | {"angry": 0.14})) == "unsure (angry 14%)"


def test_who_is_unsure_has_a_colour_of_its_own() -> None:
    drawn = annotate(grey(200, 300), [reading((60, 80, 140, 160), "happy", 0.2)])
    assert np.all(drawn[80:160, 60] == ImageColor.getrgb(UNSURE_COLOUR))
    assert has(drawn, "happy") == 0


def test_a_label_stays_at_its_box_while_the_face_moves_a_little() -> None:
    generator = np.random.default_rng(0)
    places = set()
    for _ in range(20):
        boxes = [np.array(box) + generator.normal(0, 1, 4) for box in ((60, 60, 130, 130), (140, 62, 208, 130))]
        drawn = annotate(grey(240, 320), [reading(tuple(box), "happy") for box in boxes])
        rows, columns = np.nonzero((drawn[:50] == ImageColor.getrgb(COLOURS["happy"])).all(axis=2))
        places.add((rows.size > 0, bool((columns < 130).any()), bool((columns > 150).any())))
    assert places == {(True, True, True)}

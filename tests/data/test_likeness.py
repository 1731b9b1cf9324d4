"""Copies are found however they were saved anew; different faces are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.data.likeness import copies_of, duplicates, same_picture
from mien.media import read_image
from mien.types import ImageArray


def patterns(count: int, *, seed: int = 0) -> ImageArray:
    """Return smooth random pictures (N, 48, 48), no two alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), np.uint8)
    return np.stack([cv2.resize(each, (48, 48), interpolation=cv2.INTER_CUBIC) for each in coarse]).astype(np.uint8)


@pytest.fixture(scope="module")
def face(portrait: Path) -> ImageArray:
    """Return a face in colour, with its surroundings."""
    return read_image(portrait)[60:190, 150:290]


def crop_of(picture: ImageArray, *, left: int = 17, top: int = 20, side: int = 96) -> ImageArray:
    """Return a grey crop (48, 48)."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture[top : top + side, left : left + side]), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA).astype(np.uint8)


def test_copies_of_others_are_found_and_no_more() -> None:
    pictures = patterns(40)
    others = pictures[::-4]
    assert np.flatnonzero(copies_of(pictures, others)).tolist() == list(range(3, 40, 4))
    assert copies_of(pictures[:0], others).tolist() == []
    assert not copies_of(pictures, others[:0]).any()


def test_different_pictures_are_no_copies() -> None:
    assert (duplicates(patterns(40)) == -1).all()


@pytest.mark.parametrize(
    "change",
    ["same", "brighter", "jpeg", "shifted", "larger"],
)
def test_a_copy_saved_anew_is_found(face: ImageArray, change: str) -> None:
    first = crop_of(face)
    if change == "brighter":
        second = np.clip(first * 0.8 + 40, 0, 255).astype(np.uint8)
    elif change == "jpeg":
        decoded = cv2.imdecode(cv2.imencode(".jpg", first, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
        assert decoded is not None
        second = decoded.astype(np.uint8)
    else:
        moved = {"same": {}, "shifted": {"left": 21, "top": 17}, "larger": {"left": 14, "top": 17, "side": 102}}[change]
        second = crop_of(face, **moved)
    assert same_picture(first, second)
    assert duplicates(np.stack([first, *patterns(5), second])).tolist() == [-1] * 6 + [0]


def test_the_first_is_kept_and_a_copy_of_a_copy_is_one() -> None:
    first, other = patterns(2)
    assert duplicates(np.stack([first, first, other, first, other])).tolist() == [-1, 0, -1, 0, 2]


def test_copies_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.likeness.BLOCK", 3)
    some = patterns(7)
    assert duplicates(np.concatenate([some, some])).tolist() == [-1] * 7 + list(range(7))


def test_crops_of_one_grey_are_never_copies() -> None:
    assert (duplicates(np.full((3, 48, 48), 90, np.uint8)) == -1).all()


def test_colour_and_other_sizes_are_compared_too() -> None:
    colour = np.repeat(cv2.resize(patterns(1)[0], (64, 64))[None, ..., None], 3, axis=3).astype(np.uint8)
    assert duplicates(np.concatenate([colour, colour])).tolist() == [-1, 0]


def test_nothing_has_no_copies() -> None:
    assert duplicates(np.zeros((0, 48, 48), np.uint8)).shape == (0,)

"""Ten views of a crop, and what a predictor says of them on average."""

from __future__ import annotations

import numpy as np
import pytest

from mien.evaluate.views import ten_crop
from mien.spec import CropSpec
from mien.types import FloatArray, ImageArray

GREY, RGB = CropSpec(), CropSpec(size_px=96, colour="rgb")


class Watching:
    """A predictor that keeps what it was shown; the corner at the top left and the left half decide."""

    def __init__(self) -> None:
        self.shown: list[ImageArray] = []
        self.said: list[FloatArray] = []

    def __call__(self, crops: ImageArray) -> FloatArray:
        rows = (crops if crops.ndim == 3 else crops.mean(axis=3)) / 255
        half, corner = rows[:, :, : rows.shape[2] // 2].mean(axis=(1, 2)) / 2, rows[:, 0, 0] / 2
        self.shown.append(crops)
        self.said.append(np.stack([half, corner, 1 - half - corner], axis=1).astype(np.float32))
        return self.said[-1]


def mirrored(crops: ImageArray) -> ImageArray:
    return np.ascontiguousarray(crops[:, :, ::-1])


def as_model(crops: ImageArray) -> FloatArray:
    """Return the mean over the crops and their mirror images, as a model does that mirrors by itself."""
    both: FloatArray = (Watching()(crops) + Watching()(mirrored(crops))) * np.float32(0.5)
    return both


def noise(spec: CropSpec, *, count: int = 3) -> ImageArray:
    return np.random.default_rng(0).integers(0, 256, (count, *spec.shape), np.uint8)


@pytest.mark.parametrize("side", [48, 96])
def test_the_windows_are_the_four_corners_and_the_middle_and_their_mirror_images(side: int) -> None:
    down, right = np.mgrid[:side, :side]
    crop = np.stack([down, right, np.zeros_like(down)], axis=2).astype(np.uint8)  # each pixel tells its place
    watching = Watching()
    ten_crop(watching, mirrors=False)(crop[None])
    step = side // 48
    corners = [(0, 0), (0, 4 * step), (2 * step, 2 * step), (4 * step, 0), (4 * step, 4 * step)]
    windows = [((top, left), (top + 44 * step - 1, left + 44 * step - 1)) for top, left in corners]
    found: dict[bool, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {False: [], True: []}
    for (view,) in watching.shown:
        assert view.shape == crop.shape
        turned = bool(view[0, 0, 1] > view[0, -1, 1])
        upright = view[:, ::-1] if turned else view
        found[turned].append((tuple(upright[0, 0, :2].tolist()), tuple(upright[-1, -1, :2].tolist())))
    assert sorted(found[False]) == sorted(found[True]) == windows


@pytest.mark.parametrize("spec", [GREY, RGB])
@pytest.mark.parametrize(("mirrors", "calls"), [(False, 10), (True, 5)])
def test_the_answer_is_the_mean_over_the_views(spec: CropSpec, mirrors: bool, calls: int) -> None:
    watching = Watching()
    answer = ten_crop(watching, mirrors=mirrors)(noise(spec))
    assert len(watching.said) == calls
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, np.mean(watching.said, axis=0), atol=1e-6)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(watching.said, axis=0).max() > 0.1, "all views look alike: no mean was needed"


@pytest.mark.parametrize("spec", [GREY, RGB])
def test_a_predictor_that_mirrors_by_itself_gives_the_same_with_half_of_the_calls(spec: CropSpec) -> None:
    crops = noise(spec)
    plain, own = ten_crop(Watching(), mirrors=False), ten_crop(as_model, mirrors=True)
    np.testing.assert_allclose(plain(crops), own(crops), atol=1e-6)
    assert np.abs(plain(crops) - ten_crop(Watching(), mirrors=True)(crops)).max() > 1e-3


def test_a_crop_and_its_mirror_image_get_the_same_answer() -> None:
    crops, predict = noise(GREY), ten_crop(Watching(), mirrors=False)
    np.testing.assert_allclose(predict(crops), predict(mirrored(crops)), atol=1e-6)


def test_constant_crops_look_the_same_in_every_view() -> None:
    crops = np.broadcast_to(np.array([0, 77, 255], np.uint8)[:, None, None], (3, *GREY.shape))
    watching = Watching()
    answer = ten_crop(watching, mirrors=False)(crops)
    for view in watching.shown:
        np.testing.assert_array_equal(view, crops)
    np.testing.assert_allclose(answer, Watching()(crops), atol=1e-6)


@pytest.mark.parametrize("spec", [GREY, RGB])
def test_crops_are_seen_together_as_one_by_one_and_no_crops_give_no_rows(spec: CropSpec) -> None:
    crops, predict = noise(spec), ten_crop(Watching(), mirrors=False)
    before = crops.copy()
    np.testing.assert_allclose(predict(crops), np.concatenate([predict(crop[None]) for crop in crops]), atol=1e-6)
    np.testing.assert_array_equal(crops, before)
    assert predict(crops[:0]).shape == (0, 3)

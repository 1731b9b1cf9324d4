"""The one road into any model: faces to crops, their contrast enhanced as the spec says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.faces.crop import cut
from mien.preprocess import enhance, preprocess
from mien.spec import COLOURS, CONTRASTS, CropSpec
from mien.types import Face, ImageArray

SPECS = [CropSpec(colour=colour, contrast=contrast) for colour in COLOURS for contrast in CONTRASTS]


def crops_of(spec: CropSpec, *, count: int = 4, low: int = 60, high: int = 120) -> ImageArray:
    """Return crops of little contrast."""
    generator = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 9, spec.size_px))
    base = np.add.outer(waves, waves)
    shades = [np.dstack([base, base * 0.8, -base]) if spec.colour == "rgb" else base for _ in range(count)]
    noisy = np.stack(shades) + generator.normal(0, 0.2, (count, *spec.shape))
    return np.clip(low + (noisy + 2.5) * (high - low) / 5, 0, 255).astype(np.uint8)


def lightness(crops: ImageArray) -> np.ndarray:
    return (crops @ (0.299, 0.587, 0.114)) if crops.ndim == 4 else crops.astype(float)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.colour}-{spec.contrast}")
def test_the_crops_of_several_faces_are_those_of_each_enhanced(spec: CropSpec) -> None:
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    faces = [
        Face(np.array(box, np.float32), None, 1.0) for box in ((5, 5, 40, 40), (60, 20, 119, 80), (-9, 50, 30, 89))
    ]
    together = preprocess(image, faces, spec)
    assert together.shape == (3, *spec.shape)
    assert together.dtype == np.uint8
    for crop, face in zip(together, faces, strict=True):
        assert np.array_equal(crop, preprocess(image, [face], spec)[0])
        assert np.array_equal(crop, enhance(cut(image, face, spec)[None], spec)[0])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.colour}-{spec.contrast}")
def test_no_face_gives_no_crop(spec: CropSpec) -> None:
    crops = preprocess(np.zeros((9, 9, 3), np.uint8), [], spec)
    assert crops.shape == (0, *spec.shape)
    assert crops.dtype == np.uint8


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.colour}-{spec.contrast}")
def test_enhancing_keeps_shape_type_and_what_it_was_given(spec: CropSpec) -> None:
    crops = crops_of(spec)
    before = crops.copy()
    enhanced = enhance(crops, spec)
    assert enhanced.shape == crops.shape
    assert enhanced.dtype == np.uint8
    assert np.array_equal(crops, before)
    assert np.array_equal(enhanced, enhance(crops, spec))  # the same every time


@pytest.mark.parametrize("colour", COLOURS)
def test_without_enhancement_the_crops_are_handed_on(colour: str) -> None:
    crops = crops_of(CropSpec(colour=colour))
    assert enhance(crops, CropSpec(colour=colour)) is crops


@pytest.mark.parametrize("colour", COLOURS)
def test_enhancing_widens_the_range_of_dull_crops(colour: str) -> None:
    spec = CropSpec(colour=colour)
    crops = crops_of(spec)
    dull = lightness(crops).std()
    equalised = lightness(enhance(crops, replace(spec, contrast="equalise"))).std()
    limited = lightness(enhance(crops, replace(spec, contrast="clahe"))).std()
    assert equalised > 2 * dull
    assert 1.2 * dull < limited < equalised  # CLAHE is held back by its limit


def test_equalising_levels_the_histogram() -> None:
    spec = CropSpec(contrast="equalise")
    (enhanced,) = enhance(crops_of(spec, count=1), spec)
    shares = np.cumsum(np.bincount(enhanced.ravel(), minlength=256)) / enhanced.size
    assert np.abs(shares - np.arange(1, 257) / 256).max() < 0.07


def test_clahe_works_locally() -> None:
    spec = CropSpec(contrast="clahe")
    crop = crops_of(spec, count=1)[0]
    crop[24:, 24:] = crop[:24, :24]
    crop[:24, 24:] = 250
    changed = crop.copy()
    changed[:12, :12] = 10  # one tile of the other corner
    first, second = (enhance(one[None], spec)[0] for one in (crop, changed))
    assert np.array_equal(first[36:, 36:], second[36:, 36:])
    assert not np.array_equal(first[12:18, 12:18], second[12:18, 12:18])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.colour}-{spec.contrast}")
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_crop_of_one_shade_stays_one_shade(spec: CropSpec, value: int) -> None:
    enhanced = enhance(np.full((2, *spec.shape), value, np.uint8), spec)
    assert np.ptp(enhanced) <= (2 if spec.colour == "rgb" else 0)  # Lab and back costs a level or two


@pytest.mark.parametrize("contrast", ["equalise", "clahe"])
def test_colours_keep_their_hue(contrast: str) -> None:
    spec = CropSpec(colour="rgb", contrast=contrast)
    ramp = np.linspace(40, 90, 48)
    crop = np.dstack([np.tile(1.5 * ramp, (48, 1)), np.tile(ramp, (48, 1)), np.tile(0.7 * ramp, (48, 1))])
    (enhanced,) = enhance(crop.astype(np.uint8)[None], spec)
    middle = enhanced[8:40, 8:40].astype(int)
    assert np.all(middle[..., 0] > middle[..., 1])
    assert np.all(middle[..., 1] > middle[..., 2])


@pytest.mark.parametrize("size_px", [8, 10, 47, 112])
def test_any_size_is_enhanced(size_px: int) -> None:
    for contrast in CONTRASTS:
        spec = CropSpec(size_px=size_px, contrast=contrast)
        assert enhance(crops_of(spec), spec).shape == (4, size_px, size_px)


def test_mirrored_crops_are_enhanced_alike() -> None:
    spec = CropSpec(contrast="equalise")
    crops = crops_of(spec)
    assert np.array_equal(enhance(crops[:, :, ::-1], spec), enhance(crops, spec)[:, :, ::-1])

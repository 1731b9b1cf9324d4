"""mien.data.quality: each number falls when a face is spoiled in the way that it is for, and for little else."""

import importlib.util
import itertools
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from mien.data.quality import REASONS, THRESHOLDS, WEIGHTS, Quality, grade, reasons
from mien.errors import InputError
from mien.faces.boxes import longer_side
from mien.faces.detect import DlibDetector
from mien.media import read_image
from mien.spec import CropSpec
from mien.types import Face, ImageArray

ROOT = Path(__file__).resolve().parents[2]
SPEC = CropSpec()
NAMES = list(Quality.__dataclass_fields__)
Picture = tuple[ImageArray, Face]


def load_benchmark() -> ModuleType:
    """Return benchmarks/quality_auc.py, which holds the ways of spoiling a face."""
    spec = importlib.util.spec_from_file_location("quality_auc", ROOT / "benchmarks" / "quality_auc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCHMARK = load_benchmark()
WAYS = [(number, way) for number, ways in BENCHMARK.WAYS.items() for way in ways]


@pytest.fixture(scope="module")
def portrait() -> Picture:
    """Return the astronaut and the face in her picture."""
    image = read_image(ROOT / "examples" / "astronaut.jpg")[:320, 70:390]
    return np.ascontiguousarray(image), DlibDetector()(image)[0]


@pytest.fixture(scope="module")
def jittered(portrait: Picture) -> list[Picture]:
    """Return the same face 16 times, the box and the light a little otherwise each time."""
    image, face = portrait
    rng = np.random.default_rng(0)
    side = longer_side(face.box_xyxy)
    pictures = []
    for index in range(16):
        lit = np.clip(image * rng.uniform(0.8, 1.0) + rng.uniform(-8, 8), 0, 255).astype(np.uint8)
        box = face.box_xyxy + np.tile(rng.normal(0, 0.02 * side, 2), 2) + rng.normal(0, 0.01 * side, 4)
        picture = (np.ascontiguousarray(lit), replace(face, box_xyxy=box.astype(np.float32)))
        pictures.append(mirror(*picture) if index % 2 else picture)
    return pictures


@pytest.fixture(scope="module")
def good(jittered: list[Picture]) -> list[Quality]:
    return [grade(image, face, SPEC) for image, face in jittered]


def mirror(image: ImageArray, face: Face) -> Picture:
    x0, y0, x1, y1 = face.box_xyxy
    box = np.array([image.shape[1] - x1, y0, image.shape[1] - x0, y1], np.float32)
    return np.ascontiguousarray(image[:, ::-1]), replace(face, box_xyxy=box)


def framed(image: ImageArray) -> Face:
    return Face(np.array([0, 0, image.shape[1], image.shape[0]], np.float32), None, 1.0, framed=True)


@pytest.mark.parametrize(("number", "way"), WAYS, ids=[f"{number}: {way}" for number, way in WAYS])
def test_spoiled_faces_are_told_from_good_ones(
    jittered: list[Picture], good: list[Quality], number: str, way: str
) -> None:
    rng = np.random.default_rng(1)
    spoil = BENCHMARK.WAYS[number][way]
    kept = np.array([getattr(quality, number) for quality in good])
    spoiled: list[Picture] = [spoil(image, face, rng) for image, face in jittered]
    lost = np.array([getattr(grade(*picture, SPEC), number) for picture in spoiled])
    assert BENCHMARK.area(kept, lost) >= 0.9


def test_a_good_face_has_nothing_against_it(good: list[Quality]) -> None:
    assert [reasons(quality) for quality in good] == [[]] * len(good)


def test_every_number_has_a_threshold_and_words() -> None:
    assert list(THRESHOLDS) == list(REASONS) == NAMES
    assert all(REASONS.values())


def test_reasons_are_the_numbers_below_their_thresholds_in_order() -> None:
    worst = Quality(**dict.fromkeys(NAMES, -math.inf))
    assert reasons(worst) == NAMES
    assert reasons(replace(worst, exposure=1.0, frontal=1.0)) == ["sharpness", "size_px", "inside", "visible"]
    assert reasons(Quality(**THRESHOLDS)) == []  # at the threshold is fit
    assert reasons(Quality(**dict.fromkeys(NAMES, math.nan))) == []
    assert reasons(worst, {"visible": 0.5, "size_px": 10.0}) == ["size_px", "visible"]


def test_a_mirror_image_has_the_same_grade(portrait: Picture) -> None:
    here, there = grade(*portrait, SPEC), grade(*mirror(*portrait), SPEC)
    for name in NAMES:
        assert getattr(there, name) == pytest.approx(getattr(here, name), abs=0.05), name


def test_the_network_answers_the_same_for_a_mirror_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 1)).astype(np.uint8).repeat(3, axis=2)
    for seen in (pixels, cv2.GaussianBlur(pixels, (0, 0), 4).astype(np.uint8)):
        mirrored = np.ascontiguousarray(seen[:, ::-1])
        here, there = grade(seen, framed(seen), SPEC), grade(mirrored, framed(mirrored), SPEC)
        assert there.frontal == pytest.approx(here.frontal, rel=1e-4)
        assert there.visible == pytest.approx(here.visible, rel=1e-4)


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_motion_blurs_in_every_direction(portrait: Picture, angle: int) -> None:
    image, face = portrait
    kernel = np.zeros((13, 13), np.float32)
    steps = np.arange(-6, 7)
    kernel[6 + steps * (angle > 0) * (-1 if angle > 90 else 1), 6 + steps * (angle != 90)] = 1 / 13
    blurred = cv2.filter2D(image, -1, kernel).astype(np.uint8)
    assert "sharpness" in reasons(grade(blurred, face, SPEC))


def test_more_blur_is_never_sharper(portrait: Picture) -> None:
    image, face = portrait
    blurred = [image] + [cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8) for sigma in (0.5, 1, 2, 3, 5, 8)]
    values = [grade(picture, face, SPEC).sharpness for picture in blurred]
    assert all(after < before for before, after in itertools.pairwise(values))


def test_sharpness_hangs_little_on_contrast_and_on_size(portrait: Picture) -> None:
    image, face = portrait
    here = grade(image, face, SPEC).sharpness
    faint = (image * 0.4 + 70).astype(np.uint8)
    assert grade(faint, face, SPEC).sharpness == pytest.approx(here, abs=0.15)
    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    assert grade(large, replace(face, box_xyxy=face.box_xyxy * np.float32(3)), SPEC).sharpness == pytest.approx(
        here, abs=0.3
    )
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    small = grade(half, replace(face, box_xyxy=face.box_xyxy * np.float32(0.5)), SPEC)
    assert "sharpness" not in reasons(small)


def test_a_little_more_or_less_light_is_no_reason(portrait: Picture) -> None:
    image, face = portrait
    for shift in (-25, -10, 10, 25):
        lit = np.clip(image.astype(int) + shift, 0, 255).astype(np.uint8)
        assert reasons(grade(lit, face, SPEC)) == [], shift


def test_a_flat_picture_is_neither_sharp_nor_lit() -> None:
    for level in (0, 128, 255):
        flat = np.full((100, 100, 3), level, np.uint8)
        quality = grade(flat, framed(flat), SPEC)
        assert {"sharpness", "exposure"} <= set(reasons(quality))
        assert all(math.isfinite(getattr(quality, name)) for name in NAMES)


def test_size_is_the_shorter_side_of_the_box(portrait: Picture) -> None:
    image, _ = portrait
    quality = grade(image, Face(np.array([100, 50, 170, 140], np.float32), None, 1.0), SPEC)
    assert quality.size_px == 70


@pytest.mark.parametrize(("box", "share"), [
    ((0, 0, 80, 80), 1.0),
    ((-20, 0, 60, 80), 0.75),
    ((0, -40, 80, 40), 0.5),
    ((160, 60, 240, 140), 0.5 * 0.5),
    ((-50, -50, 250, 150), 200 * 100 / 300**2),
])  # fmt: skip
def test_inside_is_the_share_of_the_square_in_the_picture(box: tuple[int, ...], share: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3)).astype(np.uint8)
    face = Face(np.array(box, np.float32), None, 1.0, framed=True)
    assert grade(image, face, SPEC).inside == pytest.approx(share)


def test_inside_follows_the_crop_and_nothing_else_does(portrait: Picture) -> None:
    image, face = portrait
    tight, wide = grade(image, face, SPEC), grade(image, face, CropSpec(size_px=112, margin=2.0))
    assert tight.inside == 1.0
    assert wide.inside < 1.0
    assert replace(wide, inside=1.0) == tight


def test_a_box_outside_the_picture_is_refused(portrait: Picture) -> None:
    image, _ = portrait
    with pytest.raises(InputError):
        grade(image, Face(np.array([-50, 0, -10, 40], np.float32), None, 1.0), SPEC)


def test_the_weights_are_small_plain_half_floats() -> None:
    assert WEIGHTS.stat().st_size < 300 * 1024
    with np.load(WEIGHTS, allow_pickle=False) as file:
        assert {file[name].dtype for name in file.files} == {np.dtype(np.float16)}

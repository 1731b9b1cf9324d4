"""Faces are found where they are, in pixels of the picture, the largest first; a wall has none."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.errors import InputError
from mien.faces.boxes import longer_side, overlap
from mien.faces.detect import DlibDetector, WholePicture, make_detector
from mien.faces.detecting import for_video
from mien.media import read_image
from mien.types import FloatArray, ImageArray

# The astronaut's eyes and mouth in examples/astronaut.jpg, read off by eye.
FEATURES = np.array([[203, 100], [243, 100], [224, 146]])


def resized(image: ImageArray, scale: float) -> ImageArray:
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=how).astype(np.uint8)


@pytest.fixture(scope="module")
def dlib() -> DlibDetector:
    return DlibDetector()


@pytest.fixture(scope="module")
def astronaut() -> ImageArray:
    return read_image(Path(__file__).resolve().parents[2] / "examples" / "astronaut.jpg")


def test_the_astronauts_face_is_found_where_it_is(dlib: DlibDetector, astronaut: ImageArray) -> None:
    (face,) = dlib(astronaut)
    assert np.all(np.clip(FEATURES, face.box_xyxy[:2], face.box_xyxy[2:]) == FEATURES)
    assert 80 < longer_side(face.box_xyxy) < 130
    assert 0.5 < face.score <= 1
    assert face.box_xyxy.dtype == np.float32
    assert face.landmarks_px is None
    assert not face.framed


@pytest.mark.parametrize("scale", [0.4, 0.6, 0.85, 1.3, 2.2])
def test_a_box_scales_with_the_picture(dlib: DlibDetector, astronaut: ImageArray, scale: float) -> None:
    (face,) = dlib(astronaut)
    # At a few sizes the patch on her suit is taken for a face, hardly; hers is the certain one.
    scaled = max(dlib(resized(astronaut, scale)), key=lambda face: face.score)
    assert overlap(scaled.box_xyxy / np.float32(scale), face.box_xyxy) > 0.8


def test_the_same_picture_gives_the_same_faces_every_time(dlib: DlibDetector, astronaut: ImageArray) -> None:
    # In this one a candidate's surroundings need no scaling for the second look: what dlib gets is still a picture.
    seen = {(face.box_xyxy.tobytes(), face.score) for _ in range(6) for face in dlib(astronaut.copy())}
    assert len(seen) == 1


def test_dlib_is_given_pictures_whose_rows_follow_each_other(
    astronaut: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = DlibDetector()
    given: list[bool] = []
    run = detector._run

    def watch(grey: ImageArray, threshold: float) -> list[tuple[FloatArray, float]]:
        given.append(grey.flags.c_contiguous)
        return run(grey, threshold)

    monkeypatch.setattr(detector, "_run", watch)
    for image in (astronaut, astronaut[:, ::-1], astronaut[::2], astronaut[:, 5:]):
        detector(image)
    assert len(given) > 8
    assert all(given)


def test_a_box_moves_with_the_face(dlib: DlibDetector, astronaut: ImageArray) -> None:
    (face,) = dlib(astronaut)
    (moved,) = dlib(astronaut[13:, 31:])
    assert overlap(moved.box_xyxy + np.array([31, 13, 31, 13], np.float32), face.box_xyxy) > 0.85


def test_faces_beside_each_other_are_all_found_the_largest_first(dlib: DlibDetector, astronaut: ImageArray) -> None:
    head = astronaut[20:220, 120:330]
    canvas = np.full((420, 700, 3), 128, np.uint8)
    canvas[10:210, 10:220] = head
    canvas[10:410, 260:680] = resized(head, 2)
    faces = dlib(canvas)
    assert len(faces) == 2
    assert longer_side(faces[0].box_xyxy) == pytest.approx(2 * longer_side(faces[1].box_xyxy), rel=0.15)
    assert faces[0].box_xyxy[0] > 260 > faces[1].box_xyxy[2]


@pytest.fixture(scope="module")
def masked(astronaut: ImageArray) -> ImageArray:
    """Return the astronaut's head, 200 pixels high, all below the tip of her nose hidden."""
    head = astronaut[20:220, 120:330].copy()
    head[110:] = 90
    return head


@pytest.mark.parametrize("scale", [0.5, 1, 2.5])
def test_a_large_face_that_is_hard_to_see_is_found_in_the_last_look(
    dlib: DlibDetector, astronaut: ImageArray, masked: ImageArray, scale: float
) -> None:
    (whole,) = dlib(astronaut[20:220, 120:330])
    (face,) = dlib(resized(masked, scale))
    assert overlap(face.box_xyxy / np.float32(scale), whole.box_xyxy) > 0.75
    assert face.score < 0.5
    assert DlibDetector(last_look=False)(resized(masked, scale)) == []


def test_the_last_look_is_less_strict_in_its_scan_and_in_what_it_takes(
    masked: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (face,) = DlibDetector()(masked)
    score = math.log(face.score / (1 - face.score)) / 2  # dlib's own
    assert DlibDetector.LARGE_THRESHOLD < score < DlibDetector.SCAN_THRESHOLD
    for name in ("LARGE_THRESHOLD", "LARGE_SCAN_THRESHOLD"):
        with monkeypatch.context() as patch:
            patch.setattr(DlibDetector, name, DlibDetector.THRESHOLD)
            assert DlibDetector()(masked) == [], name


@pytest.mark.parametrize("shape", [(40, 40), (100, 3000), (350, 350), (1200, 1600)])
def test_the_last_look_at_a_picture_is_never_at_more_pixels_than_the_first(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, seen = DlibDetector(), []

    def watch(grey: ImageArray, threshold: float) -> list[tuple[FloatArray, float]]:
        seen.append((grey.shape, threshold))
        return []

    monkeypatch.setattr(detector, "_run", watch)
    assert detector(np.zeros((*shape, 3), np.uint8)) == []
    (first, _), (last, threshold) = seen
    assert threshold == DlibDetector.LARGE_SCAN_THRESHOLD
    assert last <= first
    assert min(last) <= 320


def test_the_last_look_is_for_faces_that_fill_a_quarter_of_the_picture(dlib: DlibDetector, masked: ImageArray) -> None:
    for border_px, faces in ((60, 1), (150, 0)):  # the face is 98 pixels wide: 0.31 and 0.20 of the shorter side
        assert len(dlib(np.pad(masked, ((border_px,) * 2, (border_px,) * 2, (0, 0)), mode="edge"))) == faces


def test_the_last_look_is_for_pictures_in_which_nothing_was_found(
    dlib: DlibDetector, astronaut: ImageArray, masked: ImageArray
) -> None:
    head = astronaut[20:220, 120:330]
    assert len(dlib(np.concatenate([head, masked], axis=1))) == 1
    assert len(dlib(np.concatenate([masked, masked], axis=1))) == 2


def test_a_face_below_the_smallest_is_not_found_so_that_the_last_look_follows(
    astronaut: ImageArray, masked: ImageArray
) -> None:
    both = resized(masked, 2)
    both[:100, 320:420] = resized(astronaut[20:220, 120:320], 0.5)  # a clear face of 46 pixels beside a hard one of 180
    for min_face_px, large in ((40, False), (55, True), (90, True)):
        (face,) = DlibDetector(min_face_px=min_face_px)(both)
        assert (140 < longer_side(face.box_xyxy) < 220) is large, min_face_px
    assert DlibDetector(min_face_px=250)(both) == []


def test_frames_of_a_video_get_no_last_look(dlib: DlibDetector, masked: ImageArray) -> None:
    assert for_video(dlib)(masked) == []


def test_there_is_no_face_in_a_cat(dlib: DlibDetector, portrait: Path) -> None:
    assert dlib(read_image(portrait.with_name("chelsea.jpg"))) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 2000), (2000, 3), (17, 33), (80, 80), (300, 400)])
def test_there_is_no_face_on_a_wall(dlib: DlibDetector, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    assert dlib(np.full((*size, 3), 200, np.uint8)) == []
    assert dlib(generator.integers(0, 256, (*size, 3), np.uint8)) == []


def test_the_smallest_face_that_is_asked_for_is_the_smallest_that_is_found(astronaut: ImageArray) -> None:
    canvas = np.full((330, 400, 3), 128, np.uint8)
    canvas[:300, :300] = resized(astronaut, 300 / 512)  # a face of 55 pixels
    canvas[200:328, 270:398] = resized(astronaut, 0.25)  # one of 24: too small to be found unasked
    for min_face_px, sides in ((None, [55]), (20, [55, 24]), (40, [55]), (100, []), (1e9, [])):
        found = DlibDetector(min_face_px=min_face_px)(canvas)
        assert [longer_side(face.box_xyxy) for face in found] == pytest.approx(sides, rel=0.15), min_face_px


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("one-face.jpg", 1, 1),
        ("one-man-480p.jpg", 1, 1),
        ("two-people.jpg", 2, 2),
        ("two-men.jpg", 2, 3),  # and a child in profile
        ("five-faces.jpg", 4, 5),  # one wears sunglasses
        ("alpha.png", 1, 1),
        ("no-face.jpg", 0, 0),
    ],
)
def test_faces_of_photographs_are_found(dlib: DlibDetector, shared: Path, name: str, least: int, most: int) -> None:
    faces = dlib(read_image(shared / "data" / "scenes" / name))
    assert least <= len(faces) <= most
    assert [longer_side(face.box_xyxy) for face in faces] == sorted(
        (longer_side(face.box_xyxy) for face in faces), reverse=True
    )


@pytest.mark.parametrize(("height", "width"), [(48, 48), (1, 1), (3, 1000), (61, 20)])
def test_without_a_detector_the_middle_square_is_the_face(height: int, width: int) -> None:
    (face,) = WholePicture()(np.zeros((height, width, 3), np.uint8))
    x0, y0, x1, y1 = (float(value) for value in face.box_xyxy)
    assert x1 - x0 == y1 - y0 == min(height, width)
    assert abs(x0 - (width - x1)) <= 1
    assert abs(y0 - (height - y1)) <= 1
    assert (face.framed, face.score) == (True, 1.0)


@pytest.mark.parametrize(
    "name", ["", "Dlib", "haar", "yunet", "yunet:", "dlib:x", "none:x", " dlib", "file.onnx", "mtcnn:yunet"]
)
def test_an_unknown_detector_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match="expected one of dlib, none, yunet:FILE"):
        make_detector(name)


@pytest.mark.parametrize("min_face_px", [0, -5, 0.5, math.nan, math.inf])
def test_a_smallest_face_that_is_no_size_is_refused(min_face_px: float) -> None:
    for name in ("dlib", "none"):
        with pytest.raises(InputError, match="smallest face"):
            make_detector(name, min_face_px=min_face_px)


def test_a_detector_is_had_by_its_name(astronaut: ImageArray) -> None:
    assert len(make_detector("dlib")(astronaut)) == 1
    assert make_detector("dlib", min_face_px=200)(astronaut) == []
    assert make_detector("none")(astronaut)[0].framed
    assert len(make_detector("none", min_face_px=512)(astronaut)) == 1
    assert make_detector("none", min_face_px=513)(astronaut) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident set from /proc")
def test_detectors_that_come_and_go_leave_no_memory_behind() -> None:
    def resident_kib() -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    make_detector("dlib")
    before = resident_kib()
    for _ in range(100):
        make_detector("dlib")
    assert resident_kib() - before < 5_000  # a copy by pickling leaves 150 each

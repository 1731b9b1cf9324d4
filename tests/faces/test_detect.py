"""Faces are found where they are, in pixels of the picture, the largest first; a wall has none."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.errors import InputError, ModelError
from mien.faces.crop import cut
from mien.faces.detect import DlibDetector, WholePicture, YuNetDetector, make_detector
from mien.faces.detecting import for_video
from mien.media import read_image
from mien.spec import CropSpec
from mien.types import Face, FloatArray, ImageArray

# The astronaut's eyes and mouth in examples/astronaut.jpg, read off by eye.
FEATURES = np.array([[203, 100], [243, 100], [224, 146]])


def resized(image: ImageArray, scale: float) -> ImageArray:
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=how).astype(np.uint8)


def overlap(first: FloatArray, second: FloatArray) -> float:
    corners = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.clip(corners[1] - corners[0], 0, None)))
    areas = sum(float(np.prod(box[2:] - box[:2])) for box in (first, second))
    return shared / (areas - shared)


def around(centre: NDArray[Any], half_width: float, half_height: float) -> NDArray[Any]:
    reach = np.array([half_width, half_height])
    return np.concatenate([centre - reach, centre + reach])


def side(face: Face) -> float:
    return float((face.box_xyxy[2:] - face.box_xyxy[:2]).max())


@pytest.fixture(scope="module")
def dlib() -> DlibDetector:
    return DlibDetector()


@pytest.fixture(scope="module")
def astronaut() -> ImageArray:
    return read_image(Path(__file__).resolve().parents[2] / "examples" / "astronaut.jpg")


def test_the_astronauts_face_is_found_where_it_is(dlib: DlibDetector, astronaut: ImageArray) -> None:
    (face,) = dlib(astronaut)
    assert np.all(np.clip(FEATURES, face.box_xyxy[:2], face.box_xyxy[2:]) == FEATURES)
    assert 80 < side(face) < 130
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
    assert side(faces[0]) == pytest.approx(2 * side(faces[1]), rel=0.15)
    assert faces[0].box_xyxy[0] > 260 > faces[1].box_xyxy[2]


@pytest.fixture(scope="module")
def masked(astronaut: ImageArray) -> ImageArray:
    """Return the astronaut's head, 200 pixels high, all below the tip of her nose hidden."""
    head = astronaut[20:220, 120:330].copy()
    head[113:] = 90
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


def test_the_last_look_is_for_faces_that_fill_a_quarter_of_the_picture(dlib: DlibDetector, masked: ImageArray) -> None:
    for border_px, faces in ((60, 1), (150, 0)):  # the face is 98 pixels wide: 0.31 and 0.20 of the shorter side
        assert len(dlib(np.pad(masked, ((border_px,) * 2, (border_px,) * 2, (0, 0)), mode="edge"))) == faces


def test_the_last_look_is_for_pictures_in_which_nothing_was_found(
    dlib: DlibDetector, astronaut: ImageArray, masked: ImageArray
) -> None:
    head = astronaut[20:220, 120:330]
    assert len(dlib(np.concatenate([head, masked], axis=1))) == 1
    assert len(dlib(np.concatenate([masked, masked], axis=1))) == 2


def test_the_last_look_honours_the_smallest_face(masked: ImageArray) -> None:
    assert [len(DlibDetector(min_face_px=size)(masked)) for size in (60, 140)] == [1, 0]


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
        assert [side(face) for face in found] == pytest.approx(sides, rel=0.15), min_face_px


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
    assert [side(face) for face in faces] == sorted((side(face) for face in faces), reverse=True)


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


# A stand-in for YuNet, whose own file is not here: the same inputs and outputs, as OpenCV decodes them.  A square of
# CELL x CELL green pixels alone on black, on the grid of the second stride, is a "face", three cells wide and four
# high (e times so with blue at 255), around it; its landmarks are where POINTS says, in cells.
CELL = 16
POINTS = np.array([[-0.5, -1], [0.5, -1], [0, 0], [-0.4, 1], [0.4, 1]], np.float32)


@pytest.fixture(scope="module")
def yunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes, constants, outputs = [], [], []
    alone = np.zeros((1, 3, 3, 3), np.float32)
    alone[0, 1] = -1
    alone[0, 1, 1, 1] = 1
    larger = np.zeros((4, 3, 1, 1), np.float32)
    larger[2:, 0] = 1 / 255
    nothing = np.zeros((10, 3, 1, 1), np.float32)
    for stride in (8, CELL, 32):
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [f"cells_{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        for head, weight, bias in (
            ("cls", alone / 255 if stride == CELL else nothing[:1], np.zeros(1)),
            ("obj", nothing[:1], np.ones(1)),
            ("bbox", larger, np.array([0.5, 0.5, math.log(3), math.log(4)])),
            ("kps", nothing, (POINTS + 0.5).ravel()),
        ):
            key = f"{head}_{stride}"
            shape = np.array([1, -1, len(bias)], np.int64)
            for name, value in (("w", weight), ("b", bias.astype(np.float32)), ("s", shape)):
                constants.append(numpy_helper.from_array(value, f"{name}_{key}"))
            pads = [weight.shape[2] // 2] * 4
            nodes.append(
                helper.make_node("Conv", [f"cells_{stride}", f"w_{key}", f"b_{key}"], [f"map_{key}"], pads=pads)
            )
            nodes.append(helper.make_node("Transpose", [f"map_{key}"], [f"last_{key}"], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Reshape", [f"last_{key}", f"s_{key}"], [key]))
            outputs.append(helper.make_tensor_value_info(key, TensorProto.FLOAT, [1, None, len(bias)]))
    # YuNet's own file declares 640 x 640; OpenCV runs it at any size all the same.
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "yunet", [entry], outputs, constants)
    path = tmp_path_factory.mktemp("yunet") / "stand-in.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def cells(height: int, width: int, *marks: tuple[int, int, int], cell: int = CELL, blue: int = 0) -> ImageArray:
    """Return a black picture with marks: row and column in cells, and how green."""
    image = np.zeros((height, width, 3), np.uint8)
    for row, column, green in marks:
        image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = (0, green, blue)
    return image


def test_yunets_boxes_and_landmarks_are_in_pixels_of_the_picture(yunet: Path) -> None:
    (face,) = YuNetDetector(yunet)(cells(200, 320, (4, 7, 255)))
    centre = np.array([7.5, 4.5]) * CELL
    assert np.allclose(face.box_xyxy, around(centre, 24, 32), atol=0.01)
    assert face.landmarks_px is not None
    assert np.allclose(face.landmarks_px, centre + POINTS * CELL, atol=0.01)
    assert face.box_xyxy.dtype == face.landmarks_px.dtype == np.float32
    assert face.score == pytest.approx(1)
    assert not face.framed


@pytest.mark.parametrize(("scale", "tall"), [(2, False), (3, True)])
def test_yunets_answers_in_a_large_picture_are_scaled_back(yunet: Path, scale: int, tall: bool) -> None:
    size = (1280, 336) if tall else (336, 1280)
    small = cells(*size, (4, 7, 255))
    large = np.kron(small, np.ones((scale, scale, 1), np.uint8))
    detector = YuNetDetector(yunet)
    (face,), (scaled,) = detector(small), detector(large)
    assert np.allclose(scaled.box_xyxy, scale * face.box_xyxy, atol=0.05)
    assert face.landmarks_px is not None
    assert scaled.landmarks_px is not None
    assert np.allclose(scaled.landmarks_px, scale * face.landmarks_px, atol=0.05)


def test_yunets_faces_come_the_largest_first(yunet: Path) -> None:
    image = (
        cells(640, 640, (4, 4, 255)) | cells(640, 640, (20, 20, 255), blue=200) | cells(640, 640, (30, 8, 255), blue=90)
    )
    faces = YuNetDetector(yunet)(image)
    assert [round(side(face) / 64, 2) for face in faces] == [round(math.exp(blue / 255), 2) for blue in (200, 90, 0)]


def test_a_face_that_is_too_large_for_yunets_first_look_is_found_in_the_second(yunet: Path) -> None:
    (face,) = YuNetDetector(yunet)(cells(1280, 1280, (5, 8, 255), cell=4 * CELL))
    centre = np.array([8.5, 5.5]) * 4 * CELL
    assert np.allclose(face.box_xyxy, around(centre, 96, 128), atol=0.1)


def test_a_face_that_both_looks_find_is_one_face(yunet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = YuNetDetector(yunet)
    monkeypatch.setattr(detector, "_looks", lambda height, width: [float(max(height, width))] * 2)
    assert len(detector(cells(320, 320, (4, 4, 255), (14, 14, 250)))) == 2


def test_yunets_weak_answers_are_left_out(yunet: Path) -> None:
    image = cells(320, 320, (4, 4, 90), (10, 10, 200))  # scores are the roots of 0.35 and 0.78
    (face,) = YuNetDetector(yunet)(image)
    assert face.score == pytest.approx(math.sqrt(200 / 255), abs=0.01)


def test_yunets_smallest_face_is_honoured(yunet: Path) -> None:
    image = cells(320, 320, (4, 4, 255))
    assert len(YuNetDetector(yunet, min_face_px=60)(image)) == 1
    assert YuNetDetector(yunet, min_face_px=70)(image) == []
    # In a picture of 3840 pixels a mark of 16 drowns, unless faces as small are asked for.
    large = cells(512, 3840, (9, 100, 255))
    assert YuNetDetector(yunet)(large) == []
    (face,) = YuNetDetector(yunet, min_face_px=10)(large)
    assert np.allclose(face.box_xyxy[:2], (100.5 * CELL - 24, 9.5 * CELL - 32), atol=0.1)


def test_yunet_reads_rgb_as_the_bgr_that_it_was_trained_on(yunet: Path) -> None:
    plain, red, blue = (cells(320, 320, (9, 9, 255)) for _ in range(3))
    red[..., 0] = red[..., 1]
    blue[..., 2] = blue[..., 1]
    sides = [side(YuNetDetector(yunet)(image)[0]) for image in (plain, red, blue)]
    assert sides == pytest.approx([64, 64, 64 * math.e], rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (10, 4000), (4000, 10), (31, 1281), (700, 701)])
def test_yunet_takes_pictures_of_any_size_and_finds_nothing_on_a_wall(yunet: Path, size: tuple[int, int]) -> None:
    assert YuNetDetector(yunet)(np.zeros((*size, 3), np.uint8)) == []
    assert YuNetDetector(yunet, min_face_px=5)(np.zeros((*size, 3), np.uint8)) == []


def test_one_yunet_reads_pictures_of_different_sizes_in_turn(yunet: Path) -> None:
    detector = YuNetDetector(yunet)
    small, large = cells(96, 160, (2, 3, 255)), cells(320, 1000, (9, 30, 255))
    first = [detector(image)[0].box_xyxy for image in (small, large)]
    again = [detector(image)[0].box_xyxy for image in (small, large)]
    assert np.array_equal(first, again)


def test_a_yunet_face_at_the_border_can_be_cut(yunet: Path) -> None:
    image = cells(160, 160, (0, 0, 255), (9, 9, 255))
    faces = YuNetDetector(yunet)(image)
    assert len(faces) == 2
    for face in faces:
        assert cut(image, face, CropSpec()).shape == (48, 48)


def test_yunet_is_had_by_name_and_needs_no_suffix(yunet: Path, tmp_path: Path) -> None:
    path = tmp_path / "yunet: the détecteur"
    path.write_bytes(yunet.read_bytes())
    assert len(make_detector(f"yunet:{path}")(cells(160, 160, (4, 4, 255)))) == 1


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "half", "too long"])
def test_a_file_that_is_no_onnx_is_refused_as_yunet_in_one_line(
    kind: str, yunet: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "yunet.onnx"
    contents = {"empty": b"", "text": b"not a network\n" * 9, "half": yunet.read_bytes()[:900]}
    if kind == "folder":
        path.mkdir()
    elif kind == "too long":
        path = tmp_path / ("x" * 300)
    elif kind in contents:
        path.write_bytes(contents[kind])
    with pytest.raises(ModelError) as refused:
        make_detector(f"yunet:{path}")
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""  # OpenCV adds nothing of its own


def test_a_network_that_is_no_yunet_is_refused_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"])
    leaves = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "other", [entry], [leaves])
    onnx.save(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]), tmp_path / "other.onnx"
    )
    with pytest.raises(ModelError, match="not a YuNet") as refused:
        make_detector(f"yunet:{tmp_path / 'other.onnx'}")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_one_of_our_own_models_is_refused_as_yunet(
    make_model: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="not a YuNet") as refused:
        make_detector(f"yunet:{make_model()}")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


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

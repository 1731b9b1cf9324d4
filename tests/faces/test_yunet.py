"""YuNet's faces and landmarks are in pixels of the picture; files that are no YuNet are refused in one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.errors import ModelError
from mien.faces.boxes import longer_side
from mien.faces.crop import cut
from mien.faces.detect import make_detector
from mien.faces.yunet import YuNetDetector
from mien.spec import CropSpec
from mien.types import ImageArray


def around(centre: NDArray[Any], half_width: float, half_height: float) -> NDArray[Any]:
    reach = np.array([half_width, half_height])
    return np.concatenate([centre - reach, centre + reach])


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
    assert [round(longer_side(face.box_xyxy) / 64, 2) for face in faces] == [
        round(math.exp(blue / 255), 2) for blue in (200, 90, 0)
    ]


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
    sides = [longer_side(YuNetDetector(yunet)(image)[0].box_xyxy) for image in (plain, red, blue)]
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

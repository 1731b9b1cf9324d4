"""Face detectors: a picture to the faces in it.  dlib's is embedded; YuNet is better where its file is at hand."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, ModelError
from mien.types import Face, FloatArray, ImageArray

__all__ = [
    "DETECTORS",
    "Detector",
    "DlibDetector",
    "WholePicture",
    "YuNetDetector",
    "make_detector",
    "overlap",
    "smallest_face_px",
]

#: How the command line names a detector.
DETECTORS = "dlib, none, yunet:FILE"


class Detector(Protocol):
    """Anything that finds faces: RGB uint8 (H, W, 3) to the faces, the largest first, [] where there is none."""

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        """Return the faces of the picture, the largest first."""


@functools.cache
def _state() -> tuple[bytes]:
    """Return the state of dlib's detector, which takes most of a second to unpack.

    Asked for once: dlib 20 never gives back what it hands out here, 150 KiB, so that copy.deepcopy would lose as much.
    """
    state: tuple[bytes] = dlib.get_frontal_face_detector().__getstate__()
    return state


def _frontal_detector() -> Any:
    """Return a detector of dlib's of one's own, as threads do not share one, in a millisecond."""
    detector = dlib.fhog_object_detector.__new__(dlib.fhog_object_detector)
    detector.__setstate__(_state())
    return detector


class DlibDetector:
    """dlib's detector of frontal faces: histograms of oriented gradients and a linear classifier, nothing to download.

    Its boxes come in steps of a fifth and its score hangs on how a face falls between them.  So the picture is scanned
    once for candidates, with a low threshold, and each candidate's surroundings are looked at again in four sizes: the
    mean of the boxes is steadier than any of them, and patterns that resemble a face in one size only fall away.  A
    picture in which nothing is found is looked at once more for a face that fills much of it, with a lower threshold:
    so large there are few places that could resemble one.
    Source: King 2009, "Dlib-ml: A Machine Learning Toolkit"; Dalal and Triggs 2005.
    """

    FACE_PX = 80  # the size that the classifier was trained on; smaller faces are not seen
    WORKING_PIXELS = 4_000_000  # pictures are brought to about this size: 0.05 s for each million on one core
    LARGEST_PIXELS = 40_000_000  # where a smallest face is asked for and would want more than this, less is done
    MOST_ENLARGED = 2.0  # more finds little but patterns that are no faces
    SMALL_SIDE_PX = 320  # a picture smaller than this is brought up to it
    SCAN_THRESHOLD = -0.2  # of dlib's score, for candidates
    THRESHOLD = 0.05  # of the mean score over the sizes
    LOOKS_PX = (90.0, 94.2, 98.6, 103.2)  # sizes of the face in the second look: quarters of a step of a fifth
    SURROUNDINGS = 0.6  # of the box, on each side, in the second look
    LARGE_SHARE = 0.25  # of the picture's shorter side, that a face fills which is found by the last look alone
    LARGE_SCAN_THRESHOLD = -1.0  # in the last look
    LARGE_THRESHOLD = -0.4  # finds 45% of the faces missed, and one in 0.3% of pictures without (results/LOG.md)

    def __init__(
        self, *, min_face_px: float | None = None, working_pixels: int = WORKING_PIXELS, last_look: bool = True
    ) -> None:
        """Load the detector.

        min_face_px: the smallest face to look for, in pixels of the picture; None: pictures are brought to about
        working_pixels.  last_look: look again for a large face where nothing was found.
        """
        self._detector = _frontal_detector()
        self._min_face_px = min_face_px
        self._working_pixels = working_pixels
        self._last_look = last_look

    def for_frames(self, working_pixels: int) -> DlibDetector:
        """Return a detector that takes less time, and sees no small faces where no smallest face was asked for.

        It has no last look: what is missed in one frame is found in another.
        """
        return DlibDetector(min_face_px=self._min_face_px, working_pixels=working_pixels, last_look=False)

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        """Return the faces, the largest first.  A box is about as wide as the face and reaches from brow to chin.

        A face's score is the logistic function of twice dlib's, which is 0 at its own threshold.
        """
        grey = np.ascontiguousarray(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        scale = self._scale(*grey.shape)
        faces = self._look(grey, scale, self.SCAN_THRESHOLD, self.THRESHOLD)
        if not faces and self._last_look:
            large_px = self.LARGE_SHARE * min(grey.shape)
            scale = min(self.FACE_PX / large_px, scale)
            faces = self._look(grey, scale, self.LARGE_SCAN_THRESHOLD, self.LARGE_THRESHOLD, large_px)
        return _ordered(_distinct(faces), image_rgb, self._min_face_px)

    def smallest_px(self, height: int, width: int) -> float:
        """Return from which size on faces are looked for in a picture of so many pixels, in these."""
        return max(self._min_face_px or 0.0, self.FACE_PX / self._scale(height, width))

    def _look(
        self, grey: ImageArray, scale: float, scan_threshold: float, threshold: float, smallest_px: float = 0.0
    ) -> list[Face]:
        """Return the faces of at least a size in a grey picture, which is scanned at a scale, with a mean score."""
        faces = []
        for candidate, _ in self._run(_resized(grey, scale), scan_threshold):
            box, score = self._look_again(grey, candidate / scale, scan_threshold)
            if score >= threshold and (box[2:] - box[:2]).max() >= smallest_px:
                faces.append(Face(box.astype(np.float32), None, 1 / (1 + math.exp(-2 * score))))
        return faces

    def _run(self, grey: ImageArray, threshold: float) -> list[tuple[FloatArray, float]]:
        """Return dlib's boxes (4,) and scores in a grey picture."""
        boxes, scores, _ = self._detector.run(grey, 0, threshold)
        corners = [np.array([b.left(), b.top(), b.right() + 1, b.bottom() + 1], np.float32) for b in boxes]
        return list(zip(corners, scores, strict=True))

    def _look_again(self, grey: ImageArray, box: FloatArray, threshold: float) -> tuple[FloatArray, float]:
        """Return the mean box and score of one candidate over the sizes of the second look.

        A size in which nothing is found counts with the threshold as its score.
        """
        side = float((box[2:] - box[:2]).max())
        reach = self.SURROUNDINGS * side
        x0, y0 = np.maximum(np.floor(box[:2] - reach), 0).astype(int)
        x1, y1 = np.ceil(box[2:] + reach).astype(int)
        patch = grey[y0:y1, x0:x1]
        boxes, scores = [], []
        for size in self.LOOKS_PX:
            scale = size / side
            seen = [(b / scale + (x0, y0, x0, y0), s) for b, s in self._run(_resized(patch, scale), threshold)]
            found, score = max(seen, key=lambda one: overlap(one[0], box), default=(box, threshold))
            if overlap(found, box) < 0.4:
                found, score = box, threshold
            boxes.append(found)
            scores.append(score)
        return np.mean(boxes, axis=0), float(np.mean(scores))

    def _scale(self, height: int, width: int) -> float:
        """Return by how much the picture is enlarged for detection."""
        pixels = height * width
        if self._min_face_px is not None:
            return min(self.FACE_PX / self._min_face_px, math.sqrt(self.LARGEST_PIXELS / pixels))
        affordable = math.sqrt(self._working_pixels / pixels)
        return max(min(self.MOST_ENLARGED, affordable), min(self.SMALL_SIDE_PX / max(height, width), affordable))


class YuNetDetector:
    """OpenCV's YuNet, a small network whose ONNX file the user brings (OpenCV's model zoo has it).

    Source: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector".
    """

    LONGEST_SIDE_PX = 1280  # of the picture that is looked at
    LARGEST_PIXELS = 16_000_000  # of the same where a smallest face is asked for
    FACE_PX = 10  # the smallest face that it finds; the largest is about 300 (README of OpenCV's model zoo)
    SECOND_LOOK_PX = 320  # the longest side in a second look, for faces that are too large in the first
    SCORE_THRESHOLD = 0.7
    NMS_THRESHOLD = 0.3

    def __init__(self, path: str | Path, *, min_face_px: float | None = None) -> None:
        """Load the network's file.  ModelError where it is missing or no YuNet."""
        self._path = str(path)
        self._min_face_px = min_face_px
        try:
            content = np.frombuffer(Path(path).read_bytes(), np.uint8)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ModelError(
                f"{path}: cannot be read ({reason}); expected YuNet's ONNX file (face_detection_yunet_*.onnx)"
            ) from error
        try:
            with _quiet():
                self._detector = cv2.FaceDetectorYN.create(
                    "onnx", content, np.empty(0, np.uint8), (64, 64), self.SCORE_THRESHOLD, self.NMS_THRESHOLD, 5000
                )
                self._detector.detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise ModelError(f"{path}: not a YuNet that OpenCV can run ({error.err or error})") from error

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        """Return the faces with their landmarks, the largest first."""
        image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
        faces = [face for longest_px in self._looks(*image_rgb.shape[:2]) for face in self._look(image_bgr, longest_px)]
        return _ordered(_distinct(faces), image_rgb, self._min_face_px)

    def smallest_px(self, height: int, width: int) -> float:
        """Return from which size on faces are looked for in a picture of so many pixels, in these."""
        return max(self._min_face_px or 0.0, self.FACE_PX * max(height, width) / self._looks(height, width)[0])

    def _looks(self, height: int, width: int) -> list[float]:
        """Return the longest side of the picture in each look at it."""
        longest = max(height, width)
        first = float(min(longest, self.LONGEST_SIDE_PX))
        if self._min_face_px is not None:
            wanted = max(self.FACE_PX / self._min_face_px, first / longest)
            first = longest * min(1.0, wanted, math.sqrt(self.LARGEST_PIXELS / (height * width)))
        return [first, self.SECOND_LOOK_PX] if first > 2 * self.SECOND_LOOK_PX else [first]

    def _look(self, image_bgr: NDArray[Any], longest_px: float) -> list[Face]:
        """Return the faces of a picture brought to a longest side, in the picture's own pixels."""
        height, width = image_bgr.shape[:2]
        scale = longest_px / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        seen = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_bgr
        self._detector.setInputSize(size)
        try:
            with _quiet():
                _, rows = self._detector.detect(seen)
        except cv2.error as error:
            reason = error.err or error
            raise ModelError(f"{self._path}: YuNet failed on a {size[0]}x{size[1]} picture ({reason})") from error
        back = np.array([width / size[0], height / size[1]], np.float32)
        return [] if rows is None else [self._face(row, back) for row in rows]

    @staticmethod
    def _face(row: FloatArray, back: FloatArray) -> Face:
        """Return the face of one row (x, y, width, height, five landmarks, score), its pixels scaled by `back` (2,)."""
        corner, size, landmarks = row[:2] * back, row[2:4] * back, row[4:14].reshape(5, 2) * back
        return Face(np.concatenate([corner, corner + size]), landmarks, float(np.clip(row[14], 0, 1)))


class WholePicture:
    """No detection: each picture is one face, its middle square."""

    def __init__(self, *, min_face_px: float | None = None) -> None:
        """Take every picture, or those whose middle square is not below min_face_px."""
        self._min_face_px = min_face_px

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        """Return one framed face: the largest square in the middle of the picture."""
        height, width = image_rgb.shape[:2]
        side = min(height, width)
        x0, y0 = (width - side) // 2, (height - side) // 2
        face = Face(np.array([x0, y0, x0 + side, y0 + side], np.float32), None, 1.0, framed=True)
        return _ordered([face], image_rgb, self._min_face_px)


def smallest_face_px(detector: Detector, height: int, width: int) -> float:
    """Return from which size on a detector looks for faces in a picture of so many pixels; 0 where it does not say."""
    return detector.smallest_px(height, width) if isinstance(detector, DlibDetector | YuNetDetector) else 0.0


def make_detector(name: str, *, min_face_px: float | None = None) -> Detector:
    """Return the detector of a name: "dlib", "none" (the picture is the face) or "yunet:FILE".

    Raises InputError for another name or a smallest face below one pixel, ModelError for a file that is no YuNet.
    """
    if min_face_px is not None and not 1 <= min_face_px < math.inf:
        raise InputError(f"the smallest face is {min_face_px:g} pixels; expected at least 1")
    kind, _, file = name.partition(":")
    makers: dict[str, Callable[[], Detector]] = {
        "dlib": lambda: DlibDetector(min_face_px=min_face_px),
        "none": lambda: WholePicture(min_face_px=min_face_px),
        "yunet": lambda: YuNetDetector(file, min_face_px=min_face_px),
    }
    if kind not in makers or (kind == "yunet") != bool(file):
        raise InputError(f"unknown detector {name!r}; expected one of {DETECTORS}")
    return makers[kind]()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from writing to stderr: what matters comes as an exception."""
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _resized(grey: ImageArray, scale: float) -> ImageArray:
    """Return a grey picture enlarged or made smaller, its rows one after the other in memory as dlib takes them."""
    if scale == 1.0:
        return np.ascontiguousarray(grey)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(grey, size, interpolation=how).astype(np.uint8, copy=False)


def overlap(first: FloatArray, second: FloatArray) -> float:
    """Return the intersection over the union of two boxes (4,)."""
    shared = float(np.prod(np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None)))
    return shared / (float(np.prod(first[2:] - first[:2])) + float(np.prod(second[2:] - second[:2])) - shared)


def _distinct(faces: list[Face]) -> list[Face]:
    """Return the faces without those that overlap a better one by half: two candidates may lead to one face."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if all(overlap(face.box_xyxy, other.box_xyxy) < 0.5 for other in kept):
            kept.append(face)
    return kept


def _ordered(faces: list[Face], image_rgb: ImageArray, min_face_px: float | None) -> list[Face]:
    """Return the faces that touch the picture and are large enough, the largest first."""
    height, width = image_rgb.shape[:2]

    def side(face: Face) -> float:
        return float((face.box_xyxy[2:] - face.box_xyxy[:2]).max())

    def inside(face: Face) -> bool:
        x0, y0, x1, y1 = face.box_xyxy
        return bool(x1 > max(x0, 0) and y1 > max(y0, 0) and x0 < width and y0 < height)

    kept = [face for face in faces if inside(face) and (min_face_px is None or side(face) >= min_face_px)]
    return sorted(kept, key=side, reverse=True)

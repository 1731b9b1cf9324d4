"""OpenCV's YuNet as a detector: better than dlib's where its file is at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import ModelError
from mien.faces.boxes import distinct, ordered
from mien.types import Face, FloatArray, ImageArray

__all__ = ["YuNetDetector"]


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
        height, width = image_rgb.shape[:2]
        faces = [face for longest_px in self._looks(height, width) for face in self._look(image_bgr, longest_px)]
        return ordered(distinct(faces), height, width, min_face_px=self._min_face_px)

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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from writing to stderr: what matters comes as an exception."""
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)

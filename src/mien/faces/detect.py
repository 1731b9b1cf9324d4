"""Face detectors: a picture to the faces in it.  dlib's is embedded; YuNet is better where its file is at hand."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import dlib
import numpy as np

from mien.errors import InputError
from mien.faces.boxes import distinct, longer_side, ordered, overlap
from mien.faces.yunet import YuNetDetector
from mien.types import Face, FloatArray, ImageArray

__all__ = [
    "DETECTORS",
    "Detector",
    "DlibDetector",
    "WholePicture",
    "make_detector",
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
    LARGE_SHARE = 0.25  # the last look is for faces of at least this share of the picture's shorter side
    LARGE_SCAN_THRESHOLD = -1.0  # in the last look
    LARGE_THRESHOLD = -0.4  # finds 45% of FER2013's missed faces, and a false one in 0.3% of faceless pictures

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

        It has no last look, which takes time and sees a face in one of some hundred frames without any.
        """
        return DlibDetector(min_face_px=self._min_face_px, working_pixels=working_pixels, last_look=False)

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        """Return the faces, the largest first.  A box is about as wide as the face and reaches from brow to chin.

        A face's score is the logistic function of twice dlib's, which is 0 at its own threshold.
        """
        grey = np.ascontiguousarray(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        scale = self._scale(*grey.shape)
        faces = self._look(grey, scale, scan_threshold=self.SCAN_THRESHOLD, threshold=self.THRESHOLD)
        if not faces and self._last_look:
            large_px = self.LARGE_SHARE * min(grey.shape)
            scale = min(self.FACE_PX / large_px, scale)
            faces = self._look(
                grey,
                scale,
                scan_threshold=self.LARGE_SCAN_THRESHOLD,
                threshold=self.LARGE_THRESHOLD,
                smallest_px=large_px,
            )
        return faces

    def smallest_px(self, height: int, width: int) -> float:
        """Return from which size on faces are looked for in a picture of so many pixels, in these."""
        return max(self._min_face_px or 0.0, self.FACE_PX / self._scale(height, width))

    def _look(
        self, grey: ImageArray, scale: float, *, scan_threshold: float, threshold: float, smallest_px: float = 0.0
    ) -> list[Face]:
        """Return the faces of a grey picture scanned at a scale, the largest first.

        Their mean score is the threshold at least, and their side smallest_px.
        """
        faces = []
        for candidate, _ in self._run(_resized(grey, scale), scan_threshold):
            box, score = self._look_again(grey, candidate / scale, scan_threshold)
            if score >= threshold:
                faces.append(Face(box.astype(np.float32), None, 1 / (1 + math.exp(-2 * score))))
        height, width = grey.shape
        return ordered(distinct(faces), height, width, min_face_px=max(self._min_face_px or 0.0, smallest_px))

    def _run(self, grey: ImageArray, threshold: float) -> list[tuple[FloatArray, float]]:
        """Return dlib's boxes (4,) and scores in a grey picture."""
        boxes, scores, _ = self._detector.run(grey, 0, threshold)
        corners = [np.array([b.left(), b.top(), b.right() + 1, b.bottom() + 1], np.float32) for b in boxes]
        return list(zip(corners, scores, strict=True))

    def _look_again(self, grey: ImageArray, box: FloatArray, threshold: float) -> tuple[FloatArray, float]:
        """Return the mean box and score of one candidate over the sizes of the second look.

        A size in which nothing is found counts with the threshold as its score.
        """
        side = longer_side(box)
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
        return ordered([face], height, width, min_face_px=self._min_face_px)


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


def _resized(grey: ImageArray, scale: float) -> ImageArray:
    """Return a grey picture enlarged or made smaller, its rows one after the other in memory as dlib takes them."""
    if scale == 1.0:
        return np.ascontiguousarray(grey)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(grey, size, interpolation=how).astype(np.uint8, copy=False)

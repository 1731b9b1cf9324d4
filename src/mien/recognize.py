"""A picture to readings: detector, crops and classifier joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mien.classify import Classifier
from mien.errors import ImageError, InputError
from mien.faces.detect import Detector, make_detector
from mien.media import read_image
from mien.preprocess import preprocess
from mien.types import Face, FloatArray, ImageArray, Reading
from mien.weights import catalogue

__all__ = ["Recognizer", "Source", "readings_of"]

Source = str | Path | bytes | bytearray | memoryview | ImageArray


class Recognizer:
    """Reads the expressions of the faces in pictures."""

    BATCH = 64  # faces that are collected, over the pictures of an iterable, before they go through the network
    PICTURES_HELD = 256  # pictures without a face that may wait for those before them

    def __init__(self, detector: Detector, classifier: Classifier) -> None:
        """Join a detector and a classifier; `load` does it by name."""
        self.detector = detector
        self.classifier = classifier

    @classmethod
    def load(
        cls,
        model: str | Path = catalogue.DEFAULT,
        *,
        answer: str = "",
        detector: str = "dlib",
        min_face_px: float | None = None,
    ) -> Recognizer:
        """Return the recognizer of a model's name or file and a detector's name; nothing is downloaded.

        answer: which of a file's answers, see `Classifier.load`.
        detector: "dlib", "none" (each picture is one face) or "yunet:FILE".  min_face_px: smallest face to look for.
        Raises ModelError or InputError where one of them is not to be had.
        """
        return cls(make_detector(detector, min_face_px=min_face_px), Classifier.load(model, answer=answer))

    def read(self, source: Source) -> list[Reading]:
        """Return a reading for each face of a picture, the largest face first; [] where there is none.

        source: a path, the bytes of a picture file, or an RGB uint8 array (H, W, 3).
        Raises ImageError where it cannot be decoded.
        """
        return next(self.read_many([source]))

    def read_many(
        self, sources: Iterable[Source], *, on_error: Callable[[Source, ImageError], None] | None = None
    ) -> Iterator[list[Reading]]:
        """Yield the readings of each picture, in order; the faces of many pictures go through the network together.

        on_error: called with a picture that cannot be decoded and the reason; [] is yielded in its place.  Without it
        the ImageError is raised.
        Raises InputError where `sources` is one picture: `read` is for that.
        """
        if isinstance(sources, str | bytes | bytearray | memoryview | Path) or (
            isinstance(sources, np.ndarray) and sources.ndim == 3
        ):
            raise InputError(f"read_many takes several pictures, got one ({type(sources).__name__}); use read for that")
        waiting: list[tuple[list[Face], ImageArray]] = []
        faces_waiting = 0
        for source in sources:
            try:
                found = self._find(source)
            except ImageError as error:
                if on_error is None:
                    yield from self._read(waiting)  # what came before it is not lost
                    raise
                on_error(source, error)
                found = [], np.zeros((0, *self.classifier.spec.crop.shape), np.uint8)
            waiting.append(found)
            faces_waiting += len(found[0])
            if faces_waiting >= self.BATCH or len(waiting) >= self.PICTURES_HELD:
                yield from self._read(waiting)
                waiting, faces_waiting = [], 0
        yield from self._read(waiting)

    def _find(self, source: Source) -> tuple[list[Face], ImageArray]:
        """Return the faces of a picture and their crops."""
        image_rgb = read_image(source)
        faces = self.detector(image_rgb)
        return faces, preprocess(image_rgb, faces, self.classifier.spec.crop)

    def _read(self, found: list[tuple[list[Face], ImageArray]]) -> Iterator[list[Reading]]:
        """Yield the readings of pictures whose faces are found, all crops predicted at once."""
        if not found:
            return
        probabilities = self.classifier.predict(np.concatenate([crops for _, crops in found]))
        start = 0
        for faces, _ in found:
            rows = probabilities[start : start + len(faces)]
            start += len(faces)
            yield readings_of(faces, rows, self.classifier.spec.labels)


def readings_of(faces: Sequence[Face], probabilities: FloatArray, labels: Sequence[str]) -> list[Reading]:
    """Return a reading for each face; probabilities: (N, number of labels), a row a face."""
    return [
        Reading(face, dict(zip(labels, row.tolist(), strict=True)))
        for face, row in zip(faces, probabilities, strict=True)
    ]

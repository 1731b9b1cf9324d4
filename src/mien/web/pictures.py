"""Pictures to readings by many threads: each finds faces with a detector of its own, one network reads them all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from mien.classify import Classifier
from mien.errors import ImageError
from mien.faces.detect import Detector, make_detector
from mien.media import read_image
from mien.preprocess import preprocess
from mien.recognize import Recognizer, readings_of
from mien.sinks import to_row
from mien.types import Face, ImageArray, Reading
from mien.web.batching import Batcher

__all__ = ["PictureRead", "PictureReader", "face_of"]


@dataclass(frozen=True, slots=True, eq=False)
class PictureRead:
    """What a picture shows, or why that cannot be said."""

    width: int | None
    height: int | None
    readings: Sequence[Reading]
    error: str | None = None


class PictureReader:
    """Reads pictures for many who ask at once."""

    def __init__(
        self,
        classifier: Classifier,
        *,
        detector: str,
        min_face_px: float | None,
        workers: int,
        max_pixels: int,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start the threads: `workers` that decode and find faces, and that of the network.

        on_batch: is told how many faces each batch of the network has.
        """
        self.classifier = classifier
        self.workers = workers
        self._make_detector = partial(make_detector, detector, min_face_px=min_face_px)
        self._max_pixels = max_pixels
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(workers, "mien-pictures")
        self._batcher = Batcher(classifier.predict, on_batch=on_batch)

    def recognizer(self) -> Recognizer:
        """Return a recognizer for another thread: a detector of its own and the same network."""
        return Recognizer(self._make_detector(), self.classifier)

    async def read(self, data: bytes | bytearray) -> PictureRead:
        """Return what a picture file shows; its error is set where it cannot be decoded."""
        loop = asyncio.get_running_loop()
        try:
            (height, width), faces, crops = await loop.run_in_executor(self._threads, self._find, data)
        except ImageError as error:
            return PictureRead(None, None, [], str(error).removeprefix("picture: "))
        if not faces:
            return PictureRead(width, height, [])
        probabilities = await asyncio.wrap_future(self._batcher.submit(crops))
        return PictureRead(width, height, readings_of(faces, probabilities, self.classifier.spec.labels))

    def close(self) -> None:
        """End the threads; what has not begun is given up."""
        self._threads.shutdown(cancel_futures=True)
        self._batcher.close()

    def _find(self, data: bytes | bytearray) -> tuple[tuple[int, int], list[Face], ImageArray]:
        """Return a picture's height and width, its faces and their crops."""
        image_rgb = read_image(data, max_pixels=self._max_pixels)
        faces = self._detector()(image_rgb)
        return image_rgb.shape[:2], faces, preprocess(image_rgb, faces, self.classifier.spec.crop)

    def _detector(self) -> Detector:
        """Return this thread's detector."""
        if not hasattr(self._own, "detector"):
            self._own.detector = self._make_detector()
        detector: Detector = self._own.detector
        return detector


def face_of(number: int, reading: Reading) -> dict[str, Any]:
    """Return one face of an answer: its row, without the picture and the time that the answer tells once."""
    row = to_row("", number, reading)
    return {key: value for key, value in row.items() if key not in ("source", "frame", "time_s")}

"""A detector for video: quicker, and at work on frames that are still to come."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from mien.faces.detect import Detector, DlibDetector
from mien.types import Face, ImageArray

__all__ = ["DetectorAhead", "for_video"]

WORKING_PIXELS = 1_000_000  # at which faces are looked for, where no smallest face is asked for


def for_video(detector: Detector) -> Detector:
    """Return a detector as it is used for video, where there is no time to be as thorough as for a picture."""
    return detector.for_frames(WORKING_PIXELS) if isinstance(detector, DlibDetector) else detector


class DetectorAhead:
    """A detector with a thread of its own, which may begin with a picture before it is asked for that."""

    def __init__(self, detector: Detector) -> None:
        """Start no thread yet."""
        self._detector = detector
        self._thread = ThreadPoolExecutor(1, "mien-detector")
        # By the picture's identity; the picture itself is kept so that no other can come to have it.
        self._begun: dict[int, tuple[ImageArray, Future[list[Face]]]] = {}

    def begin(self, image_rgb: ImageArray) -> None:
        """Begin with a picture, for which this must be called later."""
        self._begun[id(image_rgb)] = image_rgb, self._thread.submit(self._detector, image_rgb)

    def __call__(self, image_rgb: ImageArray) -> list[Face]:
        """Return the faces of a picture, begun or not; for another thread than that which begins."""
        _, faces = self._begun.pop(id(image_rgb), (None, None))
        return (faces or self._thread.submit(self._detector, image_rgb)).result()

    def close(self) -> None:
        """End the thread, after the picture that it is at."""
        self._thread.shutdown(cancel_futures=True)

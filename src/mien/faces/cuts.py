"""Where one shot of a video ends and another begins."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from mien.types import FloatArray, ImageArray

__all__ = ["CutFinder"]

SMALL_PX = (32, 18)  # the picture that is compared
NOISE = 100.0  # added to the length of a picture (its contrast), so that two black ones are not told apart by noise
# Change is one less the correlation of two pictures: of the three cuts of a dark clip 0.78 and more, without a cut 0.40
# at most, in steps of 0.2 s 0.67 at most.
LEAST = 0.3  # below it nothing is a cut
SURELY = 0.75  # above it everything is
TIMES = 3.0  # a cut changes the picture so many times as much as the frames before it did
MEMORY = 0.8  # of the mean of the changes so far, a frame
AT_FIRST = 0.2  # that mean where a shot begins


class CutFinder:
    """Says of each frame whether it begins another shot.

    Compared are small copies by their correlation, in which brightness and contrast do not count, against how much the
    frames before changed, so that a moving camera is none: PySceneDetect's adaptive detector with another measure.
    """

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._last: FloatArray | None = None
        self._usual = AT_FIRST

    def __call__(self, image_rgb: ImageArray) -> bool:
        """Return whether the frame (H, W, 3) begins another shot; the first frame of all does not."""
        small = cv2.resize(image_rgb, SMALL_PX, interpolation=cv2.INTER_AREA).astype(np.float32)
        seen = (small - small.mean(axis=(0, 1))).ravel()
        length = float(np.linalg.norm(seen))
        seen /= length + NOISE
        last, self._last = self._last, seen
        if last is None:
            return False
        change = 1 - float(seen @ last) - NOISE / (length + NOISE)  # flat pictures do not differ from each other
        cut = change > SURELY or (change > LEAST and change > TIMES * self._usual)
        self._usual = AT_FIRST if cut else MEMORY * self._usual + (1 - MEMORY) * change
        return cut

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as JSON holds it."""
        return {"last": None if self._last is None else self._last.tolist(), "usual": self._usual}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another finder stood."""
        self._last = None if state["last"] is None else np.array(state["last"], np.float32)
        self._usual = float(state["usual"])
